"""BERT in ONNX, by the names that transformers gives its weights: random and tiny, or of a real model."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.local_models.encoders import OPSET, POSITIONS, SPECIAL, WORDS


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; ``labels`` above 0 adds the pooler and a head."""

    width: int = 32
    heads: int = 4
    layers: int = 2
    inner: int = 48
    vocabulary: int = len(SPECIAL) + len(WORDS)
    positions: int = POSITIONS
    labels: int = 0

    def config(self):
        """config.json as transformers writes it."""
        known = {"0": "LABEL_0"} if self.labels == 1 else {str(i): f"LABEL_{i}" for i in range(self.labels or 2)}
        return {
            "model_type": "bert",
            "architectures": ["BertForSequenceClassification" if self.labels else "BertModel"],
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.inner,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
            "hidden_act": "gelu",
            "pad_token_id": 0,
            "id2label": known,
            "label2id": {label: int(number) for number, label in known.items()},
        }


def random_weights(shape, seed=11):
    """Weights by their names, without the prefix ``bert.``."""
    random = np.random.default_rng(seed)

    def weight(*sizes):
        return (random.standard_normal(sizes) * 0.25).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": weight(shape.vocabulary, shape.width),
        "embeddings.position_embeddings.weight": weight(shape.positions, shape.width),
        "embeddings.token_type_embeddings.weight": weight(2, shape.width),
    }
    norms = ["embeddings.LayerNorm"]
    dense = {"pooler.dense": (shape.width, shape.width)}
    for layer in range(shape.layers):
        place = f"encoder.layer.{layer}"
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
        square = (shape.width, shape.width)
        dense |= {f"{place}.attention.self.{name}": square for name in ("query", "key", "value")}
        dense[f"{place}.attention.output.dense"] = square
        dense[f"{place}.intermediate.dense"] = (shape.inner, shape.width)
        dense[f"{place}.output.dense"] = (shape.width, shape.inner)
    if shape.labels:
        dense["classifier"] = (shape.labels, shape.width)
    for name, sizes in dense.items():
        made |= {f"{name}.weight": weight(*sizes), f"{name}.bias": weight(sizes[0])}
    for name in norms:
        made |= {f"{name}.weight": 1 + weight(shape.width), f"{name}.bias": weight(shape.width)}
    return made


class _Graph:
    def __init__(self, weights, shape):
        self.weights, self.shape = weights, shape
        self.nodes, self.constants, self.held = [], [], set()

    def add(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name, value):
        if name not in self.held:
            self.held.add(name)
            self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def dense(self, source, name, output):
        turned = self.constant(f"{name}.turned", self.weights[f"{name}.weight"].T)
        self.add("MatMul", [source, turned], f"{output}.flat")
        return self.add("Add", [f"{output}.flat", self.weight(f"{name}.bias")], output)

    def norm(self, source, name, output):
        names = [source, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.add("LayerNormalization", names, output, axis=-1, epsilon=1e-12)


def graph(weights, shape):
    """The ONNX model: hidden states of tokens, or the numbers of labels."""
    g = _Graph(weights, shape)
    last = _embedded(g)
    for layer in range(shape.layers):
        last = _layer(g, last, f"encoder.layer.{layer}")
    if shape.labels:
        g.add("Gather", [last, g.constant("zero", np.int64(0))], "first", axis=1)
        g.add("Tanh", [g.dense("first", "pooler.dense", "pooled.flat")], "pooled")
        g.dense("pooled", "classifier", "logits")
        outputs = ("logits", ["batch", shape.labels])
    else:
        g.add("Identity", [last], "last_hidden_state")
        outputs = ("last_hidden_state", ["batch", "tokens", shape.width])
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]
    given = [helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, outputs[1])]
    made = helper.make_graph(g.nodes, "bert", inputs, given, g.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _embedded(g):
    g.add("Shape", ["input_ids"], "shape")
    g.add("Gather", ["shape", g.constant("one", np.int64(1))], "length", axis=0)
    g.add("Range", [g.constant("from", np.int64(0)), "length", g.constant("step", np.int64(1))], "places")
    sources = {"word": "input_ids", "position": "places", "token_type": "token_type_ids"}
    for name, source in sources.items():
        g.add("Gather", [g.weight(f"embeddings.{name}_embeddings.weight"), source], f"e.{name}")
    g.add("Add", ["e.word", "e.position"], "e.both")
    g.add("Add", ["e.both", "e.token_type"], "e")
    g.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    g.add("Sub", [g.constant("all", np.float32(1)), "mask"], "off")
    g.add("Mul", ["off", g.constant("far", np.float32(-1e9))], "off.far")
    g.add("Unsqueeze", ["off.far", g.constant("axes", np.array([1, 2]))], "off.wide")
    return g.norm("e", "embeddings.LayerNorm", "x.embedded")


def _layer(g, source, place):
    size = g.shape.width // g.shape.heads
    cut = g.constant("heads", np.array([0, 0, g.shape.heads, size]))
    orders = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
    for name, order in orders.items():
        g.dense(source, f"{place}.attention.self.{name}", f"{place}.{name}")
        g.add("Reshape", [f"{place}.{name}", cut], f"{place}.{name}.cut")
        g.add("Transpose", [f"{place}.{name}.cut"], f"{place}.{name}.heads", perm=order)
    g.add("MatMul", [f"{place}.query.heads", f"{place}.key.heads"], f"{place}.scores")
    g.add("Div", [f"{place}.scores", g.constant("root", np.float32(np.sqrt(size)))], f"{place}.scaled")
    g.add("Add", [f"{place}.scaled", "off.wide"], f"{place}.masked")
    g.add("Softmax", [f"{place}.masked"], f"{place}.shares", axis=-1)
    g.add("MatMul", [f"{place}.shares", f"{place}.value.heads"], f"{place}.context.heads")
    g.add("Transpose", [f"{place}.context.heads"], f"{place}.context.cut", perm=[0, 2, 1, 3])
    flat = g.constant("flat", np.array([0, 0, g.shape.width]))
    g.add("Reshape", [f"{place}.context.cut", flat], f"{place}.context")
    g.dense(f"{place}.context", f"{place}.attention.output.dense", f"{place}.attended")
    g.add("Add", [source, f"{place}.attended"], f"{place}.sum")
    middle = g.norm(f"{place}.sum", f"{place}.attention.output.LayerNorm", f"{place}.middle")
    g.dense(middle, f"{place}.intermediate.dense", f"{place}.inner")
    _gelu(g, f"{place}.inner")
    g.dense(f"{place}.inner.bent", f"{place}.output.dense", f"{place}.outer")
    g.add("Add", [middle, f"{place}.outer"], f"{place}.last")
    return g.norm(f"{place}.last", f"{place}.output.LayerNorm", f"{place}.out")


def _gelu(g, name):
    g.add("Div", [name, g.constant("root.two", np.float32(np.sqrt(2)))], f"{name}.shrunk")
    g.add("Erf", [f"{name}.shrunk"], f"{name}.erf")
    g.add("Add", [f"{name}.erf", g.constant("plus", np.float32(1))], f"{name}.plus")
    g.add("Mul", [name, f"{name}.plus"], f"{name}.doubled")
    g.add("Mul", [f"{name}.doubled", g.constant("half", np.float32(0.5))], f"{name}.bent")
