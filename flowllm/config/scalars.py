"""Plain scalars by the core schema of YAML 1.2: `yes`, `no`, `on`, `off`, `1:30` and `1_000` are text."""

import math
import re
from typing import Any

_CONSTANTS: dict[str, Any] = {
    word: value
    for words, value in (
        (("", "~", "null", "Null", "NULL"), None),
        (("true", "True", "TRUE"), True),
        (("false", "False", "FALSE"), False),
    )
    for word in words
}
_NUMBER = re.compile(
    r"(?P<whole>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)"
    r"|(?P<real>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<odd>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_FIRST = frozenset("+-.0123456789")
_DIGITS = 4300


def resolve(text: str) -> Any:
    """The value of a plain scalar; raises ValueError for a number that JSON cannot hold."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _FIRST:
        return text
    match = _NUMBER.fullmatch(text)
    return text if match is None else _number(match)


def _number(match: re.Match[str]) -> int | float:
    text, kind = match[0], match.lastgroup
    if kind == "odd":
        raise ValueError(f"`{text}` is no number that JSON knows")
    if len(text) > _DIGITS:
        raise ValueError(f"a number has more than {_DIGITS} digits")
    if kind == "real":
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"`{text}` is too large for a number")
        return value
    base = {"octal": 8, "hexadecimal": 16}.get(kind or "", 10)
    return int(match[kind or 0], base)
