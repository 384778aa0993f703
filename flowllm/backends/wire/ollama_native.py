"""Ollama's own format: chat as lines of JSON or one body, and embeddings.

Calls come whole, with their arguments as an object and often without an id; the end mark says stop
also when tools are called. Counts that are left out are unknown.
"""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of
from flowllm.backends.calling import choice_of, refuse, require_parallel
from flowllm.backends.chat_completions import tool_of
from flowllm.backends.content import Spoken, Vocabulary, arguments_of, finished_body, image_data, merged
from flowllm.backends.framing import Frame
from flowllm.backends.likelihoods import read_rows
from flowllm.backends.vectors import VectorsDecoder
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Reasoning, ToolCall, Usage
from flowllm.core.request import Chat, Embed, Image, Message, Request, ToolUse


class Quirks(Vocabulary):
    """What a server or a model does differently; words of a model override the provider's.

    ``num_ctx`` is the window in tokens that the server must keep, because it cuts longer prompts
    without a word; None leaves the server's own. ``think: level`` sends the effort as a word.
    """

    num_ctx: int | None = None
    think: Literal["switch", "level", "none"] = "switch"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/api/tags", "models", ("name",))

    def encode(self, request: Request) -> HttpParts:
        """A chat or texts as a POST of JSON."""
        name = model_of(self._card, request.model)[0]
        if isinstance(request, Embed):
            texts = {"model": name, "input": request.texts, "dimensions": request.dimensions}
            return HttpParts("POST", "/api/embed", _dumped(texts, request.extra))
        assert isinstance(request, Chat)
        body = {"model": name, **_body(request, self._quirks.of(request.model))}
        form: Literal["lines", "whole"] = "lines" if request.stream else "whole"
        return HttpParts("POST", "/api/chat", _dumped(body, request.extra), request.stream, form)

    def decoder(self, request: Request) -> "Decoder | VectorsDecoder":
        """A decoder of one answer."""
        return VectorsDecoder(_vectors, len(request.texts)) if isinstance(request, Embed) else Decoder()


def _dumped(body: dict[str, Any], extra: Mapping[str, Any]) -> bytes:
    return orjson.dumps(merged(finished_body(body, (), {}), extra))


def _body(request: Chat, quirks: Quirks) -> dict[str, Any]:
    sampling = request.sampling
    options = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "num_predict": sampling.max_output_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "num_ctx": quirks.num_ctx,
    }
    return {
        "messages": _messages(request.messages),
        "tools": _tools(request) or None,
        "format": request.schema,
        "options": finished_body(options, (), {}) or None,
        "logprobs": None if sampling.logprobs is None else True,
        "top_logprobs": sampling.logprobs or None,
        "think": _think(request.reasoning, quirks),
        "stream": request.stream,
    }


def _think(effort: str | None, quirks: Quirks) -> bool | str | None:
    if effort is None or quirks.think == "none":
        return None
    if effort == "none" or quirks.think == "switch":
        return effort != "none"
    return "low" if effort == "minimal" else effort


def _tools(request: Chat) -> list[dict[str, Any]]:
    require_parallel(request)
    choice = choice_of(request)
    if choice not in (None, "auto", "none"):
        refuse(f"tool_choice: {choice}")
    tools = request.tools if choice != "none" else ()
    return [tool_of(tool) for tool in tools]


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """The history; the result of a call names its tool, since calls may have no id."""
    waiting: list[ToolUse] = []
    told = []
    for message in messages:
        data: dict[str, Any] = {"role": message.role, "content": message.text}
        if images := [image_data(part)[1] for part in message.parts if isinstance(part, Image)]:
            data["images"] = images
        if message.role == "tool":
            data |= _named(message, waiting)
        elif message.tool_calls:
            waiting = list(message.tool_calls)
            data["tool_calls"] = [_call(call) for call in message.tool_calls]
        if message.thoughts and (thought := "".join(thought.text for thought in message.thoughts)):
            data["thinking"] = thought
        told.append(data)
    return told


def _call(call: ToolUse) -> dict[str, Any]:
    function = {"function": {"name": call.name, "arguments": arguments_of(call)}}
    return ({"id": call.id} if call.id else {}) | function


def _named(message: Message, waiting: list[ToolUse]) -> dict[str, Any]:
    first = waiting[0] if waiting else None
    call = next((call for call in waiting if call.id == message.tool_call_id), first)
    if call is None:
        return {}
    waiting.remove(call)
    return {"tool_name": call.name} | ({"tool_call_id": call.id} if call.id else {})


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts."""

    __slots__ = ("_calls",)
    kind = "a chat of Ollama"

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        self._name(data.get("model"), deltas)
        # Completions of a bare prompt carry `response` where chats carry a message.
        message = data["message"] if "message" in data else {"content": data["response"], **data}
        if thought := message.get("thinking"):
            deltas.append(Reasoning(str(thought)))
        self._say(message.get("content"), deltas)
        if likely := data.get("logprobs"):
            read_rows(likely, deltas)
        for call in message.get("tool_calls") or ():
            self._call(call, deltas)
        if data.get("done"):
            self._raw = data.get("done_reason") or None
            self.complete = self.done = True
            self._usage(data, deltas)

    def _call(self, call: dict[str, Any], deltas: list[Delta]) -> None:
        function = call["function"]
        given = function.get("arguments")
        arguments = given if isinstance(given, str) else orjson.dumps(given or {}).decode()
        deltas.append(ToolCall(self._calls, str(call.get("id") or ""), str(function["name"]), arguments))
        self._calls += 1
        self._called = True

    def _usage(self, line: dict[str, Any], deltas: list[Delta]) -> None:
        read, written = count_of(line.get("prompt_eval_count")), count_of(line.get("eval_count"))
        if read is not None or written is not None:
            deltas.append(Usage(input=read, output=written))


def _vectors(body: dict[str, Any]) -> tuple[list[Any], Usage | None]:
    rows = body["embeddings"] if "embeddings" in body else [body["embedding"]]
    read = count_of(body.get("prompt_eval_count"))
    return rows, None if read is None else Usage(input=read)
