"""``--events``: every event as one line of strict JSON.

    {"event": "CallFinished", "address": "ask", "at": 1.25, "model": "openai/gpt-5.4-mini", ...}

Amounts of money are strings in plain decimals, lengths of time seconds. What JSON has no word for
becomes null (NaN, infinities) or text; arrays become lists.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import orjson

from flowllm.core.event import Event


class EventLines:
    """A reader of events. ``write`` gets one line with its newline; ``clean`` masks secrets in every text."""

    def __init__(self, write: Callable[[str], object], clean: Callable[[str], str] = str) -> None:
        self._write, self._clean = write, clean

    def __call__(self, event: Event) -> None:
        """Write an event."""
        self._write(self._clean(orjson.dumps(to_data(event)).decode()) + "\n")


def to_data(event: Event) -> dict[str, Any]:
    """An event as JSON-like data: its class as ``event``, then its fields."""
    return {"event": type(event).__name__, **_fields(event)}


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return f"{value:f}"
    if is_dataclass(value):
        return {"type": type(value).__name__, **_fields(value)}
    return _container(value)


def _container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)
