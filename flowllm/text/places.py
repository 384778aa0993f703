"""From a line and column inside a text to the place in the file that holds the text."""

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from flowllm.core.origin import Layout, Origin
from flowllm.text.plain import source_lines

_CODE: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_PLAIN: Final = Layout()
STRIDE: Final = 1 << 24
"""More than any line has columns: a *spot* is ``line * STRIDE + column`` in one number."""


def unspotted(spot: int) -> tuple[int, int]:
    """The line, from 1, and the column, from 0, of a spot; the beginning for what has none."""
    return divmod(spot, STRIDE) if spot >= STRIDE else (1, 0)


def place_of(origin: Origin, line: int, column: int) -> Origin:
    """Line ``line`` (from 1) and column ``column`` (from 0) of a text that starts at ``origin``."""
    if not origin.line:
        return origin
    layout = origin.layout or _PLAIN
    row = max(line - 1, 0)
    before = bisect_left(layout.jumps, (row, column + 1)) - 1
    from_row, from_column, down, at = layout.jumps[before] if before >= 0 else (0, 0, 0, origin.column)
    if row == from_row:
        return origin.moved(down, at + column - from_column)
    return origin.moved(down + row - from_row, layout.indent + column + 1)


def place_in(origin: Origin, text: str, at: int) -> Origin:
    """The place of character ``at`` of ``text``, with the layout of what follows it."""
    row, column = text.count("\n", 0, at), at - text.rfind("\n", 0, at) - 1
    place = place_of(origin, row + 1, column)
    if origin.layout is None or not origin.line:
        return place
    jumps = tuple(
        (line - row, start - column if line == row else start, origin.line + down - place.line, there)
        for line, start, down, there in origin.layout.jumps
        if (line, start) > (row, column)
    )
    return replace(place, layout=Layout(origin.layout.indent, jumps))


def column_of(source: str, line: int, words: Iterable[str], *, expression: bool, near: int = 0) -> int:
    """The column of that one of ``words`` in the code of line ``line`` which stands nearest to column ``near``.

    The first word that is there counts; where none is, it is ``near``.
    """
    lines = source_lines(source)
    if not 1 <= line <= len(lines):
        return 0
    before = sum(len(earlier) + 1 for earlier in lines[: line - 1])
    spans = [(0, len(source))] if expression else [match.span() for match in _CODE.finditer("\n".join(lines))]
    for word in filter(None, words):
        starts = [match.start() for match in re.finditer(_pattern(word), lines[line - 1])]
        inside = [start for start in starts if any(first <= before + start < end for first, end in spans)]
        if inside:
            return min(inside, key=lambda start: abs(start - near))
    return near


def _pattern(word: str) -> str:
    before = r"(?<![\w.])" if word[:1].isidentifier() else ""
    after = r"(?!\w)" if word[-1:].isidentifier() else ""
    return before + re.escape(word) + after
