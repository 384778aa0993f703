"""The floor of `tests.bench.embedding`: a model's products with its weights and nothing else, in the same batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from flowllm.backends.local.batching import Limits, next_batch
from flowllm.backends.local.converting import GRAPH, narrowed
from flowllm.backends.local.devices import Device
from flowllm.backends.local.sessions import Opened, open_session

Lengths = Callable[[Sequence[str]], list[int]]
"""Texts to the tokens of each."""


@dataclass(slots=True)
class Products:
    """Every product of a model with a matrix of weights, one behind the other. ``work``: operations of one token."""

    opened: Opened
    lengths: Lengths
    limits: Limits
    work: int
    rows: np.ndarray[Any, Any]

    def __call__(self, texts: Sequence[str]) -> None:
        """Run them for as many padded tokens as the batches of these texts have."""
        for tokens in self.batches(texts):
            self.opened.run({"given": self.rows[:tokens]})

    def batches(self, texts: Sequence[str]) -> list[int]:
        """The padded tokens of each batch."""
        left, found = sorted(self.lengths(tuple(texts))), []
        while left:
            count = next_batch(left, self.limits)
            found.append(left[count - 1] * count)
            left = left[count:]
        return found

    def speed(self, texts: Sequence[str], seconds: float) -> float:
        """Operations in a nanosecond (a product of two numbers and its sum are two)."""
        return self.work * sum(self.batches(texts)) / seconds / 1e9


def products(model: Path, place: Path, precision: str, lengths: Lengths, limits: Limits) -> Products:
    """Of the fp32 graph in the folder ``model``, made as the exporter makes a precision."""
    import onnx

    graph = onnx.load(model / GRAPH).graph
    weights = {one.name: one for one in graph.initializer}
    matrices = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    place.mkdir()
    onnx.save(_chain(matrices), place / GRAPH)
    opened = open_session(narrowed(place, precision), Device(provider="cpu", threads=1))
    work = sum(2 * int(np.prod(one.dims)) for one in matrices)
    rows = np.random.default_rng(0).normal(size=(max(limits.budget, 512), matrices[0].dims[0]))
    return Products(opened, cache(lengths), limits, work, rows.astype(np.float32))


def _chain(matrices: Sequence[Any]) -> Any:
    """Each product takes the latest rows of its width."""
    from onnx import TensorProto, helper

    nodes, latest = [], {matrices[0].dims[0]: "given"}
    for number, one in enumerate(matrices):
        rows, columns = one.dims
        nodes.append(helper.make_node("MatMul", [latest[rows], one.name], [f"made{number}"]))
        latest[columns] = f"made{number}"
    given = helper.make_tensor_value_info("given", TensorProto.FLOAT, ["tokens", matrices[0].dims[0]])
    made = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["tokens", matrices[-1].dims[1]])
    graph = helper.make_graph(nodes, "products", [given], [made], matrices)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
