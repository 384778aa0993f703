"""From a line and column inside a text to the place in the file that holds the text."""

import re
from collections.abc import Iterable
from typing import Final

from flowllm.core.origin import Origin
from flowllm.text.plain import source_lines

_CODE: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def place_of(origin: Origin, indent: int, line: int, column: int) -> Origin:
    """Line ``line`` (from 1) and column ``column`` (from 0) of a text that starts at ``origin``."""
    if not origin.line:
        return origin
    if line <= 1:
        return origin.moved(0, origin.column + column)
    return origin.moved(line - 1, indent + column + 1)


def place_in(origin: Origin, indent: int, text: str, at: int) -> Origin:
    """The place of character ``at`` of ``text``."""
    line = text.count("\n", 0, at) + 1
    return place_of(origin, indent, line, at - text.rfind("\n", 0, at) - 1)


def column_of(source: str, line: int, words: Iterable[str], *, expression: bool) -> int:
    """The column of the first of ``words`` that stands in the code of line ``line``, else of the line's text."""
    lines = source_lines(source)
    if not 1 <= line <= len(lines):
        return 0
    text = lines[line - 1]
    before = sum(len(earlier) + 1 for earlier in lines[: line - 1])
    spans = [(0, len(source))] if expression else [match.span() for match in _CODE.finditer("\n".join(lines))]
    for word in filter(None, words):
        for match in re.finditer(_pattern(word), text):
            if any(start <= before + match.start() < end for start, end in spans):
                return match.start()
    return len(text) - len(text.lstrip())


def _pattern(word: str) -> str:
    before = r"(?<![\w.])" if word[:1].isidentifier() else ""
    after = r"(?!\w)" if word[-1:].isidentifier() else ""
    return before + re.escape(word) + after
