"""Errors of JSON Schema in our words: a path, what was expected, never the value itself."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jsonschema.exceptions import _Error

CAP = 500
"""Characters of one error."""

_SHOWN = 120
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_TYPES: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def describe(error: "_Error") -> str:
    """``$.lines[2].amount: expected number, got string``."""
    from jsonschema.exceptions import SchemaError

    where = path_text(error.absolute_path)
    what = _said(error) if not isinstance(error, SchemaError) else _schema_error(error)
    return _capped(f"{where}: {what}", CAP)


def path_text(path: Iterable[str | int]) -> str:
    """A path from the root as ``$.a[0]["b c"]``."""
    return "$" + "".join(_step(step) for step in path)


def type_name(value: Any) -> str:
    """JSON's name of a value's type."""
    return _TYPES.get(type(value), type(value).__name__)


def shown(value: Any) -> str:
    """A value of the schema in JSON, short."""
    return _capped(json.dumps(value, ensure_ascii=False, default=str), _SHOWN)


def _capped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _WORD.fullmatch(step) else f"[{_capped(json.dumps(step, ensure_ascii=False), 60)}]"


def _words(names: Iterable[Any]) -> str:
    return _capped(", ".join(f"`{_capped(str(name), 40)}`" for name in names), _SHOWN * 2)


def _schema_error(error: "_Error") -> str:
    return f"the schema breaks `{error.validator}`: {_said(error)}"


def _said(error: "_Error") -> str:
    say = _SENTENCES.get(str(error.validator))
    if say is not None:
        return say(error)
    return f"does not meet `{error.validator}`: {shown(error.validator_value)}"


def _type(error: "_Error") -> str:
    wanted = error.validator_value
    names = wanted if isinstance(wanted, list) else [wanted]
    return f"expected {' or '.join(map(str, names))}, got {type_name(error.instance)}"


def _required(error: "_Error") -> str:
    wanted, given = cast("list[str]", error.validator_value), cast("Mapping[str, Any]", error.instance)
    missing = [name for name in wanted if name not in given]
    return f"{_words(missing)} {'is' if len(missing) == 1 else 'are'} missing"


def _additional(error: "_Error") -> str:
    from flowllm.text.json_keywords import unlisted

    extra = unlisted(
        cast("Mapping[str, Any]", error.instance), error.schema if isinstance(error.schema, Mapping) else {}
    )
    return f"{_words(extra)} {'is' if len(extra) == 1 else 'are'} not allowed here"


def _alternatives(error: "_Error") -> str:
    inner = list(error.context or ())
    if inner and all(e.validator == "type" and not e.relative_path for e in inner):
        return f"expected {' or '.join(_wanted(e) for e in inner)}, got {type_name(error.instance)}"
    if not inner:
        return "meets more than one of the allowed shapes"
    near = max(inner, key=lambda e: (len(e.relative_path), e.validator != "type"))
    return f"meets none of the allowed shapes; nearest: {path_text(near.absolute_path)}: {_said(near)}"


def _wanted(error: "_Error") -> str:
    value = error.validator_value
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def _than(words: str, of: Callable[[Any], str] = lambda instance: "") -> Callable[["_Error"], str]:
    return lambda error: f"expected {words} {shown(error.validator_value)}{of(error.instance)}"


def _length(instance: Any) -> str:
    return f", got {len(instance)}"


_ANYTHING = r"\S"
"""The pattern of text that is more than blanks."""

_SENTENCES: Mapping[str, Callable[[Any], str]] = {
    "false": lambda e: "is not allowed here",
    "None": lambda e: "nothing is allowed here",
    "type": _type,
    "required": _required,
    "additionalProperties": _additional,
    "anyOf": _alternatives,
    "oneOf": _alternatives,
    "enum": lambda e: f"expected one of {_capped(', '.join(map(shown, e.validator_value)), _SHOWN * 2)}",
    "const": _than("the value"),
    "pattern": lambda e: (
        "is blank" if e.validator_value == _ANYTHING else f"expected text that matches {shown(e.validator_value)}"
    ),
    "format": lambda e: f"expected text of the format {e.validator_value}",
    "minimum": _than("at least"),
    "maximum": _than("at most"),
    "exclusiveMinimum": _than("more than"),
    "exclusiveMaximum": _than("less than"),
    "multipleOf": _than("a multiple of"),
    "minLength": _than("a length of at least", _length),
    "maxLength": _than("a length of at most", _length),
    "minItems": _than("a number of items of at least", _length),
    "maxItems": _than("a number of items of at most", _length),
    "uniqueItems": lambda e: "the items repeat",
    "minProperties": _than("a number of keys of at least", _length),
    "maxProperties": _than("a number of keys of at most", _length),
    "not": lambda e: "is of a shape that is not allowed",
    "contains": lambda e: "too few or too many items are of the wanted shape",
    "unevaluatedProperties": lambda e: "has keys that are not allowed here",
    "unevaluatedItems": lambda e: "has items that are not allowed here",
}
