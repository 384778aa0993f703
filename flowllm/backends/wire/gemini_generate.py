"""The generateContent format of Gemini, at AI Studio and Vertex: whole bodies, event streams, arrays.

Calls have no ids in older models: their results go back by name and order. Signatures belong to calls,
to thoughts, or to the text itself (a `Thought` whose id is ``text``). The end mark says STOP also when
tools are called. Thinking is counted beside the answer: it is added.
"""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of, json_of
from flowllm.backends.billing import modalities_of, word_of
from flowllm.backends.calling import WORDS, choice_of, require_parallel
from flowllm.backends.content import (
    Spoken,
    Vocabulary,
    arguments_of,
    finished_body,
    has_data,
    image_data,
    merged,
    path_of,
    sealed_for,
    wanted_shape,
)
from flowllm.backends.failures import failure_inside
from flowllm.backends.framing import Frame
from flowllm.backends.likelihoods import read_candidates
from flowllm.backends.partial_arguments import PartialArguments
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Reasoning, ToolCall, Usage
from flowllm.core.request import Chat, Image, Message, Part, Request, Thought, Tool, ToolUse

_FORMAT = "gemini_generate"
_BUDGET = {"none": 0, "minimal": 512, "low": 2048, "medium": 8192, "high": 24576}
_OF_TEXT = "text"
_DETAILS = (("input", "promptTokensDetails"), ("cached", "cacheTokensDetails"), ("output", "candidatesTokensDetails"))


class Quirks(Vocabulary):
    """What a host or a model of this format does differently; words of a model override the provider's.

    ``rename`` and ``drop`` work on the names of ``generationConfig``. ``stream: array`` asks for one
    growing JSON array instead of events. ``thinking`` is how a model is told how much to think. ``count: flat``
    asks for the tokens of a chat as for its answer.
    """

    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()
    stream: Literal["sse", "array"] = "sse"
    thinking: Literal["budget", "level", "none"] = "budget"
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    count: Literal["inside", "flat"] = "inside"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/models?pageSize=1000", "models", ("name",), "models/")

    def encode(self, request: Request) -> HttpParts:
        """A chat as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        body = merged(finished_body(_body(request, quirks), (), {}), request.extra)
        path = path_of(model_of(self._card, request.model)[0])
        if not request.stream:
            return HttpParts("POST", f"{path}:generateContent", orjson.dumps(body))
        path += ":streamGenerateContent" + ("?alt=sse" if quirks.stream == "sse" else "")
        return HttpParts("POST", path, orjson.dumps(body), stream=True, json="items")

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer."""
        return Decoder()

    def count(self, request: Chat) -> HttpParts:
        """The chat; where a host takes messages alone, all else stands inside."""
        quirks = self._quirks.of(request.model)
        path = path_of(model_of(self._card, request.model)[0])
        body = merged(finished_body(_body(request, quirks), (), {}), request.extra)
        if quirks.count == "inside" and len(body) > 1:
            body = {"generateContentRequest": {"model": path[1:], **body}}
        return HttpParts("POST", f"{path}:countTokens", orjson.dumps(body))

    def counted(self, answer: Any) -> int | None:
        """All tokens."""
        return count_of(answer.get("totalTokens"))


def _body(request: Chat, quirks: Quirks) -> dict[str, Any]:
    system = [part for m in request.messages if m.role == "system" for part in _parts(m.parts)]
    if request.schema is not None and quirks.structured != "json_schema":
        system.append({"text": wanted_shape(request.schema)})
    config = finished_body(_config(request, quirks), quirks.drop, quirks.rename)
    return {
        "systemInstruction": {"parts": system} if system else None,
        "contents": _contents(request.messages),
        "tools": [{"functionDeclarations": [_tool(tool) for tool in request.tools]}] if request.tools else None,
        "toolConfig": _choice(request),
        "generationConfig": config or None,
    }


def _config(request: Chat, quirks: Quirks) -> dict[str, Any]:
    sampling = request.sampling
    json = request.schema is not None and quirks.structured != "none"
    return {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "maxOutputTokens": sampling.max_output_tokens,
        "stopSequences": list(sampling.stop) or None,
        "seed": sampling.seed,
        "responseLogprobs": None if sampling.logprobs is None else True,
        "logprobs": sampling.logprobs or None,
        "responseMimeType": "application/json" if json else None,
        "responseJsonSchema": request.schema if quirks.structured == "json_schema" else None,
        "thinkingConfig": _thinking(request.reasoning, quirks),
    }


def _thinking(effort: str | None, quirks: Quirks) -> dict[str, Any] | None:
    if effort is None or quirks.thinking == "none":
        return None
    if quirks.thinking == "level":
        return {"includeThoughts": True, "thinkingLevel": "minimal" if effort == "none" else effort}
    return {"includeThoughts": effort != "none", "thinkingBudget": _BUDGET.get(effort, 8192)}


def _choice(request: Chat) -> dict[str, Any] | None:
    require_parallel(request)
    choice = choice_of(request)
    if choice is None:
        return None
    named = {} if choice in WORDS else {"allowedFunctionNames": [choice]}
    mode = choice.upper() if choice in ("auto", "none") else "ANY"
    return {"functionCallingConfig": {"mode": mode, **named}}


def _tool(tool: Tool) -> dict[str, Any]:
    said = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **said} | ({"parametersJsonSchema": tool.parameters} if tool.parameters else {})


def _contents(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Turns that alternate; the results of one turn of calls stand together."""
    turns: list[dict[str, Any]] = []
    waiting: list[ToolUse] = []
    for message in messages:
        if message.role == "system":
            continue
        if message.role == "tool":
            parts = [_result(message, waiting)]
        else:
            parts = _turn(message)
            waiting = list(message.tool_calls)
        role = "model" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def _result(message: Message, waiting: list[ToolUse]) -> dict[str, Any]:
    """A result names its call; without an id it answers the first call that still waits."""
    call = next((c for c in waiting if c.id == message.tool_call_id), waiting[0] if waiting else ToolUse("tool", ""))
    if call in waiting:
        waiting.remove(call)
    named = {"name": call.name} | ({"id": call.id} if call.id else {})
    images = [_image(part) for part in message.parts if isinstance(part, Image)]
    extra = {"parts": images} if images else {}
    return {"functionResponse": {**named, "response": _response(message), **extra}}


def _response(message: Message) -> dict[str, Any]:
    try:
        value = orjson.loads(message.text)
    except orjson.JSONDecodeError:
        value = message.text
    if message.failed:
        return {"error": value}
    return value if isinstance(value, dict) else {"result": value}


def _turn(message: Message) -> list[dict[str, Any]]:
    parts = _parts(message.parts)
    if message.thoughts:
        parts = _with_thoughts(parts, sealed_for(message, _FORMAT))
    parts += map(_call, message.tool_calls)
    return parts


def _with_thoughts(said: list[dict[str, Any]], thoughts: list[Thought]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"text": t.text, "thought": True, "thoughtSignature": t.signature} for t in thoughts if t.id != _OF_TEXT
    ]
    parts += said
    for thought in thoughts:
        if thought.id == _OF_TEXT:
            if not parts or "text" not in parts[-1]:
                parts.append({"text": ""})
            parts[-1] = {**parts[-1], "thoughtSignature": thought.signature}
    return parts


def _call(call: ToolUse) -> dict[str, Any]:
    function = {"name": call.name, "args": arguments_of(call)} | ({"id": call.id} if call.id else {})
    return {"functionCall": function} | ({"thoughtSignature": call.signature} if call.signature else {})


def _parts(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Image):
            told.append(_image(part))
        elif part.text:
            told.append({"text": part.text})
    return told


def _image(image: Image) -> dict[str, Any]:
    if has_data(image):
        media_type, data = image_data(image)
        return {"inlineData": {"mimeType": media_type, "data": data}}
    return {"fileData": {"fileUri": image.url} | ({"mimeType": image.media_type} if image.media_type else {})}


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts."""

    __slots__ = ("_calls", "_partial")
    kind = "a generated content"

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0
        self._partial: PartialArguments | None = None

    def _load(self, frame: Frame) -> Any:
        """One chunk, or an array of them."""
        return json_of(frame)

    def _read(self, data: Any, frame: Frame, deltas: list[Delta]) -> None:
        for chunk in data if isinstance(data, list) else [data]:
            if chunk.get("error"):
                raise failure_inside(chunk)
            self._chunk(chunk, deltas)
        self.complete = self.complete or frame.whole

    def _chunk(self, chunk: dict[str, Any], deltas: list[Delta]) -> None:
        if "candidates" not in chunk and "usageMetadata" not in chunk and "promptFeedback" not in chunk:
            raise KeyError
        if not self._named:
            self._name(chunk.get("modelVersion"), deltas)
        for candidate in (chunk.get("candidates") or ())[:1]:
            if not candidate.get("index"):
                self._candidate(candidate, deltas)
        if feedback := chunk.get("promptFeedback"):
            self._end(feedback.get("blockReason"))
        if isinstance(usage := chunk.get("usageMetadata"), dict):
            deltas.append(usage_of(usage))

    def _candidate(self, candidate: dict[str, Any], deltas: list[Delta]) -> None:
        for part in (candidate.get("content") or {}).get("parts") or ():
            self._part(part, deltas)
        if cited := candidate.get("citationMetadata"):
            self._citations += len(cited.get("citationSources") or cited.get("citations") or ())
        if likely := candidate.get("logprobsResult"):
            read_candidates(likely, deltas)
        if raw := candidate.get("finishReason"):
            self._end(raw)

    def _part(self, part: dict[str, Any], deltas: list[Delta]) -> None:
        if len(part) == 1 and "text" in part:
            return self._say(part["text"], deltas)
        text, seal = part.get("text"), str(part.get("thoughtSignature") or "")
        if "functionCall" in part:
            self._call(part["functionCall"], seal, deltas)
        elif part.get("thought"):
            deltas.append(Reasoning(str(text or ""), seal, format=_FORMAT))
        else:
            self._say(text, deltas)
            if seal:
                deltas.append(Reasoning("", seal, _OF_TEXT, format=_FORMAT))
        return None

    def _call(self, call: dict[str, Any], seal: str, deltas: list[Delta]) -> None:
        if name := call.get("name"):
            self._close(deltas)
            whole = call.get("args") is not None and not call.get("willContinue")
            given = orjson.dumps(call["args"]).decode() if whole or call.get("args") else ""
            deltas.append(ToolCall(self._calls, str(call.get("id") or ""), str(name), given, seal))
            self._calls += 1
            self._called = True
            if call.get("willContinue"):
                self._partial = PartialArguments()
        if self._partial is not None:
            self._partial.add(call.get("partialArgs") or ())
            if not call.get("willContinue"):
                self._close(deltas)

    def _held(self) -> list[Delta]:
        deltas: list[Delta] = []
        self._close(deltas)
        return deltas

    def _close(self, deltas: list[Delta]) -> None:
        """Arguments that came at paths are told when the call is complete."""
        if self._partial is not None and self._partial.value:
            deltas.append(ToolCall(self._calls - 1, arguments=orjson.dumps(self._partial.value).decode()))
        self._partial = None


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of ``usageMetadata``; thinking counts as output, what the provider's own tools read as input."""
    read, used = count_of(usage.get("promptTokenCount")), count_of(usage.get("toolUsePromptTokenCount"))
    written, thought = count_of(usage.get("candidatesTokenCount")), count_of(usage.get("thoughtsTokenCount"))
    cached, service = usage.get("cachedContentTokenCount"), usage.get("serviceTier") or usage.get("trafficType")
    return Usage(
        None if read is None else read + (used or 0),
        None if written is None and thought is None else (written or 0) + (thought or 0),
        count_of(cached),
        None,
        thought,
        classes=_classes(usage),
        service=word_of(service) if service else "",
    )


def _classes(usage: Mapping[str, Any]) -> dict[str, int]:
    """Those that are no plain text; a loop, as every piece of a stream counts anew."""
    found: dict[str, int] = {}
    for side, word in _DETAILS:
        if rows := usage.get(word):
            found |= modalities_of(side, rows)
    return found
