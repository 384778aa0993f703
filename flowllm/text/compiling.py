"""From a slot, template or prompt to a function of names: what a step is evaluated with."""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowllm.core.errors import NodeFailure
from flowllm.core.slot import (
    Evaluable,
    Expression,
    ImageOf,
    Late,
    ListOf,
    Literal,
    MapOf,
    MessageTemplate,
    Path,
    PromptTemplate,
    Template,
)
from flowllm.text.images import image_of
from flowllm.text.limits import DEFAULT, Limits
from flowllm.text.paths import getter
from flowllm.text.places import place_of
from flowllm.text.templates import parsed, text_of, value_of

Names = Mapping[str, Any]
Compiled = Callable[[Names], Any]


def compile_evaluable(evaluable: Evaluable, limits: Limits = DEFAULT) -> Compiled:
    """A function from names to what ``evaluable`` is then.

    A slot gives its value; a template text; a prompt a list of ``{role, content}`` in which blank
    messages are left out and ``content`` is text, or, with an image, a list of ``{"text": ...}`` and
    ``{"image": {url} or {media_type, data}}``, the last one marked where the message is; a `Late` a
    function from its own names to values by key, each worked out when it is read.
    Raises `NodeFailure` when the function is called on values that do not fit.
    """
    match evaluable:
        case Path():
            return getter(evaluable)
        case Literal(value=value):
            return lambda _: value
        case ListOf(items=items):
            return _list([compile_evaluable(item, limits) for item in items])
        case MapOf(items=named):
            return _mapping({key: compile_evaluable(item, limits) for key, item in named.items()})
        case Expression() | Template():
            return _source(evaluable, limits)
        case PromptTemplate(messages=messages):
            return _prompt([_message(message, limits) for message in messages])
        case Late(slots=slots):
            return _late({key: compile_evaluable(item, limits) for key, item in slots.items()})


def _list(items: list[Compiled]) -> Compiled:
    return lambda names: [item(names) for item in items]


def _mapping(items: dict[str, Compiled]) -> Compiled:
    pairs = tuple(items.items())
    return lambda names: {key: item(names) for key, item in pairs}


def _late(values: dict[str, Compiled]) -> Compiled:
    return lambda names: lambda own: _LateValues(values, ChainMap(own, names))  # type: ignore[arg-type]


class _LateValues(Mapping[str, Any]):
    """Values that are worked out when they are read, so that one that fails hides no other."""

    __slots__ = ("_names", "_values")

    def __init__(self, values: Mapping[str, Compiled], names: Names) -> None:
        self._values = values
        self._names = names

    def __getitem__(self, key: str) -> Any:
        return self._values[key](self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _source(leaf: Expression | Template, limits: Limits) -> Compiled:
    expression = isinstance(leaf, Expression)
    source = parsed(leaf.source, expression=expression)
    if source.findings:
        return _refused(leaf, source.findings[0].message)
    inner = value_of(source, limits) if expression else text_of(source, limits)

    def evaluate(names: Names) -> Any:
        try:
            return inner(names)
        except NodeFailure as failure:
            line, column = failure.origin.line, failure.origin.column
            failure.origin = place_of(leaf.origin, line, column - 1) if line else leaf.origin
            raise

    return evaluate


def _refused(leaf: Expression | Template, message: str) -> Compiled:
    def refuse(_: Names) -> Any:
        raise NodeFailure("template_failed", message, origin=leaf.origin)

    return refuse


def _prompt(messages: list[Compiled]) -> Compiled:
    return lambda names: [made for message in messages if (made := message(names)) is not None]


def _message(message: MessageTemplate, limits: Limits) -> Compiled:
    parts = [_part(part, limits) for part in message.parts]
    role = message.role
    if message.prompt_cache:
        return lambda names: _marked(role, [part(names) for part in parts], message.prompt_cache)
    if len(parts) == 1 and isinstance(message.parts[0], Template):
        return _text_message(role, compile_evaluable(message.parts[0], limits))

    def make(names: Names) -> dict[str, Any] | None:
        made = [part for compiled in parts if (part := compiled(names)) is not None]
        return _content(role, made)

    return make


def _text_message(role: str, text: Compiled) -> Compiled:
    def make(names: Names) -> dict[str, Any] | None:
        content = text(names)
        return {"role": role, "content": content} if content and not content.isspace() else None

    return make


def _content(role: str, parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    if any("image" in part for part in parts):
        return {"role": role, "content": [part for part in parts if part.get("text") != ""]}
    text = "".join(part["text"] for part in parts)
    return {"role": role, "content": text} if text.strip() else None


def _marked(role: str, made: list[dict[str, Any] | None], kept: str) -> dict[str, Any] | None:
    """A message with a mark on its last part that says something."""
    found = [part for part in made if part is not None and part.get("text") != ""]
    if _content(role, found) is None:
        return None
    return {"role": role, "content": [*found[:-1], found[-1] | {"prompt_cache": kept}]}


def _part(part: Template | ImageOf, limits: Limits) -> Compiled:
    if isinstance(part, Template):
        text = compile_evaluable(part, limits)
        return lambda names: {"text": text(names)}
    value, origin = compile_evaluable(part.slot, limits), part.slot.origin

    def image(names: Names) -> dict[str, Any] | None:
        found = image_of(value(names), origin)
        return None if found is None else {"image": found}

    return image
