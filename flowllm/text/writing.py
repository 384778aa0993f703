"""How a value is written into text.

Null writes nothing, booleans ``true`` and ``false``, numbers as Python does, lists and mappings as
JSON. JSON keeps the order of keys, escapes nothing for HTML and refuses NaN and infinity.
"""

import json
from collections.abc import Callable, Iterable, Mapping
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


def check_size(value: Any, pass_over: Callable[[int], None]) -> None:
    """Go through what `written` would write, and tell ``pass_over`` the least characters of each part.

    It raises to stop the walk: a small value can hold one list so often that its text fills the memory.
    """
    if isinstance(value, str):
        pass_over(len(value))
    elif isinstance(value, Mapping):
        pass_over(max(2, 6 * len(value)))
        _check_items(value, pass_over)
        _check_items(value.values(), pass_over)
    elif isinstance(value, (list, tuple)):
        pass_over(max(2, 2 * len(value)))
        _check_items(value, pass_over)
    elif hasattr(value, "size") and hasattr(value, "tolist"):
        pass_over(value.size)


def _check_items(items: Iterable[Any], pass_over: Callable[[int], None]) -> None:
    for item in items:
        if item.__class__ not in _SHORT:
            check_size(item, pass_over)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "as_tuple"):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
