"""Where each character of a scalar stands: its source is read again, and must give the value that the parser gave.

What YAML does to a text between its marks: line ends are folded, escapes and doubled quotes stand for one
character, a block is moved in. Lines of a file end with LF, CR LF or CR, as in editors; YAML itself knows more.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from flowllm.core.origin import Layout

LINE_END = re.compile(r"\r\n|\r|\n")
ODD_ENDS = "\x85\u2028\u2029"
"""What ends a line for YAML alone."""

_ENDS = r"\r\n\x85\u2028\u2029"
_END = rf"(?:\r\n|[{_ENDS}])"
_FOLD = rf"(?P<fold>[ \t]*{_END}(?:[ \t]*{_END})*[ \t]*)"
_PROPERTIES = r"(?:[&!]\S*\s+(?:#[^\r\n]*\s+)*)*"
_BLOCK_LINE = rf"([^{_ENDS}]*)({_END}|$)"
_STYLES = {
    "": rf"{_FOLD}|(?P<run>[ \t]+|[^ \t{_ENDS}]+)",
    "'": rf"{_FOLD}|(?P<one>'')|(?P<run>[ \t]+|[^' \t{_ENDS}]+)",
    '"': (
        rf"{_FOLD}|(?P<join>\\{_END}(?:[ \t]*{_END})*[ \t]*)"
        rf"|(?P<one>\\(?:x.{{2}}|u.{{4}}|U.{{8}}|.))|(?P<run>[ \t]+|[^\\ \t{_ENDS}]+)"
    ),
}
Pieces = Iterator[tuple[int, str | None]]
"""Where a piece of the source begins, and its text; None for one character that is spelled otherwise."""


class Lines:
    """The lines of a file: from an index in it to a row and a column, both from 0."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in LINE_END.finditer(text))]

    def at(self, index: int) -> tuple[int, int]:
        """The row and column of a character."""
        row = bisect_right(self._starts, index) - 1
        return row, index - self._starts[row]


def flow_layout(text: str, lines: Lines, span: tuple[int, int], style: str | None, value: str) -> Layout | None:
    """The layout of a plain or quoted scalar whose text is that ``span`` of a file's; None where nothing jumps."""
    return _layout(_flow(text, span, style or ""), lines, lines.at(span[0]), value)


def block_indent(text: str, start: int, value: str) -> int:
    """How far the lines of a block scalar are moved in; ``start`` is the first after its header."""
    position = start
    for match in re.compile(_BLOCK_LINE).finditer(text, start):
        position = match.start()
        if match[1].strip(" ") or not match[2]:
            break
    first = next((line for line in value.split("\n") if line.strip(" ")), "")
    return max(0, _blanks(text, position) - _blanks(first, 0))


def block_layout(text: str, lines: Lines, start: int, indent: int, style: str, value: str) -> Layout:
    """The layout of a literal or folded block scalar; ``start`` is the first line after its header."""
    row, _ = lines.at(start)
    pieces = _folded(text, start, indent) if style == ">" else _literal(text, start, indent)
    return _layout(pieces, lines, (row, indent), value) or Layout(indent)


def after_anchor(text: str, start: int) -> int:
    """Where a scalar itself begins, behind its anchor or tag."""
    match = re.compile(_PROPERTIES).match(text, start)
    return match.end() if match else start


def after_header(text: str, start: int) -> int:
    """Where the line after a block scalar's header begins."""
    match = re.compile(_END).search(text, start)
    return match.end() if match else len(text)


def _blanks(text: str, at: int) -> int:
    end = at
    while text.startswith(" ", end):
        end += 1
    return end - at


def _flow(text: str, span: tuple[int, int], style: str) -> Pieces:
    for match in re.compile(_STYLES[style]).finditer(text, *span):
        kind = match.lastgroup
        if kind == "run":
            yield match.start(), match[0]
        elif kind == "one":
            yield match.start(), None
        else:
            ends = re.findall(_END, match[0])
            yield match.start(), _folding(ends) if kind == "fold" else "".join(map(_kept, ends[1:]))


def _kept(end: str) -> str:
    """A line end as it stands in a value."""
    return end if end in "\u2028\u2029" else "\n"


def _folding(ends: list[str]) -> str:
    """What line ends between two texts become."""
    rest = "".join(map(_kept, ends[1:]))
    return _kept(ends[0]) + rest if ends[0] in "\u2028\u2029" else rest or " "


def _folded(text: str, start: int, indent: int) -> Pieces:
    ends: list[str] = []
    before, end = "", start + indent
    for match in re.compile(_BLOCK_LINE).finditer(text, start):
        line = match[1]
        if len(line) > indent and not line[:indent].strip(" "):
            content = line[indent:]
            if ends:
                folds = before[:1] not in ("", " ", "\t") and content[0] not in " \t"
                yield end, _folding(ends) if folds else "".join(map(_kept, ends))
            yield match.start() + indent, content
            before, end, ends = content, match.end(1), []
        elif line.strip(" "):
            return
        ends.append(match[2])


def _literal(text: str, start: int, indent: int) -> Pieces:
    ends, end = "", start + indent
    for match in re.compile(_BLOCK_LINE).finditer(text, start):
        line = match[1]
        if len(line) > indent and not line[:indent].strip(" "):
            yield end, ends
            yield match.start() + indent, line[indent:]
            end, ends = match.end(1), ""
        elif line.strip(" "):
            return
        ends += _kept(match[2])


def _layout(pieces: Pieces, lines: Lines, start: tuple[int, int], value: str) -> Layout | None:
    """Jumps from the pieces of a scalar; None where its source does not give its value after all."""
    top, first = start
    jumps: list[tuple[int, int, int, int]] = []
    now = (0, 0, 0, first + 1)
    offset = row = column = 0
    for index, written in pieces:
        piece = value[offset : offset + 1] if written is None else written
        if not value.startswith(piece, offset):
            return None
        line, at = lines.at(index)
        here = (row, column, line - top, at + 1)
        if piece and (now[0] != row or now[2] != here[2] or now[3] + column - now[1] != here[3]):
            jumps.append(here)
            now = here
        offset += len(piece)
        row, column = _moved(row, column, piece)
    if value[offset:].strip("\n"):
        return None
    return Layout(0, tuple(_last_of_each(jumps))) if jumps else None


def _moved(row: int, column: int, piece: str) -> tuple[int, int]:
    newlines = piece.count("\n")
    return (row + newlines, len(piece) - piece.rfind("\n") - 1) if newlines else (row, column + len(piece))


def _last_of_each(jumps: list[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Jumps whose character something follows: of two at the same place the last counts."""
    yield from (one for one, following in pairwise([*jumps, (-1, -1, 0, 0)]) if one[:2] != following[:2])
