"""A provider over HTTP as a `Call`: encode, send, frames, deltas.

Deltas go on as soon as their event arrived. Four times bound the waiting, none of them held open
while a delta is out: connecting; the first piece of an answer that streams; the silence between its
events; the whole of an answer that does not stream. Comments of the server count as events.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flowllm.backends.addresses import require_place
from flowllm.backends.answers import with_text
from flowllm.backends.auth import authorization, require_key
from flowllm.backends.failures import request_id
from flowllm.backends.framing import Frame, Framing, Limits, Sniffed
from flowllm.backends.http import CONNECT_SECONDS, HttpClient, HttpRequest, HttpResponse
from flowllm.backends.wire import Decoder, HttpParts, Wire, find_wire
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Delta, Meta
from flowllm.core.errors import ProviderFacts, ProviderFailure, SetupError
from flowllm.core.request import Chat, Embed, Request
from flowllm.core.scope import Call, Clock, Scope

Key = Callable[[Auth], str | None]
DRAIN_SECONDS = 0.2
_BROKEN = frozenset({"truncated", "protocol_error", "connect_error", "timeout"})
_HINTS = {
    "auth": "flowllm keys set {key}",
    "permission": "flowllm keys set {key}",
    "not_found": "flowllm models list {provider}",
    "context_too_long": "shorten the prompt with a node of kind `truncate`",
    "connect_error": "is the server running? another address: providers.{provider}.base_url=https://...",
    "dns_error": "another address: providers.{provider}.base_url=https://...",
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``first`` and ``idle`` hold for answers that stream, ``whole`` for the others."""

    connect: float = CONNECT_SECONDS
    first: float = 60.0
    idle: float = 30.0
    whole: float = 600.0


def backend_for(
    card: ProviderCard, key: Key, client: HttpClient, timeouts: Timeouts | None = None, limits: Limits | None = None
) -> Call:
    """A call that asks the provider. The key is looked up when the first request is made."""
    return _Provider(card, key, client, timeouts or Timeouts(), limits or Limits())


class _Provider:
    def __init__(self, card: ProviderCard, key: Key, client: HttpClient, timeouts: Timeouts, limits: Limits) -> None:
        self._card = card
        self._find_key = key
        self._key: str | None = None
        self._client = client
        self._timeouts = timeouts
        self._limits = limits
        self._wires: dict[str, Wire] = {}
        self._targets: dict[str, tuple[str, dict[str, str]]] = {}

    async def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        try:
            wire = self._wire(request)
            parts = wire.encode(request)
            waiting = _Waiting(scope.clock, self._timeouts, parts)
            response = await self._open(parts, waiting)
            async with aclosing(response), aclosing(self._batches(wire, request, response, waiting)) as batches:
                async for batch in batches:
                    for delta in batch:
                        yield delta
        except ProviderFailure as failure:
            raise self._told(failure, request) from None

    def _wire(self, request: Request) -> Wire:
        task = "chat" if isinstance(request, Chat) else "embed" if isinstance(request, Embed) else "rerank"
        if task not in self._wires:
            require_place(self._card)
            name = self._card.wire.get(task)
            if name is None:
                message = f"the provider `{self._card.name}` has nothing for `{task}`"
                raise SetupError("missing_extra", message, hint=f"flowllm models list {self._card.name}")
            self._wires[task] = find_wire(name, self._card)
        return self._wires[task]

    def _target(self, path: str) -> tuple[str, dict[str, str]]:
        """The URL and headers for a path, made once."""
        if path not in self._targets:
            card = self._card
            self._key = require_key(card, self._find_key(card.auth))
            url = card.base_url + path
            mark = "&" if "?" in path else "?"
            shown, asked = authorization(card, url, self._key)
            query = urlencode({**card.query, **asked})
            headers = {**card.headers, **shown, "content-type": "application/json"}
            self._targets[path] = (url + mark + query if query else url, headers)
        return self._targets[path]

    async def _open(self, parts: HttpParts, waiting: "_Waiting") -> HttpResponse:
        url, headers = self._target(parts.path)
        request = HttpRequest(parts.method, url, headers, parts.body, parts.stream)
        try:
            async with waiting.timeout():
                return await self._client.open(request, connect_timeout=self._timeouts.connect)
        except TimeoutError:
            raise waiting.failure() from None

    async def _batches(
        self, wire: Wire, request: Request, response: HttpResponse, waiting: "_Waiting"
    ) -> AsyncGenerator[Iterable[Delta], None]:
        """The deltas of each piece of the body as it arrives, not decoded before they are taken."""
        if response.status >= 400:  # noqa: PLR2004
            raise wire.decode_error(response.status, response.headers, await _error_body(response, waiting))
        if found := request_id(response.headers):
            yield (Meta(request_id=found),)
        framing, decoder = Sniffed(self._limits, waiting.json), wire.decoder(request)
        if waiting.stream:
            while chunk := await _read(response, decoder, waiting):
                yield _decoded(framing.feed(chunk), decoder, waiting)
                if decoder.done:
                    break
                waiting.heard(framing.beats)
            await _drain(response, waiting.clock)
        else:
            yield _decoded(await _read_whole(response, framing, waiting), decoder, waiting)
        if framing.blank:
            raise ProviderFailure("empty_response", "the answer is empty")
        yield _decoded(framing.finish(), decoder, waiting)
        yield decoder.finish()

    def _told(self, failure: ProviderFailure, request: Request) -> ProviderFailure:
        """The failure with its provider and model, and without the key should the server repeat it."""
        card, facts = self._card, failure.facts
        message = failure.message
        if facts.status is not None:
            message = f"{card.name} answered {facts.status}: {message}"
        if self._key:
            message = message.replace(self._key, "***")
        key = card.auth.env[0] if card.auth.env else f"{card.name.upper()}_API_KEY"
        hint = failure.hint or _HINTS.get(failure.code, "").format(provider=card.name, key=key)
        named = replace(facts, provider=card.name, model=request.model)
        return ProviderFailure(failure.code, message, facts=named, hint=hint)


class _Waiting:
    """How an answer comes, and how long its next piece is waited for."""

    __slots__ = ("_beats", "_idle", "_until", "clock", "json", "patience", "stream")

    def __init__(self, clock: Clock, timeouts: Timeouts, parts: HttpParts) -> None:
        self.clock = clock
        self.stream = parts.stream
        self.json = parts.json
        self.patience = timeouts.first if parts.stream else timeouts.whole
        self._idle = timeouts.idle
        self._beats = 0
        self._until = clock.now() + self.patience

    def timeout(self) -> asyncio.Timeout:
        """Raises TimeoutError when the provider is silent for too long."""
        return self.clock.timeout(self._until)

    def began(self) -> None:
        """The answer itself has begun."""
        if self.stream:
            self.patience = self._idle

    def heard(self, beats: int) -> None:
        """Start anew where another event or comment was complete; single bytes do not count."""
        if self.stream and beats != self._beats:
            self._beats = beats
            self._until = self.clock.now() + self.patience

    def failure(self) -> ProviderFailure:
        """What a TimeoutError means here."""
        message = f"the provider sent nothing for {self.patience:g} s"
        return ProviderFailure("timeout", message, facts=ProviderFacts(should_retry=True))


def _decoded(frames: Iterable[Frame], decoder: Decoder, waiting: _Waiting) -> Iterator[Delta]:
    for frame in frames:
        for delta in decoder.feed(frame):
            if delta.__class__ is not Meta:
                waiting.began()
            yield delta


async def _read(response: HttpResponse, decoder: Decoder, waiting: _Waiting) -> bytes:
    """The next bytes, empty at the end; a fault after the end mark is the end."""
    try:
        async with waiting.timeout():
            return await response.read()
    except TimeoutError:
        failure = waiting.failure()
    except ProviderFailure as found:
        failure = found
    if decoder.complete and failure.code in _BROKEN:
        return b""
    if failure.code in _BROKEN - {"timeout"}:
        failure = ProviderFailure("stream_interrupted", failure.message)
    raise with_text(failure, decoder.partial_text)


async def _read_whole(response: HttpResponse, framing: Framing, waiting: _Waiting) -> Iterable[Frame]:
    """All frames of a body that is not a stream, under one timeout."""
    frames: list[Frame] = []
    try:
        async with waiting.timeout():
            while chunk := await response.read():
                frames.extend(framing.feed(chunk))
    except TimeoutError:
        raise waiting.failure() from None
    return frames


async def _error_body(response: HttpResponse, waiting: _Waiting) -> bytes:
    """The body of an error, or what came of it."""
    try:
        async with waiting.timeout():
            return await response.start()
    except (ProviderFailure, TimeoutError):
        return b""


async def _drain(response: HttpResponse, clock: Clock) -> None:
    """Read what follows the end mark, so that the connection can be kept; not for long."""
    try:
        async with clock.timeout(clock.now() + DRAIN_SECONDS):
            while await response.read():
                pass
    except (TimeoutError, ProviderFailure):
        return
