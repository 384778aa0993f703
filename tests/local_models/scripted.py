"""Decoders in ONNX that write what they are told to: real graphs of both layouts, whose answer is known word by word.

The past of a decoder of this kind holds, for every token, where the answer begins and which cues the prompt had. From
the place of the next token it follows how much of the answer is written, and a table of the graph says what comes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

OPSET = 17
SIZE = 16
"""Numbers that the past holds of a token: where the answer begins, then one for each cue."""
START, END, BEGIN = "<|start|>", "<|end|>", "<|answer|>"
TEMPLATE = "<|start|>{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}<|answer|>"
FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


@dataclass(frozen=True)
class Script:
    """``answers`` by the cue that calls for each: words that stand in the prompt. Without a cue ``otherwise`` comes."""

    answers: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "I have nothing to say."
    window: int = 4096

    @property
    def texts(self) -> list[str]:
        """All answers: that of no cue, then those of the cues in their order."""
        return [self.otherwise, *self.answers.values()]


def trained(script: Script) -> Tokenizer:
    """A byte-level tokenizer that was trained on the answers; every cue is a token of its own."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(script.texts, trainer)
    made.add_tokens(list(script.answers))
    made.add_special_tokens([START, END, BEGIN])
    return made


class _Graph:
    def __init__(self, tokenizer: Tokenizer, script: Script) -> None:
        self.tokenizer, self.script = tokenizer, script
        self.nodes, self.constants = [], []
        self.vocabulary = tokenizer.get_vocab_size()

    def __call__(self, kind: str, *inputs: str, to: str = "", **attributes) -> str:
        name = to or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value, kind=np.int64) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def cast(self, value: str, kind: int) -> str:
        name = f"cast_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [value], [name], to=kind))
        return name

    def told(self) -> str:
        """What every new token adds to the past: [batch, tokens, SIZE]."""
        marks = [self.tokenizer.token_to_id(text) for text in (BEGIN, *self.script.answers)]
        marks += [-1] * (SIZE - len(marks))
        deep = self("Unsqueeze", "input_ids", self.constant([2]))
        there = self.cast(self("Equal", deep, self.constant(marks)), FLOAT)
        places = self.cast(self("Unsqueeze", "position_ids", self.constant([2])), FLOAT)
        begins = self.constant([1.0] + [0.0] * (SIZE - 1), np.float32)
        others = self.constant([0.0] + [1.0] * (SIZE - 1), np.float32)
        return self("Mul", there, self("Add", self("Mul", places, begins), others))

    def answer(self, sums: str, path: Path) -> None:
        """The logits of the next token, by the sums [batch, SIZE] of the past, and the file."""
        texts = [self.tokenizer.encode(text).ids for text in self.script.texts]
        length = max(map(len, texts)) + 1
        table = np.full((len(texts), length), self.tokenizer.token_to_id(END))
        for row, ids in enumerate(texts):
            table[row, : len(ids)] = ids
        sums = self("Round", sums)
        begin = self.cast(self("Gather", sums, self.constant(0), axis=1), INT64)
        last = self("Gather", "position_ids", self.constant(-1), axis=1)
        written = self("Clip", self("Sub", last, begin), self.constant(0), self.constant(length - 1))
        numbers = self.constant([0.0, *range(1, len(texts)), *[0.0] * (SIZE - len(texts))], np.float32)
        cued = self("Mul", self.cast(self("Greater", sums, self.constant(0.5, np.float32)), FLOAT), numbers)
        which = self.cast(self("ReduceMax", cued, axes=[1], keepdims=0), INT64)
        place = self("Add", self("Mul", which, self.constant(length)), written)
        token = self("Gather", self.constant(table.reshape(-1)), place)
        hot = self("OneHot", token, self.constant(self.vocabulary), self.constant([0.0, 9.0], np.float32), axis=-1)
        self("Unsqueeze", hot, self.constant([1]), to="logits")
        self._save(path)

    def _save(self, path: Path) -> None:
        info = helper.make_tensor_value_info
        inputs = [info(name, INT64, ["batch", "tokens"]) for name in ("input_ids", "position_ids")]
        inputs.insert(1, info("attention_mask", INT64, ["batch", "total"]))
        outputs = [info("logits", FLOAT, ["batch", 1, self.vocabulary])]
        for half in ("key", "value"):
            inputs.append(info(f"past_key_values.0.{half}", FLOAT, ["batch", 1, "past", SIZE]))
            outputs.append(info(f"present.0.{half}", FLOAT, ["batch", 1, "present", SIZE]))
        graph = helper.make_graph(self.nodes, "scripted", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def concat(tokenizer: Tokenizer, script: Script, path: Path) -> None:
    """The past grows by concatenation."""
    g = _Graph(tokenizer, script)
    new = g("Unsqueeze", g.told(), g.constant([1]))
    for half in ("key", "value"):
        g("Concat", f"past_key_values.0.{half}", new, to=f"present.0.{half}", axis=2)
    g.answer(g("ReduceSum", "present.0.value", g.constant([1, 2]), keepdims=0), path)


def shared(tokenizer: Tokenizer, script: Script, path: Path) -> None:
    """The past is written in place. Attention that looks everywhere alike gives the mean of what it holds."""
    g = _Graph(tokenizer, script)
    new = g.told()
    nothing = g("Sub", new, new)
    summed = g("ReduceSum", "attention_mask", g.constant([1]), keepdims=0)
    lengths = g.cast(g("Sub", summed, g.constant(1)), INT32)
    total = g.cast(g("Gather", g("Shape", "attention_mask"), g.constant(1)), INT32)
    names = [nothing, nothing, new, "past_key_values.0.key", "past_key_values.0.value", lengths, total]
    outputs = ["mean", "present.0.key", "present.0.value"]
    made = helper.make_node(
        "GroupQueryAttention", names, outputs, domain="com.microsoft", num_heads=1, kv_num_heads=1, do_rotary=0
    )
    g.nodes.append(made)
    last = g("Gather", "mean", g.constant(-1), axis=1)
    count = g("Add", g("Gather", "position_ids", g.constant([-1]), axis=1), g.constant(1))
    g.answer(g("Mul", last, g.cast(count, FLOAT)), path)


LAYOUTS = {"concat": concat, "shared": shared}


def write_writer(folder: Path, script: Script, layout: str = "concat") -> Path:
    """A folder as exporters leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = trained(script)
    LAYOUTS[layout](tokenizer, script, folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    files = {
        "config": {"model_type": "llama", "max_position_embeddings": script.window, "eos_token_id": end},
        "tokenizer_config": {"bos_token": START, "eos_token": END, "chat_template": TEMPLATE},
        "generation_config": {"eos_token_id": [end]},
    }
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


SUMMARY = (
    "The lighthouse at Skarvness was switched off on 3 October, because most ships have steered by satellite for "
    "thirty years. The fishing boats have not forgotten it. A trawler with a crew of four ran onto the rocks that the "
    "light used to mark, and nobody was hurt. Her skipper said that the receiver had shown her 200 metres too far to "
    "the west. The village now asks for its light to be lit again, and the coastal service says that it will not."
)
ANSWER = {
    "answer": "The night ferry leaves at 22:15, and a cabin for two costs 120 crowns, breakfast included.",
    "sources": ["timetable", "fares"],
}
SHIPPED = Script(
    {"Rewrite": SUMMARY, "Answer only": json.dumps(ANSWER)},
    "Good day. The apples are in.",
)
"""What the shipped pipelines ask of a model, by the first words of their prompts."""
