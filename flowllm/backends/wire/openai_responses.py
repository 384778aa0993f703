"""The responses format of OpenAI and of those who follow it: whole JSON bodies and event streams.

Nothing is kept on the server: history travels as items, thoughts as sealed ones. A whole response is
read as the items that a stream would have told. What a stream tells in pieces is not taken again from
the complete items behind it. A stream without a final event was interrupted.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of
from flowllm.backends.billing import media_of, reported_by, searches_of, word_of
from flowllm.backends.calling import WORDS, choice_of
from flowllm.backends.content import (
    PromptCache,
    Spoken,
    Vocabulary,
    content_of,
    finished_body,
    image_url,
    is_strict,
    merged,
    parameters_of,
    sealed_for,
    wanted_shape,
    with_ids,
)
from flowllm.backends.failures import failure_inside
from flowllm.backends.framing import Frame
from flowllm.backends.likelihoods import read_rows
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Reasoning, ToolCall, Usage
from flowllm.core.request import Chat, Image, Message, Part, Request, Thought, Tool

_FORMAT = "openai_responses"
_SEARCH = "web_search_call"
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_COUNTED = frozenset({"model", "input", "instructions", "tools", "tool_choice", "text", "reasoning"})
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


class Quirks(Vocabulary):
    """What a provider of this format does differently; on a model they override the provider's.

    ``structured: none`` asks for JSON in words. ``system: item`` sends the first system message among
    the others instead of as ``instructions``. ``store`` False is sent, so that nothing is kept there.
    ``prompt_cache`` is the word by which parts of messages are marked.
    """

    responses_path: str = "/responses"
    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    system: Literal["instructions", "item"] = "instructions"
    system_role: Literal["system", "developer", "user"] = "system"
    prompt_cache: PromptCache = "none"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/models", "data")

    def encode(self, request: Request) -> HttpParts:
        """A chat as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        body = {"model": model_of(self._card, request.model)[0], **_body(request, quirks)}
        body = merged(finished_body(body, quirks.drop, quirks.rename), request.extra)
        return HttpParts("POST", quirks.responses_path, orjson.dumps(body), request.stream)

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer."""
        return Decoder()

    def count(self, request: Chat) -> HttpParts:
        """The chat without what is said of its answer."""
        quirks = self._quirks.of(request.model)
        body = {word: value for word, value in orjson.loads(self.encode(request).body).items() if word in _COUNTED}
        return HttpParts("POST", f"{quirks.responses_path}/input_tokens", orjson.dumps(body))

    def counted(self, answer: Any) -> int | None:
        """The tokens of the input."""
        return count_of(answer.get("input_tokens"))


def _body(request: Chat, quirks: Quirks) -> dict[str, Any]:
    messages = list(with_ids(request.messages))
    instructions: list[str] = []
    if messages and messages[0].role == "system" and quirks.system == "instructions":
        instructions.append(messages.pop(0).text)
    if request.schema is not None and quirks.structured != "json_schema":
        instructions.append(wanted_shape(request.schema))
    return {
        "instructions": "\n\n".join(filter(None, instructions)) or None,
        "input": [item for message in messages for item in _items(message, quirks)],
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "max_output_tokens": request.sampling.max_output_tokens,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _choice(choice_of(request)),
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
        "text": _format(request.schema, quirks),
        "reasoning": {"effort": request.reasoning} if request.reasoning else None,
        "include": _included(request) or None,
        "top_logprobs": request.sampling.logprobs or None,
        "store": False,
        "stream": request.stream or None,
    }


def _included(request: Chat) -> list[str]:
    """What is told only where it is asked for."""
    likely = request.sampling.logprobs is not None
    return ["reasoning.encrypted_content"] * bool(request.reasoning) + ["message.output_text.logprobs"] * likely


def _choice(choice: str | None) -> Any:
    return choice if choice is None or choice in WORDS else {"type": "function", "name": choice}


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = parameters_of(tool.parameters)
    said = {"description": tool.description} if tool.description else {}
    return {"type": "function", "name": tool.name, **said, "parameters": parameters, "strict": is_strict(parameters)}


def _format(schema: Mapping[str, Any] | None, quirks: Quirks) -> dict[str, Any] | None:
    if schema is None or quirks.structured == "none":
        return None
    if quirks.structured == "json_object":
        return {"format": {"type": "json_object"}}
    return {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": is_strict(schema)}}


def _items(message: Message, quirks: Quirks) -> list[dict[str, Any]]:
    if message.role == "tool":
        output = content_of(message.parts, _part, quirks.prompt_cache)
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": output}]
    # Nothing is kept on the server: a thought that is not sealed means nothing there.
    items = [_thought(thought) for thought in sealed_for(message, _FORMAT)] if message.thoughts else []
    role = quirks.system_role if message.role == "system" else message.role
    content = message.text if role == "assistant" else content_of(message.parts, _part, quirks.prompt_cache)
    if message.parts and (content or role != "assistant"):
        items.append({"role": role, "content": content})
    for call in message.tool_calls:
        known = {"call_id": call.id, "name": call.name, "arguments": call.arguments or "{}"}
        items.append({"type": "function_call", **known})
    return items


def _thought(thought: Thought) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    named = {"id": thought.id} if thought.id else {}
    return {"type": "reasoning", **named, "summary": summary, "encrypted_content": thought.signature}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": image_url(part), "detail": "auto"}
    return {"type": "input_text", "text": part.text}


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts."""

    __slots__ = ("_calls", "_said")
    kind = "a response"
    mark = b"[DONE]"

    def __init__(self) -> None:
        super().__init__()
        # What of each item came in pieces, by its place in the answer.
        self._said: dict[Any, str] = {}
        self._calls: dict[Any, int] = {}

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        kind = data.get("type") or ""
        place = data.get("output_index")
        if kind.endswith(".delta"):
            self._piece(kind, data, place, deltas)
        elif kind == "response.output_item.added" and data["item"]["type"] in _CALLS:
            self._call(data["item"], place, deltas)
        elif kind == "response.output_item.done":
            self._item(data["item"], place, deltas)
        elif isinstance(data.get("response"), dict):
            self._response(data["response"], deltas, final=kind in _FINAL)
        elif kind == "error":
            raise failure_inside(data)
        elif frame.whole:
            self._response(data, deltas, final=True)

    def _piece(self, kind: str, event: dict[str, Any], place: Any, deltas: list[Delta]) -> None:
        piece = event.get("delta")
        if not isinstance(piece, str) or not piece:
            return
        if kind == "response.output_text.delta":
            self._said[place] = "text"
            self._say(piece, deltas)
            if likely := event.get("logprobs"):
                read_rows(likely, deltas)
        elif kind == "response.refusal.delta":
            self._said[place] = "text"
            self._refusal.append(piece)
        elif kind.startswith("response.reasoning") and self._said.setdefault(place, kind) == kind:
            deltas.append(Reasoning(piece, id=str(event.get("item_id") or "")))
        elif place in self._calls and kind.split(".")[1].endswith(("call_arguments", "call_input")):
            self._said[place] = "arguments"
            deltas.append(ToolCall(self._calls[place], arguments=piece))

    def _response(self, response: dict[str, Any], deltas: list[Delta], *, final: bool) -> None:
        if response.get("error"):
            raise failure_inside(response)
        self._name(response.get("model"), deltas)
        if not final:
            return
        if not self._said and not self._calls:
            for place, item in enumerate(response["output"]):
                self._item(item, place, deltas)
        usage = response.get("usage")
        if isinstance(usage, dict):
            deltas.append(_usage(usage, response))
        self._raw = (response.get("incomplete_details") or {}).get("reason") or response.get("status")
        self.done = self.complete = True

    def _item(self, item: dict[str, Any], place: Any, deltas: list[Delta]) -> None:
        """An item that is complete; only what no piece told before is taken from it."""
        kind = item["type"]
        if kind == "message":
            self._message(item, place, deltas)
        elif kind == "reasoning":
            self._reasoning(item, place, deltas)
        elif kind in _CALLS:
            self._call(item, place, deltas)
        self._said.setdefault(place, kind)

    def _message(self, item: dict[str, Any], place: Any, deltas: list[Delta]) -> None:
        for part in item["content"]:
            self._citations += len(part.get("annotations") or ())
            if place in self._said:
                continue
            self._say(part.get("text"), deltas)
            if likely := part.get("logprobs"):
                read_rows(likely, deltas)
            if part.get("refusal"):
                self._refusal.append(str(part["refusal"]))

    def _reasoning(self, item: dict[str, Any], place: Any, deltas: list[Delta]) -> None:
        text = ""
        if place not in self._said:
            text = _joined(item.get("summary")) or _joined(item.get("content"))
        seal = str(item.get("encrypted_content") or "")
        if text or seal:
            deltas.append(Reasoning(text, seal, str(item.get("id") or ""), format=_FORMAT))

    def _call(self, item: dict[str, Any], place: Any, deltas: list[Delta]) -> None:
        given = str(item.get(_CALLS[item["type"]]) or "")
        if place not in self._calls:
            self._called = True
            self._calls[place] = len(self._calls)
            identity = str(item.get("call_id") or item.get("id") or "")
            deltas.append(ToolCall(self._calls[place], identity, str(item["name"])))
        if given and place not in self._said:
            self._said[place] = "arguments"
            deltas.append(ToolCall(self._calls[place], arguments=given))


def _joined(parts: Any) -> str:
    return "".join(part.get("text") or "" for part in parts or ())


def _usage(usage: dict[str, Any], response: Mapping[str, Any]) -> Usage:
    read, written = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    return Usage(
        input=count_of(usage.get("input_tokens")),
        output=count_of(usage.get("output_tokens")),
        cached_input=count_of(read.get("cached_tokens")),
        cache_write=count_of(read.get("cache_write_tokens")),
        reasoning=count_of(written.get("reasoning_tokens")),
        classes=media_of("input", read, read.get("cached_tokens_details")) | media_of("output", written),
        units=searches_of(usage) or _searches(response.get("output")),
        service=word_of(response.get("service_tier")),
        reported=reported_by(usage),
    )


def _searches(items: Any) -> dict[str, int | Decimal]:
    """Searches of the answer; opening a page and looking for words in it are none."""
    calls = [i for i in items if isinstance(i, dict) and i.get("type") == _SEARCH] if isinstance(items, list) else ()
    count = sum((call.get("action") or {}).get("type", "search") == "search" for call in calls)
    return {"searches": count} if count else {}
