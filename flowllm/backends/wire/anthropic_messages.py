"""The messages format of Anthropic, also behind other hosts: whole JSON bodies and event streams.

A whole message is read as the events that would have told it. System messages of any place go to the
top, results of tools into the user's turn. Input tokens are reported without the cached ones: they
are added. A stream that ends without a stop reason was interrupted.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of
from flowllm.backends.billing import lifetimes_of, searches_of, word_of
from flowllm.backends.calling import WORDS, choice_of, only_one, require_no_logprobs
from flowllm.backends.content import (
    Spoken,
    Vocabulary,
    arguments_of,
    finished_body,
    has_data,
    has_marks,
    image_data,
    is_closed,
    mark_of,
    merged,
    parameters_of,
    sealed_for,
    turns_of,
    wanted_shape,
    with_ids,
)
from flowllm.backends.framing import Frame
from flowllm.backends.thinking import ROOM, Sampled, budget_of, length_of, require_room, require_unsampled, sampled
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Reasoning, ToolCall, Usage
from flowllm.core.request import Chat, Image, Message, Part, Request, Text, Thought, Tool

_FORMAT = "anthropic_messages"
_NO_ID = re.compile(r"[^A-Za-z0-9_-]")
_SAMPLING = ("temperature", "top_p", "top_k")
_COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"})
_MARKED: Literal["cache_control"] = "cache_control"
_MARK = mark_of("5m", _MARKED)


class Quirks(Vocabulary):
    """What a host or a model of this format does differently; words of a model override the provider's.

    ``path`` and ``stream_path`` may hold ``{model}``; ``add`` goes into every body. ``max_tokens`` is
    sent where nothing is asked, because the format demands it. ``thinking`` is how a model is told how
    much to think: a ``budget`` is half of the answer's length at most, or all but ``max_tokens`` of it.
    ``sampling`` is when temperature, top_p and top_k may be set, and ``unsampled`` are words in the names of
    models that never take them. ``structured: none`` asks for JSON in words. ``cache: prefix`` marks what stays
    the same from turn to turn, where a request has no marks of its own.
    """

    path: str = "/messages"
    stream_path: str = ""
    add: Mapping[str, Any] = {}
    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()
    max_tokens: int = ROOM
    thinking: Literal["effort", "budget", "none"] = "effort"
    sampling: Sampled = "unthinking"
    unsampled: tuple[str, ...] = ()
    structured: Literal["json_schema", "none"] = "json_schema"
    cache: Literal["none", "prefix"] = "none"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/models?limit=1000", "data")

    def encode(self, request: Request) -> HttpParts:
        """A chat as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        name, known = model_of(self._card, request.model)
        output = known.output if known else None
        most = length_of(request, quirks.max_tokens, output, by_budget=quirks.thinking == "budget")
        body = {"model": name, "max_tokens": most, **_body(request, quirks, most)}
        if quirks.cache == "prefix" and not has_marks(request):
            _mark(body)
        body = merged(finished_body(body, quirks.drop, quirks.rename), {**quirks.add, **request.extra})
        told = {word: body.get(word) for word in _SAMPLING}
        require_unsampled(told, sampled(name, quirks.sampling, quirks.unsampled), body.get("thinking"))
        require_room(body.get("thinking"), body.get("max_tokens"))
        path = (request.stream and quirks.stream_path) or quirks.path
        return HttpParts("POST", path.replace("{model}", quote(name, safe="")), orjson.dumps(body), request.stream)

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer."""
        return Decoder()

    def count(self, request: Chat) -> HttpParts:
        """The chat without what is said of its answer."""
        path = self._card.endpoints.get("count_tokens", "/messages/count_tokens")
        told = {"model": model_of(self._card, request.model)[0]} | orjson.loads(self.encode(request).body)
        body = {word: value for word, value in told.items() if word in _COUNTED}
        return HttpParts("POST", path, orjson.dumps(body))

    def counted(self, answer: Any) -> int | None:
        """The tokens of the input."""
        return count_of(answer.get("input_tokens"))


def _body(request: Chat, quirks: Quirks, most: int) -> dict[str, Any]:
    require_no_logprobs(request)
    sampling = request.sampling
    system = [part for m in request.messages if m.role == "system" for part in m.parts]
    texts = [part for part in system if not isinstance(part, Image) and part.text]
    output: dict[str, Any] = {}
    if request.schema is not None and quirks.structured == "json_schema" and is_closed(request.schema):
        output["format"] = {"type": "json_schema", "schema": request.schema}
    elif request.schema is not None:
        texts.append(Text(wanted_shape(request.schema)))
    thinking = _thinking(request.reasoning, quirks, most, output)
    return {
        "system": _system(texts),
        "messages": turns_of(with_ids(request.messages), _blocks),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": list(sampling.stop) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(request),
        "thinking": thinking,
        "output_config": output or None,
        "stream": request.stream or None,
    }


def _tool(tool: Tool) -> dict[str, Any]:
    said = {"description": tool.description} if tool.description else {}
    schema = {"name": tool.name, "input_schema": parameters_of(tool.parameters)}
    return schema | said | mark_of(tool.prompt_cache, _MARKED)


def _choice(request: Chat) -> dict[str, Any] | None:
    choice, one = choice_of(request), only_one(request)
    if choice is None and not one:
        return None
    choice = choice or "auto"
    told = {"type": {"required": "any"}.get(choice, choice)} if choice in WORDS else {"type": "tool", "name": choice}
    return told | ({"disable_parallel_tool_use": True} if one and choice != "none" else {})


def _system(texts: list[Text]) -> Any:
    if len(texts) > 1 or any(text.prompt_cache for text in texts):
        return _parts(tuple(texts))
    return texts[0].text if texts else None


def _thinking(effort: str | None, quirks: Quirks, most: int, output: dict[str, Any]) -> dict[str, Any] | None:
    if effort is None or quirks.thinking == "none":
        return None
    if effort == "none":
        return {"type": "disabled"}
    if quirks.thinking == "effort":
        output["effort"] = "low" if effort == "minimal" else effort
        return {"type": "adaptive"}
    return {"type": "enabled", "budget_tokens": budget_of(effort, most, quirks.max_tokens)}


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": _identity(message.tool_call_id)}
        content = _parts(message.parts)
        told = ({"content": content} if content else {}) | ({"is_error": True} if message.failed else {})
        return [result | told]
    blocks = [_thought(thought) for thought in sealed_for(message, _FORMAT)] if message.thoughts else []
    blocks += _parts(message.parts)
    for call in message.tool_calls:
        named = {"id": _identity(call.id), "name": call.name}
        blocks.append({"type": "tool_use", **named, "input": arguments_of(call)})
    return blocks


def _thought(thought: Thought) -> dict[str, Any]:
    if thought.sealed:
        return {"type": "redacted_thinking", "data": thought.signature}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def _parts(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Blocks; empty ones would be refused."""
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Image) or part.text:
            block = _image(part) if isinstance(part, Image) else {"type": "text", "text": part.text}
            blocks.append(block | mark_of(part.prompt_cache, _MARKED) if part.prompt_cache else block)
    return blocks


def _image(image: Image) -> dict[str, Any]:
    if not has_data(image):
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    media_type, data = image_data(image)
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _identity(written: str) -> str:
    return _NO_ID.sub("_", written)


def _mark(body: dict[str, Any]) -> None:
    """Ends of what the next turn will repeat: tools, system and history."""
    if body["tools"]:
        body["tools"][-1] |= _MARK
    if isinstance(body["system"], str):
        body["system"] = [{"type": "text", "text": body["system"]}]
    if body["system"]:
        body["system"][-1] |= _MARK
    if body["messages"] and not body["messages"][-1]["content"][-1]["type"].endswith("thinking"):
        body["messages"][-1]["content"][-1] |= _MARK


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts."""

    __slots__ = ("_calls", "_numbers")
    kind = "a message"

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[Any, int] = {}
        self._numbers: dict[str, Any] = {}

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        kind = data.get("type")
        if kind == "content_block_delta":
            self._delta(data["delta"], data.get("index"), deltas)
        elif kind == "content_block_start":
            self._block(data["content_block"], data.get("index"), deltas)
        elif kind == "message_start":
            self._message(data["message"], deltas)
        elif kind == "message_delta":
            self._end(data["delta"].get("stop_reason"))
            self._usage(data.get("usage"), deltas)
        elif kind == "message_stop":
            self.done = self.complete = True
        elif kind == "message" or frame.whole:
            self._message(data, deltas)
            self.complete = self.done = True

    def _message(self, message: dict[str, Any], deltas: list[Delta]) -> None:
        self._name(message.get("model"), deltas)
        for index, block in enumerate(message["content"]):
            self._block(block, index, deltas)
        self._end(message.get("stop_reason"))
        self._usage(message.get("usage"), deltas)

    def _block(self, block: dict[str, Any], index: Any, deltas: list[Delta]) -> None:
        kind = block["type"]
        if kind == "text":
            self._say(block.get("text"), deltas)
            self._citations += len(block.get("citations") or ())
        elif kind == "thinking":
            if block.get("thinking") or block.get("signature"):
                deltas.append(Reasoning(block.get("thinking") or "", block.get("signature") or "", format=_FORMAT))
        elif kind == "redacted_thinking":
            deltas.append(Reasoning("", str(block["data"]), sealed=True, format=_FORMAT))
        elif kind == "tool_use":
            self._called = True
            number = self._calls[index] = len(self._calls)
            given = orjson.dumps(block["input"]).decode() if block.get("input") else ""
            deltas.append(ToolCall(number, str(block.get("id") or ""), str(block["name"]), given))

    def _delta(self, delta: dict[str, Any], index: Any, deltas: list[Delta]) -> None:
        kind = delta["type"]
        if kind == "text_delta":
            self._say(delta["text"], deltas)
        elif kind == "thinking_delta":
            deltas.append(Reasoning(str(delta["thinking"])))
        elif kind == "signature_delta":
            deltas.append(Reasoning("", str(delta["signature"]), format=_FORMAT))
        elif kind == "input_json_delta" and index in self._calls and delta["partial_json"]:
            deltas.append(ToolCall(self._calls[index], arguments=str(delta["partial_json"])))
        elif kind == "citations_delta":
            self._citations += 1

    def _usage(self, usage: Any, deltas: list[Delta]) -> None:
        """Later numbers replace earlier ones; what is not repeated still holds."""
        if not isinstance(usage, dict):
            return
        self._numbers |= {name: value for name, value in usage.items() if value is not None}
        numbers = self._numbers
        plain = count_of(numbers.get("input_tokens"))
        cached, written = (count_of(numbers.get(f"cache_{name}_input_tokens")) for name in ("read", "creation"))
        details = numbers.get("output_tokens_details")
        deltas.append(
            Usage(
                input=None if plain is None else plain + (cached or 0) + (written or 0),
                output=count_of(numbers.get("output_tokens")),
                cached_input=cached,
                cache_write=written,
                reasoning=count_of(details.get("thinking_tokens")) if isinstance(details, dict) else None,
                written=lifetimes_of(numbers.get("cache_creation")),
                units=searches_of(numbers),
                service=word_of(numbers.get("service_tier")),
                region=word_of(numbers.get("inference_geo")),
                speed=word_of(numbers.get("speed")),
            )
        )
