"""The text API of IBM watsonx: chat and generation, as one body or events, embeddings and ranking.

A chat is told as OpenAI does; a generation takes the conversation as one text. The project stands in
every body. No mark ends a stream: until its last event a generation says ``not_finished``.
"""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of, object_of
from flowllm.backends.calling import require_no_logprobs, require_parallel
from flowllm.backends.chat_completions import CompletionDecoder, Dialect, body_of
from flowllm.backends.content import Spoken, Vocabulary, finished_body, merged, prompt_of, set_in
from flowllm.backends.failures import failure_inside
from flowllm.backends.framing import Frame
from flowllm.backends.ranks import RanksDecoder
from flowllm.backends.vectors import VectorsDecoder
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Usage
from flowllm.core.request import Chat, Embed, Request, Rerank

_CHAT = Dialect(stream_usage="always")
_OPEN = "not_finished"


class Quirks(Vocabulary):
    """What an installation or a model does differently; words of a model override the provider's.

    ``api: generation`` is for models that do not chat; ``max_new_tokens`` is then sent where no length is said, for the
    server's own would be 20. ``add`` goes into every body: the project or the
    space that pays, which may name settings of the provider (``{project_id}``).
    """

    api: Literal["chat", "generation"] = "chat"
    max_new_tokens: int = 1024
    add: Mapping[str, Any] = {}
    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/foundation_model_specs?limit=200", "resources", ("model_id",))

    def encode(self, request: Request) -> HttpParts:
        """A chat, texts or a ranking as a POST of JSON."""
        quirks = self._quirks.of(request.model)
        name, known = model_of(self._card, request.model)
        most = min(quirks.max_new_tokens, (known and known.output) or quirks.max_new_tokens)
        path, body = _told(request, quirks, most)
        stream = isinstance(request, Chat) and request.stream
        named = {"model_id": name, **set_in(quirks.add, self._card.settings)}
        body = merged(finished_body({**named, **body}, quirks.drop, quirks.rename), request.extra)
        return HttpParts("POST", f"/text/{path}{'_stream' if stream else ''}", orjson.dumps(body), stream)

    def decoder(self, request: Request) -> AnswerDecoder | VectorsDecoder | RanksDecoder:
        """A decoder of one answer."""
        if isinstance(request, Embed):
            return VectorsDecoder(_vectors, len(request.texts))
        if isinstance(request, Rerank):
            return _Ranks(len(request.documents), request.k)
        return ChatDecoder() if self._quirks.of(request.model).api == "chat" else GenerationDecoder()


def _told(request: Request, quirks: Quirks, most: int) -> tuple[str, dict[str, Any]]:
    """The name of the method, and the body but for the model and the project."""
    if isinstance(request, Embed):
        return "embeddings", {"inputs": request.texts}
    if isinstance(request, Rerank):
        wanted = {"parameters": {"return_options": {"top_n": request.k}}} if request.k is not None else {}
        return "rerank", {"query": request.query, "inputs": [{"text": text} for text in request.documents], **wanted}
    if quirks.api == "chat":
        return "chat", _chat(request)
    require_no_logprobs(request)
    return "generation", {"input": prompt_of(request), "parameters": _parameters(request, most)}


def _chat(request: Chat) -> dict[str, Any]:
    """A chat; its words for tools are apart from the name of one."""
    require_parallel(request)
    body = body_of(request, _CHAT) | {"stream": None, "parallel_tool_calls": None}
    if isinstance(body["tool_choice"], str):
        body["tool_choice_option"] = body.pop("tool_choice")
    return body


def _parameters(request: Chat, most: int) -> dict[str, Any]:
    sampling = request.sampling
    drawn = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "random_seed": sampling.seed,
    }
    asked = {
        "max_new_tokens": sampling.max_output_tokens or most,
        "stop_sequences": list(sampling.stop) or None,
        **drawn,
        # Without it the most likely token is taken, whatever the temperature.
        "decoding_method": "sample" if any(drawn[name] for name in ("temperature", "top_p")) else None,
    }
    return finished_body(asked, (), {})


def _object(frame: Frame) -> dict[str, Any]:
    data = object_of(frame)
    if data.get("errors"):
        raise failure_inside(data)
    return data


class ChatDecoder(CompletionDecoder):
    """Frames of one chat to deltas."""

    __slots__ = ()

    def _load(self, frame: Frame) -> dict[str, Any]:
        return _object(frame)

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        self._name(data.get("model_id"), deltas)
        super()._read(data, frame, deltas)


class GenerationDecoder(AnswerDecoder):
    """Frames of one generation to deltas. Counts grow from event to event; some events say 0."""

    __slots__ = ("_read_tokens", "_written")
    kind = "a generation"

    def __init__(self) -> None:
        super().__init__()
        self._read_tokens: int | None = None
        self._written: int | None = None

    def _load(self, frame: Frame) -> dict[str, Any]:
        return _object(frame)

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        self._name(data.get("model_id"), deltas)
        # An event may hold nothing but warnings.
        for result in data["results"] if "system" not in data else data.get("results") or ():
            self._say(result["generated_text"], deltas)
            if (raw := result.get("stop_reason")) and str(raw).lower() != _OPEN:
                self._end(raw)
            self._count(result, deltas)
        self.complete = self.complete or frame.whole

    def _count(self, result: dict[str, Any], deltas: list[Delta]) -> None:
        before = self._read_tokens, self._written
        self._read_tokens = _larger(before[0], count_of(result.get("input_token_count")))
        self._written = _larger(before[1], count_of(result.get("generated_token_count")))
        if (self._read_tokens, self._written) != before:
            deltas.append(Usage(input=self._read_tokens, output=self._written))


def _larger(known: int | None, told: int | None) -> int | None:
    return known if told is None or (known is not None and known > told) else told


class _Ranks(RanksDecoder):
    """The one frame of a ranking to deltas."""

    def _facts(self, body: dict[str, Any]) -> list[Delta]:
        counted = _counted(body)
        told = list(super()._facts({"model": body.get("model_id")}))
        return [*told, counted] if counted else told


def _vectors(body: dict[str, Any]) -> tuple[list[Any], Usage | None]:
    return [row["embedding"] for row in body["results"]], _counted(body)


def _counted(body: Mapping[str, Any]) -> Usage | None:
    read = count_of(body.get("input_token_count"))
    return None if read is None else Usage(input=read)
