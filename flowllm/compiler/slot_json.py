"""Slots, templates and prompts as JSON and back, for plans that travel."""

from collections.abc import Callable, Mapping
from typing import Any

from flowllm.core.origin import UNKNOWN, Layout, Origin
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

Json = dict[str, Any]


def place_to_json(origin: Origin) -> list[Any]:
    """A place as ``[file, line, column, note]``, and behind it the layout of a text that has one."""
    place = [origin.file, origin.line, origin.column, origin.note]
    return place if origin.layout is None else [*place, [origin.layout.indent, *map(list, origin.layout.jumps)]]


def place_from_json(data: Any) -> Origin:
    """The inverse of `place_to_json`; absent is unknown."""
    if not data:
        return UNKNOWN
    file, line, column, note, *rest = data
    layouts = [Layout(indent, tuple(map(tuple, jumps))) for indent, *jumps in rest]
    return Origin(file, line, column, note, *layouts)


def path_to_json(path: Path, *, places: bool) -> Json:
    """A path as its root and steps; null stands for every item."""
    return _with_place({"path": [path.root, *path.steps]}, path.origin, places=places)


def path_from_json(data: Mapping[str, Any]) -> Path:
    """The inverse of `path_to_json`."""
    root, *steps = data["path"]
    return Path(root, tuple(steps), place_from_json(data.get("at")))


def slot_to_json(evaluable: Evaluable, *, places: bool) -> Json:
    """One evaluable; ``places`` keeps where it was written."""
    match evaluable:
        case Path():
            return path_to_json(evaluable, places=places)
        case Late(slots=slots, names=names):
            inner = {name: slot_to_json(slot, places=places) for name, slot in slots.items()}
            return {"late": inner, "names": list(names)}
        case PromptTemplate(messages=messages):
            return {"prompt": [_message_to_json(message, places=places) for message in messages]}
        case _:
            data = _body_to_json(evaluable, places=places)
            return _with_place(data, evaluable.origin, places=places)


def _body_to_json(evaluable: Evaluable, *, places: bool) -> Json:
    match evaluable:
        case Expression(source=source):
            return {"expression": source}
        case Literal(value=value):
            return {"const": value}
        case ListOf(items=items):
            return {"list": [slot_to_json(item, places=places) for item in items]}
        case MapOf(items=fields):
            return {"map": {name: slot_to_json(item, places=places) for name, item in fields.items()}}
        case Template(source=source):
            return {"template": source}
        case _:
            raise TypeError(f"no slot: {type(evaluable).__name__}")


def _with_place(data: Json, origin: Origin, *, places: bool) -> Json:
    if places and origin != UNKNOWN:
        data["at"] = place_to_json(origin)
    return data


def _message_to_json(message: MessageTemplate, *, places: bool) -> Json:
    parts = [
        {"image": slot_to_json(part.slot, places=places)}
        if isinstance(part, ImageOf)
        else slot_to_json(part, places=places)
        for part in message.parts
    ]
    kept = {"prompt_cache": message.prompt_cache} if message.prompt_cache else {}
    return {"role": message.role, "parts": parts, **kept}


def slot_from_json(data: Mapping[str, Any]) -> Any:
    """The inverse of `slot_to_json`. Raises ValueError for what is no slot."""
    key = next((key for key in _READERS if key in data), "")
    if not key:
        raise ValueError(f"a plan holds an unknown slot with the keys {', '.join(data)}")
    return _READERS[key](data, place_from_json(data.get("at")))


def _read_prompt(data: Mapping[str, Any]) -> PromptTemplate:
    return PromptTemplate(tuple(map(_message, data["prompt"])))


def _message(data: Mapping[str, Any]) -> MessageTemplate:
    return MessageTemplate(data["role"], tuple(map(_part, data["parts"])), data.get("prompt_cache", ""))


def _part(data: Mapping[str, Any]) -> Template | ImageOf:
    part: Template | ImageOf = ImageOf(slot_from_json(data["image"])) if "image" in data else slot_from_json(data)
    return part


def _read_map(items: Mapping[str, Any]) -> dict[str, Any]:
    return {name: slot_from_json(item) for name, item in items.items()}


_READERS: Mapping[str, Callable[[Mapping[str, Any], Origin], Evaluable]] = {
    "path": lambda data, _: path_from_json(data),
    "expression": lambda data, at: Expression(data["expression"], at),
    "const": lambda data, at: Literal(data["const"], at),
    "list": lambda data, at: ListOf(tuple(map(slot_from_json, data["list"])), at),
    "map": lambda data, at: MapOf(_read_map(data["map"]), at),
    "template": lambda data, at: Template(data["template"], at),
    "prompt": lambda data, _: _read_prompt(data),
    "late": lambda data, _: Late(_read_map(data["late"]), tuple(data["names"])),
}
