"""Tiny encoders in ONNX with random weights, whole folders of them, and the same arithmetic in numpy.

`Encoder` holds the weights: ``graph`` writes them as ONNX, ``hidden`` computes one text alone, without padding.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

TEXT = """
a an and apple apples are at big bird birds blue by cat cats dog dogs eat eats fish flies fly for fox from green he
house in is it jumps lazy like likes moon night not of old on over quick red river runs sea she sings sky small star
stars sun swims that the they to tree trees under water white wind with young .
"""
WORDS = TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH, HEADS, INNER, POSITIONS = 16, 2, 32, 64
OPSET = 17


@dataclass
class Encoder:
    """``labels`` 0: hidden states of tokens; else one number a label, from the first token."""

    labels: int = 0
    seed: int = 7
    weights: dict = field(default_factory=dict)

    def __post_init__(self):
        random = np.random.default_rng(self.seed)

        def weight(*shape):
            return (random.standard_normal(shape) * 0.4).astype(np.float32)

        self.weights = {
            "words": weight(len(SPECIAL) + len(WORDS), WIDTH),
            "positions": weight(POSITIONS, WIDTH),
            "types": weight(2, WIDTH),
            **{name: weight(WIDTH, WIDTH) for name in ("query", "key", "value", "out")},
            "up": weight(WIDTH, INNER),
            "down": weight(INNER, WIDTH),
            **{f"scale{i}": 1 + weight(WIDTH) for i in range(3)},
            **{f"shift{i}": weight(WIDTH) for i in range(3)},
        }
        if self.labels:
            self.weights |= {"head": weight(WIDTH, self.labels), "bias": weight(self.labels)}

    def hidden(self, ids, types=None):
        """Hidden states of one text, shape (tokens, width)."""
        w = self.weights
        types = np.zeros(len(ids), int) if types is None else np.asarray(types)
        x = w["words"][np.asarray(ids)] + w["positions"][: len(ids)] + w["types"][types]
        x = _normal(x, w["scale0"], w["shift0"])
        parts = []
        for head in np.split(np.arange(WIDTH), HEADS):
            q, k, v = (x @ w[name][:, head] for name in ("query", "key", "value"))
            scores = q @ k.T / np.sqrt(len(head))
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            parts.append(scores / scores.sum(-1, keepdims=True) @ v)
        x = _normal(x + np.concatenate(parts, -1) @ w["out"], w["scale1"], w["shift1"])
        return _normal(x + np.tanh(x @ w["up"]) @ w["down"], w["scale2"], w["shift2"])

    def logits(self, ids, types=None):
        """One number a label."""
        return self.hidden(ids, types)[0] @ self.weights["head"] + self.weights["bias"]

    def graph(self, *, half=False, pooled=False):
        """The ONNX model; ``half`` keeps weights in two bytes, ``pooled`` averages in the graph."""
        nodes, constants = [], []

        def add(operator, inputs, output, **attributes):
            nodes.append(helper.make_node(operator, inputs, [output], **attributes))
            return output

        def constant(name, value):
            constants.append(numpy_helper.from_array(np.asarray(value), name))
            return name

        for name, value in self.weights.items():
            if half:
                add("Cast", [constant(f"{name}_half", value.astype(np.float16))], name, to=TensorProto.FLOAT)
            else:
                constant(name, value)
        _embeddings(add, constant)
        _attention(add, constant)
        last = _feed_forward(add)
        outputs = [("last_hidden_state", ["batch", "tokens", WIDTH])]
        add("Identity", [last], "last_hidden_state")
        if self.labels:
            add("Gather", [last, constant("zero", np.int64(0))], "first", axis=1)
            add("Gemm", ["first", "head", "bias"], "logits")
            outputs = [("logits", ["batch", self.labels])]
        if pooled:
            _average(add, constant, last)
            outputs.append(("sentence_embedding", ["batch", WIDTH]))
        return _model(nodes, constants, outputs)


def _normal(x, scale, shift):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def _embeddings(add, constant):
    add("Shape", ["input_ids"], "shape")
    add("Gather", ["shape", constant("one", np.int64(1))], "length", axis=0)
    add("Range", [constant("from", np.int64(0)), "length", constant("step", np.int64(1))], "places")
    add("Gather", ["words", "input_ids"], "e0")
    add("Gather", ["positions", "places"], "e1")
    add("Gather", ["types", "token_type_ids"], "e2")
    add("Add", ["e0", "e1"], "e01")
    add("Add", ["e01", "e2"], "e")
    add("LayerNormalization", ["e", "scale0", "shift0"], "x0", axis=-1, epsilon=1e-5)


def _attention(add, constant):
    constant("heads", np.array([0, 0, HEADS, WIDTH // HEADS]))
    for name, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        add("MatMul", ["x0", name], f"{name}_flat")
        add("Reshape", [f"{name}_flat", "heads"], f"{name}_cut")
        add("Transpose", [f"{name}_cut"], f"{name}_heads", perm=order)
    add("MatMul", ["query_heads", "key_heads"], "scores")
    add("Div", ["scores", constant("root", np.float32(np.sqrt(WIDTH // HEADS)))], "scaled")
    add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    add("Sub", [constant("all", np.float32(1)), "mask"], "off")
    add("Mul", ["off", constant("far", np.float32(-1e4))], "off_far")
    add("Unsqueeze", ["off_far", constant("axes", np.array([1, 2]))], "off_wide")
    add("Add", ["scaled", "off_wide"], "masked")
    add("Softmax", ["masked"], "shares", axis=-1)
    add("MatMul", ["shares", "value_heads"], "context_heads")
    add("Transpose", ["context_heads"], "context_cut", perm=[0, 2, 1, 3])
    add("Reshape", ["context_cut", constant("flat", np.array([0, 0, WIDTH]))], "context")
    add("MatMul", ["context", "out"], "attended")
    add("Add", ["x0", "attended"], "x0a")
    add("LayerNormalization", ["x0a", "scale1", "shift1"], "x1", axis=-1, epsilon=1e-5)


def _feed_forward(add):
    add("MatMul", ["x1", "up"], "inner")
    add("Tanh", ["inner"], "bent")
    add("MatMul", ["bent", "down"], "outer")
    add("Add", ["x1", "outer"], "x1a")
    return add("LayerNormalization", ["x1a", "scale2", "shift2"], "x2", axis=-1, epsilon=1e-5)


def _average(add, constant, last):
    add("Unsqueeze", ["mask", constant("deep", np.array([2]))], "mask_deep")
    add("Mul", [last, "mask_deep"], "kept")
    add("ReduceSum", ["kept", constant("along", np.array([1]))], "sums", keepdims=0)
    add("ReduceSum", ["mask", "along"], "counts", keepdims=1)
    add("Div", ["sums", "counts"], "sentence_embedding")


def _model(nodes, constants, outputs):
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs]
    graph = helper.make_graph(nodes, "encoder", inputs, given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def tokenizer(*, fixed=True):
    """Words to numbers with [CLS] and [SEP]; ``fixed`` carries the padding and truncation that must be ignored."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(SPECIAL)
    if fixed:
        made.enable_truncation(8)
        made.enable_padding(length=8)
    return made


def write_folder(folder, encoder, *, config=None, files=None, onnx_at="model.onnx", **graph):
    """A folder as exporters leave it; ``files`` are further JSON files by their path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / onnx_at
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(encoder.graph(**graph), target)
    tokenizer().save(str(folder / "tokenizer.json"))
    known = {"model_type": "bert", "architectures": ["BertModel"], "max_position_embeddings": POSITIONS}
    words = {"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 512}
    documents = {"config.json": {**known, **(config or {})}, "tokenizer_config.json": words, **(files or {})}
    for name, value in documents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder


SENTENCES = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 32},
}
"""The files of sentence-transformers: mean of the tokens, length 1, 32 tokens."""


def write_embedder(folder, encoder=None, **more):
    """A model for embeddings."""
    return write_folder(folder, encoder or Encoder(), **{"files": SENTENCES, **more})


def write_classifier(folder, encoder, labels, **more):
    """A model with a head; one label makes it a cross-encoder."""
    named = {str(number): label for number, label in enumerate(labels)}
    config = {"architectures": ["BertForSequenceClassification"], "id2label": named}
    return write_folder(folder, encoder, config=config, **more)


def ids_of(text, second=None, window=POSITIONS):
    """The numbers of a text or pair, and their types."""
    made = tokenizer(fixed=False)
    made.enable_truncation(window)
    encoding = made.encode(text, second)
    return encoding.ids, encoding.type_ids


def embedding(encoder, text, window=32):
    """What sentence-transformers would give: the mean of the hidden states, of length 1."""
    mean = encoder.hidden(ids_of(text, window=window)[0]).mean(0)
    return mean / np.linalg.norm(mean)
