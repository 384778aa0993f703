"""The filters and tests that templates may use: pure functions of values, bounded by a `Meter`.

Each filter takes the meter first, then the value. `ABSENT` stands for what is not there: given to a
test it is undefined, returned by a filter it becomes an undefined value that `default` replaces.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flowllm.text.limits import Meter, cost
from flowllm.text.paths import look, what
from flowllm.text.writing import as_json, written

ABSENT: Final = object()
_WORD: Final = re.compile(r"([-\s({\[<]+)")
_PRECISION: Final = 100
_INDENT: Final = 8
Attribute = str | int | None


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


def _of_each(value: Any, attribute: Attribute) -> list[Any]:
    return [_attribute(item, attribute) for item in _items(value)]


def _number(value: Any) -> Any:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{what(value)} is not a number")
    return value


def _abs(_: Meter, value: Any) -> Any:
    return abs(_number(value))


def _first(_: Meter, value: Any) -> Any:
    items = _items(value)
    return items[0] if items else ABSENT


def _last(_: Meter, value: Any) -> Any:
    items = _items(value)
    return items[-1] if items else ABSENT


def _float(_: Meter, value: Any, default: Any = 0.0) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _int(_: Meter, value: Any, default: Any = 0) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        number = _float(_, value, None)
        return default if number is None or not math.isfinite(number) else int(number)


def _join(meter: Meter, value: Any, d: str = "", attribute: Attribute = None) -> str:
    texts = [written(item) for item in _of_each(value, attribute)]
    separator = written(d)
    meter.build(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _length(_: Meter, value: Any) -> int:
    return len(value) if isinstance(value, str) else len(_items(value))


def _list(_: Meter, value: Any) -> list[Any]:
    return list(_items(value))


def _lower(_: Meter, value: Any) -> str:
    return written(value).lower()


def _upper(_: Meter, value: Any) -> str:
    return written(value).upper()


def _map(_: Meter, value: Any, *, attribute: Attribute, default: Any = ABSENT) -> list[Any]:
    if default is ABSENT:
        return _of_each(value, attribute)
    return [_attribute_or(item, attribute, default) for item in _items(value)]


def _attribute_or(item: Any, attribute: Attribute, default: Any) -> Any:
    try:
        return _attribute(item, attribute)
    except ValueError:
        return default


def _folded(value: Any, case_sensitive: bool) -> Any:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _key(case_sensitive: bool, attribute: Attribute) -> Callable[[Any], Any]:
    return lambda item: _folded(_attribute(item, attribute), case_sensitive)


def _max(_: Meter, value: Any, case_sensitive: bool = False, attribute: Attribute = None) -> Any:
    return max(_items(value), key=_key(case_sensitive, attribute), default=ABSENT)


def _min(_: Meter, value: Any, case_sensitive: bool = False, attribute: Attribute = None) -> Any:
    return min(_items(value), key=_key(case_sensitive, attribute), default=ABSENT)


def _sort(_: Meter, value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: Attribute = None) -> list[Any]:
    return sorted(_items(value), key=_key(case_sensitive, attribute), reverse=reverse)


def _sum(_: Meter, value: Any, attribute: Attribute = None, start: Any = 0) -> Any:
    return sum((_number(item) for item in _of_each(value, attribute)), _number(start))


def _replace(meter: Meter, value: Any, old: str, new: str, count: int = -1) -> str:
    text, old, new = written(value), written(old), written(new)
    found = text.count(old) if count is None or count < 0 else min(count, text.count(old))
    meter.build(len(text) + found * max(0, len(new) - len(old)))
    return text.replace(old, new, found)


def _round(_: Meter, value: Any, precision: int = 0, method: str = "common") -> Any:
    if abs(precision) > _PRECISION:
        raise ValueError(f"a precision is between -{_PRECISION} and {_PRECISION}")
    if method == "common":
        return round(_number(value), precision)
    if method not in ("ceil", "floor"):
        raise ValueError("the method of round is common, ceil or floor")
    step = math.ceil if method == "ceil" else math.floor
    return step(_number(value) * 10**precision) / 10**precision


def _title(_: Meter, value: Any) -> str:
    return "".join(word[0].upper() + word[1:].lower() for word in _WORD.split(written(value)) if word)


def _tojson(meter: Meter, value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= _INDENT:
        raise ValueError(f"an indent is between 0 and {_INDENT}")
    text = as_json(value, indent)
    meter.read(text)
    return text


def _trim(_: Meter, value: Any, chars: str | None = None) -> str:
    return written(value).strip(chars)


def _truncate(_: Meter, s: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5) -> str:
    text = written(s)
    if length < len(end) or leeway < 0:
        raise ValueError(f"a length is at least {len(end)}, a leeway at least 0")
    if len(text) <= length + leeway:
        return text
    kept = text[: length - len(end)]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + end


def _wordcount(_: Meter, value: Any) -> int:
    return len(written(value).split())


# `default` and `selectattr` need what is undefined and the other tests: the sandbox has them.
FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": _abs, "first": _first, "float": _float, "int": _int, "join": _join, "last": _last,
    "length": _length, "list": _list, "lower": _lower, "map": _map, "max": _max, "min": _min,
    "replace": _replace, "round": _round, "sort": _sort, "sum": _sum, "title": _title,
    "tojson": _tojson, "trim": _trim, "truncate": _truncate, "upper": _upper, "wordcount": _wordcount,
}  # fmt: skip


def select_by(meter: Meter, value: Any, attribute: Attribute, test: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The items of ``value`` whose attribute passes ``test``; a missing one is given as `ABSENT`."""
    meter.step(cost(value))
    return [item for item in _items(value) if test(_attribute_or(item, attribute, ABSENT), *arguments)]


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

FILTER_NAMES: Final = frozenset({*FILTERS, "default", "selectattr"})
