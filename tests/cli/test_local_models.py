"""The models of this machine, as commands show them."""

import os
from pathlib import Path

import pytest

from tests.local_models.encoders import Encoder, write_classifier, write_embedder


@pytest.fixture
def tiny(folder, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    write_embedder(folder / "models" / "tiny")
    write_embedder(folder / "models" / "acme" / "broken")
    (folder / "models" / "acme" / "broken" / "model.onnx").write_bytes(b"")


@pytest.mark.usefixtures("tiny")
def test_a_list_of_local_models(flowllm):
    shown = flowllm("models", "list", "--local")
    rows = {line.split()[0]: line.split() for line in shown.out.splitlines()[1:]}
    assert rows["local/tiny"][1:4] == ["embed", "fp32", "32"]
    assert rows["local/acme/broken"][1] == "bad_model_file"
    assert shown.err.startswith("error[bad_model_file]: ")
    assert "is no ONNX model that can be read: cannot mmap an empty file\n  --> local/acme/broken\nhint: " in shown.err
    assert [row["model"] for row in flowllm("models", "list", "--local", "tiny", "--json").data["models"]] == [
        "local/tiny"
    ]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.unlink() or os.mkfifo(path)])
def test_a_model_whose_config_is_none_is_listed_by_its_own_name(flowllm, folder, spoil):
    spoil(folder / "models" / "tiny" / "config.json")
    found = flowllm("models", "list", "--local", "--json").data["models"]
    assert [row["model"] for row in found] == ["local/acme/broken", "local/tiny"]
    assert "config.json" in found[1]["error"]["message"]


ROWS = "flowllm: 1\nnodes: {rows: {kind: embed, in: {text: {const: a}}, model: local/%s}}\noutputs: {o: rows.vector}\n"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("name", "note"),
    [("tiny", None), ("tini", "note[missing_model_file]"), ("acme/broken", "note[bad_model_file]")],
)
def test_a_check_tells_of_models_that_are_not_there_or_broken(flowllm, folder, name, note):
    (folder / "rows.yaml").write_text(ROWS % name)
    done = flowllm("check", "rows.yaml", "--strict")
    assert (done.status, "note[" in done.err, (note or "rows.yaml: ok") in done.err) == (0, note is not None, True)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("device", "status", "told"),
    [
        ("provider: cuda\nfallback: cpu", 0, []),
        ("provider: cuda", 0, [("device_unavailable", "note", "rows.yaml", 3)]),
        (None, 0, [("device_unavailable", "note", "rows.yaml", 3)]),
        (
            "provider: cdua\nmemory: lots",
            2,
            [("bad_value", "error", "conf/device/mine.yaml", 1), ("bad_value", "error", "conf/device/mine.yaml", 2)],
        ),
    ],
)
def test_a_check_tells_once_that_no_model_can_run_here(flowllm, folder, monkeypatch, device, status, told):
    monkeypatch.setenv("FLOWLLM_DEVICE", "mine")
    (folder / "conf" / "device").mkdir(parents=True)
    if device:
        (folder / "conf" / "device" / "mine.yaml").write_text(device)
    (folder / "rows.yaml").write_text(
        "inputs: {}\nnodes:\n"
        + "".join(f"  {name}: {{kind: embed, in: {{text: {{const: a}}}}, model: local/tiny}}\n" for name in "ab")
        + "outputs: {a: a.vector, b: b.vector}\n"
    )
    done = flowllm("check", "rows.yaml", "--json")
    found = done.data["files"][0]["problems"]
    assert [(one["code"], one["severity"], one["file"], one["line"]) for one in found] == told
    assert done.status == status


@pytest.mark.parametrize("words", [["--no-cache"], ["--refresh", "say"], ["--dry-run"], []])
@pytest.mark.parametrize(("name", "value"), [("FLOWLLM_DEVICE", "nope"), ("FLOWLLM_MODEL_MEMORY", "abc")])
def test_settings_of_a_fallback_that_nobody_asks_stop_no_run(flowllm, folder, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    (folder / "say.yaml").write_text(
        "nodes: {say: {kind: call, prompt: hi, model: mock/echo, fallback: [local/absent], cache: 1h}}\n"
        "outputs: {said: say.text}\n"
    )
    done = flowllm("run", "say.yaml", *words)
    assert (done.status, "hi" in done.out or "--dry-run" in words) == (0, True), done.err


def test_no_local_models(flowllm, folder, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    shown = flowllm("models", "list", "--local")
    assert (shown.status, shown.out) == (0, "")
    assert f"in {folder}/data/flowllm/models" in shown.err.replace("\n", " ")


@pytest.mark.usefixtures("tiny")
def test_a_local_model_says_what_really_runs_it(flowllm):
    facts = flowllm("models", "show", "local/tiny", "--json").data
    assert (facts["task"], facts["context"], facts["pooling"]) == ("embed", 32, "mean")
    assert facts["provider"].endswith("ExecutionProvider")
    assert f"runs on    {facts['provider']}" in flowllm("models", "show", "local/tiny").out
    lost = flowllm("models", "show", "local/tini")
    assert (lost.status, "did you mean `local/tiny`?" in lost.err) == (3, True)


@pytest.mark.parametrize(
    ("lay", "said", "status"),
    [(lambda path: None, "is not there", 0), (Path.touch, "is no folder", 3), (Path.mkdir, None, 0)],
)
def test_a_folder_of_models_that_is_none_is_told(flowllm, folder, monkeypatch, lay, said, status):
    named = folder / "shelf"
    lay(named)
    monkeypatch.setenv("FLOWLLM_MODELS", str(named))
    shown, report = flowllm("models", "list", "--local"), flowllm("doctor", "--json")
    assert (f"FLOWLLM_MODELS names {named}, which {said}" in " ".join(shown.err.split())) == (said is not None)
    told = [(row["value"], row["ok"]) for row in report.data["findings"] if row["name"] == "FLOWLLM_MODELS"]
    assert told == ([] if said is None else [(f"{named} {said}", status == 0)])
    assert (shown.status, report.status) == (0, status)


def test_doctor_says_what_runs_local_models(flowllm):
    found = {row["name"]: row for row in flowllm("doctor", "--json").data["findings"] if row["topic"] == "local models"}
    assert found["cpu"]["value"] == "can be used"
    assert "which runs on" in found["device"]["value"]


def test_doctor_breaks_on_two_wheels(flowllm, monkeypatch):
    from flowllm.cli import doctor

    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "9.9" if name == "onnxruntime-gpu" else version(name))
    shown = flowllm("doctor")
    assert shown.status == 3
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in shown.out


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Models beside any project: a shipped pipeline has its own."""
    write_embedder(tmp_path / "models" / "tiny")
    write_classifier(tmp_path / "models" / "cross", Encoder(labels=1), ["LABEL_0"])
    monkeypatch.setenv("FLOWLLM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["summarize", "embedder=local/tiny"], {"vectors"}),
        (["answer", "embedder=local/tiny", "nodes.best.model=local/cross"], {"query", "texts", "best"}),
    ],
)
def test_shipped_pipelines_run_with_local_models_by_overrides_alone(flowllm, words, asked):
    done = flowllm("run", *words, "--json")
    assert done.status == 0
    assert done.data["outputs"]["engine"] == "extractive"
    assert done.data["cost"]["total"] == "0"
    assert asked <= {name for name, node in done.data["nodes"].items() if node.get("input")}


@pytest.mark.usefixtures("shelf")
def test_a_model_for_another_task_is_told_before_anything_runs(flowllm):
    done = flowllm("run", "summarize", "embedder=local/cross")
    assert (done.status, "`local/cross` answers no embed requests" in done.err) == (2, True)


TYPED = "model: %s\nnodes: {ask: {kind: call, prompt: hi%s}}\noutputs: {o: ask.text}\n"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("default", "own", "words", "place"),
    [
        ("null", "", ["model=local/lost"], "command line: model=local/lost"),
        ("null", "", ["nodes.ask.model=local/lost"], "command line: nodes.ask.model=local/lost"),
        ("local/lost", "", [], "ask.yaml:2:9"),
        ("null", ", model: local/lost", ["model=mock/echo"], "ask.yaml:2:9"),
    ],
)
def test_a_model_that_was_typed_is_told_where_it_was_typed(flowllm, folder, command, default, own, words, place):
    (folder / "ask.yaml").write_text(TYPED % (default, own))
    done = flowllm(command, "ask.yaml", *words)
    assert "[missing_model_file]" in done.err
    assert f"--> {place}\n" in done.err
