"""Servers with formats of their own: a request template and response paths, written in the provider's file.

A template is data. ``{name}`` in it is a part of the request or a setting of the provider, and is filled as
`body_templates` says; one that is neither is told when the file is read. Paths into an answer are those of the
language and begin with ``answer``, the JSON that came back. What a template does not name is not sent;
images and tools that it has no place for are refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.backends.answer_paths import AnswerPath, found_at
from flowllm.backends.answers import AnswerDecoder, count_of, invalid, json_of
from flowllm.backends.body_templates import filled_body, filled_path, slot_misfits, slots_of
from flowllm.backends.calling import ONE_CALL, choice_of, only_one, refuse, require_no_logprobs
from flowllm.backends.chat_completions import Dialect, body_of
from flowllm.backends.content import Spoken, merged, prompt_of, require_text
from flowllm.backends.failures import failure_inside, failure_of
from flowllm.backends.framing import Frame
from flowllm.backends.ranks import RanksDecoder
from flowllm.backends.vectors import OneByOne, VectorsDecoder, after_first, first_alone
from flowllm.backends.wire import HttpParts, model_of
from flowllm.core.delta import Delta, Usage
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.placeholders import placeholders
from flowllm.core.request import Chat, Embed, Request, Rerank
from flowllm.core.slot import Path
from flowllm.text.misfits import Misfit

_CHAT = Dialect(stream_usage="always")
_SLOTS = {
    "chat": ("model", "prompt", "messages", "tools", "temperature", "top_p", "max_tokens", "stop", "seed", "stream",
             "response_format", "reasoning_effort", "tool_choice", "parallel_tool_calls"),
    "embed": ("model", "text", "texts", "dimensions"),
    "rerank": ("model", "query", "document", "documents", "k"),
}  # fmt: skip
_NOWHERE = object()
_WITHOUT_TOOLS = "this provider's format has no place for tools"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)


class StreamTemplate(_Data):
    """How a chat streams: what is over its ``path`` and ``body``, and where each event has its piece of text.

    ``json_form`` is what a stream of JSON is: one body, lines, or the items of an array; events need no word.
    Without ``finish`` a stream may end anywhere. Where ``skip`` is true, the event's text is no part of the answer.
    """

    path: str = ""
    body: Mapping[str, Any] = {}
    json_form: Literal["whole", "lines", "items"] = "whole"
    text: AnswerPath
    skip: AnswerPath | None = None
    finish: AnswerPath | None = None
    input_tokens: AnswerPath | None = None
    output_tokens: AnswerPath | None = None


class ChatTemplate(_Data):
    """A chat: the request, and where the answer has its text, end mark, model and counts."""

    path: str
    body: Mapping[str, Any]
    text: AnswerPath
    finish: AnswerPath | None = None
    model: AnswerPath | None = None
    input_tokens: AnswerPath | None = None
    output_tokens: AnswerPath | None = None
    stream: StreamTemplate | None = None


class EmbedTemplate(_Data):
    """Texts to embed; ``vectors`` is a list of lists, in the order of the texts."""

    path: str
    body: Mapping[str, Any]
    vectors: AnswerPath
    input_tokens: AnswerPath | None = None


class RerankTemplate(_Data):
    """Documents to rank; without ``indexes`` the scores stand in the order of the documents."""

    path: str
    body: Mapping[str, Any]
    scores: AnswerPath
    indexes: AnswerPath | None = None
    input_tokens: AnswerPath | None = None


class Templates(_Data):
    """One template a task."""

    chat: ChatTemplate | None = None
    embed: EmbedTemplate | None = None
    rerank: RerankTemplate | None = None


class Quirks(_Data):
    """The templates of a provider; a model has templates of its own instead where it says so.

    ``one_by_one`` is for models that embed one text a request.
    """

    templates: Templates = Templates()
    one_by_one: bool = False

    def misfits(self, settings: Iterable[str]) -> Iterator[Misfit]:
        """Slots of the templates that neither a request nor the ``settings`` can fill."""
        named = {*settings}
        for task, slots in _SLOTS.items():
            template = getattr(self.templates, task)
            way = ("templates", task)
            if template is not None:
                yield from slot_misfits(template.path, template.body, {*slots, *named}, way)
            if isinstance(template, ChatTemplate) and template.stream is not None:
                stream = template.stream
                yield from slot_misfits(stream.path, stream.body, {*slots, *named}, (*way, "stream"))


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks

    def encode(self, request: Request) -> HttpParts:
        """The template of the task, filled, as a POST of JSON."""
        if isinstance(request, Embed) and self._one_by_one(request):
            request = first_alone(request)
        template = self._template(request)
        path, body = template.path, template.body
        stream = template.stream if isinstance(template, ChatTemplate) and _streams(request) else None
        if stream is not None:
            path, body = stream.path or path, merged(dict(body), stream.body)
        used = {*placeholders(path), *slots_of(body)}
        values = self._values(request, used, stream=stream is not None)
        body = merged(filled_body(body, values), request.extra)
        form = stream.json_form if stream else "whole"
        return HttpParts("POST", filled_path(path, values), orjson.dumps(body), stream is not None, form)

    def decoder(self, request: Request) -> AnswerDecoder | VectorsDecoder | OneByOne | RanksDecoder:
        """A decoder of one answer."""
        template = self._template(request)
        if isinstance(template, EmbedTemplate):
            assert isinstance(request, Embed)
            if self._one_by_one(request):
                return OneByOne(_Vectors(template, 1), after_first(self.encode, request))
            return _Vectors(template, len(request.texts))
        if isinstance(template, RerankTemplate):
            assert isinstance(request, Rerank)
            return _Ranks(template, len(request.documents), request.k)
        return _Answer(template, template.stream if _streams(request) else None)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means; a server that still loads its model may say for how long in the body."""
        return failure_of(status, {**_loading(body), **headers}, body)

    def _one_by_one(self, request: Embed) -> bool:
        return len(request.texts) > 1 and self._quirks.of(request.model).one_by_one

    def _template(self, request: Request) -> ChatTemplate | EmbedTemplate | RerankTemplate:
        task = "chat" if isinstance(request, Chat) else "embed" if isinstance(request, Embed) else "rerank"
        template: Any = getattr(self._quirks.of(request.model).templates, task)
        if template is None:
            message = f"the provider `{self._card.name}` has no template for `{task}`"
            raise SetupError("missing_setting", message, hint=f"quirks: {{templates: {{{task}: ...}}}}")
        found: ChatTemplate | EmbedTemplate | RerankTemplate = template
        return found

    def _values(self, request: Request, used: set[str], *, stream: bool) -> dict[str, Any]:
        """What stands in the slots; only those that are used are worked out."""
        values = _chat(request, used, stream=stream) if isinstance(request, Chat) else _fields(request)
        return {**self._card.settings, **values, "model": model_of(self._card, request.model)[0]}


def _loading(body: bytes) -> dict[str, str]:
    """Seconds until a model is loaded, as a header."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    seconds = data.get("estimated_time") if isinstance(data, dict) else None
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0
    return {"retry-after": f"{seconds:.3f}"} if known else {}


def _streams(request: Request) -> bool:
    return isinstance(request, Chat) and request.stream


def _chat(request: Chat, used: set[str], *, stream: bool) -> dict[str, Any]:
    if "messages" not in used:
        require_text(request)
    elif request.tools and "tools" not in used:
        raise ProviderFailure("bad_request", _WITHOUT_TOOLS, hint="model: a model of another provider")
    if choice_of(request) not in (None, "auto") and "tool_choice" not in used:
        refuse(f"tool_choice: {request.tool_choice}")
    if only_one(request) and "parallel_tool_calls" not in used:
        refuse(ONE_CALL)
    require_no_logprobs(request)
    prompt = prompt_of(request) if "prompt" in used else None
    told = request if "messages" in used else replace(request, messages=())
    return {**body_of(told, _CHAT), "prompt": prompt, "stream": stream}


def _fields(request: Embed | Rerank) -> dict[str, Any]:
    if isinstance(request, Embed):
        return {"texts": request.texts, "dimensions": request.dimensions}
    return {"query": request.query, "documents": request.documents, "k": request.k}


def _total(path: Path | None, data: Any) -> int | None:
    """A count, or the sum of a list of them."""
    found = found_at(path, data)
    if found is None:
        return None
    counts = [count_of(value) for value in (found if isinstance(found, list) else [found])]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _usage(template: Any, data: Any) -> Usage | None:
    read, written = _total(template.input_tokens, data), _total(getattr(template, "output_tokens", None), data)
    return None if read is None and written is None else Usage(input=read, output=written)


def _json(frame: Frame) -> Any:
    data = json_of(frame)
    if isinstance(data, dict) and (data.get("error") or data.get("errors") or frame.event == "error"):
        raise failure_inside(data)
    return data


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


class _Answer(AnswerDecoder):
    """Frames of a chat to deltas: one body, or events, of which those without text are passed over."""

    __slots__ = ("_missing", "_seen", "_stream", "_template")
    mark = b"[DONE]"

    def __init__(self, template: ChatTemplate, stream: StreamTemplate | None) -> None:
        super().__init__()
        self._template = template
        self._stream = stream
        self._missing: Frame | None = None
        self._seen = False

    def finish(self) -> Iterable[Delta]:
        """The end mark; an answer none of whose events had text where it should be is of another format."""
        if self._missing is not None and self._stream is not None:
            raise invalid(self._missing, f"has no `{self._stream.text}`")
        return super().finish()

    def _load(self, frame: Frame) -> Any:
        return _json(frame)

    def _read(self, data: Any, frame: Frame, deltas: list[Delta]) -> None:
        template = self._template if frame.whole or self._stream is None else self._stream
        self._name(found_at(self._template.model, data), deltas)
        self._say(self._found(template, data, frame), deltas)
        self._end(found_at(template.finish, data))
        if usage := _usage(template, data):
            deltas.append(usage)
        self.complete = self.complete or frame.whole or template.finish is None

    def _found(self, template: ChatTemplate | StreamTemplate, data: Any, frame: Frame) -> str:
        """The text of a body, or of an event, which may be without one as long as another has one."""
        if not isinstance(template, StreamTemplate):
            return _text(_required(template, data, frame))
        found = found_at(template.text, data, _NOWHERE)
        if found is _NOWHERE:
            self._missing = None if self._seen else frame
            return ""
        self._seen, self._missing = True, None
        return "" if found_at(template.skip, data) is True else _text(found)


def _required(template: ChatTemplate | StreamTemplate, data: Any, frame: Frame) -> Any:
    found = found_at(template.text, data, _NOWHERE)
    if found is _NOWHERE:
        raise invalid(frame, f"has no `{template.text}`")
    return found


class _Vectors(VectorsDecoder):
    """The one frame of embeddings to deltas."""

    def __init__(self, template: EmbedTemplate, expected: int) -> None:
        super().__init__(partial(_vectors, template), expected)

    def _load(self, frame: Frame) -> Any:
        return _json(frame)


def _vectors(template: EmbedTemplate, data: Any) -> tuple[list[Any], Usage | None]:
    found = found_at(template.vectors, data)
    if not isinstance(found, list):
        raise TypeError
    return found, _usage(template, data)


class _Ranks(RanksDecoder):
    """The one frame of a ranking to deltas."""

    def __init__(self, template: RerankTemplate, documents: int, most: int | None) -> None:
        super().__init__(documents, most)
        self._template = template

    def _rows(self, body: Any) -> Any:
        scores = found_at(self._template.scores, body)
        if not isinstance(scores, list):
            return None
        indexes = range(len(scores)) if self._template.indexes is None else found_at(self._template.indexes, body)
        if not isinstance(indexes, list | range) or len(indexes) != len(scores):
            return None
        return [{"index": index, "score": score} for index, score in zip(indexes, scores, strict=True)]

    def _facts(self, body: dict[str, Any]) -> list[Delta]:
        usage = _usage(self._template, body)
        return [usage] if usage else []
