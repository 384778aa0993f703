"""How a value is written into text.

Null writes nothing, booleans ``true`` and ``false``, numbers as Python does, lists and mappings as
JSON. JSON keeps the order of keys, escapes nothing for HTML and refuses NaN and infinity.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

_SHORT: Final = frozenset({int, float, bool, type(None)})


def written(value: Any) -> str:
    """``value`` as text. Raises ValueError for what JSON cannot hold."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Mapping, list, tuple)) or hasattr(value, "tolist"):
        return as_json(value)
    return str(value)


def as_json(value: Any, indent: int | None = None) -> str:
    """``value`` as strict JSON; decimals as text. Raises ValueError for NaN, TypeError for objects."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, default=_plain)


def least_size(value: Any) -> int:
    """Not more characters than `written` and `as_json` write, told without writing any.

    A value of a few lists that hold one another many times is gone through once for each list.
    """
    return _least(value, {})


def _least(value: Any, seen: dict[int, tuple[Any, int]]) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return max(2, 6 * len(value)) + _least_of(value, seen) + _least_of(value.values(), seen)
    if isinstance(value, (list, tuple)):
        return max(2, 2 * len(value)) + _least_of(value, seen)
    return int(value.size) if hasattr(value, "size") and hasattr(value, "tolist") else 0


def _least_of(items: Iterable[Any], seen: dict[int, tuple[Any, int]]) -> int:
    length = 0
    for item in items:
        if item.__class__ in _SHORT:
            continue
        found = seen.get(id(item))
        if found is None:
            found = seen[id(item)] = item, _least(item, seen)  # kept, so that no other takes its id
        length += found[1]
    return length


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "as_tuple"):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
