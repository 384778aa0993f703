"""Lengths of time as users write them: ``500ms``, ``45s``, ``2m``, ``1.5h``, ``7d``, or seconds as a number."""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_TEXT = r"(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d|w)?"
_PATTERN = re.compile(_TEXT, re.ASCII)


def seconds(value: object) -> float:
    """Seconds, finite and not negative; ValueError with one sentence otherwise."""
    if isinstance(value, str):
        found = _PATTERN.fullmatch(value.strip())
        if found:
            return float(found[1]) * _UNITS[found[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool) and _is_length(value):
        return float(value)
    raise ValueError(f"`{value}` is no length of time such as 500ms, 45s, 2m or 7d")


def _is_length(value: float) -> bool:
    return 0 <= value < math.inf


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_TEXT}$"}]}),
]
"""Seconds, in pydantic models."""
