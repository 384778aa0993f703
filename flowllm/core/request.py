"""What can be asked of a model, in no provider's words. Frozen; the canonical digest is the cache key."""

from collections.abc import Mapping
from dataclasses import asdict, field, fields
from hashlib import sha256
from operator import attrgetter
from typing import Any, Literal

import orjson

from flowllm.core.record import record

Role = Literal["system", "user", "assistant", "tool"]
Lifetime = Literal["", "5m", "1h"]
"""How long a provider is to keep what stands up to here for later requests; empty: no mark.

It saves money and time and changes no answer: a wire without a place for it leaves it out.
"""


@record
class Text:
    """A part of a message that is text; ``prompt_cache`` marks the end of what is kept."""

    text: str
    prompt_cache: Lifetime = ""


@record
class Image:
    """A part of a message that is an image: an https URL, or base64 ``data`` with its media type."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    prompt_cache: Lifetime = ""


Part = Text | Image


@record
class ToolUse:
    """A call of a tool that a model asked for; ``arguments`` is JSON text as the model wrote it.

    ``signature`` is the provider's seal on it, sent back as it came.
    """

    name: str
    arguments: str
    id: str = ""
    signature: str = ""


@record
class Thought:
    """What a model thought before it answered, for the provider that gave it.

    ``signature`` is the provider's seal, sent back as it came; ``sealed``: the seal holds the whole
    thought. ``id`` is the provider's name of it. ``format`` is the wire that can read the seal; empty
    means any.
    """

    text: str = ""
    signature: str = ""
    id: str = ""
    sealed: bool = False
    format: str = ""


@record
class Message:
    """One turn. ``tool_calls`` and ``thoughts`` only on assistant turns, ``tool_call_id`` only on tool turns.

    ``thoughts`` came before the parts and calls; a wire without a place for them leaves them out.
    ``failed``: a tool turn that tells an error; where a format cannot say so, its text has to.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolUse, ...] = ()
    tool_call_id: str = ""
    thoughts: tuple[Thought, ...] = ()
    failed: bool = False

    @property
    def text(self) -> str:
        """The text parts, joined without separator."""
        text = ""
        for part in self.parts:
            if isinstance(part, Text):
                text += part.text
        return text


@record
class Tool:
    """A function that the model may ask for; ``parameters`` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    prompt_cache: Lifetime = ""


@record
class Sampling:
    """How the answer is drawn; None leaves the provider's default. Tokens are counted in output tokens.

    ``logprobs`` asks for the log probability of each token, and of so many of the likeliest in its place.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None


@record
class Chat:
    """Messages in, one message out. ``model`` is ``provider/name``.

    ``schema`` asks for JSON of that shape; ``choices`` are the only answers allowed (the messages say
    so; a wire that can hold the model to them may); ``extra`` goes into the provider's body as it is.
    ``tool_choice`` is auto, none, required, or the name of the one tool to call; ``parallel_tool_calls``
    False asks for one call at a time; None leaves both to the provider.
    ``stream`` says how the answer should travel and is no part of the digest.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    reasoning: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None


@record
class Embed:
    """Texts in, one vector each out."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@record
class Rerank:
    """A query and documents in, scores out; ``k`` documents at most."""

    model: str
    query: str
    documents: tuple[str, ...]
    k: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Request = Chat | Embed | Rerank


def digest(request: Request, salt: str = "", identity: str = "") -> str:
    """The sha256, in hex, of everything that can change the answer, and ``salt``.

    ``identity`` says what stands behind the model's name here (`Services.identity`).
    """
    values = _chat(request) if isinstance(request, Chat) else _VALUES[type(request)](request)
    body = type(request).__name__, salt, identity, values
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


_VALUES = {kind: attrgetter(*(field.name for field in fields(kind))) for kind in (Embed, Rerank)}


def _chat(request: Chat) -> tuple[Any, ...]:
    """All values but ``stream`` and marks, field by field and as tuples: this is on the way of every call.

    What came later to a request is there only where it is said, so that other keys stay as they were.
    """
    drawn, calling = request.sampling, (request.tool_choice, request.parallel_tool_calls)
    return (
        request.model,
        list(map(_turn, request.messages)),
        (drawn.temperature, drawn.top_p, drawn.max_output_tokens, drawn.stop, drawn.seed),
        request.schema,
        request.choices,
        [_unmarked(tool) for tool in request.tools],
        request.reasoning,
        request.extra,
        *([calling] if calling != (None, None) else []),
        *([{"logprobs": drawn.logprobs}] if drawn.logprobs is not None else []),
    )


def _turn(message: Message) -> orjson.Fragment | tuple[str, str]:
    """A message of one text as a pair, which no other message is."""
    parts = message.parts
    if len(parts) != 1 or message.tool_calls or message.tool_call_id or message.thoughts or message.failed:
        return _unmarked(message)
    part = parts[0]
    return (message.role, part.text) if isinstance(part, Text) else _unmarked(message)


def _unmarked(value: Message | Tool | Part) -> orjson.Fragment:
    """The fields in their order, without marks and without a word of what is no failure."""
    found = {word: getattr(value, word) for word in _COUNTED[type(value)]}
    if isinstance(value, Message):
        found["parts"] = list(map(_unmarked, value.parts))
        if not value.failed:
            del found["failed"]
    elif isinstance(value, Tool):
        found["parameters"] = orjson.Fragment(orjson.dumps(value.parameters, option=orjson.OPT_SORT_KEYS))
    return orjson.Fragment(orjson.dumps(found))


_COUNTED = {
    kind: [field.name for field in fields(kind) if field.name != "prompt_cache"]
    for kind in (Text, Image, Message, Tool)
}


def message_from_data(data: Mapping[str, Any]) -> Message:
    """A message as users see it in ports to a `Message`.

    ``{role, content[, tool_calls, tool_call_id, failed]}``; ``content`` is text, or parts that are
    ``{text}`` or ``{image}``, each with ``prompt_cache`` where it is marked.
    """
    content = data.get("content", "")
    parts = (Text(content),) if isinstance(content, str) else tuple(map(_part_from_data, content or ()))
    calls = tuple(
        ToolUse(c["name"], c["arguments"], c.get("id", ""), c.get("signature", "")) for c in data.get("tool_calls", ())
    )
    thoughts = tuple(Thought(**thought) for thought in data.get("thoughts", ()))
    return Message(data["role"], parts, calls, data.get("tool_call_id", ""), thoughts, bool(data.get("failed")))


def _part_from_data(data: Mapping[str, Any]) -> Part:
    kept = data.get("prompt_cache", "")
    return Text(data["text"], kept) if "text" in data else Image(**data["image"], prompt_cache=kept)


def message_to_data(message: Message) -> dict[str, Any]:
    """The inverse of `message_from_data`; content is a string when all parts are text without a mark."""
    data: dict[str, Any] = {"role": message.role}
    if all(isinstance(part, Text) and not part.prompt_cache for part in message.parts):
        data["content"] = message.text
    else:
        data["content"] = [_part_to_data(part) for part in message.parts]
    if message.tool_calls:
        data["tool_calls"] = [
            {"id": c.id, "name": c.name, "arguments": c.arguments} | ({"signature": c.signature} if c.signature else {})
            for c in message.tool_calls
        ]
    if message.tool_call_id:
        data["tool_call_id"] = message.tool_call_id
    if message.failed:
        data["failed"] = True
    if message.thoughts:
        data["thoughts"] = [asdict(thought) for thought in message.thoughts]
    return data


def _part_to_data(part: Part) -> dict[str, Any]:
    kept = {"prompt_cache": part.prompt_cache} if part.prompt_cache else {}
    if isinstance(part, Text):
        return {"text": part.text, **kept}
    return {"image": {"url": part.url, "media_type": part.media_type, "data": part.data}, **kept}
