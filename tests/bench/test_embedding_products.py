"""The floor of embeddings does the products of a model, all of them, and as many tokens as its batches have."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flowllm.backends.local.batching import Limits
from tests.bench.embedding_products import products

WIDTHS = (4, 4), (4, 8), (8, 4)
MATRICES = [np.random.default_rng(at).normal(size=sizes).astype(np.float32) for at, sizes in enumerate(WIDTHS)]


@pytest.fixture
def bare(tmp_path):
    """Of a model of three matrices, with an addition between them and a product of what it made."""
    weights = [numpy_helper.from_array(one, f"w{at}") for at, one in enumerate(MATRICES)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Add", ["a", "x"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["d"]),
        helper.make_node("MatMul", ["d", "d"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "model", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "model").mkdir()
    onnx.save(model, tmp_path / "model/model.onnx")

    def make(precision):
        return products(tmp_path / "model", tmp_path / "bare", precision, lambda texts: [*map(len, texts)], Limits(6))

    return make


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-6), ("int8", 0.05)])
def test_one_product_follows_the_other(bare, precision, near):
    found = bare(precision)
    given = found.rows[:5]
    known = given @ MATRICES[0] @ MATRICES[1] @ MATRICES[2]
    (made,) = found.opened.run({"given": given})
    assert np.abs(made - known).max() <= near * np.abs(known).max()


def test_tokens_and_operations_are_those_of_the_padded_batches(bare):
    found = bare("fp32")
    texts = ["aaaaaaa", "a", "aaa", "aa"]
    assert found.batches(texts) == [4, 3, 7]
    assert found.speed(texts, 1e-9) == (4 + 3 + 7) * 2 * (16 + 32 + 32)
