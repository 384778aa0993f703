"""The second format of Cohere: chat as one body or events, and embeddings.

A plan of tool calls is thinking (a `Thought` whose id is ``plan``). Tokens are counted as processed,
not as billed. Arguments may be missing or ``null``. Ranking is the wire ``rerank``.
"""

from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of
from flowllm.backends.billing import inside
from flowllm.backends.calling import WORDS, choice_of, require_no_logprobs, require_parallel
from flowllm.backends.chat_completions import part_of, tool_of
from flowllm.backends.content import (
    Spoken,
    Vocabulary,
    content_of,
    finished_body,
    merged,
    wanted_shape,
    with_ids,
)
from flowllm.backends.failures import failure_inside
from flowllm.backends.framing import Frame
from flowllm.backends.vectors import VectorsDecoder
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Reasoning, ToolCall, Usage
from flowllm.core.request import Chat, Embed, Message, Request

_PLAN = "plan"
_BUDGET = {"minimal": 512, "low": 2048, "medium": 8192, "high": 24576}


class Quirks(Vocabulary):
    """What a provider of this format does differently; on a model they override the provider's.

    ``input_type`` is said of texts to embed where ``extra`` says nothing. ``thinking: none`` never
    says how much to think.
    """

    input_type: str = "search_document"
    thinking: Literal["budget", "none"] = "budget"
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    drop: tuple[str, ...] = ()


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("../v1/models?page_size=1000", "models", ("name",))

    def encode(self, request: Request) -> HttpParts:
        """A chat or texts as a POST of JSON."""
        quirks = self._quirks.of(request.model)
        name = model_of(self._card, request.model)[0]
        chat = isinstance(request, Chat)
        if isinstance(request, Chat):
            body = _chat(name, request, quirks)
        else:
            assert isinstance(request, Embed)
            body = _embed(name, request, quirks)
        body = merged(finished_body(body, quirks.drop, {}), request.extra)
        path = "/chat" if chat else "/embed"
        return HttpParts("POST", path, orjson.dumps(body), isinstance(request, Chat) and request.stream)

    def decoder(self, request: Request) -> "Decoder | VectorsDecoder":
        """A decoder of one answer."""
        return VectorsDecoder(_vectors, len(request.texts)) if isinstance(request, Embed) else Decoder()


def _embed(name: str, request: Embed, quirks: Quirks) -> dict[str, Any]:
    return {
        "model": name,
        "texts": request.texts,
        "input_type": quirks.input_type,
        "embedding_types": ["float"],
        "output_dimension": request.dimensions,
    }


def _chat(name: str, request: Chat, quirks: Quirks) -> dict[str, Any]:
    require_no_logprobs(request)
    sampling = request.sampling
    messages = [_message(message) for message in with_ids(request.messages)]
    shape: dict[str, Any] | None = None
    if request.schema is not None:
        shape = {"type": "json_object"} if quirks.structured != "none" else None
        if shape and quirks.structured == "json_schema":
            shape["json_schema"] = request.schema
        else:
            messages.insert(0, {"role": "system", "content": wanted_shape(request.schema)})
    return {
        "model": name,
        "messages": messages,
        "temperature": sampling.temperature,
        "p": sampling.top_p,
        "max_tokens": sampling.max_output_tokens,
        "stop_sequences": list(sampling.stop) or None,
        "seed": sampling.seed,
        **_tools(request),
        "response_format": shape,
        "thinking": _thinking(request.reasoning, quirks),
        "stream": request.stream,
    }


def _thinking(effort: str | None, quirks: Quirks) -> dict[str, Any] | None:
    if effort is None or quirks.thinking == "none":
        return None
    if effort == "none":
        return {"type": "disabled"}
    return {"type": "enabled", "token_budget": _BUDGET.get(effort, 8192)}


def _tools(request: Chat) -> dict[str, Any]:
    """The tools; a named one is the only one that is offered, and has to be called."""
    require_parallel(request)
    choice = choice_of(request)
    named = choice is not None and choice not in WORDS
    tools = [tool_of(tool) for tool in request.tools if not named or tool.name == choice]
    word = "REQUIRED" if named else {"required": "REQUIRED", "none": "NONE"}.get(choice or "")
    return {"tools": tools or None, "tool_choice": word}


def _message(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = {"role": message.role}
    thoughts = [{"type": "thinking", "thinking": t.text} for t in message.thoughts if t.text and t.id != _PLAN]
    content = content_of(message.parts, part_of)
    if thoughts:
        content = [*thoughts, *([{"type": "text", "text": content}] if content else [])]
    if content or not message.tool_calls:
        data["content"] = content
    if message.tool_calls:
        data["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments or "{}"}}
            for c in message.tool_calls
        ]
        if plan := "".join(thought.text for thought in message.thoughts if thought.id == _PLAN):
            data["tool_plan"] = plan
    if message.tool_call_id:
        data["tool_call_id"] = message.tool_call_id
    return data


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts."""

    __slots__ = ("_calls",)
    kind = "a chat of Cohere"
    mark = b"[DONE]"

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        if frame.whole:
            self._whole(data, deltas)
        else:
            self._event(str(data.get("type") or frame.event), data.get("delta") or {}, deltas)

    def _whole(self, body: dict[str, Any], deltas: list[Delta]) -> None:
        if "message" not in body or isinstance(body["message"], str):
            raise failure_inside(body)
        message = body["message"]
        self._plan(message.get("tool_plan"), deltas)
        for part in message.get("content") or ():
            self._part(part, deltas)
        for call in message.get("tool_calls") or ():
            self._start(call, deltas)
        self._citations += len(message.get("citations") or ())
        self._last(body, deltas)

    def _event(self, kind: str, delta: dict[str, Any], deltas: list[Delta]) -> None:
        message = delta.get("message") or {}
        if kind in ("content-delta", "content-start"):
            self._part(message["content"], deltas)
        elif kind == "tool-plan-delta":
            self._plan(message["tool_plan"], deltas)
        elif kind == "tool-call-start":
            self._start(message["tool_calls"], deltas)
        elif kind == "tool-call-delta":
            self._more(message["tool_calls"]["function"].get("arguments"), deltas)
        elif kind == "citation-start":
            self._citations += 1
        elif kind == "message-end":
            self._last(delta, deltas)

    def _part(self, part: dict[str, Any], deltas: list[Delta]) -> None:
        if thought := part.get("thinking"):
            deltas.append(Reasoning(str(thought)))
        self._say(part.get("text"), deltas)

    def _plan(self, plan: Any, deltas: list[Delta]) -> None:
        if plan:
            deltas.append(Reasoning(str(plan), id=_PLAN))

    def _start(self, call: dict[str, Any], deltas: list[Delta]) -> None:
        deltas.append(ToolCall(self._calls, str(call.get("id") or ""), str(call["function"]["name"])))
        self._calls += 1
        self._called = True
        self._more(call["function"].get("arguments"), deltas)

    def _more(self, arguments: Any, deltas: list[Delta]) -> None:
        if arguments and arguments != "null":
            deltas.append(ToolCall(self._calls - 1, arguments=str(arguments)))

    def _last(self, told: dict[str, Any], deltas: list[Delta]) -> None:
        self._raw = told.get("finish_reason") or None
        self.complete = True
        if isinstance(usage := told.get("usage"), dict):
            deltas.append(_usage(usage))


def _usage(usage: dict[str, Any]) -> Usage:
    tokens = usage.get("tokens") or usage.get("billed_units") or {}
    return Usage(
        input=count_of(tokens.get("input_tokens")),
        output=count_of(tokens.get("output_tokens")),
        cached_input=count_of(usage.get("cached_tokens")),
        reasoning=count_of(tokens.get("reasoning_tokens")),
        billed_input=count_of(inside(usage, "billed_units", "input_tokens")),
        billed_output=count_of(inside(usage, "billed_units", "output_tokens")),
    )


def _vectors(body: dict[str, Any]) -> tuple[list[Any], Usage | None]:
    given = body["embeddings"]
    billed = (body.get("meta") or {}).get("billed_units") or {}
    read = count_of(billed.get("input_tokens"))
    return given if isinstance(given, list) else given["float"], None if read is None else Usage(input=read)
