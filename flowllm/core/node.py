"""The contract of a kind of node.

``kind: truncate`` is the class in ``flowllm/nodes/truncate.py`` that derives from `Node`. Its fields
are the YAML parameters; ``run``'s keyword arguments are the input ports and the evaluated fields;
its return type, a TypedDict, gives the output ports. ``run`` may be async; it must not change what it
is given, for other steps read the same values. Regions and routes have
no ``run``: the executor carries them out, their files hold the parameters alone (``control`` names
how). Fields are marked by what they hold:

    max_tokens: int = 100        configuration, known when compiling
    text: Templated = None       a template: ``run(text=...)`` gets text
    prompt: Prompted = None      a prompt: ``run(prompt=...)`` gets messages (list of {role, content})
    budget: Slotted = None       a slot: ``run(budget=...)`` gets its value
    rules: Lately = None         a mapping of slots that the node evaluates itself: ``run(rules=...)``
                                 gets a callable from the node's own names to {key: value};
                                 a value is worked out, and may fail, when it is read

``model`` is no port of a kind that ``calls``: its ``run(model=...)`` gets the resolved name. A field
whose YAML name is no Python name, or one of pydantic's, has that name as its alias (``as``, ``schema``).
A plain function becomes a kind with `node_from_function`.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from flowllm.core.errors import NodeFailure
from flowllm.core.record import record
from flowllm.core.spec import Schema

if TYPE_CHECKING:
    from flowllm.core.request import Request


class Holds(Enum):
    """What a field holds when it is not configuration."""

    SLOT = "slot"
    TEMPLATE = "template"
    PROMPT = "prompt"
    LATE = "late"


Slotted = Annotated[Any, Holds.SLOT]
Templated = Annotated[str | None, Holds.TEMPLATE]
Prompted = Annotated[Any, Holds.PROMPT]
Lately = Annotated[Any, Holds.LATE]


def condition(read: object = "value", kind: str = "") -> str:
    """What a condition looks like that looks at ``read``, a value of the JSON type ``kind``, for hints."""
    holds = {"boolean": "", "integer": " > 0", "number": " > 0"}.get(kind, " | length > 0")
    return f'"{{{{ {read}{holds} }}}}"'


Control = Literal["", "route", "retry", "cache", "map", "pipeline"]
LateValues = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@record
class Port:
    """An input port: what it accepts, and whether it must be given."""

    schema: Schema
    required: bool


class Node(BaseModel):
    """Base of all kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    control: ClassVar[Control] = ""
    calls: ClassVar[Literal["", "chat", "embed", "rerank"]] = ""
    """What it asks a model for; such a node takes ``model`` and the call policies."""
    open_inputs: ClassVar[bool] = False
    """Whether ``in`` may hold any names (they become names in the node's templates)."""
    late_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """For each ``Lately`` field the names that the node adds when it evaluates it."""
    conditions: ClassVar[frozenset[str]] = frozenset()
    """Evaluated fields whose values are true or false: a slot, or all slots of a ``Lately`` field."""
    inner_ports: ClassVar[tuple[str, ...]] = ()
    """Ports of a region that are read from inside."""
    must: ClassVar[tuple[str, ...]] = ()
    """Evaluated fields that have to be written; ``a|b`` asks for one of two, fields or input ports."""
    summary: ClassVar[str] = ""

    @classmethod
    def held(cls) -> dict[str, Holds]:
        """The fields that are evaluated, and what they hold."""
        return {
            name: next(m for m in info.metadata if isinstance(m, Holds))
            for name, info in cls.model_fields.items()
            if any(isinstance(m, Holds) for m in info.metadata)
        }

    @classmethod
    def input_ports(cls) -> dict[str, Port]:
        """``run``'s keyword arguments but ``scope`` and the evaluated fields."""
        return dict(_input_ports(cls))

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """Ports by name with what is known of their type (``{}``: anything).

        ``inputs`` are the types of what is connected, ``schemas`` the pipeline's named ones.
        Default: the keys of ``run``'s TypedDict.
        """
        return dict(_output_ports(type(self)))

    def foreseen(self, model: str, known: Mapping[str, Any]) -> "Sequence[Request]":
        """The requests that a node surely sends to a model, as far as they are known before it runs.

        ``known`` are arguments of ``run`` that hold what is known of them: a prompt its messages with their fixed text.
        """
        return ()


@cache
def _input_ports(kind: type[Node]) -> Mapping[str, Port]:
    run = getattr(kind, "run", None)
    if run is None:
        return {}
    hints, skip = typing.get_type_hints(run), {"self", "scope", *kind.model_fields}
    return {
        name: Port(_schema(hints.get(name, Any)), parameter.default is parameter.empty)
        for name, parameter in inspect.signature(run).parameters.items()
        if name not in skip and not (kind.calls and name == "model")
    }


@cache
def _output_ports(kind: type[Node]) -> Mapping[str, Schema]:
    run = getattr(kind, "run", None)
    return {} if run is None else ports_of(typing.get_type_hints(run).get("return", Any))


def ports_of(returned: Any) -> dict[str, Schema]:
    """The output ports of a TypedDict class; another type gives the one port ``value``."""
    if typing.is_typeddict(returned):
        return {name: _schema(hint) for name, hint in typing.get_type_hints(returned).items()}
    return {"value": _schema(returned)}


def _schema(hint: Any) -> Schema:
    if hint is Any or hint is inspect.Parameter.empty:
        return {}
    return TypeAdapter(hint).json_schema()


class _FunctionRun:
    """``run`` of a kind made from a function: the node's parameters are filled in when it is read."""

    def __init__(self, function: Callable[..., Any], parameters: tuple[str, ...]) -> None:
        self._function = function
        self._parameters = parameters

    def __get__(self, node: Node | None, kind: type[Node]) -> Callable[..., Any]:
        if node is None:
            return self._function
        return partial(self._function, **{name: getattr(node, name) for name in self._parameters})


def node_from_function(function: Callable[..., Any], name: str | None = None) -> type[Node]:
    """A kind from a plain function, sync or async.

    Its arguments are the input ports, keyword-only ones with a default the YAML parameters, ``scope``
    the `Scope`. It returns a TypedDict (the output ports), or, when sync, anything else: the port
    ``value``. Raises TypeError for ``*args``, ``**kwargs`` and an async function without a TypedDict.
    """
    hints, signature = typing.get_type_hints(function), inspect.signature(function)
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"the argument `{parameter.name}` of {function.__name__} cannot be a port; name each port")
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
            fields[parameter.name] = (hints.get(parameter.name, Any), parameter.default)
    kind: type[Node] = create_model(name or function.__name__, __base__=Node, __module__=function.__module__, **fields)
    kind.__doc__ = inspect.getdoc(function)
    kind.run = _FunctionRun(_ports_function(function, hints.get("return", Any)), tuple(fields))  # type: ignore[attr-defined]
    return kind


_RETURNED: Mapping[Any, Any] = {
    bool: bool, int: Integral, float: Real, str: str, list: list | tuple, dict: Mapping
}  # fmt: skip


def _held(function: Callable[..., Any], returned: Any, value: Any) -> Any:
    """The value, which is of the type that the function is annotated to return; items are not looked at."""
    annotated = typing.get_origin(returned) or returned
    expected = _RETURNED.get(annotated)
    if expected and (not isinstance(value, expected) or (isinstance(value, bool) and annotated in (int, float))):
        message = f"{function.__name__} is annotated to return {annotated.__name__} and returned {value!r}"
        raise NodeFailure("node_failed", message[:200], hint=f"-> {type(value).__name__}")
    return value


def _ports_function(function: Callable[..., Any], returned: Any) -> Callable[..., Any]:
    if typing.is_typeddict(returned):
        return function
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"the async function {function.__name__} must return a TypedDict: its keys are the ports")
    run: Any = lambda **ports: {"value": _held(function, returned, function(**ports))}  # noqa: E731  has a signature set
    run.__signature__, run.__annotations__ = inspect.signature(function), typing.get_type_hints(function)
    return run  # type: ignore[no-any-return]
