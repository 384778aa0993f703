"""Lines of a text that are no prose: fenced code, rows of tables, headings. Plain text has none of them.

Code stands between two fences of at least three backticks or tildes, the second as long as the first
or longer; a fence that is never closed is no fence. A row begins with ``|`` and has another one. The
cost is linear in the text, but for texts made of many fences of different lengths.
"""

import re
from collections.abc import Sequence

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\n]*)")
_ROW = re.compile(r"[ \t]*\|[^|\n]*\|")
_UNDERLINE = re.compile(r"[ \t]*(?:={2,}|-{2,})")


def fenced(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Of each block of code the index of its first line and the one behind its last."""
    marks = [(index, found[1], found[2].strip()) for index, line in enumerate(lines) if (found := _FENCE.match(line))]
    blocks, unclosed = [], {"`": 1 << 62, "~": 1 << 62}
    place = 0
    while place < len(marks):
        index, fence, words = marks[place]
        place += 1
        if len(fence) >= unclosed[fence[0]] or (fence[0] == "`" and "`" in words):
            continue
        close = next((at for at in range(place, len(marks)) if _closes(marks[at], fence)), None)
        if close is None:
            unclosed[fence[0]] = len(fence)
            continue
        blocks.append((index, marks[close][0] + 1))
        place = close + 1
    return blocks


def _closes(mark: tuple[int, str, str], fence: str) -> bool:
    _, other, words = mark
    return not words and other.startswith(fence)


def is_row(line: str) -> bool:
    """Whether a line is a row of a table."""
    return _ROW.match(line) is not None


def is_underline(line: str) -> bool:
    """Whether a line makes a heading of the line above it."""
    return _UNDERLINE.fullmatch(line) is not None
