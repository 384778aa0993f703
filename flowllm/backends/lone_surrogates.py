r"""Lone surrogates in JSON: some servers cut ``\ud83d\ude00`` between two events of a stream.

A strict parser refuses such an event. Here each lone surrogate is marked (`marked`): written as the private
character that is 0x100000 above it, which every parser and writer takes. Where the text is said, the marks are
taken back (`Halves`): two halves that follow each other in one text (the answer, one thought, the arguments of one
call) are joined, whatever comes between them, and one that stays alone is U+FFFD. Nothing of this is on the way
of an answer that a strict parser takes; in one that it refuses, those private characters are U+FFFD as well.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from flowllm.core.delta import Delta, Meta, Reasoning, Text, ToolCall

LONGEST = 4 * 1024 * 1024
"""Bytes of an event or a body beyond which none is marked."""
MOST = 10_000
"""Escaped surrogates, those of pairs among them, beyond which none is marked."""
_RUN = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}(?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})*"
_ONE = len(rb"\ud83d")
_MARK = "[\U0010d800-\U0010dfff]"
_Said = Text | Reasoning | ToolCall


def marked(data: bytes) -> bytes | None:
    """JSON with its lone surrogates marked; None where there are none, or more than an answer has."""
    if len(data) > LONGEST or b"\\u" not in data:
        return None
    pieces: list[bytes] = []
    last = escapes = 0
    for found in re.finditer(_RUN, data):
        escapes += (found.end() - found.start()) // _ONE
        if escapes > MOST:
            return None
        before, start = data[last : found.start()], found.start()
        if (len(before) - len(before.rstrip(b"\\"))) % 2:
            start += _ONE  # The backslash is the second of two, and the letters after it are text.
        pieces += data[last:start], _marked_run(data[start : found.end()])
        last = found.end()
    sound = b"".join((*pieces, data[last:]))
    return None if sound == data else sound


def restored(data: bytes) -> bytes:
    """JSON (UTF-8) with the lone surrogates that its marks stand for."""
    return re.sub(_MARK, lambda found: f"\\u{ord(found[0]) - 0x100000:04x}", data.decode()).encode()


def mended(text: str) -> str:
    """A text without marks: pairs in it are joined, what is alone is U+FFFD."""
    return _paired(_unmarked(text))


class Halves:
    """The first halves at the ends of texts of one answer, each until more of its text comes."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[object, _Said] = {}

    @property
    def text(self) -> str:
        """What is held back of the answer's text."""
        return "\ufffd" if Text in self._held else ""

    def joined(self, deltas: Iterable[Delta], *, last: bool = False) -> list[Delta]:
        """Deltas without marks; with ``last`` no half is held back any more."""
        told: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Text | Reasoning | ToolCall):
                told += self._joined(delta, last=last)
            else:
                told.append(replace(delta, model=mended(delta.model)) if type(delta) is Meta and delta.model else delta)
        return told

    def rest(self) -> list[Delta]:
        """The halves that stayed alone."""
        held, self._held = self._held, {}
        return [_bare(delta, "\ufffd") for delta in held.values()]

    def _joined(self, delta: _Said, *, last: bool) -> Iterable[Delta]:
        place = delta.index if type(delta) is ToolCall else type(delta)
        held = self._held.pop(place, None)
        if held is not None and _is_another(held, delta):
            yield _bare(held, "\ufffd")
            held = None
        said = (_text_of(held) if held is not None else "") + _unmarked(_text_of(delta))
        if not last and _is_high(said[-1:]) and not (type(delta) is Reasoning and delta.signature):
            self._held[place] = _bare(delta, said[-1])
            said = said[:-1]
        told = _with_text(delta, _paired(said))
        if told != _bare(delta, ""):
            yield told


@cache
def _marks() -> dict[int, int]:
    return {code: code + 0x100000 for code in range(0xD800, 0xE000)}


def _marked_run(escapes: bytes) -> bytes:
    run = json.loads(b'"%b"' % escapes)
    marks = run.translate(_marks())
    return escapes if marks == run else json.dumps(marks)[1:-1].encode()


def _unmarked(text: str) -> str:
    return re.sub(_MARK, lambda found: chr(ord(found[0]) - 0x100000), text)


def _paired(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _is_high(sign: str) -> bool:
    return "\ud800" <= sign <= "\udbff"


def _is_another(held: _Said, delta: _Said) -> bool:
    """Whether ``delta`` begins another thought than the one whose half is held."""
    return type(delta) is Reasoning and type(held) is Reasoning and delta.id not in ("", held.id)


def _text_of(delta: _Said) -> str:
    return delta.arguments if type(delta) is ToolCall else delta.text  # type: ignore[union-attr]


def _bare(delta: _Said, text: str) -> _Said:
    """More text of the same, and nothing else."""
    if isinstance(delta, ToolCall):
        return ToolCall(delta.index, arguments=text)
    return Reasoning(text, id=delta.id, format=delta.format) if isinstance(delta, Reasoning) else Text(text)


def _with_text(delta: _Said, text: str) -> _Said:
    """The delta with another text, and without marks in its other words."""
    if isinstance(delta, ToolCall):
        return replace(delta, id=mended(delta.id), name=mended(delta.name), arguments=text)
    if isinstance(delta, Reasoning):
        return replace(delta, text=text, signature=mended(delta.signature), id=mended(delta.id))
    return Text(text)
