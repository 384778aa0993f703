"""Finding the JSON in what a model wrote: the whole text, a value in prose, or one in a fence.

Only strict JSON counts. Lists and objects are looked for in the order of the text, whatever stands
around them; a number, string or word counts only when it is the whole text or a whole fence. The
time is linear in the text: where a value breaks off, the search goes on there.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from flowllm.text.strict_json import InvalidJson, loads

MOST = 64
"""Values looked at in one text."""

_FENCE = "```"
_OPENING = re.compile(r'\{\s*["}]|\[\s*[\]\[{"\-0-9tfnNI]')
_PIECE, _LONGEST_WORD = 256, 16
_FINDER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=len)
"""Finds where a value ends without making numbers."""


def read_json(text: str, fits: Callable[[Any], bool] | None = None) -> Any:
    """The value of a text that is JSON, else the first value in it that ``fits``, else the first one.

    Raises `InvalidJson` (a ValueError) when there is none, or when the first one is not strict.
    """
    try:
        return loads(text)
    except InvalidJson as error:
        whole = error
    first: list[Any] = []
    for value in islice(json_values(text), MOST):
        if fits is None or fits(value):
            return value
        first = first or [value]
    if not first:
        raise whole if _looks_whole(text) else InvalidJson("the text holds no list or object in JSON")
    return first[0]


def json_values(text: str) -> Iterator[Any]:
    """Every outermost list or object of the text in order, then the scalars that fill a fence.

    The first value that is not strict raises `InvalidJson`; later ones are left out.
    """
    found = False
    for start, end in _spans(text):
        try:
            value = loads(text[start:end])
        except InvalidJson:
            if not found:
                raise
            continue
        found = True
        yield value
    if not found:
        yield from _fenced_scalars(text)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    opening = _OPENING.search(text)
    while opening:
        start = opening.start()
        whole, end = _end_of(text, start)
        if whole:
            yield start, end
        opening = _OPENING.search(text, end)


def _end_of(text: str, start: int) -> tuple[bool, int]:
    """Whether a value begins at ``start``, and where it ends or breaks off.

    The decoder sees a piece at a time: the place in its errors costs time in all that came before.
    """
    size = _PIECE
    while True:
        piece = text[start : start + size]
        try:
            return True, start + _FINDER.raw_decode(piece)[1]
        except RecursionError:
            raise InvalidJson("lists and objects nest too deep") from None
        except json.JSONDecodeError as error:
            cut = error.pos > len(piece) - _LONGEST_WORD or error.msg.startswith("Unterminated string")
            if not cut or start + size >= len(text):
                return False, start + _behind(piece, error.pos)
        size *= 4


def _behind(piece: str, broken: int) -> int:
    """Where to look on: at the break, or inside the string before it, for its quote may be one of prose."""
    before = piece[:broken].rstrip()
    return max(1, before.rfind('"', 0, -1) + 1 if before.endswith('"') else broken)


def _fenced_scalars(text: str) -> Iterator[Any]:
    for fence in text.split(_FENCE)[1::2]:
        word, _, body = fence.partition("\n")
        try:
            yield loads(body if body.strip() else word)
        except InvalidJson:
            continue


def _looks_whole(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))
