"""The contract of a kind of node.

``kind: truncate`` is the class in ``flowllm/nodes/truncate.py`` that derives from `Node`. Its fields
are the YAML parameters; ``run``'s keyword arguments are the input ports and the evaluated fields;
its return type, a TypedDict, gives the output ports. ``run`` may be async. Regions and routes have
no ``run``: the executor carries them out, their files hold the parameters alone (``control`` names
how). Fields are marked by what they hold:

    max_tokens: int = 100        configuration, known when compiling
    text: Templated = None       a template: ``run(text=...)`` gets text
    prompt: Prompted = None      a prompt: ``run(prompt=...)`` gets messages (list of {role, content})
    budget: Slotted = None       a slot: ``run(budget=...)`` gets its value
    rules: Lately = None         a mapping of slots that the node evaluates itself: ``run(rules=...)``
                                 gets a callable from the node's own names to {key: value}
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from flowllm.core.spec import Schema


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

Control = Literal["", "route", "retry", "cache", "map", "pipeline"]
LateValues = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
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
    inner_ports: ClassVar[tuple[str, ...]] = ()
    """Ports of a region that are read from inside."""
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
        run = getattr(cls, "run", None)
        if run is None:
            return {}
        hints, skip = typing.get_type_hints(run), {"self", "scope", *cls.held()}
        return {
            name: Port(_schema(hints.get(name, Any)), parameter.default is parameter.empty)
            for name, parameter in inspect.signature(run).parameters.items()
            if name not in skip
        }

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """Ports by name with what is known of their type (``{}``: anything).

        ``inputs`` are the types of what is connected, ``schemas`` the pipeline's named ones.
        Default: the keys of ``run``'s TypedDict.
        """
        run = getattr(type(self), "run", None)
        return {} if run is None else ports_of(typing.get_type_hints(run)["return"])


def ports_of(returned: Any) -> dict[str, Schema]:
    """The output ports of a TypedDict class; another type gives the one port ``value``."""
    if typing.is_typeddict(returned):
        return {name: _schema(hint) for name, hint in typing.get_type_hints(returned).items()}
    return {"value": _schema(returned)}


def _schema(hint: Any) -> Schema:
    if hint is Any or hint is inspect.Parameter.empty:
        return {}
    return TypeAdapter(hint).json_schema()

