"""What wires share: their beginning, images, arguments and ids of calls, schemas, quirks by model, paths."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.backends.failures import failure_of
from flowllm.backends.wire import model_of, own_quirks
from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.placeholders import filled
from flowllm.core.request import Chat, Image, Lifetime, Message, Part, Thought, ToolUse

_DATA = "data:"
PromptCache = Literal["none", "cache_control", "breakpoint"]
"""The word by which a part of a message is marked as the end of what is kept."""


def image_url(image: Image) -> str:
    """The image as one URL, its bytes inside where they are known."""
    return image.url or f"{_DATA}{image.media_type};base64,{image.data}"


def image_data(image: Image) -> tuple[str, str]:
    """Media type and base64 of an image; `ProviderFailure` ``bad_request`` where only its address is known."""
    if image.data:
        return image.media_type, image.data
    head, _, data = image.url.removeprefix(_DATA).partition(",")
    if not image.url.startswith(_DATA) or not head.endswith(";base64"):
        message = f"this provider takes images as data and not from an address: {image.url[:80]}"
        raise ProviderFailure("bad_request", message, hint="read the image from a file")
    return head.removesuffix(";base64"), data


def has_data(image: Image) -> bool:
    """Whether the bytes of the image are known."""
    return bool(image.data) or image.url.startswith(_DATA)


def arguments_of(call: ToolUse) -> dict[str, Any]:
    """The arguments of a call as an object; text that is no JSON object stands under ``input``."""
    try:
        arguments = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        arguments = call.arguments
    if isinstance(arguments, dict):
        return arguments
    return {} if arguments is None else {"input": arguments}


def sealed_for(message: Message, form: str) -> list[Thought]:
    """The thoughts whose seal the wire ``form`` can read; another provider would refuse them."""
    if not message.thoughts:
        return []
    return [thought for thought in message.thoughts if thought.signature and thought.format in ("", form)]


def parameters_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a tool's arguments; formats demand one where there is nothing to say."""
    return schema or {"type": "object", "properties": {}}


def mark_of(kept: Lifetime, word: PromptCache) -> dict[str, Any]:
    """What marks a part; empty where there is no mark or no word for it."""
    if not kept or word == "none":
        return {}
    if word == "breakpoint":
        return {"prompt_cache_breakpoint": {"mode": "explicit"}}
    return {"cache_control": {"type": "ephemeral"} | ({"ttl": "1h"} if kept == "1h" else {})}


def content_of(parts: tuple[Part, ...], tell: Callable[[Part], dict[str, Any]], marked: PromptCache = "none") -> Any:
    """What a message says: bare text, or what ``tell`` makes of each part where one is an image or bears a mark."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Image) or (part.prompt_cache and marked != "none"):
            return [tell(part) | mark_of(part.prompt_cache, marked) for part in parts]
        texts.append(part.text)
    return "".join(texts)


def has_marks(request: Chat) -> bool:
    """Whether the request says itself what is to be kept."""
    parts = (part for message in request.messages for part in message.parts)
    return any(tool.prompt_cache for tool in request.tools) or any(part.prompt_cache for part in parts)


def turns_of(messages: tuple[Message, ...], blocks: Callable[[Message], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Turns that alternate, without those of the system: what one side says in a row is one message."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        said = blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += said
        elif said:
            turns.append({"role": role, "content": said})
    return turns


def is_closed(schema: Any) -> bool:
    """Whether no object in it may hold what it does not name."""
    return all(schema.get("additionalProperties") is False for schema in _objects(schema))


def is_strict(schema: Any) -> bool:
    """Whether every object in it is closed and requires all it names, as strict mode demands."""
    complete = all(set(schema.get("properties", ())) == set(schema.get("required", ())) for schema in _objects(schema))
    return complete and is_closed(schema)


def _objects(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Every schema of an object inside."""
    if isinstance(schema, list):
        for item in schema:
            yield from _objects(item)
    elif isinstance(schema, Mapping):
        if "properties" in schema or schema.get("type") == "object":
            yield schema
        for item in schema.values():
            yield from _objects(item)


def wanted_shape(schema: Mapping[str, Any]) -> str:
    """The words that ask for JSON where a format cannot."""
    return f"Answer with JSON alone, valid for this JSON Schema: {orjson.dumps(schema).decode()}"


class Vocabulary(BaseModel):
    """The words for what providers and models of a format do differently: no others, and set once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


Quirks = TypeVar("Quirks", bound=BaseModel)


class QuirksByModel(Generic[Quirks]):
    """The quirks of a provider with those of a model over them, made once a model."""

    def __init__(self, kind: type[Quirks], card: ProviderCard) -> None:
        self._kind = kind
        self._card = card
        self._made: dict[str, Quirks] = {}

    def of(self, model: str) -> Quirks:
        """The quirks that hold for ``provider/name``."""
        if model not in self._made:
            known = model_of(self._card, model)[1]
            words = own_quirks(self._kind, {**self._card.quirks, **(known.quirks if known else {})})
            # What checks words is not built where there are none.
            self._made[model] = self._kind.model_validate(words) if words else self._kind.model_construct()
        return self._made[model]


class Spoken(Generic[Quirks]):
    """A format as one provider speaks it: what the wires share. ``vocabulary`` is the class of a wire's quirks."""

    vocabulary: type[Quirks]

    def __init__(self, card: ProviderCard) -> None:
        self._card = card
        self._quirks = QuirksByModel(self.vocabulary, card)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means."""
        return failure_of(status, headers, body)


def finished_body(body: dict[str, Any], drop: tuple[str, ...], rename: Mapping[str, str]) -> dict[str, Any]:
    """The body without what is unsaid or dropped, under the provider's own names."""
    kept = {name: value for name, value in body.items() if value is not None and name not in drop}
    return {rename.get(name, name): value for name, value in kept.items()}


def set_in(value: Any, settings: Mapping[str, str]) -> Any:
    """What a provider file says, with the settings in the places of their names."""
    if isinstance(value, str):
        return filled(value, settings)
    if isinstance(value, Mapping):
        return {name: set_in(inner, settings) for name, inner in value.items()}
    return [set_in(inner, settings) for inner in value] if isinstance(value, list) else value


def prompt_of(request: Chat) -> str:
    """The conversation as one text, for models that take a prompt and go on with it.

    One message, with or without instructions before it, stays as it is; more turns are told by who
    says them. `ProviderFailure` ``bad_request`` for what a text cannot hold: images and tools.
    """
    require_text(request)
    said = [(message.role, text) for message in request.messages if (text := message.text)]
    if request.schema is not None:
        said.insert(0, ("system", wanted_shape(request.schema)))
    roles = [role for role, _ in said]
    if "assistant" not in roles and roles.count("user") < 2:  # noqa: PLR2004
        return "\n\n".join(text for _, text in said)
    turns = [text if role == "system" else f"{role.capitalize()}: {text}" for role, text in said]
    return "\n\n".join([*turns, "Assistant:"])


def require_text(request: Chat) -> None:
    """`ProviderFailure` ``bad_request`` for images and tools, where the format has no place for them."""
    found = {"tools"} if request.tools else set()
    found.update(map(_beside_text, request.messages))
    for name in ("images", "tools"):
        if name in found:
            message = f"this provider's format holds text alone and no {name}"
            raise ProviderFailure("bad_request", message, hint="model: a model of another provider")


def _beside_text(message: Message) -> str:
    """What a message has that is no text."""
    for part in message.parts:
        if isinstance(part, Image):
            return "images"
    return "tools" if message.tool_calls or message.role == "tool" else ""


def path_of(name: str) -> str:
    """The path of a model at Google; a name with a slash is one already, as that of a tuned model."""
    return "/" + quote(name if "/" in name else f"models/{name}", safe="/")


def with_ids(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with an id for every call; results without one belong to the open calls in order."""
    if not _lack_ids(messages):
        return messages
    named: list[Message] = []
    waiting: list[str] = []
    for place, message in enumerate(messages):
        if message.tool_calls:
            calls = tuple(replace(c, id=c.id or f"call_{place}_{i}") for i, c in enumerate(message.tool_calls))
            waiting = [call.id for call in calls]
            named.append(replace(message, tool_calls=calls))
        elif message.role == "tool":
            identity = message.tool_call_id or (waiting[0] if waiting else f"call_{place}")
            waiting = [other for other in waiting if other != identity]
            named.append(replace(message, tool_call_id=identity))
        else:
            named.append(message)
    return tuple(named)


def _lack_ids(messages: tuple[Message, ...]) -> bool:
    """Whether a call or a result has no id: a plain loop, as this is on the way of every chat."""
    for message in messages:
        if message.tool_calls and not all(call.id for call in message.tool_calls):
            return True
        if message.role == "tool" and not message.tool_call_id:
            return True
    return False


def merged(body: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The body with ``more`` over it, mappings inside likewise."""
    result = dict(body)
    for name, value in more.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return result
