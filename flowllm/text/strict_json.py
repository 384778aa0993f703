"""Strict JSON (RFC 8259) for data that comes from outside: what it accepts, any other reader accepts too.

Refused beside broken syntax: repeated keys, NaN and infinities, numbers too large for a float, integers
of more than 4,300 digits, lone surrogates, nesting deeper than `DEPTH`, bytes that are no UTF-8.
Integers keep every digit; a byte order mark at the start is dropped.
"""

import json
import re
from typing import Any, NoReturn

DEPTH = 512
"""How deep lists and objects may nest."""

_DIGITS = 4300
_SHOWN = 40
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODINGS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32"))


class InvalidJson(ValueError):
    """Text that is not strict JSON; the message is one sentence without the text itself."""


def loads(text: str | bytes) -> Any:
    """The value that ``text`` holds; raises `InvalidJson` for anything that is not strict JSON."""
    source = decode(text) if isinstance(text, bytes) else text.removeprefix("\ufeff")
    _check_depth(source)
    try:
        value = _DECODER.decode(source)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise InvalidJson(f"lists and objects nest deeper than {DEPTH} levels") from None
    if "\\u" in source or _SURROGATE.search(source):
        _refuse_surrogates(value)
    return value


def decode(data: bytes) -> str:
    """UTF-8 bytes as text without a byte order mark; `InvalidJson` names the first bad byte's offset."""
    for mark, name in _ENCODINGS:
        if data.startswith(mark):
            raise InvalidJson(f"the text is {name}, not UTF-8")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"byte {data[error.start]:#04x} at offset {error.start} is not valid UTF-8") from None


def _check_depth(source: str) -> None:
    """Stop before the parser nests too deep; brackets inside strings are skipped by the pattern."""
    if source.count("[") + source.count("{") <= DEPTH:
        return
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', source, re.DOTALL):
        word = match[0]
        depth += 1 if word in "[{" else -1 if word in "]}" else 0
        if depth > DEPTH:
            raise InvalidJson(f"lists and objects nest deeper than {DEPTH} levels")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidJson(f"the key {_shown(twice)} is given twice in one object")
    return found


def _constant(word: str) -> NoReturn:
    raise InvalidJson(f"{word} is not a JSON number")


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise InvalidJson(f"the number {_shown(digits)} is too large")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise InvalidJson(f"an integer has more than {_DIGITS} digits")
    return int(digits)


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return json.dumps(short)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_integer)


def _refuse_surrogates(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and _SURROGATE.search(item):
            raise InvalidJson("a string holds half of a surrogate pair")
