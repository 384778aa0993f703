"""The Converse format of Amazon Bedrock: whole JSON bodies and binary event streams, one shape for all models.

A whole body is read as the events that would have told it. System messages of any place go to the
top, results of tools into the user's turn. Input tokens are reported without the cached ones: they
are added. What a model alone understands goes into the fields of its own. Calls that the provider
carries out itself are left out. The bodies of Nova, which tell each event under its name, are read too.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of
from flowllm.backends.billing import inside, lifetimes_in, word_of
from flowllm.backends.calling import WORDS, choice_of, refuse, require_no_logprobs, require_parallel
from flowllm.backends.content import (
    Spoken,
    Vocabulary,
    arguments_of,
    finished_body,
    has_marks,
    image_data,
    is_closed,
    merged,
    parameters_of,
    sealed_for,
    turns_of,
    wanted_shape,
    with_ids,
)
from flowllm.backends.framing import Frame
from flowllm.backends.hosted import family_of
from flowllm.backends.thinking import ROOM, Sampled, fields_of, length_of, require_room, require_unsampled, sampled
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Finish, Reasoning, ToolCall, Usage
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Image, Lifetime, Message, Part, Request, Text, Thought, Tool

_FORMAT = "bedrock_converse"
_NO_ID = re.compile(r"[^A-Za-z0-9_.:-]")
_LONGEST_ID = 64
_ANSWER = "answer"
_MARK = {"cachePoint": {"type": "default"}}
_COUNTED = frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"})
_EVENTS = ("contentBlockDelta", "contentBlockStart", "messageStop", "metadata")
_THINKING = {"anthropic": "adaptive", "nova": "nova", "openai": "reasoning_effort"}
_STRUCTURED = {"nova": "tool", "titan": "none", "llama": "none", "cohere": "none", "ai21": "none"}


class Quirks(Vocabulary):
    """What a model or a host of this format does differently; words of a model override the provider's.

    ``converse_path`` and ``converse_stream_path`` may hold ``{model}``; ``add`` goes into every body, ``drop``
    works on the names of ``inferenceConfig`` too. ``fields`` is where the fields of a model's own stand, empty
    for the body itself. ``thinking`` is how a model is told how much to think and ``structured`` how it is asked
    for JSON, ``family`` by what its name says: ``tool`` has it call one, ``none`` asks in words. ``sampling`` and
    ``unsampled`` are those of the messages format. ``cache: prefix`` marks what stays the same from turn to turn,
    where a request has no marks of its own.
    """

    converse_path: str = "/model/{model}/converse"
    converse_stream_path: str = "/model/{model}/converse-stream"
    add: Mapping[str, Any] = {}
    drop: tuple[str, ...] = ()
    fields: str = "additionalModelRequestFields"
    thinking: Literal["family", "adaptive", "budget", "nova", "reasoning_effort", "effort", "none"] = "family"
    structured: Literal["family", "json_schema", "tool", "none"] = "family"
    sampling: Sampled = "unthinking"
    unsampled: tuple[str, ...] = ()
    cache: Literal["none", "prefix"] = "none"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("", "modelSummaries", ("modelId",))

    def encode(self, request: Request) -> HttpParts:
        """A chat as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        name, known = model_of(self._card, request.model)
        body = _body(request, quirks, family_of(name), known.output if known else None)
        if quirks.cache == "prefix" and not has_marks(request):
            _mark(body)
        body = merged(finished_body(body, quirks.drop, {}), {**quirks.add, **request.extra})
        config, fields = _own(body, "inferenceConfig"), _own(body, quirks.fields) if quirks.fields else body
        told = {"temperature": config.get("temperature"), "topP": config.get("topP"), "top_k": fields.get("top_k")}
        require_unsampled(told, sampled(name, quirks.sampling, quirks.unsampled), fields.get("thinking"))
        require_room(fields.get("thinking"), config.get("maxTokens"))
        path = quirks.converse_stream_path if request.stream else quirks.converse_path
        return HttpParts("POST", path.replace("{model}", quote(name, safe="")), orjson.dumps(body), request.stream)

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer."""
        assert isinstance(request, Chat)
        family = family_of(model_of(self._card, request.model)[0])
        asked = _structured(request, self._quirks.of(request.model), family) == "tool"
        return Decoder(_ANSWER if asked else "")

    def count(self, request: Chat) -> HttpParts:
        """The chat without what is said of its answer."""
        body = {word: value for word, value in orjson.loads(self.encode(request).body).items() if word in _COUNTED}
        name = quote(model_of(self._card, request.model)[0], safe="")
        return HttpParts("POST", f"/model/{name}/count-tokens", orjson.dumps({"input": {"converse": body}}))

    def counted(self, answer: Any) -> int | None:
        """The tokens of the input."""
        return count_of(answer.get("inputTokens"))


def _body(request: Chat, quirks: Quirks, family: str, longest: int | None) -> dict[str, Any]:
    messages = with_ids(request.messages)
    system = [part for m in messages if m.role == "system" for part in m.parts if isinstance(part, Text)]
    structured = _structured(request, quirks, family)
    output: dict[str, Any] = {}
    if structured == "json_schema":
        shape = {"name": _ANSWER, "schema": orjson.dumps(request.schema).decode()}
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": shape}}
    elif structured == "none" and request.schema is not None:
        system.append(Text(wanted_shape(request.schema)))
    thinking = quirks.thinking if quirks.thinking != "family" else _THINKING.get(family, "effort")
    length = request.sampling.max_output_tokens
    if thinking == "budget" and request.reasoning not in (None, "none"):
        length = length_of(request, ROOM, longest, by_budget=True)
    fields = fields_of(request.reasoning, thinking, length or 0)
    if effort := fields.pop("effort", None):
        output["effort"] = effort
    body = {
        "messages": turns_of(messages, _blocks),
        "system": _parts(tuple(system)) or None,
        "inferenceConfig": finished_body(_inference(request, length), quirks.drop, {}) or None,
        "toolConfig": _tools(request, structured),
        "outputConfig": output or None,
    }
    return body | ({quirks.fields: fields or None} if quirks.fields else fields)


def _structured(request: Chat, quirks: Quirks, family: str) -> str:
    """How the shape of the answer is asked for, where there is one."""
    if request.schema is None:
        return "none"
    way = quirks.structured if quirks.structured != "family" else _STRUCTURED.get(family, "json_schema")
    if way == "json_schema" and not is_closed(request.schema):
        return "none"
    return "none" if way == "tool" and request.schema.get("type") != "object" else way


def _inference(request: Chat, length: int | None) -> dict[str, Any]:
    require_no_logprobs(request)
    sampling = request.sampling
    return {
        "maxTokens": length,
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "stopSequences": list(sampling.stop) or None,
    }


def _own(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping of a body; `ProviderFailure` ``bad_request`` where ``extra`` made it something else."""
    part = body.get(name) or {}
    if not isinstance(part, Mapping):
        message = f"`{name}` of this format is a mapping, and `extra` says otherwise"
        raise ProviderFailure("bad_request", message, hint=f"extra: {{{name}: {{...}}}}")
    return part


def _tools(request: Chat, structured: str) -> dict[str, Any] | None:
    """The tools; a history with calls must have them even where none are offered any more."""
    require_parallel(request)
    called = dict.fromkeys(call.name for message in request.messages for call in message.tool_calls)
    choice = choice_of(request)
    if choice == "none" and called:
        refuse("tool_choice: none` after calls of tools in `messages")
    tools = (request.tools if choice != "none" else ()) or tuple(Tool(name) for name in called)
    told = [block for tool in tools for block in (_tool(tool), *_point(tool.prompt_cache))]
    if structured == "tool":
        told.append(_tool(Tool(_ANSWER, "Give the answer.", request.schema or {})))
        choice = ("required" if choice in (None, "auto") else choice) if request.tools else _ANSWER
        choice = _ANSWER if choice == "none" else choice
    return {"tools": told} | _choice(choice) if told else None


def _choice(choice: str | None) -> dict[str, Any]:
    if choice in (None, "none"):
        return {}
    word = {"required": "any"}.get(choice, choice)
    return {"toolChoice": {word: {}} if choice in WORDS else {"tool": {"name": choice}}}


def _tool(tool: Tool) -> dict[str, Any]:
    said = {"description": tool.description} if tool.description else {}
    return {"toolSpec": {"name": tool.name, **said, "inputSchema": {"json": parameters_of(tool.parameters)}}}


def _point(kept: Lifetime) -> list[dict[str, Any]]:
    """The mark that stands behind what is kept."""
    if not kept:
        return []
    return [{"cachePoint": {"type": "default"} | ({"ttl": "1h"} if kept == "1h" else {})}]


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        result = {
            "toolUseId": _identity(message.tool_call_id),
            "content": [_part(p) for p in message.parts if _says(p)],
        }
        kept = message.parts[-1].prompt_cache if message.parts else ""
        return [{"toolResult": result | ({"status": "error"} if message.failed else {})}, *_point(kept)]
    blocks = [_thought(thought) for thought in sealed_for(message, _FORMAT)] if message.thoughts else []
    blocks += _parts(message.parts)
    for call in message.tool_calls:
        named = {"toolUseId": _identity(call.id), "name": call.name}
        blocks.append({"toolUse": {**named, "input": arguments_of(call)}})
    return blocks


def _thought(thought: Thought) -> dict[str, Any]:
    if thought.sealed:
        return {"reasoningContent": {"redactedContent": thought.signature}}
    return {"reasoningContent": {"reasoningText": {"text": thought.text, "signature": thought.signature}}}


def _parts(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Blocks; blank ones would be refused. A mark stands behind its block."""
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if _says(part):
            blocks.append(_part(part))
            if part.prompt_cache:
                blocks += _point(part.prompt_cache)
    return blocks


def _part(part: Part) -> dict[str, Any]:
    return _image(part) if isinstance(part, Image) else {"text": part.text}


def _says(part: Part) -> bool:
    return isinstance(part, Image) or bool(part.text.strip())


def _image(image: Image) -> dict[str, Any]:
    if image.url.startswith("s3://"):
        form = image.url.rpartition(".")[2].lower()
        return {"image": {"format": _image_format(form), "source": {"s3Location": {"uri": image.url}}}}
    media_type, data = image_data(image)
    return {"image": {"format": _image_format(media_type.rpartition("/")[2]), "source": {"bytes": data}}}


def _image_format(word: str) -> str:
    return "jpeg" if word == "jpg" else word


def _identity(written: str) -> str:
    """An id as the format allows them; the same for a call and its result."""
    plain = _NO_ID.sub("_", written)
    return plain if len(plain) <= _LONGEST_ID else hashlib.sha256(plain.encode()).hexdigest()


def _mark(body: dict[str, Any]) -> None:
    """Ends of what the next turn will repeat: tools, system and history."""
    if body["toolConfig"]:
        body["toolConfig"]["tools"].append(_MARK)
    if body["system"]:
        body["system"].append(_MARK)
    if body["messages"] and "reasoningContent" not in body["messages"][-1]["content"][-1]:
        body["messages"][-1]["content"].append(_MARK)


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts.

    The arguments of a call of the tool ``answer`` are the text of the answer.
    """

    __slots__ = ("_answer", "_answering", "_calls")
    kind = "an answer of Converse"

    def __init__(self, answer: str = "") -> None:
        super().__init__()
        self._answer = answer
        self._answering: set[Any] = set()
        self._calls: dict[Any, int] = {}

    def finish(self) -> list[Delta]:
        """The number of citations and the end mark; an answer given by calling a tool just stopped."""
        deltas = list(super().finish())
        last = deltas[-1]
        if self._answering and not self._called and isinstance(last, Finish) and last.reason == "tool_calls":
            deltas[-1] = Finish("stop", self._raw)
        return deltas

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        if frame.whole:
            return self._whole(data, deltas)
        kind = frame.event
        if kind not in _EVENTS:
            kind = next((name for name in _EVENTS if name in data), "")
            data = data.get(kind) or {}
        if kind == "contentBlockDelta":
            self._delta(data["delta"], data.get("contentBlockIndex"), deltas)
        elif kind == "contentBlockStart":
            self._start((data.get("start") or {}).get("toolUse"), data.get("contentBlockIndex"), deltas)
        elif kind == "messageStop":
            self._end(data.get("stopReason"))
            self.complete = True
        elif kind == "metadata":
            deltas.append(_usage(data))
            self.done = self.complete
        return None

    def _whole(self, body: dict[str, Any], deltas: list[Delta]) -> None:
        for index, block in enumerate(body["output"]["message"].get("content") or ()):
            self._block(block, index, deltas)
        if isinstance(body.get("usage"), dict):
            deltas.append(_usage(body))
        self._end(body.get("stopReason"))
        self.complete = self.done = True

    def _block(self, block: dict[str, Any], index: int, deltas: list[Delta]) -> None:
        self._say(block.get("text"), deltas)
        if call := block.get("toolUse"):
            self._start(call, index, deltas)
            self._more(orjson.dumps(call["input"]).decode() if "input" in call else "", index, deltas)
        if thought := block.get("reasoningContent"):
            self._think(thought.get("reasoningText") or thought, deltas)
        if cited := block.get("citationsContent"):
            for said in cited.get("content") or ():
                self._say(said.get("text"), deltas)
            self._citations += len(cited.get("citations") or ())

    def _delta(self, delta: dict[str, Any], index: Any, deltas: list[Delta]) -> None:
        if text := delta.get("text"):
            self._say(text, deltas)
        elif call := delta.get("toolUse"):
            self._more(call.get("input"), index, deltas)
        elif thought := delta.get("reasoningContent"):
            self._think(thought, deltas)
        elif "citation" in delta:
            self._citations += 1

    def _start(self, call: dict[str, Any] | None, index: Any, deltas: list[Delta]) -> None:
        """A call of the user's tools; those that the provider carries out itself are marked."""
        if not call or call.get("type") == "server_tool_use":
            return
        name = str(call["name"])
        if name == self._answer:
            self._answering.add(index)
            return
        self._called = True
        number = self._calls[index] = len(self._calls)
        deltas.append(ToolCall(number, str(call.get("toolUseId") or ""), name))

    def _more(self, arguments: Any, index: Any, deltas: list[Delta]) -> None:
        if index in self._answering:
            self._say(arguments, deltas)
        elif index in self._calls and arguments:
            deltas.append(ToolCall(self._calls[index], arguments=str(arguments)))

    def _think(self, thought: dict[str, Any], deltas: list[Delta]) -> None:
        text, signature, sealed = (thought.get(name) for name in ("text", "signature", "redactedContent"))
        if sealed:
            deltas.append(Reasoning("", str(sealed), sealed=True, format=_FORMAT))
        elif text or signature:
            deltas.append(Reasoning(str(text or ""), str(signature or ""), format=_FORMAT if signature else ""))


def _usage(told: dict[str, Any]) -> Usage:
    usage = told["usage"]
    plain = count_of(usage.get("inputTokens"))
    cached, written = (
        count_of(usage.get(f"cache{name}InputTokens"), usage.get(f"cache{name}InputTokenCount"))
        for name in ("Read", "Write")
    )
    return Usage(
        input=None if plain is None else plain + (cached or 0) + (written or 0),
        output=count_of(usage.get("outputTokens")),
        cached_input=cached,
        cache_write=written,
        written=lifetimes_in(usage.get("cacheDetails")),
        service=word_of(inside(told, "serviceTier", "type")),
        speed=word_of(inside(told, "performanceConfig", "latency")),
    )
