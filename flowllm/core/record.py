"""Records: what goes from stage to stage. Slotted dataclasses whose fields nobody assigns.

`record` gives what ``dataclass(frozen=True, slots=True)`` gives to a reader and to a type checker, which
refuses an assignment to a field. A record costs a tenth of that to make, and a command makes more than a
hundred before its first step: of each that is made into an object the constructor is compiled, then; comparing,
hashing and printing are functions that all records share. Nothing watches assignments while a program runs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Any] | None = None, /, *, kw_only: bool = False) -> Any:
    """Make a class a record. Methods that it writes itself stay; `dataclasses.replace` and ``fields`` work."""

    def make(cls: type[Any]) -> type[Any]:
        cls.__doc__ = cls.__doc__ or cls.__name__  # else a dataclass makes one up, and looks long for it
        made: type[Any] = dataclass(slots=True, init=False, eq=False, repr=False, kw_only=kw_only)(cls)
        made.__init__ = _Constructor(made)
        for name, method in _SHARED.items():
            if name not in vars(cls):
                setattr(made, name, method)
        return made

    return make if cls is None else make(cls)


class _Constructor:
    """Stands for the constructor of a record until that is asked for: few records of a command are ever used."""

    __slots__ = ("_record",)

    def __init__(self, record: type[Any]) -> None:
        self._record = record

    def __get__(self, instance: Any, owner: Any) -> Any:
        """The constructor, which stands in its own place from now on."""
        compiled = _compiled(self._record)
        self._record.__init__ = compiled
        return compiled.__get__(instance, owner)


def _compiled(cls: type[Any]) -> Any:
    """The constructor that a dataclass of these fields has."""
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    made: Any = dataclass(eq=False, repr=False)(type(cls.__name__, (cls,), names))
    return made.__init__


@cache
def _key(cls: Any) -> Callable[[Any], object]:
    """What tells a record from others: its class and its compared fields."""
    return attrgetter("__class__", *(found.name for found in fields(cls) if found.compare))


def _equals(self: Any, other: Any) -> Any:
    cls: Any = self.__class__
    return _key(cls)(self) == _key(cls)(other) if other.__class__ is cls else NotImplemented


def _hash(self: Any) -> int:
    return hash(_key(self.__class__)(self))


def _shown(self: Any) -> str:
    shown = ", ".join(f"{found.name}={getattr(self, found.name)!r}" for found in fields(self) if found.repr)
    return f"{self.__class__.__qualname__}({shown})"


_SHARED = {"__eq__": _equals, "__hash__": _hash, "__repr__": _shown}
