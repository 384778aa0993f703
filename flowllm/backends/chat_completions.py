"""Chat completions as OpenAI tells them and several formats repeat it: messages and tools, and the answer's decoder.

One decoder reads whole bodies and event streams: a whole body is a stream of one frame. Usage is taken
from wherever it stands, the last report wins.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder, invalid, object_of
from flowllm.backends.calling import WORDS, choice_of
from flowllm.backends.content import (
    PromptCache,
    Vocabulary,
    content_of,
    image_url,
    is_strict,
    parameters_of,
    wanted_shape,
    with_ids,
)
from flowllm.backends.failures import failure_inside
from flowllm.backends.framing import Frame
from flowllm.backends.likelihoods import read_columns, read_rows
from flowllm.backends.reasoning_details import FIELD, Rows, rows_of
from flowllm.backends.usage import usage_of
from flowllm.core.delta import Delta, Meta, Reasoning, Text, ToolCall
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Image, Message, Part, Tool

REASONING = "reasoning_content"
_NINE = re.compile(r"[A-Za-z0-9]{9}")


class Dialect(Vocabulary):
    """What those who tell chats so do differently.

    ``stream_usage: ask`` sets ``stream_options.include_usage``. ``structured`` is what is understood of JSON
    answers. ``tool_id: nine`` replaces ids of other providers by nine letters and digits. ``prompt_cache``
    is the word by which parts of messages are marked. ``thoughts`` are those that go back in
    ``reasoning_field``: ``calls`` of turns that called tools since the user spoke, ``all`` of every turn;
    ``details`` are those of every turn as they came, in ``reasoning_details``.
    """

    stream_usage: Literal["ask", "always"] = "ask"
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    system_role: Literal["system", "developer", "user"] = "system"
    tool_id: Literal["any", "nine"] = "any"
    prompt_cache: PromptCache = "none"
    reasoning_field: str = ""
    thoughts: Literal["none", "calls", "all", "details"] = "none"


def body_of(request: Chat, dialect: Dialect) -> dict[str, Any]:
    """The body but for the model; what is None is unsaid."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "messages": _messages(with_ids(request.messages), dialect),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_output_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "logprobs": None if sampling.logprobs is None else True,
        "top_logprobs": sampling.logprobs or None,
        "reasoning_effort": request.reasoning,
        "tools": [tool_of(tool) for tool in request.tools] or None,
        "tool_choice": _choice(choice_of(request)),
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
    }
    if request.schema is not None:
        _ask_for_json(body, request.schema, dialect)
    if request.stream:
        body["stream"] = True
        if dialect.stream_usage == "ask":
            body["stream_options"] = {"include_usage": True}
    return body


def _choice(choice: str | None) -> Any:
    return choice if choice is None or choice in WORDS else {"type": "function", "function": {"name": choice}}


def _messages(messages: tuple[Message, ...], dialect: Dialect) -> list[dict[str, Any]]:
    told = [_message(message, dialect) for message in messages]
    if dialect.thoughts == "details":
        return [row | rows_of(message) for row, message in zip(told, messages, strict=True)]
    if dialect.thoughts != "none":
        last = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
        for place, message in enumerate(messages):
            if dialect.thoughts == "all" or (message.tool_calls and place > last):
                told[place] |= _thoughts(message, dialect)
    return told


def _thoughts(message: Message, dialect: Dialect) -> dict[str, str]:
    """What was thought in the open; a sealed thought is another format's."""
    thought = "".join(thought.text for thought in message.thoughts if not thought.signature)
    return {dialect.reasoning_field or REASONING: thought} if thought else {}


def _message(message: Message, dialect: Dialect) -> dict[str, Any]:
    role = dialect.system_role if message.role == "system" else message.role
    data: dict[str, Any] = {"role": role, "content": content_of(message.parts, part_of, dialect.prompt_cache)}
    if message.tool_calls:
        data["content"] = data["content"] or None
        data["tool_calls"] = [
            {
                "id": _tool_id(call.id, dialect),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        data["tool_call_id"] = _tool_id(message.tool_call_id, dialect)
    return data


def part_of(part: Part) -> dict[str, Any]:
    """One part of what a message says."""
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": image_url(part)}}
    return {"type": "text", "text": part.text}


def _tool_id(written: str, dialect: Dialect) -> str:
    if dialect.tool_id == "any" or _NINE.fullmatch(written):
        return written
    return hashlib.sha256(written.encode()).hexdigest()[:9]


def tool_of(tool: Tool) -> dict[str, Any]:
    """A tool that the model may ask for."""
    said = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": {"name": tool.name, **said, "parameters": parameters_of(tool.parameters)}}


def _ask_for_json(body: dict[str, Any], schema: Mapping[str, Any], dialect: Dialect) -> None:
    if dialect.structured == "json_schema":
        shape = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
        return
    body["messages"].insert(0, {"role": dialect.system_role, "content": wanted_shape(schema)})
    if dialect.structured == "json_object":
        body["response_format"] = {"type": "json_object"}


class CompletionDecoder(AnswerDecoder):
    """Frames of one answer to deltas. ``reasoning_field`` is where thinking is looked for first."""

    __slots__ = ("_calls", "_reasoning_fields")
    kind = "a chat completion"
    mark = b"[DONE]"

    def __init__(self, reasoning_field: str = "") -> None:
        super().__init__()
        fields = (reasoning_field, REASONING, "reasoning")
        self._reasoning_fields = tuple(dict.fromkeys(filter(None, fields)))
        self._calls = _Calls()

    def _load(self, frame: Frame) -> dict[str, Any]:
        chunk = object_of(frame)
        if "choices" not in chunk:
            require_known(chunk, frame, "chat completion")
        return chunk

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        if not self._named:
            self._name(data.get("model"), deltas)
        choices = data.get("choices")
        if choices:
            self._choice(choices[0], frame.whole, deltas)
        elif frame.whole and choices is not None:
            raise ProviderFailure("empty_response", "the answer has no choices")
        if "usage" in data or "x_groq" in data:
            usage = data.get("usage") or (data.get("x_groq") or {}).get("usage")
            if isinstance(usage, dict):
                deltas.append(usage_of(usage, data.get("service_tier")))
        if isinstance(data.get("citations"), list):
            deltas.append(Meta(citations=len(data["citations"])))

    def _choice(self, choice: Any, whole: bool, deltas: list[Delta]) -> None:  # noqa: FBT001
        if not isinstance(choice, dict) or choice.get("index"):
            return
        # Some send the message so far beside each delta, and an empty delta beside the whole message.
        message = choice.get("message") if whole else choice.get("delta")
        self.complete = self.complete or whole
        if message:
            content = message.get("content")
            if content:
                self._content(content, deltas)
            if len(message) > 1 or not content:
                self._rest(message, deltas)
        if likely := choice.get("logprobs"):
            _likelihoods(likely, deltas)
        if (raw := choice.get("finish_reason")) is not None:
            self._raw = str(raw) or self._raw or ""
            self.complete = self.complete or bool(raw)

    def _content(self, content: Any, deltas: list[Delta]) -> None:
        if type(content) is str:
            self._text.append(content)
            deltas.append(Text(content))
        elif isinstance(content, list):
            for part in content:
                self._content_part(part, deltas)

    def _content_part(self, part: Any, deltas: list[Delta]) -> None:
        if isinstance(part, str):
            self._content(part, deltas)
        elif isinstance(part, dict) and "thinking" in part:
            text = _joined(part["thinking"])
            if text:
                deltas.append(Reasoning(text, part.get("signature") or ""))
        elif isinstance(part, dict) and part.get("text"):
            self._content(part["text"], deltas)

    def _rest(self, message: dict[str, Any], deltas: list[Delta]) -> None:
        if thought := self._thought(message):
            deltas.insert(len(deltas) - bool(message.get("content")), Reasoning(thought))
        if refusal := message.get("refusal"):
            self._refusal.append(str(refusal))
        for position, call in enumerate(message.get("tool_calls") or ()):
            self._call(call, position, deltas)
        if function := message.get("function_call"):
            self._call({"function": function}, 0, deltas)
        if annotations := message.get("annotations"):
            deltas.append(Meta(citations=len(annotations)))

    def _call(self, call: Any, position: int, deltas: list[Delta]) -> None:
        told = self._calls.add(call, position)
        self._called = self._called or bool(told)
        deltas.extend(told)

    def _thought(self, message: dict[str, Any]) -> str:
        for name in self._reasoning_fields:
            if value := message.get(name):
                return _joined(value)
        return _joined(message.get(FIELD) or "")


class DetailsDecoder(CompletionDecoder):
    """The same where thoughts go back as they came; with ``kept`` False they do not."""

    __slots__ = ("_kept", "_rows")

    def __init__(self, reasoning_field: str = "", *, kept: bool = True) -> None:
        super().__init__(reasoning_field)
        self._kept = kept
        self._rows = Rows()

    def _rest(self, message: dict[str, Any], deltas: list[Delta]) -> None:
        super()._rest(message, deltas)
        if self._kept:
            self._rows.add(message.get(FIELD))

    def _held(self) -> Iterable[Delta]:
        return self._rows.sealed()


def require_known(chunk: dict[str, Any], frame: Frame, kind: str) -> None:
    """A chunk without choices may tell other things, or be an error."""
    if chunk.get("object") == "error" or chunk.get("detail"):
        raise failure_inside(chunk)
    if not frame.event and not {"usage", "x_groq", "id", "object"} & chunk.keys():
        raise invalid(frame, f"is no {kind}")


class _Calls:
    """Tool calls in pieces: pieces are held until their call has a name, numbers are made where missing."""

    __slots__ = ("_held", "_ids", "_number", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._held: dict[int, str] = {}
        self._number = 0

    def add(self, call: Any, position: int) -> Iterable[Delta]:
        """The deltas of one entry of ``tool_calls``; ``position`` is its place in the list."""
        if not isinstance(call, dict):
            return ()
        function = call.get("function") or {}
        identity, name = str(call.get("id") or ""), str(function.get("name") or "")
        arguments = _arguments(function.get("arguments"))
        slot = self._slot(call.get("index"), position, identity if name else "")
        if slot not in self._ids and not name:
            self._held[slot] = self._held.get(slot, "") + arguments
            return ()
        if slot not in self._ids:
            arguments = self._held.pop(slot, "") + arguments
        self._ids[slot] = self._ids.get(slot) or identity
        return (ToolCall(slot, identity, name, arguments),)

    def _slot(self, index: Any, position: int, identity: str) -> int:
        """A call with an id of its own is a new one even where the provider repeats the index."""
        key = index if isinstance(index, int) else position
        known = self._slots.get(key)
        if known is None or (identity and self._ids.get(known, identity) not in ("", identity)):
            known = self._slots[key] = self._number
            self._number += 1
        return known


def _arguments(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _likelihoods(told: Any, deltas: list[Delta]) -> None:
    """Rows, or the columns of completions, which some tell of chats too."""
    if isinstance(told, dict):
        if told.get("content"):
            read_rows(told["content"], deltas)
        elif told.get("tokens"):
            read_columns(told, deltas)


def _joined(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _joined(value.get("text") or value.get("thinking") or value.get("summary") or "")
    return "".join(map(_joined, value)) if isinstance(value, list) else ""
