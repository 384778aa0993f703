"""How a value is written into text.

Null writes nothing, booleans ``true`` and ``false``, numbers as Python does, lists and mappings as
JSON. JSON keeps the order of keys, escapes nothing for HTML and refuses NaN and infinity.
"""

import json
from collections.abc import Mapping
from typing import Any


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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "as_tuple"):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
