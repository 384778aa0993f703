"""Which files of a repository are pulled, and which lists of files are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.local.hub_files import HubFile, by_name, wanted
from flowllm.backends.local.pulling import named_well, parse_source
from flowllm.core.errors import SetupError, UsageError

SMALL = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "1_Pooling/config.json"]
STEPS = st.sampled_from(["..", ".", "", "a", "a.json", "C:", "\\", "~", "onnx", "model.onnx", "x\n", "\u202e", "c\\d"])


def chosen(names, precision=""):
    files = by_name([HubFile(name, 1) for name in names], "acme/tiny@main")
    return {file.name for file in wanted(files, precision, "acme/tiny@main")}


@pytest.mark.parametrize(
    ("names", "precision", "graphs"),
    [
        (["model.onnx"], "", {"model.onnx"}),
        (
            ["model.onnx", "model.onnx_data", "model.onnx_data_1"],
            "",
            {"model.onnx", "model.onnx_data", "model.onnx_data_1"},
        ),
        (["model.onnx", "model.data", "model_q4.onnx_data"], "", {"model.onnx", "model.data"}),
        (["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"], "", {"onnx/model.onnx"}),
        (
            ["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"],
            "fp16",
            {"onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"},
        ),
        (["onnx/model_q4.onnx", "onnx/model_int8.onnx"], "int4", {"onnx/model_q4.onnx"}),
        (["onnx/model_quantized.onnx"], "", {"onnx/model_quantized.onnx"}),
        (["model.onnx", "onnx/model_fp16.onnx"], "", {"model.onnx"}),
        (["onnx/decoder_model_merged.onnx", "onnx/decoder_model.onnx"], "", {"onnx/decoder_model_merged.onnx"}),
        (["strange.onnx"], "", {"strange.onnx"}),
        (
            ["genai_config.json", "model.onnx", "model.onnx.data"],
            "",
            {"genai_config.json", "model.onnx", "model.onnx.data"},
        ),
        (
            ["model.onnx", "model_data_1_data_2", "model.onnx_data_x", "model.onnx-data", "amodel.onnx_data", "data"],
            "",
            {"model.onnx"},
        ),
    ],
)
def test_the_graph_of_a_precision_with_its_weights(names, precision, graphs):
    others = ["run.py", "pytorch_model.bin", "model.safetensors", "README.md", "manifest.json", "deep/er/config.json"]
    others += ["model.safetensors.index.json", "pytorch_model.bin.index.json", "training_args.pkl", "tf_model.h5"]
    assert chosen([*names, *SMALL, *others], precision) == graphs | set(SMALL)


class Read(dict):
    """Counts how often all of it is gone through."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def test_a_list_of_many_graphs_is_gone_through_no_more_often_than_one_of_few():
    times = []
    for count in (2, 200):
        names = [f"part_{number}.onnx{end}" for number in range(count) for end in ("", ".data")]
        files = Read({name: HubFile(name, 1) for name in ["genai_config.json", *names]})
        assert len(wanted(files, "", "acme/tiny@main")) == 2 * count + 1
        times.append(files.times)
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("names", "precision", "said"),
    [
        (["model.safetensors"], "", "no ONNX graph"),
        (["cpu/int4/model.onnx"], "", "in cpu/int4"),
        (["onnx/model_q4.onnx", "onnx/model_fp16.onnx"], "", "several graphs"),
        (["onnx/model_q4.onnx"], "fp16", "no graph of precision fp16"),
        (["genai_config.json", "model.onnx"], "int4", "in the one precision it was built in: `int4` cannot be chosen"),
    ],
)
def test_repositories_without_such_a_graph(names, precision, said):
    with pytest.raises(SetupError, match=said):
        chosen(names, precision)


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["genai_config.json", "model.onnx"], "flowllm pull acme/tiny@main"),
        (["model.onnx"], "flowllm pull acme/tiny@main"),
        (["model.onnx", "model_q4.onnx"], "--precision one of fp32, int4"),
    ],
)
def test_a_precision_that_is_not_there_has_a_hint_that_helps(names, hint):
    with pytest.raises(SetupError) as refused:
        chosen(names, "fp16")
    assert refused.value.hint == hint


@given(st.lists(STEPS, min_size=1, max_size=4).map("/".join))
def test_no_name_of_a_list_leads_out_of_the_folder(name):
    try:
        found = by_name([HubFile(name, 1)], "acme/tiny@main")
    except SetupError:
        return
    whole = (Path("/shelf/part") / next(iter(found))).resolve()
    assert whole.is_relative_to("/shelf/part")
    assert whole != Path("/shelf/part")
    assert "\\" not in name
    assert ":" not in name


@given(st.text(st.sampled_from("ab./-_~\\: @\n\u00e9"), max_size=12))
def test_no_word_of_the_command_line_leads_off_the_shelf(text):
    try:
        source = parse_source(text)
    except UsageError:
        return
    assert named_well(source.repository)
    assert source.revision
    place = Path("/shelf") / source.repository
    assert place.resolve() == place
    assert not place.name.startswith(".")
    assert len(place.relative_to("/shelf").parts) in (1, 2)
