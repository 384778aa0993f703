"""Models of this machine that are broken, made to do harm, or lose their process: row R8, and T-ONNX beside the matrix.

Each is a typed error with a place; what has nothing to do with it goes on.
"""

# ruff: noqa: N802  names begin with the row of the matrix

import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from flowllm.api import Environment, Flow
from flowllm.api import local as api
from flowllm.backends.local.manifest import write_manifest
from flowllm.core.errors import BadOutput, FlowError
from tests.faults.projects import Project
from tests.local_models.encoders import Encoder, write_classifier, write_embedder
from tests.local_models.scripted import Script, write_writer

SECRET = b"this is nobody's weight" * 10
EMBED = """\
flowllm: 1
inputs: {texts: {type: array, items: {type: string}}}
nodes:
  rows: {kind: embed, in: {text: inputs.texts}, model: local/m}
outputs: {rows: rows.vectors}
"""
CALL = """\
flowllm: 1
inputs: {texts: {type: array, items: {type: string}}}
nodes:
  say: {kind: call, prompt: "{{ text }}", model: local/m}
  all: {kind: map, over: inputs.texts, as: text, around: [say], of: say.text, keep_going: true}
outputs: {texts: all.items, failed: all.errors}
"""
TEXTS = 'texts=["the red fox", "birds fly"]'


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    made = Project(tmp_path / "work")
    made.write("pyproject.toml", "")
    made.write("embed.yaml", EMBED)
    made.write("call.yaml", CALL)
    return made


def external(folder, location):
    """Make a weight of the graph the bytes of another file."""
    model = onnx.load(folder / "model.onnx")
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "stolen")
    onnx.external_data_helper.set_external_data(weight, location, 0, 16)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(weight)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def outside(folder):
    """Move all weights to a file of their own."""
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="w", size_threshold=0)


def cut(path, by=100):
    path.write_bytes(path.read_bytes()[:-by])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)


def moved(folder, name, link):
    """Lay a file elsewhere and leave a link to it."""
    (folder.parent / "elsewhere").write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    link(folder.parent / "elsewhere", folder / name)


def linked_folder(folder):
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "w").write_bytes(SECRET)
    (folder / "data").symlink_to(folder.parent / "other", target_is_directory=True)
    external(folder, "data/w")


def listed(spoil):
    """Spoil a model that has a manifest."""

    def work(folder):
        write_manifest(folder)
        spoil(folder)

    return work


def huge(folder):
    """A graph that asks for more memory than there is, when it runs."""
    model = onnx.load(folder / "model.onnx")
    size = numpy_helper.from_array(np.array([2**36, 4]), "huge.size")
    model.graph.initializer.append(size)
    model.graph.node.append(onnx.helper.make_node("Expand", ["input_ids_float", "huge.size"], ["vast"]))
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["vast"], ["summed"], keepdims=0))
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["first_id"], ["input_ids_float"], to=1))
    picked = numpy_helper.from_array(np.array(0), "huge.nought")
    model.graph.initializer.append(picked)
    model.graph.node.insert(0, onnx.helper.make_node("Gather", ["row_id", "huge.nought"], ["first_id"], axis=0))
    model.graph.node.insert(0, onnx.helper.make_node("Gather", ["input_ids", "huge.nought"], ["row_id"], axis=0))
    last = next(node for node in model.graph.node if "last_hidden_state" in node.output)
    last.output[0] = "hidden"
    model.graph.node.append(onnx.helper.make_node("Add", ["hidden", "summed"], ["last_hidden_state"]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


SPOILT = {
    "no graph": (lambda f: (f / "model.onnx").unlink(), 3, "missing_model_file", "holds no model.onnx"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), 3, "missing_model_file", "tokenizer.json"),
    "no such model": (lambda f: f.rename(f.parent / "another"), 3, "missing_model_file", "no model `local/m`"),
    "a graph that is cut off": (lambda f: cut(f / "model.onnx"), 3, "bad_model_file", "too early"),
    "a tokenizer that is cut off": (lambda f: cut(f / "tokenizer.json"), 3, "bad_model_file", "tokenizer.json"),
    "a listed graph that is cut off": (
        listed(lambda f: cut(f / "model.onnx")), 3, "bad_model_file", "too early",
    ),
    "a listed file that is absent": (
        listed(lambda f: (f / "tokenizer_config.json").unlink()), 3, "missing_model_file", "lacks its file",
    ),
    "a listed file that is changed": (
        listed(lambda f: flip(f / "model.onnx")), 3, "bad_model_file", "is not what its manifest says (sha256)",
    ),
    "a file that is not listed": (
        listed(lambda f: external(f, "w") or (f / "w").write_bytes(SECRET)), 3, "bad_model_file", "",
    ),
    "a graph by a symbolic link": (
        lambda f: moved(f, "model.onnx", lambda there, here: here.symlink_to(there)),
        3, "bad_model_file", "is a symbolic link",
    ),
    "a graph by a hard link": (
        lambda f: moved(f, "model.onnx", os.link),
        3, "bad_model_file", "a hard link",
    ),
    "a tokenizer by a hard link": (
        lambda f: moved(f, "tokenizer.json", os.link),
        3, "bad_model_file", "a hard link",
    ),
    "weights above the folder": (lambda f: external(f, "../secret"), 3, "bad_model_file", "outside of it"),
    "weights above by a way down": (lambda f: external(f, "a/../../secret"), 3, "bad_model_file", "outside of it"),
    "weights by a whole path": (lambda f: external(f, str(f.parent / "secret")), 3, "bad_model_file", "outside of it"),
    "weights in a linked folder": (linked_folder, 3, "bad_model_file", "is a symbolic link"),
    "weights by a hard link": (
        lambda f: external(f, "w") or os.link(f.parent / "secret", f / "w"), 3, "bad_model_file", "a hard link",
    ),
    "weights out of memory": (lambda f: external(f, "*/_ORT_MEM_ADDR_/*"), 3, "", ""),
    "weights that are absent": (lambda f: external(f, "w"), 3, "missing_model_file", "lacks its file w"),
    "weights that are too short": (
        lambda f: outside(f) or cut(f / "w"), 3, "bad_model_file", "bytes, and model.onnx reads",
    ),
    "more memory than there is": (huge, 1, "node_failed", "the model in m failed"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILT)
def test_T_ONNX_a_model_that_is_broken_or_made_to_do_harm(project, fault):
    spoil, status, code, words = SPOILT[fault]
    folder = write_embedder(project.folder / "models" / "m")
    (folder.parent / "secret").write_bytes(SECRET)
    spoil(folder)
    ended = project.command_here("run", "embed.yaml", "-i", TEXTS)
    assert (ended.status, ended.out) == (status, "")
    assert f"error[{code or 'bad_model_file'}]" in ended.err or (not code and "error[missing_model_file]" in ended.err)
    assert words in " ".join(ended.err.split())
    assert "--> embed.yaml:4:3" in ended.err
    assert "nobody's" not in ended.err


OTHER_TASK = {
    "a model that writes, for vectors": (lambda f: write_writer(f, Script()), "embed.yaml", "embed"),
    "a model that makes vectors, for a chat": (write_embedder, "call.yaml", "chat"),
    "a model that ranks, for vectors": (
        lambda f: write_classifier(f, Encoder(labels=1), ["LABEL_0"]), "embed.yaml", "embed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", OTHER_TASK)
def test_T_ONNX_a_model_for_another_task_is_told_before_anything_runs(project, fault):
    write, file, task = OTHER_TASK[fault]
    write(project.folder / "models" / "m")
    ended = project.command_here("run", file, "-i", TEXTS)
    assert (ended.status, ended.out) == (2, "")
    assert f"`local/m` answers no {task} requests" in ended.err
    assert f"--> {file}:4" in ended.err


SMALL = Script(window=64)


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_T_ONNX_a_prompt_beyond_the_window_is_the_failure_of_its_item(project, isolation, monkeypatch):
    monkeypatch.setenv("FLOWLLM_MODEL_ISOLATION", isolation)
    write_writer(project.folder / "models" / "m", SMALL)
    texts = json.dumps(["hi", "long " * 100, "ho"])
    ended = project.command_here("run", "call.yaml", "-i", f"texts={texts}", "--json")
    assert ended.status == 0
    outputs = ended.data["outputs"]
    assert outputs["texts"] == [SMALL.otherwise] * 2
    assert [(failed["index"], failed["code"]) for failed in outputs["failed"]] == [(1, "context_too_long")]
    alone = project.command_here("run", "call.yaml", "-i", f"texts={json.dumps(['long ' * 100])}")
    assert (alone.status, "the prompt has" in alone.err) == (4, True)


def world(project):
    """Isolated models, loaded; the pipeline goes over its texts one by one and lists what failed."""
    write_embedder(project.folder / "models" / "tiny")
    write_writer(project.folder / "models" / "m", replace(SMALL, window=4096))
    providers = {"local": {"settings": {"isolation": "process"}}}
    environment = Environment(project=project.folder, cache_folder=project.folder / "cache", providers=providers)
    api.preload(environment, "tiny", "m")
    return environment


NODES = {
    "tiny": {"kind": "embed", "in": {"text": "text"}, "model": "local/tiny", "cache": False},
    "m": {"kind": "call", "prompt": "{{ text }}", "model": "local/m"},
}
PORTS = {"tiny": "work.vector", "m": "work.text"}


def flow_of(environment, name, attempts):
    nodes = {
        "work": {**NODES[name], "retry": {"attempts": attempts, "base": 0}},
        "all": {
            "kind": "map", "over": "inputs.texts", "as": "text", "around": ["work"], "of": PORTS[name],
            "at_once": 1, "keep_going": True,
        },
    }  # fmt: skip
    spec = {
        "inputs": {"texts": {"type": "array", "items": {"type": "string"}}},
        "nodes": nodes,
        "outputs": {"done": "all.items", "failed": "all.errors"},
    }
    return Flow.of(spec, environment=environment)


def killed_at(environment, name, number, monkeypatch, sign):
    """Have the process of a model end by a signal while it works on call ``number``, and never again."""
    with api.shelf_of(environment).in_use(name) as model:
        isolated = model.opened if name == "tiny" else model
    process, calls = isolated._process, iter(range(number + 1))
    send = process.send

    def ending(header, arrays=None):
        now = next(calls)
        if now == number:
            os.kill(process.pid, signal.SIGSTOP)
        send(header, arrays)
        if now == number:
            # The message is on its way or read; either way nothing of the answer can come any more.
            os.kill(process.pid, sign)
            os.kill(process.pid, signal.SIGCONT)

    monkeypatch.setattr(process, "send", ending)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSEGV], ids=["killed for memory", "crashed"])
@pytest.mark.parametrize("name", ["tiny", "m"], ids=["an encoder", "a decoder"])
@pytest.mark.parametrize("attempts", [1, 2])
def test_R8_a_process_that_dies_fails_its_call_and_the_run_goes_on(project, name, sign, attempts, monkeypatch):
    environment = world(project)
    killed_at(environment, name, 1, monkeypatch, sign)
    outputs = flow_of(environment, name, attempts).run({"texts": ["a", "b", "c"]}).outputs
    failed = [(one["index"], one["code"]) for one in outputs["failed"]]
    assert failed == ([(1, "worker_died")] if attempts == 1 else [])
    assert len(outputs["done"]) == 3 - len(failed)
    held = {one.name: one.users for one in api.loaded_models(environment)}
    assert held == {"m": 0, "tiny": 0}
    assert sorted(api.unload(environment)) == ["m", "tiny"]


def test_R8_without_a_map_it_is_the_failure_of_the_run(project, monkeypatch):
    environment = world(project)
    killed_at(environment, "m", 0, monkeypatch, signal.SIGKILL)
    spec = {"nodes": {"work": {**NODES["m"], "prompt": "hi", "retry": False}}, "outputs": {"text": "work.text"}}
    with pytest.raises(FlowError) as caught:
        Flow.of(spec, environment=environment).run({})
    assert (caught.value.code, caught.value.exit, caught.value.address) == ("worker_died", 4, "work")
    assert not isinstance(caught.value, BadOutput)
    api.unload(environment)
    assert not [one for one in threading.enumerate() if one.name.startswith("flowllm m")]
