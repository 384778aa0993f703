"""Tiny decoders with random weights: one model as a numpy reference and as graphs of both layouts.

``concat`` is what optimum writes: plain operators, the past grows by concatenation. ``shared`` is what the builder of
onnxruntime-genai writes: GroupQueryAttention over one buffer of past and present.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


@dataclass(frozen=True)
class Shape:
    """``bias`` on queries, keys and values makes it Qwen2, without it is Llama."""

    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head: int = 16
    inner: int = 48
    vocabulary: int = 64
    window: int = 128
    bias: bool = False
    theta: float = 10000.0

    @property
    def width(self) -> int:
        return self.heads * self.head


LLAMA = Shape()
QWEN2 = Shape(layers=3, heads=3, kv_heads=1, inner=64, bias=True, theta=1_000_000.0)
SHAPES = {"llama": LLAMA, "qwen2": QWEN2}


@cache
def weights(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Random, large enough that the next token depends on what came before."""
    random = np.random.default_rng(seed)

    def some(*size: int, scale: float = 1.0) -> np.ndarray:
        return (random.standard_normal(size) * scale).astype(np.float32)

    kv = shape.kv_heads * shape.head
    made = {"embedding": some(shape.vocabulary, shape.width), "last_norm": 1 + some(shape.width, scale=0.1)}
    made["head"] = some(shape.width, shape.vocabulary, scale=shape.width**-0.5)
    for layer in range(shape.layers):
        sizes = {"q": (shape.width, shape.width), "k": (shape.width, kv), "v": (shape.width, kv)}
        sizes |= {"o": (shape.width, shape.width), "gate": (shape.width, shape.inner)}
        sizes |= {"up": (shape.width, shape.inner), "down": (shape.inner, shape.width)}
        for name, size in sizes.items():
            made[f"{name}{layer}"] = some(*size, scale=1.5 * size[0] ** -0.5)
        for name in ("norm", "mlp_norm"):
            made[f"{name}{layer}"] = 1 + some(shape.width, scale=0.1)
        for name in ("q", "k", "v") if shape.bias else ():
            made[f"{name}_bias{layer}"] = some(sizes[name][1], scale=0.5)
    return made


def turns(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of every position, half a head wide."""
    frequency = shape.theta ** (-np.arange(0, shape.head, 2, dtype=np.float64) / shape.head)
    angles = np.arange(shape.window, dtype=np.float64)[:, None] * frequency
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def reference(shape: Shape, tokens: Sequence[int], seed: int = 0) -> np.ndarray:
    """Logits of every place, the whole text at once, in double precision."""
    known = {name: value.astype(np.float64) for name, value in weights(shape, seed).items()}
    length = len(tokens)
    cosine, sine = (half[:length, None, :].astype(np.float64) for half in turns(shape))
    hidden = known["embedding"][list(tokens)]

    def norm(value: np.ndarray, name: str) -> np.ndarray:
        return value / np.sqrt((value**2).mean(-1, keepdims=True) + 1e-6) * known[name]

    def turned(value: np.ndarray) -> np.ndarray:
        first, second = np.split(value, 2, axis=-1)
        return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)

    unseen = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(shape.layers):
        inner = norm(hidden, f"norm{layer}")
        query, key, value = (
            (inner @ known[f"{name}{layer}"] + known.get(f"{name}_bias{layer}", 0.0)).reshape(length, -1, shape.head)
            for name in ("q", "k", "v")
        )
        query, key = turned(query), turned(key)
        key, value = (np.repeat(each, shape.heads // shape.kv_heads, axis=1) for each in (key, value))
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(shape.head) + unseen
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", shares, value).reshape(length, -1)
        hidden = hidden + mixed @ known[f"o{layer}"]
        inner = norm(hidden, f"mlp_norm{layer}")
        gate = inner @ known[f"gate{layer}"]
        hidden = hidden + (gate / (1 + np.exp(-gate)) * (inner @ known[f"up{layer}"])) @ known[f"down{layer}"]
    return norm(hidden, "last_norm") @ known["head"]


_KNOWN: dict[tuple[Shape, tuple[int, ...]], int] = {}


def greedy(shape: Shape, prompt: Sequence[int], count: int) -> list[int]:
    """The next tokens, each the best after all before."""
    tokens = list(prompt)
    for _ in range(count):
        before = shape, tuple(tokens)
        if before not in _KNOWN:
            _KNOWN[before] = int(reference(shape, tokens)[-1].argmax())
        tokens.append(_KNOWN[before])
    return tokens[len(prompt) :]


class _Graph:
    """``half``: past, present and logits are of half precision, as in files of fp16; the rest is not.

    ``keep``: the graph takes how many last tokens' logits are wanted.
    """

    def __init__(self, shape: Shape, seed: int, *, half: bool = False, keep: bool = False) -> None:
        self.shape = shape
        self.keep = keep
        self.kind = TensorProto.FLOAT16 if half else FLOAT
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        for name, value in weights(shape, seed).items():
            self.constant(name, value)
        for name, value in zip(("cosine", "sine"), turns(shape), strict=True):
            self.constant(name, value)

    def constant(self, name: str, value: np.ndarray) -> str:
        if all(tensor.name != name for tensor in self.constants):
            self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def numbers(self, *values: int) -> str:
        return self.constant("n_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: float, kind: type = np.float32) -> str:
        return self.constant(f"{kind.__name__}_{value}", np.array(value, kind))

    def __call__(self, kind: str, *inputs: str, to: str = "", **attributes) -> str:
        name = to or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str, kind: int, to: str = "") -> str:
        name = to or f"cast_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [value], [name], to=kind))
        return name

    def norm(self, value: str, weight: str) -> str:
        squares = self("ReduceMean", self("Mul", value, value), axes=[-1], keepdims=1)
        size = self("Sqrt", self("Add", squares, self.scalar(1e-6)))
        return self("Mul", self("Div", value, size), weight)

    def projected(self, value: str, name: str, layer: int) -> str:
        made = self("MatMul", value, f"{name}{layer}")
        return self("Add", made, f"{name}_bias{layer}") if self.shape.bias and name in "qkv" else made

    def mlp(self, hidden: str, layer: int) -> str:
        inner = self.norm(hidden, f"mlp_norm{layer}")
        gate = self("MatMul", inner, f"gate{layer}")
        gate = self("Mul", gate, self("Sigmoid", gate))
        mixed = self("Mul", gate, self("MatMul", inner, f"up{layer}"))
        return self("Add", hidden, self("MatMul", mixed, f"down{layer}"))

    def finish(self, hidden: str, path: Path, positions: bool) -> Path:
        if self.keep:
            wanted = self("Unsqueeze", self("Neg", "num_logits_to_keep"), self.numbers(0))
            hidden = self("Slice", hidden, wanted, self.numbers(1 << 60), self.numbers(1))
        logits = self("MatMul", self.norm(hidden, "last_norm"), "head")
        self.cast(logits, self.kind, "logits")
        shape, info = self.shape, helper.make_tensor_value_info
        inputs = [info("input_ids", INT64, ["batch", "sequence"]), info("attention_mask", INT64, ["batch", "total"])]
        inputs += [info("position_ids", INT64, ["batch", "sequence"])] if positions else []
        inputs += [info("num_logits_to_keep", INT64, [])] if self.keep else []
        outputs = [info("logits", self.kind, ["batch", "sequence", shape.vocabulary])]
        for layer in range(shape.layers):
            for half in ("key", "value"):
                past = ["batch", shape.kv_heads, "past", shape.head]
                present = ["batch", shape.kv_heads, "present", shape.head]
                inputs.append(info(f"past_key_values.{layer}.{half}", self.kind, past))
                outputs.append(info(f"present.{layer}.{half}", self.kind, present))
        graph = helper.make_graph(self.nodes, "decoder", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
        return path


def concat(
    path: Path, shape: Shape = LLAMA, seed: int = 0, *, positions: bool = True, half: bool = False, keep: bool = False
) -> Path:
    """The graph as optimum writes it; without ``positions`` it counts them from the length of the mask."""
    g = _Graph(shape, seed, half=half, keep=keep)
    total = g("Gather", g("Shape", "attention_mask"), g.scalar(1, np.int64))
    count = g("Gather", g("Shape", "input_ids"), g.scalar(1, np.int64))
    places = g("Range", g("Sub", total, count), total, g.scalar(1, np.int64))
    keys = g("Range", g.scalar(0, np.int64), total, g.scalar(1, np.int64))
    causal = g("LessOrEqual", g("Unsqueeze", keys, g.numbers(0)), g("Unsqueeze", places, g.numbers(1)))
    there = g("Unsqueeze", g.cast("attention_mask", TensorProto.BOOL), g.numbers(1, 2))
    seen = g("And", g("Unsqueeze", causal, g.numbers(0, 1)), there)
    where = "position_ids" if positions else g("Unsqueeze", places, g.numbers(0))
    turned = [g("Unsqueeze", g("Gather", half, where), g.numbers(1)) for half in ("cosine", "sine")]
    hidden = g("Gather", "embedding", "input_ids")
    for layer in range(shape.layers):
        inner = g.norm(hidden, f"norm{layer}")
        mixed = _attention(g, inner, layer, seen, turned)
        hidden = g.mlp(g("Add", hidden, g("MatMul", mixed, f"o{layer}")), layer)
    return g.finish(hidden, path, positions)


def _attention(g: _Graph, inner: str, layer: int, seen: str, turned: list[str]) -> str:
    shape = g.shape

    def heads(name: str) -> str:
        split = g("Reshape", g.projected(inner, name, layer), g.numbers(0, 0, -1, shape.head))
        return g("Transpose", split, perm=[0, 2, 1, 3])

    def turn(value: str) -> str:
        half = shape.head // 2
        first = g("Slice", value, g.numbers(0), g.numbers(half), g.numbers(3))
        second = g("Slice", value, g.numbers(half), g.numbers(shape.head), g.numbers(3))
        left = g("Sub", g("Mul", first, turned[0]), g("Mul", second, turned[1]))
        right = g("Add", g("Mul", second, turned[0]), g("Mul", first, turned[1]))
        return g("Concat", left, right, axis=3)

    def grown(value: str, half: str) -> str:
        past = g.cast(f"past_key_values.{layer}.{half}", FLOAT)
        whole = g("Concat", past, value, axis=2)
        g.cast(whole, g.kind, f"present.{layer}.{half}")
        copies = np.repeat(np.arange(shape.kv_heads), shape.heads // shape.kv_heads)
        return g("Gather", whole, g.constant("copies", copies.astype(np.int64)), axis=1)

    query, key, value = turn(heads("q")), grown(turn(heads("k")), "key"), grown(heads("v"), "value")
    scores = g("MatMul", query, g("Transpose", key, perm=[0, 1, 3, 2]))
    scores = g("Mul", scores, g.scalar(shape.head**-0.5))
    shares = g("Softmax", g("Where", seen, scores, g.scalar(-1e9)), axis=-1)
    mixed = g("Transpose", g("MatMul", shares, value), perm=[0, 2, 1, 3])
    return g("Reshape", mixed, g.numbers(0, 0, shape.width))


def shared(
    path: Path, shape: Shape = LLAMA, seed: int = 0, *, positions: bool = False, half: bool = False, keep: bool = False
) -> Path:
    """The graph as the builder writes it."""
    g = _Graph(shape, seed, half=half, keep=keep)
    cosine, sine = g.cast("cosine", g.kind), g.cast("sine", g.kind)
    summed = g("ReduceSum", "attention_mask", g.numbers(1), keepdims=0)
    lengths = g.cast(g("Sub", summed, g.scalar(1, np.int64)), INT32)
    total = g.cast(g("Gather", g("Shape", "attention_mask"), g.scalar(1, np.int64)), INT32)
    hidden = g("Gather", "embedding", "input_ids")
    for layer in range(shape.layers):
        inner = g.norm(hidden, f"norm{layer}")
        past = [f"past_key_values.{layer}.{half}" for half in ("key", "value")]
        inputs = [*(g.cast(g.projected(inner, name, layer), g.kind) for name in "qkv"), *past]
        inputs += [lengths, total, cosine, sine]
        outputs = [f"mixed{layer}", f"present.{layer}.key", f"present.{layer}.value"]
        counts = {"num_heads": shape.heads, "kv_num_heads": shape.kv_heads, "do_rotary": 1}
        made = helper.make_node("GroupQueryAttention", inputs, outputs, domain="com.microsoft", **counts)
        g.nodes.append(made)
        mixed = g.cast(f"mixed{layer}", FLOAT)
        hidden = g.mlp(g("Add", hidden, g("MatMul", mixed, f"o{layer}")), layer)
    return g.finish(hidden, path, positions)


LAYOUTS = {"concat": concat, "shared": shared}


def with_long_rope(path: Path, short: int) -> Path:
    """A shared graph that turns all positions by other tables where the mask is longer than ``short``."""
    model = onnx.load(path)
    graph, names = model.graph, ("cosine", "sine")
    for table in [one for one in graph.initializer if one.name in names]:
        values = numpy_helper.to_array(table)
        graph.initializer.append(numpy_helper.from_array(values[np.arange(len(values)) // 4], f"{table.name}_long"))
        table.name += "_short"
    for name, value in (("one", 1), ("short", short)):
        graph.initializer.append(numpy_helper.from_array(np.array(value), name))

    def branch(which: str) -> onnx.GraphProto:
        nodes = [helper.make_node("Identity", [f"{name}_{which}"], [f"{name}_of_{which}"]) for name in names]
        outputs = [helper.make_tensor_value_info(node.output[0], FLOAT, None) for node in nodes]
        return helper.make_graph(nodes, which, [], outputs)

    chosen = [
        helper.make_node("Shape", ["attention_mask"], ["mask_shape"]),
        helper.make_node("Gather", ["mask_shape", "one"], ["mask_total"], axis=0),
        helper.make_node("Greater", ["mask_total", "short"], ["is_long"]),
        helper.make_node("If", ["is_long"], names, then_branch=branch("long"), else_branch=branch("short")),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*chosen, *rest])
    path.write_bytes(model.SerializeToString())
    return path
