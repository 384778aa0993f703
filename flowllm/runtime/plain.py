"""Values of ports as data that JSON can hold."""

import math
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
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


def typed(value: Any) -> Any:
    """A value as JSON-like data of the same types. TypeError for what JSON has no type for."""
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else 0.0
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    if hasattr(value, "tolist"):
        return typed(value.tolist())
    raise TypeError(type(value).__name__)


def apart(value: Any) -> Any:
    """A value as JSON-like data in which values that differ differ too: 1, 1.0, "1", True, (1,) and [1].

    What JSON does not know is a mapping with the one key "", which no other mapping is. TypeError for a value
    of which nobody can tell whether it is another one's equal.
    """
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind is list:
        return [apart(item) for item in value]
    if isinstance(value, Mapping):
        if all(type(key) is str and key for key in value):
            return {key: apart(item) for key, item in value.items()}
        return {"": ["mapping", [[apart(key), apart(item)] for key, item in value.items()]]}
    if kind is tuple:
        return {"": ["tuple", [apart(item) for item in value]]}
    if kind in (Decimal, bytes):
        return {"": [kind.__name__, repr(value)]}
    dtype = getattr(value, "dtype", None)
    if hasattr(value, "tobytes") and not getattr(dtype, "hasobject", True):
        return {"": ["array", str(dtype), list(value.shape), sha256(value.tobytes()).hexdigest()]}
    raise TypeError(kind.__name__)
