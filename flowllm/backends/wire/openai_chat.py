"""The chat completions format of OpenAI, spoken by most providers: whole JSON bodies and event streams.

A stream that ends with neither a finish reason nor ``[DONE]`` was interrupted.
"""

from collections.abc import Mapping
from urllib.parse import quote

import orjson

from flowllm.backends.chat_completions import CompletionDecoder, Dialect, body_of
from flowllm.backends.content import QuirksByModel, finished_body
from flowllm.backends.failures import failure_of
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Request


class Quirks(Dialect):
    """What a provider of this format does differently; on a model they override the provider's.

    ``path`` may hold ``{model}``; ``rename`` and ``drop`` work on the names of the body. ``stream_usage: ask`` sets
    ``stream_options.include_usage``. ``structured`` is what it understands of JSON answers.
    ``tool_id: nine`` replaces ids of other providers by nine letters and digits.
    """

    path: str = "/chat/completions"
    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()


class Wire:
    """The format as one provider speaks it."""

    models = Listing("/models", "data")

    def __init__(self, card: ProviderCard) -> None:
        self._card = card
        self._quirks = QuirksByModel(Quirks, card)

    def encode(self, request: Request) -> HttpParts:
        """A chat as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        name = model_of(self._card, request.model)[0]
        body = {"model": name, **body_of(request, quirks)}
        body = {**finished_body(body, quirks.drop, quirks.rename), **request.extra}
        return HttpParts(
            "POST", quirks.path.replace("{model}", quote(name, safe="")), orjson.dumps(body), request.stream
        )

    def decoder(self, request: Request) -> CompletionDecoder:
        """A decoder of one answer."""
        return CompletionDecoder(self._quirks.of(request.model).reasoning_field)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means."""
        return failure_of(status, headers, body)
