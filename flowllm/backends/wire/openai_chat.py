"""The chat completions format of OpenAI, spoken by most providers: whole JSON bodies and event streams.

A stream that ends with neither a finish reason nor ``[DONE]`` was interrupted.
"""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import orjson

from flowllm.backends.answers import json_of
from flowllm.backends.chat_completions import CompletionDecoder, DetailsDecoder, Dialect, body_of
from flowllm.backends.content import Spoken, finished_body, merged
from flowllm.backends.failures import failure_of
from flowllm.backends.framing import Frame
from flowllm.backends.own_shapes import ErrorShape, UsagePaths
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Finish
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Request


class Quirks(Dialect):
    """What a provider of this format does differently; on a model they override the provider's.

    ``path`` may hold ``{model}``; ``rename`` and ``drop`` work on the names of the body. ``stream_usage: ask`` sets
    ``stream_options.include_usage``. ``structured`` is what it understands of JSON answers.
    ``tool_id: nine`` replaces ids of other providers by nine letters and digits. ``prompt_cache`` is the
    word by which parts of messages are marked. ``thoughts`` are those that go back in ``reasoning_field``:
    ``calls`` of turns that called tools since the user spoke, ``all`` of every turn; ``details`` are those of every
    turn as they came, in ``reasoning_details``. ``end_mark: none`` is for streams that just end; ``finish`` says
    what the provider's own words for an end mean; ``usage`` and ``errors`` say where counts and errors stand.
    """

    path: str = "/chat/completions"
    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()
    end_mark: Literal["sent", "none"] = "sent"
    finish: Mapping[str, Literal["stop", "length", "tool_calls", "content_filter", "error"]] = {}
    usage: UsagePaths | None = None
    errors: ErrorShape | None = None


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/models", "data")

    def encode(self, request: Request) -> HttpParts:
        """A chat as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        name = model_of(self._card, request.model)[0]
        body = {"model": name, **body_of(request, quirks)}
        body = merged(finished_body(body, quirks.drop, quirks.rename), request.extra)
        return HttpParts(
            "POST", quirks.path.replace("{model}", quote(name, safe="")), orjson.dumps(body), request.stream
        )

    def decoder(self, request: Request) -> CompletionDecoder:
        """A decoder of one answer."""
        quirks = self._quirks.of(request.model)
        if quirks.end_mark == "none" or quirks.finish or quirks.usage or quirks.errors:
            return OwnDecoder(quirks)
        return (DetailsDecoder if quirks.thoughts == "details" else CompletionDecoder)(quirks.reasoning_field)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means."""
        shape = self._quirks.of("").errors
        return shape.failure(status, headers, body) if shape else failure_of(status, headers, body)


class OwnDecoder(DetailsDecoder):
    """Frames of an answer whose end, counts or errors are not where others have them."""

    __slots__ = ("_quirks",)

    def __init__(self, quirks: Quirks) -> None:
        super().__init__(quirks.reasoning_field, kept=quirks.thoughts == "details")
        self._quirks = quirks

    def finish(self) -> list[Delta]:
        """What only the end tells, its mark by the provider's own words; without one, silence is no answer."""
        deltas = list(super().finish())
        if self._raw is None and not (self.done or self._called or self.partial_text or self._refusal):
            raise ProviderFailure("empty_response", "the answer is empty")
        meaning = self._quirks.finish.get(self._raw or "")
        if meaning is not None:
            deltas[-1] = Finish(meaning, self._raw)
        return deltas

    def _load(self, frame: Frame) -> dict[str, Any]:
        answer = json_of(frame)
        if self._quirks.errors and self._quirks.errors.is_in(answer):
            raise self._quirks.errors.inside(answer)
        told = self._quirks.usage.read(answer) if self._quirks.usage else None
        return answer if told and isinstance(answer, dict) else super()._load(frame)

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        super()._read(data, frame, deltas)
        if self._quirks.usage and (usage := self._quirks.usage.read(data)):
            deltas.append(usage)
        if self._quirks.end_mark == "none":
            self.complete = True
