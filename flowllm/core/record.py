"""Records: what goes from stage to stage. Slotted dataclasses, most of whose fields nobody assigns.

`record` gives what ``dataclass(frozen=True, slots=True)`` gives to a reader and to a type checker, which
refuses an assignment to a field; with ``frozen=False`` what ``dataclass(slots=True)`` gives. A record costs a tenth
of that to make, and a command makes more than a hundred before its first step. Comparing, hashing and printing are
functions that all records share. The constructor of a record is compiled when fifty of it were made, for that
costs as much as a hundred calls of the one that stands in its place until then; both take the same and refuse the
same. Nothing watches assignments while a program runs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from types import FunctionType, MethodType
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")
FEW = 50
"""Objects of a record that are made before its constructor is compiled."""


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, kw_only: bool = False, frozen: bool = True, eq: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Any] | None = None, /, *, kw_only: bool = False, frozen: bool = True, eq: bool = True) -> Any:
    """Make a class a record. Methods that it writes itself stay; `dataclasses.replace` and ``fields`` work.

    One that is not ``frozen`` has no hash; without ``eq`` each is equal to itself alone. Raises `TypeError` for
    fields that no constructor can have, and for parameters that are no fields (`InitVar`).
    """

    def make(cls: type[Any]) -> type[Any]:
        cls.__doc__ = cls.__doc__ or cls.__name__  # else a dataclass makes one up, and looks long for it
        made: type[Any] = dataclass(slots=True, init=False, eq=False, repr=False, kw_only=kw_only)(cls)
        _check(made)
        if "__init__" not in vars(cls):
            made.__init__ = _Constructor(made)
        compared = {"__eq__": _equals, "__hash__": _hash if frozen else None} if eq else {}
        for name, method in {"__repr__": _shown, **compared}.items():
            if name not in vars(cls):
                setattr(made, name, method)
        return made

    return make if cls is None else make(cls)


def _check(cls: type[Any]) -> None:
    """What a dataclass refuses where its constructor is compiled, and what the shared one has no place for."""
    known, every = fields(cls), cls.__dataclass_fields__
    wrong = _out_of_order(known)
    if "self" in every:
        wrong = "no field can be called `self`"
    elif len(known) < len(every):
        wrong = wrong or _parameter_alone(every.values())
    if wrong:
        message = f"{cls.__qualname__}: {wrong}"
        raise TypeError(message)


def _out_of_order(known: "Sequence[Field[Any]]") -> str:
    before = ""
    for found in known:
        if found.init and not found.kw_only:
            if found.default is not MISSING or found.default_factory is not MISSING:
                before = found.name
            elif before:
                return f"`{found.name}` has no default and follows `{before}`, which has one"
    return ""


def _parameter_alone(every: "Iterable[Field[Any]]") -> str:
    names = [found.name for found in every if "InitVar" in str(found.type)]
    return f"`{names[0]}` would be a parameter and no field, which a record has not" if names else ""


class _Constructor:
    """Stands for the constructor of a record until many were made."""

    __slots__ = ("_left", "_record", "_shared")

    def __init__(self, record: type[Any]) -> None:
        self._record = record
        self._left = FEW
        self._shared: FunctionType | None = None

    def __get__(self, instance: Any, owner: Any) -> Any:
        """The constructor; the compiled one stands in its own place from then on."""
        self._left -= 1
        if self._left >= 0:
            self._shared = self._shared or _with_parameters(self._record)
            return MethodType(self._shared, instance) if instance is not None else self._shared
        compiled = _compiled(self._record)
        self._record.__init__ = compiled
        return compiled.__get__(instance, owner)


def _compiled(cls: type[Any]) -> Any:
    """The constructor that a dataclass of these fields has."""
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    made: Any = dataclass(slots=True, eq=False, repr=False)(type(cls.__name__, (cls,), names))
    return made.__init__


def _with_parameters(cls: type[Any]) -> FunctionType:
    """The constructor of any record with the parameters of this one: Python binds, and refuses, as it ever does."""
    placed = [found for found in fields(cls) if found.init and not found.kw_only]
    named = [found for found in fields(cls) if found.init and found.kw_only]
    names = ("self", *(found.name for found in (*placed, *named)))
    code = _of_any.__code__.replace(
        co_argcount=1 + len(placed),
        co_kwonlyargcount=len(named),
        co_nlocals=len(names),
        co_varnames=names,
        co_name="__init__",
        co_qualname=f"{cls.__qualname__}.__init__",
    )
    made = FunctionType(code, globals(), "__init__", tuple(_defaults(placed).values()))
    made.__kwdefaults__ = _defaults(named)
    made.__annotations__ = {**{found.name: found.type for found in (*placed, *named)}, "return": None}
    return made


def _defaults(found: "Sequence[Field[Any]]") -> dict[str, Any]:
    every = {one.name: one.default if one.default_factory is MISSING else _Fresh(one.default_factory) for one in found}
    return {name: default for name, default in every.items() if default is not MISSING}


class _Fresh:
    """Stands for a value that each object has made for itself."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __repr__(self) -> str:
        return "<factory>"


def _of_any(self: Any) -> None:
    """The constructor of any record: its code names no parameter."""
    _assign(locals())


def _assign(given: dict[str, Any]) -> None:
    made = given.pop("self")
    for name, value in (*given.items(), *_not_given(made.__class__)):
        setattr(made, name, value.make() if value.__class__ is _Fresh else value)
    if hasattr(made, "__post_init__"):
        made.__post_init__()


@cache
def _not_given(cls: Any) -> tuple[tuple[str, Any], ...]:
    """The fields that no parameter sets, with what they begin with."""
    return tuple(_defaults([found for found in fields(cls) if not found.init]).items())


@cache
def _key(cls: Any) -> Callable[[Any], object]:
    """What tells a record from others: its class and its compared fields."""
    return attrgetter("__class__", *(found.name for found in fields(cls) if found.compare))


def _equals(self: Any, other: Any) -> Any:
    cls: Any = self.__class__
    return _key(cls)(self) == _key(cls)(other) if other.__class__ is cls else NotImplemented


def _hash(self: Any) -> int:
    return hash(_key(self.__class__)(self))


@recursive_repr()
def _shown(self: Any) -> str:
    shown = ", ".join(f"{found.name}={getattr(self, found.name)!r}" for found in fields(self) if found.repr)
    return f"{self.__class__.__qualname__}({shown})"
