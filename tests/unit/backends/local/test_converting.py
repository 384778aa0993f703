"""Other precisions of a graph, made as the exporter makes them; optimum itself is met by `bin/oracle peers`."""

import json
import logging
import subprocess
import sys

import numpy as np
import onnx
import pytest

from flowllm.backends.local import converting
from flowllm.backends.local.converting import narrowed
from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder as Loaded
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, embedding, write_embedder
from tests.local_models.texts import TEXTS

PATIENCE = 60


@pytest.fixture
def folder(tmp_path):
    return write_embedder(tmp_path / "tiny")


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("int8", 0.99)])
async def test_a_precision_is_read_as_such_and_near_the_whole(folder, precision, least):
    made = narrowed(folder, precision)
    assert [path.name for path in folder.glob("*.onnx*")] == [made.name] == [f"model_{precision}.onnx"]
    found = describe(folder, precision)
    assert (found.file, found.precision) == (made, precision)
    assert {port.type.tensor_type.elem_type for port in onnx.load(made).graph.output} == {onnx.TensorProto.FLOAT}
    model = Loaded(found, open_session(found.file, Device(provider="cpu", threads=1)))
    rows, _ = await model.embed(TEXTS, model.wanted({}), Scope())
    model.close()
    cosines = (rows * np.array([embedding(Encoder(), text) for text in TEXTS])).sum(1)
    assert cosines.min() > least


def test_eight_bits_have_a_scale_for_each_channel(folder):
    scales = [
        onnx.numpy_helper.to_array(one)
        for one in onnx.load(narrowed(folder, "int8")).graph.initializer
        if one.name.endswith("_scale")
    ]
    assert any(scale.size > 1 for scale in scales)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_weights_beside_the_graph_stay_beside_it(folder, precision):
    whole = onnx.load(folder / "model.onnx")
    onnx.save(whole, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    made = narrowed(folder, precision)
    graph, *data = sorted(path.name for path in folder.glob("model*"))
    assert (graph, len(data)) == (made.name, 1)
    assert [path.name for path in describe(folder, precision).external] == data
    onnx.checker.check_model(str(made))


def test_the_whole_is_left_as_it_is(folder):
    before = (folder / "model.onnx").read_bytes()
    assert narrowed(folder, "fp32").read_bytes() == before


CHILD = """\
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("converting", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
def converted(job):
    print("a library prints")
    if job["task"] == "fail":
        raise ValueError("first\\n\\n second")
    time.sleep(job["seconds"])
    return {"by": {}, "doubts": []}
child.converted = converted
child.main()
"""


def child(**job):
    command = [sys.executable, "-P", "-c", CHILD, converting.__file__]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    return process


@pytest.mark.parametrize(
    ("task", "outcome"),
    [
        ("embed", {"by": {}, "doubts": []}),
        ("fail", {"code": "bad_model_file", "error": "ValueError: first second"}),
    ],
)
def test_the_process_answers_with_one_line(task, outcome):
    with child(task=task, seconds=0) as process:
        assert json.loads(process.stdout.read()) == outcome
        assert process.wait(PATIENCE) == 0


def test_the_process_ends_with_the_one_that_started_it():
    with child(task="embed", seconds=PATIENCE * 2) as process:
        process.stdin.close()
        assert process.wait(PATIENCE) == 1
        assert process.stdout.read() == b""


def test_of_what_optimum_says_doubts_of_its_numbers_alone_are_kept():
    doubts, log = converting._Doubts(), logging.getLogger("tests.converting")
    log.addHandler(doubts)
    log.warning("Weight deduplication needs another package")
    log.warning("The ONNX export succeeded with the warning: off by\n 0.1.\n The exported model was saved at: /x")
    assert doubts.said == ["off by 0.1."]
