"""JSON against the types that a vendor's package has for it, more strictly than the package itself.

Types are those of `typing`, TypedDicts and pydantic's models alike. A name that a type lacks is refused, also where
the package would let it pass or drop it; so is a missing constant (``type``, ``role``), an unknown word of an
enumeration that the package leaves open for words of tomorrow, and a number in place of a text.
"""

import base64
import enum
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = {str: (str,), int: (int,), float: (int, float), bool: (bool,), type(None): (type(None),)}
_ANYTHING = (Any, object)


def problems(value: Any, shape: Any, place: str = "body") -> Iterator[str]:
    """What is wrong with ``value`` as ``shape``; a shape that is not understood is wrong too."""
    shape = _resolved(shape)
    origin, inside = typing.get_origin(shape), typing.get_args(shape)
    if shape in _ANYTHING:
        return
    if origin in (typing.Union, types.UnionType):
        yield from _one_of(value, inside, place)
    elif origin is typing.Literal or (isinstance(shape, type) and issubclass(shape, enum.Enum)):
        known = inside or [item.value for item in shape]
        if not any(value == one and type(value) is type(one) for one in known):
            yield f"{place} is {value!r} and none of {sorted(map(str, known))}"
    elif shape in _PLAIN:
        if not isinstance(value, _PLAIN[shape]) or (isinstance(value, bool) and shape is not bool):
            yield f"{place} is no {shape.__name__}"
    elif shape is bytes:
        yield from _encoded(value, place)
    elif origin is not None:
        yield from _container(value, origin, inside, place)
    else:
        yield from _object(value, shape, place)


def _resolved(shape: Any) -> Any:
    """The type behind its name, its notes and whether it is required."""
    while True:
        origin, inside = typing.get_origin(shape), typing.get_args(shape)
        if hasattr(origin, "__value__"):
            shape = origin.__value__[inside]
        elif hasattr(shape, "__value__"):
            shape = shape.__value__
        elif origin is typing.Annotated or getattr(origin, "_name", "") in ("Required", "NotRequired", "ReadOnly"):
            shape = inside[0]
        elif hasattr(shape, "__supertype__"):
            shape = shape.__supertype__
        else:
            return shape


def _one_of(value: Any, shapes: tuple[Any, ...], place: str) -> Iterator[str]:
    """The complaints of the shape that fits best, if none fits."""
    resolved = [_resolved(shape) for shape in shapes]
    if any(typing.get_origin(shape) is typing.Literal for shape in resolved):
        resolved = [shape for shape in resolved if shape not in _ANYTHING and not _is_open(shape)]
    found = [list(problems(value, shape, place)) for shape in resolved]
    yield from min(found, key=_misfit)


def _misfit(found: list[str]) -> tuple[bool, int, int]:
    """How badly a shape fits: one that has another constant than the value is not what was meant."""
    other = sum(" none of " in line for line in found)
    return bool(found), other, len(found)


def _is_open(shape: Any) -> bool:
    """Whether it stands for words that the package does not know yet."""
    return getattr(shape, "__name__", "").startswith("Unrecognized")


def _encoded(value: Any, place: str) -> Iterator[str]:
    try:
        base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        yield f"{place} is no base64"


def _container(value: Any, origin: Any, inside: tuple[Any, ...], place: str) -> Iterator[str]:
    if origin is dict or getattr(origin, "__name__", "") == "Mapping":
        if not isinstance(value, dict):
            yield f"{place} is no object"
            return
        for name, item in value.items():
            yield from problems(item, inside[1], f"{place}.{name}")
    elif len(inside) == 1 and getattr(origin, "__name__", "") in ("list", "Iterable", "Sequence", "SequenceNotStr"):
        if not isinstance(value, list):
            yield f"{place} is no list"
            return
        for index, item in enumerate(value):
            yield from problems(item, inside[0], f"{place}.{index}")
    else:
        yield f"{place}: nothing is known of {origin}"


def _object(value: Any, shape: Any, place: str) -> Iterator[str]:
    if not hasattr(shape, "__annotations__"):
        yield f"{place}: nothing is known of {shape}"
        return
    if not isinstance(value, dict):
        yield f"{place} is no object"
        return
    members = _of_model(shape) if hasattr(shape, "model_fields") else _of_mapping(shape)
    for name, (inner, required) in members.items():
        if name in value:
            yield from problems(value[name], inner, f"{place}.{name}")
        elif required:
            yield f"{place}.{name} is missing"
    yield from (f"{place}.{name} is unknown to {shape.__name__}" for name in sorted(value.keys() - members.keys()))


def _of_model(shape: Any) -> Mapping[str, tuple[Any, bool]]:
    """The members of a pydantic model; a constant is required whatever its default."""
    return {
        field.alias or name: (field.annotation, field.is_required() or _is_constant(field))
        for name, field in shape.model_fields.items()
    }


def _is_constant(field: Any) -> bool:
    shape = _resolved(field.annotation)
    options = map(_resolved, typing.get_args(shape) if typing.get_origin(shape) is typing.Union else [shape])
    words = [typing.get_args(one) for one in options if one is not type(None)]
    return words == [(field.default,)] and field.default is not None


def _of_mapping(shape: Any) -> Mapping[str, tuple[Any, bool]]:
    """The members of a TypedDict, under the names that travel."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return {name: (hint, _is_required(hint, name in shape.__required_keys__)) for name, hint in hints.items()}


def _is_required(hint: Any, unsaid: bool) -> bool:
    """Annotations that are texts are not counted by the TypedDict itself."""
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    said = getattr(typing.get_origin(hint), "_name", "")
    return said == "Required" or (unsaid and said != "NotRequired")
