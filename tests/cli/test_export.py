"""`flowllm export` with an exporter that is told what to do; the real one is met in `tests.local_models`."""

import asyncio
import json
import os
import shutil
import signal as signals
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flowllm.backends.local import exporting
from tests.cli.command import start_apart
from tests.local_models.encoders import SENTENCES, Encoder, write_classifier, write_embedder
from tests.local_models.exporter import fake
from tests.local_models.safetensors import write_safetensors
from tests.unit.backends.local.generation.folders_made import folder as write_decoder

PATIENCE = 60


@pytest.fixture
def shelf(folder, monkeypatch):
    monkeypatch.setenv("FLOWLLM_MODELS", str(folder / "shelf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    return folder / "shelf"


@pytest.fixture
def source(folder):
    """A model of sentence-transformers, with what no exporter may see."""
    made = write_embedder(folder / "tiny")
    (made / "model.onnx").unlink()
    write_safetensors(made / "model.safetensors", {"x": np.zeros(3)})
    for name in ("pytorch_model.bin", "evil.py", "training_args.bin", "README.md"):
        (made / name).write_text("no")
    (made / "vocab.txt").write_text("a")
    return made


@pytest.fixture
def exporter(tmp_path, monkeypatch):
    """Sets the exporter up: what it does, and the graph that it writes."""

    def start(does="", write=write_embedder, *words, **more):
        shutil.rmtree(tmp_path / "graph", ignore_errors=True)
        graph = write(tmp_path / "graph", *words, **more)
        monkeypatch.setenv("FLOWLLM_EXPORTER", str(fake(tmp_path, graph, does)))
        return tmp_path

    return start


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_becomes_a_model_of_the_shelf(flowllm, shelf, source, exporter):
    here = exporter()
    done = flowllm("export", "tiny")
    assert (done.status, done.out) == (0, "local/tiny\n"), done.err
    assert "exporting tiny in fp32: seconds to minutes" in " ".join(done.err.split())
    made = names(shelf / "tiny")
    assert made == {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "manifest.json", *SENTENCES}
    assert [path.name for path in shelf.iterdir()] == ["tiny"]
    job = json.loads((here / "job.json").read_text())
    assert (job["task"], job["type"], job["precision"], job["offline"]) == ("embed", "bert", "fp32", "1")
    assert [name for name in job["seen"] if not name.endswith(".json")] == ["model.safetensors", "vocab.txt"]
    told = json.loads((shelf / "tiny" / "manifest.json").read_text())
    assert told["source"] == {"exported": "tiny", "precision": "fp32", "exporter": "optimum", "optimum-onnx": "0.1"}
    assert told["files"].keys() == made - {"manifest.json"}
    assert "local/tiny  embed" in flowllm("models", "list", "--local").out
    assert flowllm("models", "show", "local/tiny", "--json").data["pooling"] == "mean"


@pytest.mark.usefixtures("shelf", "source")
def test_the_exporter_knows_no_key(flowllm, exporter, monkeypatch):
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "ACME_KEY", "LC_ALL"):
        monkeypatch.setenv(name, "C")
    here = exporter()
    assert flowllm("export", "tiny").status == 0
    known = set(json.loads((here / "job.json").read_text())["environment"])
    assert {"PATH", "LC_ALL", "HF_HUB_OFFLINE"} <= known
    assert not known & {"HF_TOKEN", "OPENAI_API_KEY", "ACME_KEY", "FLOWLLM_EXPORTER"}


@pytest.mark.usefixtures("shelf", "source")
def test_nobody_waits_for_an_exporter_that_has_answered(flowllm, exporter):
    here = exporter("linger")
    assert flowllm("export", "tiny").status == 0
    assert not (here / "ended").exists()


def test_small_files_are_the_source_s_own(flowllm, shelf, source, exporter):
    exporter(write=write_embedder, config={"hidden_act": "of the exporter"})
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    (source / "chat_template.jinja").write_text("x")
    assert flowllm("export", "tiny").status == 0
    for name in ("config.json", "sentence_bert_config.json", "chat_template.jinja", "1_Pooling/config.json"):
        assert (shelf / "tiny" / name).read_bytes() == (source / name).read_bytes()
    assert flowllm("models", "show", "local/tiny", "--json").data["context"] == 7


@pytest.mark.parametrize(
    ("words", "model", "place"),
    [
        (["--name", "acme/small"], "local/acme/small", "shelf/acme/small"),
        (["--to", "models/other"], "local/./models/other", "models/other"),
        (["--to", "../beside"], "", "../beside"),
    ],
)
@pytest.mark.usefixtures("shelf", "source")
def test_the_place_and_the_name(flowllm, folder, exporter, words, model, place):
    exporter()
    done = flowllm("export", "tiny", *words, "--json").data
    assert (done["model"] or "", done["folder"]) == (model, str((folder / place).resolve()))
    assert (folder / place / "model.onnx").is_file()
    if model:
        assert flowllm("models", "show", model).status == 0


def test_other_precisions_are_files_of_that_name(flowllm, shelf, source, exporter):
    here = exporter(write=lambda folder: write_embedder(folder, half=True, onnx_at="model_fp16.onnx"))
    done = flowllm("export", "tiny", "--precision", "fp16", "--json").data
    assert (done["precision"], json.loads((here / "job.json").read_text())["precision"]) == ("fp16", "fp16")
    assert (shelf / "tiny" / "model_fp16.onnx").is_file()


def write_built(folder):
    return write_decoder(folder, layout="genai")


@pytest.fixture
def decoder(folder):
    """A decoder of transformers; its genai_config.json speaks of another graph."""
    made = write_decoder(folder / "writer")
    (made / "model.onnx").unlink()
    write_safetensors(made / "model.safetensors", {"x": np.zeros(3)})
    told = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(told | {"architectures": ["LlamaForCausalLM"]}))
    (made / "genai_config.json").write_text('{"model": {"decoder": {"filename": "../other.onnx"}}}')
    return made


def test_a_decoder_of_the_builder_is_told_as_such(flowllm, shelf, decoder, exporter):
    exporter("build", write_built)
    done = flowllm("export", "writer")
    assert (done.status, done.out) == (0, "local/writer\n"), done.err
    assert ", by builder in" in done.err
    built = json.loads((shelf / "writer" / "genai_config.json").read_text())
    assert built["model"]["decoder"]["filename"] == "model.onnx"
    told = json.loads((shelf / "writer" / "manifest.json").read_text())["source"]
    assert told == {"exported": "writer", "precision": "fp32", "exporter": "builder", "onnxruntime-genai": "0.18"}
    assert flowllm("models", "show", "local/writer", "--json").data["layout"] == "genai"
    assert flowllm("export", "writer", "--name", "other", "--json").data["exporter"] == "builder"


@pytest.mark.parametrize(
    ("architecture", "more", "task"),
    [
        ("BertModel", {}, "embed"),
        ("BertForMaskedLM", {}, "embed"),
        ("Qwen2ForCausalLM", {}, "chat"),
        ("GPT2LMHeadModel", {}, "chat"),
        ("BertForSequenceClassification", {}, "classify"),
        ("T5ForConditionalGeneration", {"is_encoder_decoder": True}, "an encoder with a decoder"),
        ("BertForTokenClassification", {}, "--task embed, rerank, classify or chat"),
        (None, {}, "--task embed, rerank, classify or chat"),
    ],
)
def test_the_class_of_a_model_says_what_it_is_for(flowllm, shelf, source, exporter, architecture, more, task):
    here = exporter("fail")
    (source / "modules.json").unlink()
    config = {"model_type": "x", "architectures": [architecture] if architecture else None, **more}
    (source / "config.json").write_text(json.dumps(config))
    refused = flowllm("export", "tiny")
    assert refused.status == 3
    asked = here / "job.json"
    assert (json.loads(asked.read_text())["task"] if asked.exists() else task) == task
    assert asked.exists() or task in " ".join(refused.err.split())


def test_one_label_makes_it_a_ranker(flowllm, shelf, source, exporter):
    def write(folder):
        return write_classifier(folder, Encoder(labels=1), ["LABEL_0"])

    exporter(write=write)
    shutil.copy(write(source.parent / "ranker") / "config.json", source)
    (source / "modules.json").unlink()
    assert flowllm("export", "tiny", "--json").data["task"] == "rerank"
    refused = flowllm("export", "tiny", "--name", "other", "--task", "classify")
    assert (refused.status, "--task rerank" in refused.err) == (3, True), refused.err
    assert not (shelf / "other").exists()


def only_a_pickle(source):
    (source / "model.safetensors").unlink()


def no_weights(source):
    only_a_pickle(source)
    for path in source.glob("*.bin"):
        path.unlink()


def no_config(source):
    (source / "config.json").unlink()


def odd_module(source):
    (source / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense", "path": "2_D"}]))


def adapter(source):
    """As peft writes one."""
    (source / "model.safetensors").rename(source / "adapter_model.safetensors")
    (source / "config.json").unlink()
    (source / "adapter_config.json").write_text('{"base_model_name_or_path": "../elsewhere"}')


def merged_adapter(source):
    (source / "adapter_config.json").write_text("{}")


def cut(source):
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def cut_header(source):
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20])


def no_header(source):
    (source / "model.safetensors").write_text('{"x": 1}')


def odd_header(source):
    (source / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]")


def other_name(source):
    (source / "model.safetensors").rename(source / "weights.safetensors")


def indexed(source, *names):
    (source / "model.safetensors").rename(source / "model-1.safetensors")
    told = json.dumps({"weight_map": {str(at): name for at, name in enumerate(names)}})
    (source / "model.safetensors.index.json").write_text(told)


def no_shard(source):
    indexed(source, "model-1.safetensors", "model-2.safetensors")


def cut_shard(source):
    cut(source)
    indexed(source, "model-1.safetensors")


def shard_elsewhere(source):
    indexed(source, "../x.safetensors")


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (merged_adapter, "capability_mismatch", "an adapter to another model"),
        (cut, "bad_model_file", "tiny/model.safetensors has 115 bytes, and its header tells of 116"),
        (cut_header, "bad_model_file", "tiny/model.safetensors has 20 bytes and no whole header"),
        (no_header, "bad_model_file", "tiny/model.safetensors has 8 bytes and no whole header"),
        (odd_header, "bad_model_file", "tiny/model.safetensors has 10 bytes and no whole header"),
        (other_name, "missing_model_file", "tiny holds no model.safetensors, and no model.safetensors.index.json"),
        (no_shard, "missing_model_file", "names the weights model-2.safetensors, and tiny holds no such file"),
        (cut_shard, "bad_model_file", "hf download OWNER/NAME model-1.safetensors --local-dir tiny"),
        (shard_elsewhere, "bad_model_file", "names what is no file of safetensors beside it"),
        (only_a_pickle, "bad_model_file", "a pickle alone"),
        (no_weights, "missing_model_file", "no file ends in .safetensors"),
        (no_config, "missing_model_file", "holds no config.json"),
        (adapter, "capability_mismatch", "an adapter to another model"),
        (odd_module, "capability_mismatch", "a module `Dense`"),
    ],
)
def test_a_source_that_cannot_be_exported_is_told_at_once(flowllm, shelf, source, exporter, spoil, code, said):
    here = exporter()
    spoil(source)
    refused = flowllm("export", "tiny")
    assert (refused.status, code in refused.err, said in " ".join(refused.err.split())) == (3, True, True), refused.err
    assert not shelf.exists()
    assert not (here / "job.json").exists(), "the exporter was not started"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nowhere"], 3, "there is no folder nowhere"),
        (["acme/tiny"], 3, "hf download acme/tiny --local-dir tiny; flowllm export tiny"),
        (["tiny", "--name", "../x"], 2, "is no name of a local model"),
        (["tiny", "--name", ""], 2, "is no name of a local model"),
        (["tiny", "--name", "x", "--to", "y"], 2, "both say where"),
        (["tiny", "--task", "translate"], 2, "--task is one of embed, rerank, classify, chat"),
        (["tiny", "--precision", "int4"], 3, "too rough for a model that is for `embed`"),
        (["tiny", "--task", "rerank", "--precision", "int4"], 3, "--precision int8"),
        (["tiny", "--precision", "int2"], 2, "--precision is one of fp32, fp16, int8, int4, not `int2`"),
    ],
)
def test_words_that_cannot_be(flowllm, shelf, source, exporter, words, status, said):
    exporter()
    refused = flowllm("export", *words)
    assert (refused.status, said in " ".join(refused.err.split())) == (status, True), refused.err
    assert "exporting" not in refused.err
    assert not shelf.exists()


@pytest.mark.parametrize(
    ("does", "words", "code", "said"),
    [
        ("die", [], "bad_model_file", "ended without an answer (9): RuntimeError: out of memory"),
        ("die late", [], "bad_model_file", "ended without an answer (3): RuntimeError: out of memory"),
        ("killed", [], "bad_model_file", "ended without an answer (-9): RuntimeError: out of memory hint: a system"),
        ("garbage", [], "bad_model_file", "the exporter sent what is no answer"),
        ("list", [], "bad_model_file", "no JSON object"),
        ("hint", [], "capability_mismatch", "try that"),
        ("fail", [], "capability_mismatch", "no models of the type `odd`"),
        ("full", [], "missing_model_file", "the model cannot be kept in SHELF: the disk is full hint: --to FOLDER"),
        ("speaks", [], "bad_model_file", "no tiny/x.json"),
        ("unfilled", [], "bad_model_file", "do not fill a XModel for `embed`: layers.2.a, layers.2.b, layers.2.c and"),
        ("unfilled", ["--task", "chat"], "bad_model_file", "c and 2 more would be invented hint: --task embed"),
        ("lack", [], "missing_extra", "pip install 'flowllm-pipelines[export]'"),
        ("no tokenizer", [], "capability_mismatch", "no form as tokenizer.json"),
        ("", ["--task", "chat"], "capability_mismatch", "makes a model for `embed`, not for `chat`"),
        ("", ["--precision", "int8"], "capability_mismatch", "could be held in int8"),
    ],
)
@pytest.mark.usefixtures("source")
def test_an_export_that_fails_leaves_nothing(flowllm, shelf, exporter, does, words, code, said):
    exporter(does)
    if does == "no tokenizer":
        (Path("tiny") / "tokenizer.json").unlink()
    refused = flowllm("export", "tiny", *words)
    text, said = " ".join(refused.err.split()), said.replace("SHELF", str(shelf))
    assert ("exporting" in text) == (does != "lack")
    assert ".part" not in text
    assert (refused.status, code in text, said in text) == (3, True, True), refused.err
    assert list(shelf.iterdir()) == []


def test_doubts_of_the_exporter_are_told(flowllm, shelf, source, exporter):
    exporter("doubt")
    done = flowllm("export", "tiny", "--json")
    assert (done.data["doubts"], "a difference of 0.1" in done.err) == (["a difference of 0.1"], True)


def test_without_the_extra(flowllm, shelf, source, monkeypatch, tmp_path):
    monkeypatch.delenv("FLOWLLM_EXPORTER", raising=False)
    assert "pip install 'flowllm-pipelines[export]'" in " ".join(flowllm("export", "tiny").err.split())
    refused = " ".join(flowllm("export", "tiny", "--task", "chat").err.split())
    assert "needs the builder of onnxruntime-genai or optimum, and none is installed" in refused
    assert "pip install 'flowllm-pipelines[builder]'" in refused
    monkeypatch.setenv("FLOWLLM_EXPORTER", str(tmp_path / "nowhere"))
    refused = flowllm("export", "tiny")
    assert (refused.status, "missing_extra" in refused.err) == (3, True), refused.err


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("#!/bin/sh\nexec cat -P", "option"),
        ("#!/bin/sh\necho no Python >&2; echo Try --help >&2; exec <&-", "of 3.11 or later (no Python)"),
        ("#!/bin/sh\necho hello", "does not run as a Python of 3.11 or later"),
        ("#!/bin/sh\nprintf 'Traceback\\nSyntaxError: x\\n' >&2", "(SyntaxError: x)"),
    ],
)
@pytest.mark.usefixtures("source")
def test_what_is_no_python_exports_nothing(flowllm, shelf, monkeypatch, tmp_path, python, said):
    other = tmp_path / "python"
    other.write_text(python + "\n")
    other.chmod(0o755)
    monkeypatch.setenv("FLOWLLM_EXPORTER", str(other))
    refused = flowllm("export", "tiny")
    text = " ".join(refused.err.split())
    assert (refused.status, "error[missing_extra]" in text, f"{other} does not run" in text) == (3, True, True), text
    assert (said in text, "exporting" in text, list(shelf.iterdir())) == (True, False, []), text


def test_one_that_ended_before_it_was_asked_says_nothing():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ""], stdin=pipe, stdout=pipe) as process:
        process.wait(PATIENCE)
        assert exporting._asked(process, {"task": "embed"}) == b""


HEADS = [
    ("BertModel", {}, "classify", "a BertModel, which has no head for `classify`", "embed"),
    ("BertModel", {}, "rerank", "a BertModel, which has no head for `rerank`", "embed"),
    ("Qwen2ForCausalLM", {}, "classify", "its weights would be invented", "chat"),
    ("BertForTokenClassification", {}, "classify", "has no head for `classify`", ""),
    (
        "BertForSequenceClassification",
        {"num_labels": 1},
        "classify",
        "a model for `rerank` (labels: LABEL_0)",
        "rerank",
    ),
    ("BertForSequenceClassification", {}, "rerank", "(labels: LABEL_0, LABEL_1), not for `rerank`", "classify"),
]


@pytest.mark.parametrize(("architecture", "more", "task", "said", "hint"), HEADS)
@pytest.mark.usefixtures("shelf")
def test_a_head_that_the_class_lacks_is_told_at_once(flowllm, source, architecture, more, task, said, hint):
    (source / "modules.json").unlink()
    (source / "config.json").write_text(json.dumps({"model_type": "x", "architectures": [architecture], **more}))
    refused = flowllm("export", "tiny", "--task", task)
    text = " ".join(refused.err.split())
    assert (refused.status, said in text, "exporting" in text) == (3, True, False), text
    assert text.partition("hint: ")[2] == (f"--task {hint}" if hint else "")


@pytest.mark.parametrize("typed", ["./exporter", "../beside/exporter", "~/exporter", "exporter"])
@pytest.mark.usefixtures("source")
def test_the_exporter_is_found_where_one_stands(flowllm, shelf, exporter, folder, monkeypatch, typed):
    here = exporter()
    places = {"./exporter": folder, "../beside/exporter": folder.parent / "beside", "~/exporter": folder / "home"}
    place = places.get(typed, folder / "commands")
    place.mkdir(exist_ok=True)
    (here / "exporter").rename(place / "exporter")
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("PATH", str(folder / "commands"), prepend=os.pathsep)
    monkeypatch.setenv("FLOWLLM_EXPORTER", typed)
    done = flowllm("export", "tiny")
    assert (done.status, done.out) == (0, "local/tiny\n"), done.err


def test_the_real_exporter_says_that_it_lacks_optimum(flowllm, shelf, source, monkeypatch, tmp_path):
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv("FLOWLLM_EXPORTER", str(other))
    refused = flowllm("export", "tiny")
    assert "this export needs optimum, and the exporter does not start: No module named 'optimum'" in " ".join(
        refused.err.split()
    )
    assert list(shelf.iterdir()) == []


def test_a_place_that_is_taken(flowllm, shelf, source, exporter):
    here = exporter()
    (shelf / "tiny").mkdir(parents=True)
    refused = flowllm("export", "tiny")
    assert (refused.status, "--name OTHER" in refused.err, (here / "job.json").exists()) == (3, True, False)
    assert list((shelf / "tiny").iterdir()) == []


def test_two_exports_at_once(flowllm, shelf, source, exporter):
    fcntl = pytest.importorskip("fcntl")
    exporter()
    part = shelf / ".tiny.export.part"
    part.mkdir(parents=True)
    held = os.open(part, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    refused = flowllm("export", "tiny")
    os.close(held)
    assert (refused.status, "another process exports" in refused.err) == (3, True)
    assert flowllm("export", "tiny").status == 0


def until(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)


@pytest.mark.parametrize("signal", ["kill", "terminate"])
async def test_an_export_that_is_killed_leaves_no_half_model(flowllm, shelf, source, exporter, folder, signal):
    here = exporter("hang")
    process = await start_apart("export", "tiny", cwd=folder)
    await asyncio.to_thread(until, here / "hangs")
    getattr(process, signal)()
    await process.communicate()
    if signal == "kill":
        await asyncio.to_thread(until, here / "ended")  # the exporter goes with the one that started it
    assert not (shelf / "tiny").exists()
    assert (await asyncio.to_thread(flowllm, "models", "list", "--local")).out == ""
    exporter()
    assert (await asyncio.to_thread(flowllm, "export", "tiny")).status == 0
    assert [path.name for path in shelf.iterdir()] == ["tiny"]


async def test_an_exporter_that_outlives_its_export_holds_the_place(flowllm, shelf, source, exporter, folder):
    pytest.importorskip("fcntl")
    here = exporter("outlive")
    process = await start_apart("export", "tiny", cwd=folder)
    await asyncio.to_thread(until, here / "hangs")
    process.kill()
    await process.communicate()
    orphan = int((here / "number").read_text())
    try:
        refused = await asyncio.to_thread(flowllm, "export", "tiny")
        assert (refused.status, "another process exports" in refused.err) == (3, True), refused.err
    finally:
        os.kill(orphan, signals.SIGKILL)
    end = time.monotonic() + PATIENCE
    exporter()
    while (done := await asyncio.to_thread(flowllm, "export", "tiny")).status and time.monotonic() < end:
        assert "another process exports" in done.err
    assert done.status == 0
