"""Words for error messages about slots: what was written, and how it is written instead."""

import json
import re
from typing import Any, Final

_SHOWN: Final = 60
_PLAIN_WORD: Final = r"[A-Za-z](?:[\w /()%+.;-]*[\w)%.])?"
_NOT_TEXT: Final = frozenset({"true", "false", "null", "True", "False", "Null", "TRUE", "FALSE", "NULL"})
_LOOSE: Final = r"[<>=+-]|\b(?:and|or|not|in|is|if)\b"
_CLOSING: Final = {"}": "{", "]": "[", ")": "("}


def shortened(text: str) -> str:
    """``text`` on one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def as_yaml(value: Any) -> str:
    """A scalar as it is written in YAML's flow style."""
    if isinstance(value, str) and len(value) <= _SHOWN and re.fullmatch(_PLAIN_WORD, value) and value not in _NOT_TEXT:
        return value
    if isinstance(value, str):
        return json.dumps(shortened(value) if len(value) > _SHOWN else value, ensure_ascii=False)
    return json.dumps(value, default=str)


def expression_end(text: str, start: int) -> int:
    """Where the ``}}`` stands that ends the expression whose ``{{`` is at ``start``; -1 without one."""
    open_brackets: list[str] = []
    position = start + 2
    while position < len(text):
        character = text[position]
        if character in "'\"":
            position = _string_end(text, position)
        elif character == "}" and not open_brackets and text.startswith("}}", position):
            return position
        elif character in "{[(":
            open_brackets.append(character)
        elif open_brackets and _CLOSING.get(character) == open_brackets[-1]:
            open_brackets.pop()
        position += 1
    return -1


def _string_end(text: str, start: int) -> int:
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return position


def only_expression(text: str) -> tuple[str, int] | None:
    """The inside of the one ``{{ }}`` that ``text`` is, and where it starts; None for anything else."""
    start = len(text) - len(text.lstrip())
    if not text.startswith("{{", start):
        return None
    end = expression_end(text, start)
    if end < 0 or text[end + 2 :].strip():
        return None
    inside = text[start + 2 : end]
    offset = start + 2
    if inside[:1] in ("-", "+") and inside[1:2].isspace():
        inside, offset = inside[1:], offset + 1
    if inside[-1:] == "-":
        inside = inside[:-1]
    return inside.strip(), offset + len(inside) - len(inside.lstrip())


def one_expression(text: str) -> str:
    """A hint: the same text as one expression, where that can be written."""
    if "{%" in text or "'" in text:
        return "a text with values in it is a node of its own: {kind: prompt, text: ...}"
    parts: list[str] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = expression_end(text, start)
        if end < 0:
            return "close the expression with }}"
        parts += [f"'{text[position:start]}'" if position < start else "", _bound(text[start + 2 : end].strip())]
        position = end + 2
    parts.append(f"'{text[position:]}'" if position < len(text) else "")
    return 'write "{{ ' + " ~ ".join(part for part in parts if part) + ' }}"'


def inner_expression(text: str) -> str:
    """A hint: the first expression in the text alone; empty without one."""
    start = text.find("{{")
    end = expression_end(text, start) if start >= 0 else -1
    return json.dumps(text[start : end + 2], ensure_ascii=False) if end >= 0 else ""


def _bound(expression: str) -> str:
    """An expression that ``~`` does not take apart."""
    return f"({expression})" if re.search(_LOOSE, expression) else expression
