"""What a decoder's session takes and gives: its ports, told by their names and types, and how its past is kept.

Two layouts run here. Where a graph has the operator GroupQueryAttention, past and present share one buffer that is
written in place; in any other the past grows by concatenation. Anything else a graph asks for is refused by name.
"""

import re
from collections.abc import Collection
from typing import Any

from flowllm.core.errors import SetupError
from flowllm.core.record import record

_PAST = re.compile(r"past_key_values\.(\d{1,4})\.(key|value)")
KEEP = "num_logits_to_keep"
"""Asks for the logits after so many last tokens alone."""

_KNOWN = frozenset({"input_ids", "attention_mask", "position_ids", KEEP})
_KINDS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(int32)": "int32"}
SHARING = "GroupQueryAttention"


@record
class Decoder:
    """A session's ports. ``past`` and ``present`` are names in the same order; sizes are counts.

    ``whole`` and ``halves`` are numpy's names of the types of tokens and of the past; ``counts`` that of logits.
    ``keep`` is the shape of the number that asks for the logits after the last token alone, None where there is none;
    ``last`` says that those alone come, asked for or not.
    ``device`` and ``index`` are where buffers live, in ONNX Runtime's words.
    """

    session: Any
    past: tuple[str, ...]
    present: tuple[str, ...]
    heads: int
    size: int
    vocabulary: int
    whole: str
    halves: str
    counts: str
    masked: bool
    positions: bool
    shared: bool
    device: str = "cpu"
    index: int = 0
    keep: tuple[int, ...] | None = None
    last: bool = False


def read_decoder(
    session: Any, operators: Collection[str], device: str = "cpu", index: int = 0, size: Any = None
) -> Decoder:
    """The ports of an open session whose graph has ``operators``; `SetupError` for a graph that cannot run here.

    ``size`` is the length of a head where the graph leaves it open.
    """
    taken = {port.name: port for port in session.get_inputs()}
    given = {port.name: port for port in session.get_outputs()}
    past = tuple(sorted((name for name in taken if _PAST.fullmatch(name)), key=_order))
    present = tuple(name.replace("past_key_values", "present") for name in past)
    unknown = [name for name in taken if name not in past and name not in _KNOWN]
    lacking = [name for name in ("logits", *present) if name not in given]
    if unknown or lacking or "input_ids" not in taken or not past:
        asks = f"asks for {', '.join(unknown)}" if unknown else f"lacks {', '.join(lacking) or 'past keys and values'}"
        raise unfit(f"its graph {asks}", "export it with the task text-generation-with-past")
    shape = taken[past[0]].shape
    heads, vocabulary = shape[1], given["logits"].shape[-1]
    size = shape[3] if isinstance(shape[3], int) else size
    if not all(isinstance(count, int) for count in (heads, size, vocabulary)):
        raise unfit("its graph does not say how large its past and its vocabulary are")
    return Decoder(
        session,
        past,
        present,
        heads,
        size,
        vocabulary,
        _kind(taken["input_ids"]),
        _kind(taken[past[0]]),
        _kind(given["logits"]),
        "attention_mask" in taken,
        "position_ids" in taken,
        SHARING in operators,
        device,
        index,
        None if KEEP not in taken else (1,) * len(taken[KEEP].shape),
        KEEP in taken or given["logits"].shape[1] == 1,
    )


def unfit(why: str, hint: str = "") -> SetupError:
    """A model that does not write here."""
    return SetupError("capability_mismatch", f"the model cannot write text here: {why}", hint=hint)


def _kind(port: Any) -> str:
    if port.type not in _KINDS:
        raise unfit(f"its graph holds `{port.name}` as {port.type}", "precision: fp16, or fp32")
    return _KINDS[port.type]


def _order(name: str) -> tuple[int, str]:
    layer, half = name.split(".")[1:3]
    return int(layer), half
