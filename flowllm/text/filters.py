"""The filters and tests that templates may use: pure functions of values, bounded by a `Meter`.

Each filter takes the rendering first, whose meter it asks before it builds much, then the value.
`ABSENT` stands for what is not there: `default` and the test `defined` are given it, filters that
choose return it. The first parameters' names are Jinja's, so that its keywords work.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from flowllm.text.limits import Meter, cost
from flowllm.text.paths import look, what
from flowllm.text.words import count_words, prose
from flowllm.text.writing import as_json, written

ABSENT: Final = object()
_WORD: Final = re.compile(r"([-\s({\[<]+)")
_PRECISION: Final = 100
_INDENT: Final = 8
_LETTERS: Final = 8
"""Letters of an attribute that are looked up in a step."""
Attribute = str | int | None


class Metered(Protocol):
    """What a filter knows of the rendering it works for."""

    meter: Meter


def _attribute(value: Any, attribute: Attribute) -> Any:
    if attribute is None:
        return value
    for step in attribute.split(".") if isinstance(attribute, str) else [attribute]:
        key = int(step) if isinstance(step, str) and step.isdecimal() and not isinstance(value, Mapping) else step
        found, value = look(value, key)
        if not found:
            raise ValueError(f"an item {value}")
    return value


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, (str, list, tuple)):
        return value
    if isinstance(value, Mapping) or hasattr(value, "__len__"):
        return list(value)
    raise TypeError(f"{what(value)} has no items")


def _each(run: Metered, value: Any, attribute: Attribute) -> Sequence[Any]:
    """The items, each of which an attribute is about to be read from."""
    items = _items(value)
    run.meter.step(len(items) * (1 + len(attribute) // _LETTERS if isinstance(attribute, str) else 1))
    return items


def _of_each(run: Metered, value: Any, attribute: Attribute) -> list[Any]:
    return [_attribute(item, attribute) for item in _each(run, value, attribute)]


def pay_tests(run: Metered, count: int, arguments: Sequence[Any]) -> None:
    """Say that ``count`` values are about to be compared with ``arguments``, or looked for in them."""
    for argument in arguments:
        if isinstance(argument, str):
            run.meter.step(count * cost(argument))
        else:
            run.meter.compare(argument, count)


def _number(value: Any) -> Any:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{what(value)} is not a number")
    return value


def _abs(_: Metered, value: Any) -> Any:
    return abs(_number(value))


def _first(_: Metered, value: Any) -> Any:
    items = _items(value)
    return items[0] if items else ABSENT


def _last(_: Metered, value: Any) -> Any:
    items = _items(value)
    return items[-1] if items else ABSENT


def _float(_: Metered, value: Any, default: Any = 0.0) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _int(_: Metered, value: Any, default: Any = 0) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        number = _float(_, value, None)
        return default if number is None or not math.isfinite(number) else int(number)


def _texts(run: Metered, values: Sequence[Any]) -> list[str]:
    run.meter.before(*values)
    return [written(value) for value in values]


def _text(run: Metered, value: Any) -> str:
    return _texts(run, [value])[0]


def _join(run: Metered, value: Any, d: str = "", attribute: Attribute = None) -> str:
    texts = _texts(run, _of_each(run, value, attribute))
    separator = _text(run, d)
    run.meter.build(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _length(_: Metered, value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else len(_items(value))


def _list(_: Metered, value: Any) -> list[Any]:
    return list(_items(value))


def _lower(run: Metered, value: Any) -> str:
    return _text(run, value).lower()


def _upper(run: Metered, value: Any) -> str:
    return _text(run, value).upper()


def _map(run: Metered, value: Any, *, attribute: Attribute, default: Any = ABSENT) -> list[Any]:
    if default is ABSENT:
        return _of_each(run, value, attribute)
    return [_attribute_or(item, attribute, default) for item in _each(run, value, attribute)]


def _attribute_or(item: Any, attribute: Attribute, default: Any) -> Any:
    try:
        return _attribute(item, attribute)
    except ValueError:
        return default


def _folded(value: Any, *, case_sensitive: bool) -> Any:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _key(run: Metered, attribute: Attribute, *, case_sensitive: bool) -> Callable[[Any], Any]:
    def key(item: Any) -> Any:
        found = _attribute(item, attribute)
        run.meter.compare(found)
        run.meter.read(found)
        return _folded(found, case_sensitive=case_sensitive)

    return key


def _max(run: Metered, value: Any, *, case_sensitive: bool = False, attribute: Attribute = None) -> Any:
    items = _each(run, value, attribute)
    return max(items, key=_key(run, attribute, case_sensitive=case_sensitive), default=ABSENT)


def _min(run: Metered, value: Any, *, case_sensitive: bool = False, attribute: Attribute = None) -> Any:
    items = _each(run, value, attribute)
    return min(items, key=_key(run, attribute, case_sensitive=case_sensitive), default=ABSENT)


def _sort(
    run: Metered, value: Any, *, reverse: bool = False, case_sensitive: bool = False, attribute: Attribute = None
) -> list[Any]:
    items = _each(run, value, attribute)
    return sorted(items, key=_key(run, attribute, case_sensitive=case_sensitive), reverse=reverse)


def _sum(run: Metered, value: Any, attribute: Attribute = None, start: Any = 0) -> Any:
    return sum((_number(item) for item in _of_each(run, value, attribute)), _number(start))


def _prose(run: Metered, value: Any, attribute: Attribute = None) -> str:
    texts = _texts(run, _of_each(run, value, attribute))
    run.meter.build(sum(map(len, texts)) + len(texts))
    return prose(texts)


def _replace(run: Metered, value: Any, old: str, new: str, count: int = -1) -> str:
    text, old, new = _texts(run, (value, old, new))
    found = text.count(old) if count is None or count < 0 else min(count, text.count(old))
    added = found * max(0, len(new) - len(old))
    run.meter.fit(len(text) + added)
    run.meter.build(added)
    return text.replace(old, new, found)


def _round(_: Metered, value: Any, precision: int = 0, method: str = "common") -> Any:
    if abs(precision) > _PRECISION:
        raise ValueError(f"a precision is between -{_PRECISION} and {_PRECISION}")
    if method == "common":
        return round(_number(value), precision)
    if method not in ("ceil", "floor"):
        raise ValueError("the method of round is common, ceil or floor")
    step = math.ceil if method == "ceil" else math.floor
    return step(_number(value) * 10**precision) / 10**precision


def _title(run: Metered, value: Any) -> str:
    return "".join(word[0].upper() + word[1:].lower() for word in _WORD.split(_text(run, value)) if word)


def _tojson(run: Metered, value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= _INDENT:
        raise ValueError(f"an indent is between 0 and {_INDENT}")
    run.meter.before(value)
    text = as_json(value, indent)
    run.meter.read(text)
    return text


def _trim(run: Metered, value: Any, chars: str | None = None) -> str:
    text = _text(run, value)
    run.meter.step(cost(text) * cost(chars))
    return text.strip(chars)


def _truncate(
    run: Metered,
    value: Any,
    length: int = 255,
    killwords: bool = False,  # noqa: FBT001, FBT002  Jinja's signature
    end: str = "...",
    leeway: int = 5,
) -> str:
    text = _text(run, value)
    if length < len(end) or leeway < 0:
        raise ValueError(f"a length is at least {len(end)}, a leeway at least 0")
    if len(text) <= length + leeway:
        return text
    kept = text[: length - len(end)]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + end


def _wordcount(run: Metered, value: Any) -> int:
    return count_words(_text(run, value))


def _default(
    _: Metered,
    value: Any,
    default_value: Any = "",
    boolean: bool = False,  # noqa: FBT001, FBT002  Jinja's signature
) -> Any:
    return default_value if value is ABSENT or (boolean and not value) else value


def _selectattr(run: Metered, value: Any, attribute: Attribute, test: str = "", *arguments: Any) -> list[Any]:
    if test and test not in TESTS:
        raise ValueError(f"there is no test `{test}`")
    check = TESTS[test] if test else bool
    read = _attribute_or_absent if test in MAY_BE_ABSENT else _attribute
    items = _each(run, value, attribute)
    pay_tests(run, len(items), arguments)
    return [item for item in items if check(read(item, attribute), *arguments)]


def _attribute_or_absent(item: Any, attribute: Attribute) -> Any:
    return _attribute_or(item, attribute, ABSENT)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": _abs, "default": _default, "first": _first, "float": _float, "int": _int, "join": _join, "last": _last,
    "length": _length, "list": _list, "lower": _lower, "map": _map, "max": _max, "min": _min, "prose": _prose,
    "replace": _replace, "round": _round, "selectattr": _selectattr, "sort": _sort, "sum": _sum, "title": _title,
    "tojson": _tojson, "trim": _trim, "truncate": _truncate, "upper": _upper, "wordcount": _wordcount,
}  # fmt: skip

CHOOSING: Final = frozenset({"first", "last", "max", "min"})
"""Filters that return `ABSENT` where there is nothing to choose from."""

MAY_BE_ABSENT: Final = frozenset({"defined", "undefined"})
"""Tests of what may be missing; every other test fails on it."""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return not isinstance(value, (bool, str)) and hasattr(value, "__float__")


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")


TESTS: Final[Mapping[str, Callable[..., Any]]] = {
    "defined": lambda value: value is not ABSENT,
    "undefined": lambda value: value is ABSENT,
    "none": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_integer,
    "float": lambda value: isinstance(value, float),
    "mapping": lambda value: isinstance(value, Mapping),
    "sequence": _is_sequence,
    "iterable": lambda value: hasattr(value, "__iter__"),
    "odd": lambda value: value % 2 == 1,
    "even": lambda value: value % 2 == 0,
    "divisibleby": lambda value, number: value % number == 0,
    "in": lambda value, items: value in items,
    **dict.fromkeys(("eq", "equalto", "=="), lambda value, other: value == other),
    **dict.fromkeys(("ne", "!="), lambda value, other: value != other),
    **dict.fromkeys(("lt", "lessthan", "<"), lambda value, other: value < other),
    **dict.fromkeys(("le", "<="), lambda value, other: value <= other),
    **dict.fromkeys(("gt", "greaterthan", ">"), lambda value, other: value > other),
    **dict.fromkeys(("ge", ">="), lambda value, other: value >= other),
}
