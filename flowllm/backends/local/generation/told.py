"""Requests, deltas and failures as JSON, for the way to the process of an isolated model and back.

What comes back was written by a process that may be broken: it becomes the records of `core.delta` with values of
their types, or `ValueError`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from flowllm.core.delta import Delta
from flowllm.core.errors import (
    CODES,
    BadOutput,
    FlowError,
    NodeFailure,
    ProviderFacts,
    ProviderFailure,
    SetupError,
)
from flowllm.core.request import Chat

_DELTAS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Delta)}
_PLAIN = (str, int, float, bool)


def request_of(told: Mapping[str, Any]) -> Chat:
    """The request that was told: in JSON a record is its fields."""
    found: Chat = _made(Chat, told)
    return found


def told_delta(delta: Delta) -> list[Any]:
    """A delta as JSON, and `delta_of` makes it one again."""
    return [type(delta).__name__, delta]


def delta_of(told: Any) -> Any:
    """The delta that was told; `ValueError` for what is none."""
    try:
        name, values = told
        return _made(_DELTAS[name], values)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(str(error)) from None


def told_failure(error: FlowError) -> dict[str, Any]:
    """A failure as JSON, and `failure_of` makes it one again."""
    kind = next((name for name, known in _FAILURES.items() if isinstance(error, known)), "NodeFailure")
    return {"error": error.message, "code": error.code, "hint": error.hint, "kind": kind}


def failure_of(told: Mapping[str, Any], model: str) -> FlowError:
    """The failure that was told of a call of ``model``."""
    code, message, hint = (str(told.get(word, "")) for word in ("code", "error", "hint"))
    code = code if code in CODES else "node_failed"
    kind = told.get("kind")
    if kind == "ProviderFailure":
        return ProviderFailure(code, message, facts=ProviderFacts("local", model), hint=hint)
    if kind == "BadOutput":
        return BadOutput(message, code=code, hint=hint)
    return (SetupError if kind == "SetupError" else NodeFailure)(code, message, hint=hint)


_FAILURES = {
    "ProviderFailure": ProviderFailure,
    "BadOutput": BadOutput,
    "SetupError": SetupError,
    "NodeFailure": NodeFailure,
}


def _is_record(kind: Any) -> bool:
    """`is_dataclass`, which narrows the type to one that a type checker lets nobody call."""
    return is_dataclass(kind)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _made(kind: Any, value: Any) -> Any:
    """A value of JSON as one of a type: a record, a tuple or list of such, a mapping, a plain value."""
    if _is_record(kind):
        hints = _hints(kind)
        return kind(**{name: _made(hints[name], one) for name, one in value.items()})
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _either(get_args(kind), value)
    if origin is tuple:
        return _row(get_args(kind), value)
    if origin in (list, Sequence):
        return [_made(get_args(kind)[0], one) for one in value]
    return _leaf(kind, value)


def _either(kinds: Sequence[Any], value: Any) -> Any:
    """A value of the one type that it fits: records are told by their fields."""
    if value is None and NoneType in kinds:
        return None
    fitting = [kind for kind in kinds if not _is_record(kind) or value.keys() <= _hints(kind).keys()]
    return _made(fitting[0], value)


def _row(kinds: Sequence[Any], value: Sequence[Any]) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:  # noqa: PLR2004
        return tuple(_made(kinds[0], one) for one in value)
    return tuple(_made(kind, one) for kind, one in zip(kinds, value, strict=True))


def _leaf(kind: Any, value: Any) -> Any:
    if kind is float and value is None:  # JSON knows no infinite number
        return -math.inf
    if kind in _PLAIN and type(value) is not kind:
        message = f"{value!r} is no {kind.__name__}"
        raise ValueError(message)
    if get_origin(kind) is Mapping and not isinstance(value, dict):
        message = f"{value!r} is no mapping"
        raise ValueError(message)
    return value
