"""Guarded YAML: text to plain values and the place of each, or every reason why not.

One pass over the parser's events builds values and marks and keeps the limits, so that no nesting, alias
or tag reaches code that could not bear it. Scalars follow the core schema of YAML 1.2. JSON is YAML.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from flowllm.config import layout, scalars
from flowllm.config.keys import DEPTH
from flowllm.config.layout import LINE_END, ODD_ENDS, Lines
from flowllm.config.marks import Marks
from flowllm.config.traps import UNENDED, advice, cause, closed, colon_in_text, corrected, quoted
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.origin import UNKNOWN, Layout, Origin
from flowllm.core.record import record


@record
class Limits:
    """The most that one file may hold. ``size`` counts characters, ``expanded`` what aliases repeat."""

    size: int = 1024 * 1024
    depth: int = DEPTH
    nodes: int = 100_000
    aliases: int = 256
    expanded: int = 50_000


PROJECT = Limits()
LIBRARY = Limits(nodes=20_000)


def load_yaml(text: str, file: str = "", limits: Limits = PROJECT) -> tuple[Any, Marks]:
    """The value of a YAML or JSON text and its marks; `PipelineInvalid` with ``bad_yaml`` when refused."""
    lines = text.removeprefix("\ufeff")
    builder = _Builder(lines, file, limits)
    try:
        builder.check_text()
        for event in _events(lines):
            builder.take(event)
    except _Stop as stop:
        builder.problems.append(stop.problem)
    except _yaml().YAMLError as error:
        builder.problems.append(builder.syntax(error))
    if builder.problems:
        raise PipelineInvalid(builder.problems)
    return builder.value, builder.marks


def _yaml() -> Any:
    import yaml

    return yaml


def _events(text: str) -> Iterator[Any]:
    yaml = _yaml()
    yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class _Stop(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


_WAITING = object()


@record(frozen=False)
class _Open:
    """A list or mapping whose end has not come."""

    value: Any
    marks: Marks
    anchor: str | None
    before: int
    key: Any = _WAITING
    key_origin: Origin = UNKNOWN
    key_raw: str | None = None


class _Builder:
    """Takes events; gives ``value``, ``marks`` and ``problems``."""

    def __init__(self, text: str, file: str, limits: Limits) -> None:
        self._text = text
        self._lines = LINE_END.split(text)
        self._odd = any(end in text for end in ODD_ENDS)
        self._file = file
        self._limits = limits
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, Marks, int] | None] = {}
        self._nodes = self._aliases = self._expanded = self._documents = 0
        self._takers = {
            "ScalarEvent": self._scalar,
            "AliasEvent": self._alias,
            "MappingStartEvent": self._mapping_start,
            "SequenceStartEvent": self._list_start,
            "MappingEndEvent": self._end,
            "SequenceEndEvent": self._end,
            "DocumentStartEvent": self._document,
        }
        self.value: Any = None
        self.marks = Marks(Origin(file, 1, 1), Origin(file, 1, 1))
        self.problems: list[Problem] = []

    def check_text(self) -> None:
        """Size and characters, before any parser sees the text."""
        if len(self._text) > self._limits.size:
            raise self._stop(f"the file is larger than {self._limits.size // 1024} KiB", 0, 0, "split it")
        zero = self._text.find("\0")
        if zero >= 0:
            raise self._stop("the file holds a NUL character", *self._lines_at.at(zero), "remove it")

    def take(self, event: Any) -> None:
        """Go on by one event."""
        taker = self._takers.get(type(event).__name__)
        if taker is not None:
            taker(event)

    def syntax(self, error: Any) -> Problem:
        """A finding of the parser in plain words, with the corrected line where it is known."""
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        begun = getattr(error, "context_mark", None) if "quoted scalar" in str(getattr(error, "context", "")) else None
        row, column = self._spot(mark) if mark else self._lines_at.at(getattr(error, "position", 0))
        row = min(row, len(self._lines) - 1)
        line = self._lines[row]
        words = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
        message = cause(words, line)
        if begun is not None and message == UNENDED:
            hint = "write the same quote where the text ends"
            return self._problem("the quoted text that begins here has no end", *self._spot(begun), hint)
        if "has no" in message and (fixed := colon_in_text(line, column)):
            return self._problem(cause("mapping values are not allowed", ""), row, column, fixed)
        fixed, opened = self._hint(row), getattr(error, "context_mark", None)
        if "has no" in message and not fixed and opened is not None and opened.line < row:
            message = f"{message}, before line {row + 1}"
            row, column = self._spot(opened)
        if "has no" in message:
            fixed = closed(fixed or self._lines[row]) or fixed
        return self._problem(message, row, column, fixed or advice(message, line))

    @cached_property
    def _lines_at(self) -> Lines:
        return Lines(self._text)

    def _spot(self, mark: Any) -> tuple[int, int]:
        """The row and column of a mark; YAML has line ends that files do not have."""
        return self._lines_at.at(mark.index) if self._odd else (mark.line, mark.column)

    def _hint(self, row: int) -> str:
        for index in (row, row - 1):
            line = corrected(self._lines[index]) if index >= 0 else ""
            if line:
                return line
        return ""

    def _problem(self, message: str, row: int, column: int, hint: str, code: str = "bad_yaml") -> Problem:
        return Problem(code, message, "", Origin(self._file, row + 1, column + 1), hint)

    def _stop(self, message: str, row: int, column: int, hint: str) -> _Stop:
        return _Stop(self._problem(message, row, column, hint))

    def _stop_at(self, event: Any, message: str, hint: str) -> _Stop:
        return self._stop(message, *self._spot(event.start_mark), hint)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._stop_at(event, "the file holds more than one document", "remove the line `---`")

    def _count(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            raise self._stop_at(event, f"the file holds more than {self._limits.nodes} values", "split the file")
        if event.tag is not None and event.tag != "!":
            shown = event.tag.removeprefix("tag:yaml.org,2002:")
            raise self._stop_at(event, f"the tag `{shown}` is not allowed", "remove the tag; quote what is text")

    def _scalar(self, event: Any) -> None:
        self._count(event)
        row, column = self._spot(event.start_mark)
        origin = Origin(self._file, row + 1, column + 1)
        text, style = event.value, event.style
        marks = Marks(origin, origin, raw=text)
        value = text if style else self._plain(text, row, column)
        self._place_text(marks, event)
        if style and "\0" in text:
            self.problems.append(self._problem("a text holds a NUL character", row, column, "remove \\0"))
        self._put(event, value, marks)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, marks, 1)

    def _plain(self, text: str, row: int, column: int) -> Any:
        try:
            return scalars.resolve(text)
        except ValueError as error:
            hint = f"as text: {quoted(text[:60])}"
            self.problems.append(self._problem(str(error), row, column, hint, "bad_value"))
            return None

    def _place_text(self, marks: Marks, event: Any) -> None:
        """Where the first character of a scalar's text stands, and how the text goes on."""
        start, end, style, text = event.start_mark, event.end_mark, event.style, event.value
        if style in ("|", ">"):
            below = layout.after_header(self._text, start.index)
            indent = layout.block_indent(self._text, below, text)
            row, _ = self._lines_at.at(below)
            # The lines of a literal block are those of the file, but for ends that YAML alone knows.
            moved = Layout(indent)
            if style == ">" or self._odd:
                moved = layout.block_layout(self._text, self._lines_at, below, indent, style, text)
            marks.text = Origin(self._file, row + 1, indent + 1, layout=moved)
            return
        quote = 1 if style else 0
        begin = start.index
        if event.anchor is not None or event.tag is not None:
            begin = layout.after_anchor(self._text, begin)
            row, column = self._lines_at.at(begin)
            marks.value = marks.text = Origin(self._file, row + 1, column + 1)
        if quote:
            marks.text = marks.value.moved(0, marks.value.column + 1)
        if end.line > start.line or (quote and end.index - begin != len(text) + 2):
            span = begin + quote, end.index - quote
            found = layout.flow_layout(self._text, self._lines_at, span, style, text)
            marks.text = replace(marks.text, layout=found)

    def _alias(self, event: Any) -> None:
        known = self._anchors.get(event.anchor, ())
        if known == ():
            raise self._stop_at(event, f"`*{event.anchor}` names no anchor", f"quote it: {quoted('*' + event.anchor)}")
        if not known:
            raise self._stop_at(event, f"`*{event.anchor}` stands inside its own anchor", "remove the alias")
        value, marks, size = known
        self._aliases += 1
        self._expanded += size
        self._nodes += 1
        if self._aliases > self._limits.aliases:
            raise self._stop_at(event, f"the file holds more than {self._limits.aliases} aliases", "write values out")
        if self._expanded > self._limits.expanded:
            message = f"aliases repeat more than {self._limits.expanded} values"
            raise self._stop_at(event, message, "write values out")
        self._put(event, value, replace(marks))

    def _mapping_start(self, event: Any) -> None:
        self._start(event, {})

    def _list_start(self, event: Any) -> None:
        self._start(event, [])

    def _start(self, event: Any, value: Any) -> None:
        self._count(event)
        if len(self._stack) >= self._limits.depth:
            raise self._stop_at(event, f"nested deeper than {self._limits.depth} levels", "write it flatter")
        row, column = self._spot(event.start_mark)
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is _WAITING:
            hint = self._hint(row) or "a key is one word or a text in quotes"
            raise self._stop_at(event, "YAML reads this as a mapping used as a key; it needs quotes", hint)
        origin = Origin(self._file, row + 1, column + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(value, Marks(origin, origin), event.anchor, self._nodes + self._expanded))

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        if done.anchor is not None:
            size = self._nodes + self._expanded - done.before + 1
            self._anchors[done.anchor] = (done.value, done.marks, size)
        self._put(event, done.value, done.marks)

    def _put(self, event: Any, value: Any, marks: Marks) -> None:
        """Hand a finished value to what it stands in."""
        if not self._stack:
            self.value, self.marks = value, marks
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.marks.children[len(top.value)] = marks
            top.value.append(value)
        elif top.key is _WAITING:
            self._key(event, top, value, marks)
        else:
            top.value[top.key] = value
            marks.key, marks.key_raw = top.key_origin, top.key_raw
            top.marks.children[top.key] = marks
            top.key = _WAITING

    def _key(self, event: Any, top: _Open, key: Any, marks: Marks) -> None:
        row, column = self._spot(event.start_mark)
        if isinstance(key, dict | list):
            raise self._stop_at(event, "an alias cannot be a key", "write the key out")
        if key == "<<" and not event.style:
            message = "`<<` is not part of YAML 1.2"
            self.problems.append(self._problem(message, row, column, "write the keys out, or use `defaults`"))
        if key in top.value:
            first = top.marks.children[key]
            if first.key_raw == marks.raw or isinstance(key, str):
                message = f"key `{marks.raw}` is written twice; the first is in line {first.key.line}"
                self.problems.append(self._problem(message, row, column, "keep one of them"))
            else:  # 1, 1.0 and true are one key to Python
                for raw, origin in ((first.key_raw, first.key), (marks.raw, marks.value)):
                    message, hint = f"key {raw} is not a string; quote it", f'"{raw}":'
                    self.problems.append(Problem("bad_key", message, "", origin, hint))
        top.key, top.key_origin, top.key_raw = key, marks.value, marks.raw
