"""Values of ports as data that JSON can hold."""

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON-like data: arrays as lists, decimals and anything else as text."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
