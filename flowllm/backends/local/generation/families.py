"""How families of models write calls of tools and thoughts: a table of marks, and a reader of text that holds them.

A family is known by the marks in its chat template. A call is one from the moment that its name and the brace that
opens its arguments are there: the name comes, then the arguments piece by piece, as the model writes them. What breaks
off behind that stays a call, with what came of it. Calls that are written otherwise (arguments first, or as text in
text) come when they are whole. What looks like a call and is none stays text, to the letter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import JSONDecodeError, JSONDecoder
from typing import Any, Literal

from flowllm.backends.local.generation.call_pieces import Arguments, Begun, Form, begun, behind, is_end
from flowllm.core.delta import Delta, Reasoning, Text, ToolCall
from flowllm.core.record import record
from flowllm.text.strict_json import InvalidJson, loads
from flowllm.text.writing import as_json

Way = Literal["json", "functions"]


@record
class Calls:
    """How calls stand in the text: from ``open`` to ``close`` (empty: to the end of the answer).

    ``json``: an object with a name and arguments, a list of them, or some with semicolons or commas between; where
    there is a ``mark``, also a name, the mark and arguments, again and again. ``functions``: ``<function=NAME>``
    around JSON. ``first``: without ``open``, an answer that begins with a brace may be one whole call.
    """

    name: str
    open: str
    close: str = ""
    way: Way = "json"
    mark: str = ""
    first: bool = False

    @property
    def forms(self) -> tuple[Form, ...]:
        """How a call may begin."""
        if self.way == "functions":
            return ("functions",)
        return ("json", "by name") if self.mark else ("json",)


@record
class Thinking:
    """What stands around thoughts."""

    open: str
    close: str


CALLS: tuple[tuple[str, Calls], ...] = (
    ("[TOOL_CALLS]", Calls("mistral", "[TOOL_CALLS]", mark="[ARGS]")),
    ("<|tool_call|>", Calls("granite", "<|tool_call|>")),
    ("<tool_call>", Calls("hermes", "<tool_call>", "</tool_call>")),
    ("<function=", Calls("functions", "<function=", "</function>", way="functions")),
    ("<|python_tag|>", Calls("llama3", "<|python_tag|>", first=True)),
    ('"parameters": dictionary', Calls("llama3", "<|python_tag|>", first=True)),
    ("<|start_header_id|>ipython", Calls("llama3", "<|python_tag|>", first=True)),
    ("functools[", Calls("phi", "functools")),
)
"""What is looked for in a chat template, in this order, and what it says of the model's calls."""

THINKING: tuple[tuple[str, Thinking], ...] = (
    ("</think>", Thinking("<think>", "</think>")),
    ("</thinking>", Thinking("<thinking>", "</thinking>")),
    ("[/THINK]", Thinking("[THINK]", "[/THINK]")),
    ("</reasoning>", Thinking("<reasoning>", "</reasoning>")),
)


@record
class Family:
    """What a model's text may hold besides words."""

    calls: Calls | None = None
    thinking: Thinking | None = None

    @property
    def marks(self) -> frozenset[str]:
        """Tokens that have to stay in the text though they may be special ones."""
        calls, thinking = self.calls, self.thinking
        told = [calls.open, calls.close, calls.mark] if calls else []
        told += [thinking.open, thinking.close] if thinking else []
        return frozenset(filter(None, told))

    def thinks_after(self, prompt: str) -> bool:
        """Whether the prompt leaves a thought open, so that the answer begins inside of it."""
        thinking = self.thinking
        return thinking is not None and prompt.rstrip().endswith(thinking.open)


def family_of(template: str) -> Family:
    """The family that a chat template was written for."""
    calls = next((calls for mark, calls in CALLS if mark in template), None)
    thinking = next((marks for mark, marks in THINKING if mark in template), None)
    return Family(calls, thinking)


@dataclass(slots=True)
class Reader:
    """Text of one answer, in pieces, to deltas. ``calls`` is what to look for; None where no tool was offered."""

    family: Family
    calls: Calls | None
    inside: bool = False
    """Whether a thought is open."""
    _held: str = ""
    _blank: bool = True
    _open: bool = False
    _after: bool = False
    """A thought was closed: blanks that follow belong to its mark."""
    _count: int = 0
    _asked: int = 0
    """How much of what is held was seen to begin no call."""
    _begun: Begun | None = None
    """A call whose arguments come, or came: ``_arguments`` is None where they are there."""
    _arguments: Arguments | None = None

    def feed(self, text: str) -> list[Delta]:
        """What is certain after more text."""
        self._held += text
        return list(self._read(last=False))

    def finish(self) -> list[Delta]:
        """What was held back."""
        return list(self._read(last=True))

    @property
    def called(self) -> bool:
        """Whether a call came."""
        return self._count > 0

    def _read(self, *, last: bool) -> Iterator[Delta]:
        before = None
        while before != (self._held, self.inside, self._open, self._begun):
            before = (self._held, self.inside, self._open, self._begun)
            if self.inside:
                yield from self._thought(last=last)
            elif self._arguments is not None:
                yield from self._pieces(self._arguments, last=last)
            elif self._begun is not None:
                yield from self._behind(self._begun, last=last)
            elif self._open:
                yield from self._call(last=last)
            else:
                yield from self._words(last=last)

    def _thought(self, *, last: bool) -> Iterator[Delta]:
        assert self.family.thinking is not None
        shown, found = self._until((self.family.thinking.close,), last=last)
        if shown:
            yield Reasoning(shown)
        if found:
            self._held = self._held[len(found) :]
            self.inside, self._after = False, True

    def _words(self, *, last: bool) -> Iterator[Delta]:
        """Words up to a thought, which opens before any word alone, or up to a call."""
        calls, thinking = self.calls, self.family.thinking
        begun = self._held.lstrip()
        blanks = self._held[: len(self._held) - len(begun)]
        if self._blank and blanks:
            self._held = begun
            if not self._after:
                yield Text(blanks)
        if self._blank and thinking and begun.startswith(thinking.open):
            self._held, self.inside = begun[len(thinking.open) :], True
        elif self._blank and calls and calls.first and begun[:1] == "{":
            self._open = True
        elif not (self._blank and thinking and begun and thinking.open.startswith(begun) and not last):
            shown, found = self._until((calls.open,) if calls else (), last=last)
            if shown:
                self._blank = False
                yield Text(shown)
            self._open = bool(found)

    def _until(self, marks: Sequence[str], *, last: bool) -> tuple[str, str]:
        """What comes before the first of ``marks``, taken off, and the mark, which stays."""
        held = self._held
        places = [(place, mark) for mark in marks if (place := held.find(mark)) >= 0]
        if places:
            place, mark = min(places)
            self._held = held[place:]
            return held[:place], mark
        kept = 0 if last else max((_kept(held, mark) for mark in marks), default=0)
        self._held = held[len(held) - kept :]
        return held[: len(held) - kept], ""

    def _call(self, *, last: bool) -> Iterator[Delta]:
        """What stands from the opening mark on: calls, or text where it is none."""
        calls = self._looked_for
        marked = self._held.startswith(calls.open)
        start = len(calls.open) if marked else 0
        stop, ended = self._end_of_block(start, last=last)
        # A call has begun with a brace: without a new one, what began none before begins none now.
        found = begun(self._held[start:stop], calls.forms) if self._held.find("{", self._asked, stop) >= 0 else None
        self._asked = stop
        if found is not None:
            yield from self._begin(found, start + found.end)
        elif ended:
            whole = _calls(calls, self._held[start:stop])
            if whole:
                yield from self._whole(whole)
                self._leave(stop)
            else:
                # The mark alone is text; another call may stand behind it.
                kept = len(calls.open) if marked else stop + self._close_at(stop)
                yield Text(self._held[:kept])
                self._held, self._open, self._blank, self._asked = self._held[kept:], False, False, 0

    def _pieces(self, arguments: Arguments, *, last: bool) -> Iterator[Delta]:
        """More of the arguments of the call that has begun."""
        stop, ended = self._end_of_block(0, last=last)
        if not ended:
            stop -= max(_kept(self._held, mark) for mark in (self._looked_for.close, self._looked_for.open))
        taken, whole = arguments.take(self._held[:stop])
        if ended and not whole:
            taken = stop
        if taken:
            yield ToolCall(self._count - 1, arguments=self._held[:taken])
        self._held = self._held[taken:]
        if whole or ended:
            self._arguments = None

    def _behind(self, call: Begun, *, last: bool) -> Iterator[Delta]:
        """What follows arguments: the rest of their call, then another one or the end of the block."""
        stop, ended = self._end_of_block(0, last=last)
        text, again, _ = self._held[:stop].partition(self._looked_for.open)
        at = behind(text, call.braces)
        found = begun(text[at:], (call.form,), first=False) if at or not call.braces else None
        if found is not None:
            yield from self._begin(found, at + found.end)
        elif ended or again:
            rest = text[at:]
            if not is_end(rest):
                further = _calls(self._looked_for, rest.strip(" \n\t,;").removesuffix("]"))
                yield from self._whole(further) if further else (Text(rest),)
            self._leave(len(text))

    def _begin(self, found: Begun, end: int) -> Iterator[Delta]:
        yield ToolCall(self._count, f"call_{self._count}", found.name)
        self._count += 1
        self._held, self._begun, self._arguments = self._held[end:], found, Arguments(self._looked_for.open)
        self._asked = 0

    def _whole(self, found: Sequence[tuple[str, str]]) -> Iterator[Delta]:
        for name, arguments in found:
            yield ToolCall(self._count, f"call_{self._count}", name, arguments)
            self._count += 1

    def _leave(self, stop: int) -> None:
        """Go on behind a block that ends at ``stop``, and behind its closing mark."""
        self._held = self._held[stop + self._close_at(stop) :]
        self._open, self._blank, self._begun, self._arguments, self._asked = False, False, None, None, 0

    def _end_of_block(self, start: int, *, last: bool) -> tuple[int, bool]:
        """Where the block ends that goes on from ``start``, as far as it came, and whether that is known."""
        close = self._looked_for.close
        end = self._held.find(close, start) if close else -1
        return (end, True) if end >= 0 else (len(self._held), last)

    def _close_at(self, place: int) -> int:
        close = self._looked_for.close
        return len(close) if close and self._held.startswith(close, place) else 0

    @property
    def _looked_for(self) -> Calls:
        assert self.calls is not None
        return self.calls


def _kept(text: str, mark: str) -> int:
    longest = min(len(mark) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(mark[:length])), 0)


def _calls(calls: Calls, text: str) -> list[tuple[str, str]] | None:
    """Names and arguments in ``text``, or None where it is not wholly that."""
    try:
        if calls.way == "functions":
            name, _, arguments = text.partition(">")
            return [_named(name, loads(arguments))]
        if calls.mark and not text.lstrip().startswith(("[", "{")):
            return list(_by_name(text, calls.mark))
        return [_one(value) for value in _values(text)]
    except (InvalidJson, JSONDecodeError, ValueError, RecursionError):
        return None


def _values(text: str) -> list[Any]:
    """A list of objects, or objects with semicolons or commas between."""
    if text.lstrip().startswith("["):
        found = loads(text)
        if not isinstance(found, list) or not found:
            raise ValueError("no calls")
        return found
    values, at = [], 0
    while True:
        value, at = _decoded(text, at)
        values.append(value)
        rest = text[at:].lstrip(" \n\t")
        if not rest:
            return values
        if rest[0] not in ";,":
            raise ValueError("more than calls")
        at = len(text) - len(rest) + 1


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at ``at``, strict, and where it ends."""
    at += len(text[at:]) - len(text[at:].lstrip())
    _, end = JSONDecoder().raw_decode(text, at)
    return loads(text[at:end]), end


def _by_name(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """``name[ARGS]{...}`` again and again; the mark may be missing before the brace."""
    at = 0
    while text[at:].strip():
        brace = text.find("{", at)
        if brace < 0:
            raise ValueError("no arguments")
        name = text[at:brace].strip()
        arguments, at = _decoded(text, brace)
        yield _named(name.removesuffix(mark).partition("[CALL_ID]")[0], arguments)


def _one(value: Any) -> tuple[str, str]:
    """A call as an object: ``{name, arguments}`` or ``{name, parameters}``, also inside of ``function``."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not {"arguments", "parameters"} & value.keys():
        raise ValueError("no call")
    return _named(value.get("name"), value["arguments"] if "arguments" in value else value["parameters"])


def _named(name: Any, arguments: Any) -> tuple[str, str]:
    if isinstance(arguments, str):
        arguments = loads(arguments)
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, dict):
        raise ValueError("no call")
    return name.strip(), as_json(arguments)
