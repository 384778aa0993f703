"""Other precisions of a graph, made as the exporter makes them; optimum itself is met by `bin/oracle peers`."""

import numpy as np
import onnx
import pytest

from flowllm.backends.local.converting import narrowed
from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder as Loaded
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, embedding, write_embedder
from tests.local_models.texts import TEXTS


@pytest.fixture
def folder(tmp_path):
    return write_embedder(tmp_path / "tiny")


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("int8", 0.99)])
async def test_a_precision_is_read_as_such_and_near_the_whole(folder, precision, least):
    made = narrowed(folder, precision)
    assert [path.name for path in folder.glob("*.onnx*")] == [made.name] == [f"model_{precision}.onnx"]
    found = describe(folder, precision)
    assert (found.file, found.precision) == (made, precision)
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
    assert scales
    assert all(scale.size > 1 for scale in scales if scale.ndim)


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
