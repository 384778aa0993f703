import json
import os
import shlex

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.backends.local import json_files
from flowllm.backends.local.layout import describe
from flowllm.core.errors import SetupError
from tests.local_models.encoders import SENTENCES, Encoder, write_classifier, write_embedder, write_folder
from tests.unit.backends.local.generation.folders_made import folder as write_decoder

TWO = Encoder(labels=2)


def test_a_folder_of_sentence_transformers(tmp_path):
    found = describe(write_embedder(tmp_path / "tiny"))
    assert (found.task, found.layout, found.precision, found.window) == ("embed", "optimum", "fp32", 32)
    assert (found.pooling, found.normalize, found.tokens) == ("mean", True, "last_hidden_state")
    assert {port.name for port in found.inputs} == {"input_ids", "attention_mask", "token_type_ids"}
    assert found.size == found.file.stat().st_size
    assert found.special.pad == "[PAD]"


TASKS = [
    (Encoder(), {}, "embed"),
    (Encoder(labels=1), {"id2label": {"0": "LABEL_0"}}, "rerank"),
    (Encoder(labels=1), {"num_labels": 1}, "rerank"),
    (TWO, {"id2label": {"0": "good", "1": "bad"}}, "classify"),
    (TWO, {}, "classify"),
]


@pytest.mark.parametrize(("encoder", "config", "task"), TASKS)
def test_the_task_is_what_the_graph_gives(tmp_path, encoder, config, task):
    assert describe(write_folder(tmp_path / "m", encoder, config=config)).task == task


def test_labels_are_in_the_order_of_their_numbers(tmp_path):
    labels = {str(number): f"l{number}" for number in (10, 2, 1)}
    folder = write_folder(tmp_path / "m", Encoder(labels=3), config={"id2label": labels})
    assert describe(folder).labels == ("l1", "l2", "l10")


def test_onnx_community_keeps_its_files_apart(tmp_path):
    folder = write_folder(tmp_path / "m", Encoder(), onnx_at="onnx/model.onnx")
    onnx.save(Encoder().graph(half=True), folder / "onnx/model_fp16.onnx")
    plain, half = describe(folder), describe(folder, "fp16")
    assert (plain.layout, plain.file.name, plain.precision) == ("onnx-community", "model.onnx", "fp32")
    assert (half.file.name, half.precision) == ("model_fp16.onnx", "fp16")


def test_a_precision_that_no_file_has(tmp_path):
    with pytest.raises(SetupError) as caught:
        describe(write_embedder(tmp_path / "m"), "int8")
    assert caught.value.code == "missing_model_file"
    assert "no file of precision int8" in caught.value.message
    assert caught.value.hint == "precision: one of fp32, in the device's file"


def test_the_plain_file_may_be_of_any_precision(tmp_path):
    assert describe(write_embedder(tmp_path / "m", half=True), "fp16").precision == "fp16"


def test_several_files_and_none_that_is_plain(tmp_path):
    folder = write_embedder(tmp_path / "m", onnx_at="model_q4.onnx")
    onnx.save(Encoder().graph(), folder / "model_fp16.onnx")
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.hint == "precision: one of fp16, int4, in the device's file"


@pytest.mark.parametrize("precision", ["int8", "qint8_avx2"])
def test_a_precision_is_also_what_the_name_of_a_file_says(tmp_path, precision):
    folder = write_embedder(tmp_path / "m")
    onnx.save(Encoder().graph(), folder / f"model_{precision}.onnx")
    assert describe(folder, precision).file.name == f"model_{precision}.onnx"


POOLINGS = [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ({"pooling_mode_lasttoken": True}, "last"),
    ({"pooling_mode": "weightedmean"}, "weighted_mean"),
    ({"pooling_mode": "mean"}, "mean"),
    ({"pooling_mode": "what is this"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("config", "pooling"), POOLINGS)
def test_pooling_as_it_is_written(tmp_path, config, pooling):
    folder = write_embedder(tmp_path / "m", files={**SENTENCES, "1_Pooling/config.json": config})
    assert describe(folder).pooling == pooling


def test_nothing_is_said_of_pooling(tmp_path):
    found = describe(write_folder(tmp_path / "m", Encoder()))
    assert (found.pooling, found.normalize) == (None, None)


def test_pooling_in_the_graph(tmp_path):
    dense = [*SENTENCES["modules.json"], {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}]
    found = describe(write_embedder(tmp_path / "m", pooled=True, files={"modules.json": dense}))
    assert (found.pooled, found.pooling) == ("sentence_embedding", None)


LONG = {"max_position_embeddings": 131072}
WINDOWS = [
    ({"max_position_embeddings": 512}, {}, {}, 512),
    ({"max_position_embeddings": 514, "model_type": "xlm-roberta"}, {}, {}, 512),
    ({"max_position_embeddings": 512}, {"model_max_length": 128}, {}, 128),
    ({"max_position_embeddings": 512}, {"model_max_length": 10**30}, {}, 512),
    ({"max_position_embeddings": 512}, {"model_max_length": 128}, {"max_seq_length": 256}, 256),
    ({"max_position_embeddings": None}, {}, {}, None),
    ({**LONG, "rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096}, {}, {}, 4096),
    ({**LONG, "rope_scaling": {"type": "su", "original_max_position_embeddings": 4096}}, {}, {}, 4096),
    ({**LONG, "rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 64}}, {}, {}, 64),
    (
        {**LONG, "rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096},
        {"model_max_length": 9},
        {},
        9,
    ),
    ({**LONG, "rope_scaling": {"rope_type": "yarn", "original_max_position_embeddings": 4096}}, {}, {}, 131072),
    ({**LONG, "rope_scaling": {"type": "longrope"}}, {}, {}, 131072),
    ({"text_config": {**LONG, "rope_scaling": {"type": "su", "original_max_position_embeddings": 8}}}, {}, {}, 8),
]


@pytest.mark.parametrize(("config", "tokenizer", "sentences", "window"), WINDOWS)
def test_the_window(tmp_path, config, tokenizer, sentences, window):
    files = {"tokenizer_config.json": tokenizer, "sentence_bert_config.json": sentences}
    assert describe(write_folder(tmp_path / "m", Encoder(), config=config, files=files)).window == window


ACTIVATIONS = [
    ({}, "sigmoid"),
    ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "identity"),
    ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, "identity"),
    ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, "sigmoid"),
]


@pytest.mark.parametrize(("config", "activation"), ACTIVATIONS)
def test_the_activation_of_a_cross_encoder(tmp_path, config, activation):
    folder = write_folder(tmp_path / "m", Encoder(labels=1), config={"num_labels": 1, **config})
    assert describe(folder).activation == activation


def broken(folder, name, text):
    (folder / name).write_text(text)


def linked(folder):
    (folder / "other.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(folder / "other.onnx")


def module(folder, kind):
    broken(folder, "modules.json", json.dumps([{"path": "1_X", "type": f"sentence_transformers.models.{kind}"}]))


REFUSED = [
    (lambda folder: (folder / "config.json").unlink(), "missing_model_file", "holds neither a config.json nor"),
    (lambda folder: (folder / "model.onnx").unlink(), "missing_model_file", "holds no model.onnx"),
    (lambda folder: broken(folder, "config.json", "{"), "bad_model_file", "is no JSON"),
    (lambda folder: broken(folder, "config.json", "[]"), "bad_model_file", "holds no JSON object"),
    (lambda folder: broken(folder, "model.onnx", "x"), "bad_model_file", "is no ONNX model"),
    (lambda folder: broken(folder, "genai_config.json", '{"model": {}}'), "bad_model_file", "names no file"),
    (linked, "bad_model_file", "is a symbolic link"),
    (lambda folder: os.link(folder / "model.onnx", folder / "two"), "bad_model_file", "a hard link"),
    (lambda folder: module(folder, "Dense"), "capability_mismatch", "a module `Dense`"),
    (lambda folder: module(folder, "Pooling"), None, ""),
    (lambda folder: broken(folder, "modules.json", "{}"), "bad_model_file", "holds no list of modules"),
    *(
        (
            lambda folder, path=path: broken(folder, "modules.json", json.dumps([{"type": "Pooling", "path": path}])),
            "bad_model_file",
            "a folder that is not its own",
        )
        for path in ("../../x", "x/y", "x\\y", "..", ".", "", "x\0")
    ),
]


@pytest.mark.parametrize(("spoil", "code", "words"), REFUSED)
def test_folders_that_cannot_be_used(tmp_path, spoil, code, words):
    folder = write_embedder(tmp_path / "m")
    spoil(folder)
    if code is None:
        assert describe(folder).pooling is None
        return
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.code == code
    assert words in caught.value.message


@pytest.mark.parametrize(("by", "whole"), [(0, True), (1, False), (1000, False)])
def test_weights_that_end_too_early_are_told_before_they_are_opened(tmp_path, by, whole):
    folder = write_embedder(tmp_path / "m")
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="w", size_threshold=0)
    size = (folder / "w").stat().st_size
    os.truncate(folder / "w", size - by)
    if whole:
        assert describe(folder).external == (folder / "w",)
        return
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.code == "bad_model_file"
    assert caught.value.message == f"{folder / 'w'} has {size - by:,} bytes, and model.onnx reads {size:,} of it"


def symbolic(path, outside):
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


def hard(path, outside):
    path.unlink(missing_ok=True)
    os.link(outside, path)


def dangling(path, outside):
    path.unlink(missing_ok=True)
    path.symlink_to(outside.with_name("nothing"))


@pytest.mark.parametrize(
    ("link", "words"),
    [(symbolic, "is a symbolic link"), (dangling, "is a symbolic link"), (hard, "a hard link")],
)
@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "tokenizer_config.json", "vocab.json"])
def test_small_files_are_the_folders_own(tmp_path, name, link, words):
    folder = write_embedder(tmp_path / "m")
    (tmp_path / "outside").write_text("{}")
    link(folder / name, tmp_path / "outside")
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.code == "bad_model_file"
    assert f"the file {name}" in caught.value.message
    assert words in caught.value.message


def test_the_folder_of_a_module_is_no_link(tmp_path):
    folder = write_embedder(tmp_path / "m")
    (folder / "1_Pooling").rename(tmp_path / "elsewhere")
    (folder / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match="is a symbolic link"):
        describe(folder)


def piped(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


SMALL_FILES = [
    "config.json", "genai_config.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json",
    "sentence_bert_config.json", "config_sentence_transformers.json",
]  # fmt: skip


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_pipe_is_not_waited_for(tmp_path, name):
    folder = write_embedder(tmp_path / "m")
    piped(folder / name)
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.code == "bad_model_file"
    assert caught.value.message == f"the file {name} of the model in {folder} is no plain file"


@pytest.mark.parametrize("precision", ["", "fp16"])
def test_a_graph_that_is_a_pipe_is_not_waited_for(tmp_path, precision):
    folder = write_embedder(tmp_path / "m")
    piped(folder / "model.onnx")
    with pytest.raises(SetupError, match=r"the file model\.onnx of the model in .* is no plain file"):
        describe(folder, precision)


READ = {
    "config.json": [
        "architectures", "id2label", "num_labels", "max_position_embeddings", "text_config", "model_type", "vocab_size",
        "sentence_transformers", "sbert_ce_default_activation_function", "eos_token_id", "pad_token_id",
    ],
    "tokenizer_config.json": ["chat_template", "model_max_length", "bos_token", "pad_token"],
    "generation_config.json": ["eos_token_id", "temperature", "do_sample"],
    "genai_config.json": ["model", "search"],
    "modules.json": ["type", "path"],
    "1_Pooling/config.json": ["pooling_mode", "pooling_mode_mean_tokens"],
    "sentence_bert_config.json": ["max_seq_length"],
    "config_sentence_transformers.json": ["prompts", "default_prompt_name"],
    "chat_template.json": ["chat_template"],
}  # fmt: skip
ODD = [
    5, -1, 1.5, True, None, 1e300, 10**18, "", "x", "a\0b", "..", "Pooling", "9" * 5000, [], [5], ["x"], [[1]], [None],
    {}, {"a": 1}, {"1": 2}, {"decoder": {"filename": "a\0b"}}, {"decoder": {"filename": "../x"}},
    {"9" * 5000: "x"}, {"default": {"x": 1}},
]  # fmt: skip
KINDS = [
    write_embedder,
    lambda folder: write_classifier(folder, TWO, ["no", "yes"]),
    write_decoder,
]


@pytest.fixture(scope="module", params=KINDS)
def any_folder(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("any") / "m")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(READ)), value=st.sampled_from(ODD))
def test_whatever_a_small_file_says_is_read_or_told(any_folder, data, name, value):
    key = data.draw(st.sampled_from(["", *READ[name]]))
    path = any_folder / name
    path.parent.mkdir(exist_ok=True)
    old = path.read_text() if path.exists() else None
    known = json.loads(old or "{}")
    said = {**known, key: value} if isinstance(known, dict) else [*known, {"type": "Pooling", key: value}]
    path.write_text(json.dumps(said if key else value))
    try:
        assert outcome(any_folder) in (None, "bad_model_file", "missing_model_file", "capability_mismatch")
    finally:
        path.write_text(old) if old is not None else path.unlink()


def outcome(folder):
    """The code of the error that describing gives, None where it gives none."""
    try:
        describe(folder)
    except SetupError as error:
        return error.code
    return None


def test_a_small_file_has_a_limit(tmp_path, monkeypatch):
    folder = write_embedder(tmp_path / "m")
    monkeypatch.setattr(json_files, "LIMIT", 20)
    with pytest.raises(SetupError, match="is larger than"):
        describe(folder)


def test_a_mark_of_utf_8_is_no_part_of_a_file(tmp_path):
    folder = write_embedder(tmp_path / "m")
    text = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + text)
    assert describe(folder).config["model_type"] == "bert"


def test_weights_for_pytorch_are_to_be_exported(tmp_path):
    folder = write_embedder(tmp_path / "m")
    (folder / "model.onnx").rename(folder / "model.safetensors")
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.hint == f"flowllm export {folder} --name OTHER"


def test_a_graph_without_a_known_task(tmp_path):
    folder = write_embedder(tmp_path / "m")
    model = onnx.load(folder / "model.onnx")
    model.graph.node[-1].output[0] = model.graph.output[0].name = "pixels"
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert (caught.value.code, "pixels" in caught.value.message) == ("capability_mismatch", True)


def test_a_classifier(tmp_path):
    assert describe(write_classifier(tmp_path / "m", TWO, ["no", "yes"])).labels == ("no", "yes")


MISNAMED = [
    (TWO, ["score"], "is 2 wide, and config.json names labels for 1"),
    (Encoder(labels=1), ["no", "yes"], "is 1 wide, and config.json names labels for 2"),
    (Encoder(labels=3), [], "is 3 wide, and config.json names labels for 2"),
]


@pytest.mark.parametrize(("encoder", "labels", "words"), MISNAMED)
def test_as_many_labels_as_the_graph_gives_numbers(tmp_path, encoder, labels, words):
    with pytest.raises(SetupError) as caught:
        describe(write_classifier(tmp_path / "m", encoder, labels))
    assert (caught.value.code, caught.value.hint) == ("bad_model_file", '"id2label": {"0": "no", "1": "yes"}')
    assert caught.value.message.endswith(words)


def test_labels_are_named_where_the_graph_does_not_say_how_many(tmp_path):
    folder = write_folder(tmp_path / "m", TWO, config={"num_labels": 10**6})
    model = onnx.load(folder / "model.onnx")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "labels"
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(SetupError, match=r"is any number wide, and config\.json names labels for 0"):
        describe(folder)


def symbolic_graph(folder):
    (folder.parent / "graph").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(folder.parent / "graph")


def doubled_graph(folder):
    os.link(folder / "model.onnx", folder.parent / "graph")


def weights_alone(folder):
    (folder / "model.onnx").rename(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (symbolic_graph, ["cp", "-rL", "FOLDER", "COPY"]),
        (doubled_graph, ["cp", "-r", "FOLDER", "COPY"]),
        (weights_alone, ["flowllm", "export", "FOLDER", "--name", "OTHER"]),
    ],
)
def test_hints_can_be_pasted_whatever_a_folder_is_called(tmp_path, spoil, words):
    folder = write_embedder(tmp_path / "my own's" / "m")
    spoil(folder)
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert shlex.split(caught.value.hint) == [str(folder) if word == "FOLDER" else word for word in words]
