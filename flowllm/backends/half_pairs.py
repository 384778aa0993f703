r"""Halves of surrogate pairs in JSON: some servers cut ``\ud83d\ude00`` between two events of a stream.

A strict parser refuses such an event. Here it is read with its halves; two that belong together are joined
where the first ends a text of one event and the second begins the same text of the next, and one that is alone
is U+FFFD. Nothing of this is on the way of an event that a strict parser takes.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flowllm.backends.framing import Frame

_Leaf = tuple[Any, Any, tuple[Any, ...]]
"""A mapping or list, the key of a text with halves in it, and the way to it."""


def with_halves(data: bytes) -> Any:
    """The JSON of ``data`` where all that is wrong with it are halves of pairs in its texts; None for anything else."""
    if b"\\u" not in data:
        return None
    try:
        value = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and any(_leaves(value)) else None


def is_open(value: Any) -> bool:
    """Whether a text ends in the first half of a pair."""
    return any(_is_high(holder[key][-1]) for holder, key, _ in _leaves(value))


def join(first: Any, second: Any) -> None:
    """Move the second halves at the beginnings of texts of ``second`` to the first halves that they belong to."""
    texts = {way: (holder, key) for holder, key, way in _leaves(first)}
    for holder, key, way in list(_leaves(second)):
        before, at = texts.get(way, (None, None))
        text = holder[key]
        if before is not None and _is_high(before[at][-1]) and "\udc00" <= text[0] <= "\udfff":
            before[at], holder[key] = before[at] + text[0], text[1:]


def frame_of(frame: Frame, value: Any, *, mended: bool) -> Frame:
    """``frame`` with ``value`` as its JSON; ``mended``: halves that are alone are U+FFFD."""
    for holder, key, _ in list(_leaves(value)) if mended else ():
        holder[key] = holder[key].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return replace(frame, data=json.dumps(value).encode())


def _is_high(sign: str) -> bool:
    return "\ud800" <= sign <= "\udbff"


def _leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[_Leaf]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        if not isinstance(part, str):
            yield from _leaves(part, (*way, key))
        elif any("\ud800" <= sign <= "\udfff" for sign in part):
            yield value, key, (*way, key)


def _refuse(word: str) -> None:
    raise ValueError(word)
