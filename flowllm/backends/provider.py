"""A provider over HTTP as a `Call`: encode, send, frames, deltas.

Deltas go on as soon as their event arrived. Four times bound the waiting, none of them held open
while a delta is out: connecting; the first piece of an answer that streams; the silence between its
events; the whole of an answer that does not stream. Comments of the server count as events.

Some answers are jobs: one request begins it, others ask after it (`Begins`). A job is begun once: whatever fails
after that is final. A question after it that fails is asked again, because the job goes on and is paid whether
its answer arrives or not; that is polling, bounded by what is left of the time for the whole.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

import orjson

from flowllm.backends.addresses import require_place
from flowllm.backends.answers import AnswerDecoder, simulated, with_text
from flowllm.backends.failures import request_id
from flowllm.backends.framing import Frame, Framing, Limits, Sniffed
from flowllm.backends.http import CONNECT_SECONDS, HttpClient, HttpResponse
from flowllm.backends.lone_surrogates import marked
from flowllm.backends.sending import Key, Sender, told
from flowllm.backends.usage import header_usage
from flowllm.backends.wire import Begins, Decoder, HttpParts, Wire, find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Meta, Usage, summed
from flowllm.core.errors import ProviderFacts, ProviderFailure, SetupError
from flowllm.core.record import record
from flowllm.core.request import Chat, Embed, Request
from flowllm.core.scope import Call, Clock, Scope, Timer

DRAIN_SECONDS = 0.2
POLL_SECONDS = 1.0, 15.0
"""The pause after the first question after a job that fails, and the longest: it doubles from one to the next."""
CANCEL_SECONDS = 1.0
"""How long a provider is told that work is left: no cancel takes longer for it."""
ERROR = 400
"""The least status of an error."""
_BROKEN = frozenset({"truncated", "protocol_error", "connect_error", "timeout"})


@record
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
        self._sender = Sender(card, key, client, timeouts.connect)
        self._timeouts = timeouts
        self._limits = limits
        self._wires: dict[str, Wire] = {}

    async def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        job: Begins | None = None
        begun = False
        try:
            wire = self._wire(request)
            parts: HttpParts | None = wire.encode(request)
            decoder, waiting = wire.decoder(request), None
            job = decoder if isinstance(decoder, Begins) else None
            counts: list[Usage] = []
            while parts is not None:
                waiting = await self._turn(parts, waiting, request, scope.clock)
                response = await (self._poll(wire, parts, waiting) if begun else self._open(parts, waiting))
                begun = begun or (job is not None and response.status < ERROR)
                async with (
                    aclosing(response),
                    aclosing(self._batches(wire, decoder, response, waiting, counts)) as batches,
                ):
                    async for batch in batches:
                        for delta in batch:
                            yield delta
                parts, decoder.follow = decoder.follow, None
            for delta in decoder.finish():
                yield delta
        except ProviderFailure as failure:
            raise told(_final(failure) if begun else failure, self._card, request.model) from None
        finally:
            if job is not None and job.cancel is not None:
                await self._cancel(job.cancel, scope.clock)

    async def _cancel(self, parts: HttpParts, clock: Clock) -> None:
        """End work that is left before its end, as far as the provider can be told of it without waiting for it."""
        try:
            async with clock.timeout(clock.now() + CANCEL_SECONDS):
                await (await self._sender.send(parts)).aclose()
        except (ProviderFailure, SetupError, TimeoutError):
            return

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

    async def _turn(self, parts: HttpParts, before: "_Waiting | None", request: Request, clock: Clock) -> "_Waiting":
        """What is waited for the next exchange of one answer; those that do not stream share one limit."""
        if parts.delay:
            await clock.sleep(parts.delay)
        if before is not None and not before.stream and not parts.stream:
            return before
        return _Waiting(clock, self._timeouts, parts, simulates=isinstance(request, Chat) and request.stream)

    async def _open(self, parts: HttpParts, waiting: "_Waiting") -> HttpResponse:
        try:
            async with waiting.timeout():
                return await self._sender.send(parts)
        except TimeoutError:
            raise waiting.failure() from None

    async def _poll(self, wire: Wire, parts: HttpParts, waiting: "_Waiting") -> HttpResponse:
        """What is answered about a job; a question that fails is followed by the next while it is waited for.

        An answer that cannot be read is asked for once more, and then the decoder's to refuse.
        """
        pause, longest = POLL_SECONDS
        doubted = False
        while True:
            try:
                response, sound = await self._ask(wire, parts, waiting)
                if sound or doubted:
                    return response
                doubted, failure = True, ProviderFailure("truncated", "the answer broke off")
            except ProviderFailure as found:
                failure = found
            wait = max(pause, parts.delay, failure.facts.retry_after or 0.0)
            if not failure.retryable or not waiting.outlasts(wait):
                raise failure
            await waiting.clock.sleep(wait)
            pause = min(2 * pause, longest)

    async def _ask(self, wire: Wire, parts: HttpParts, waiting: "_Waiting") -> tuple[HttpResponse, bool]:
        """One answer about a job, read whole where it does not stream, and whether it can be read."""
        response = await self._open(parts, waiting)
        if parts.stream and response.status < ERROR:
            return response, True
        async with aclosing(response):
            if response.status >= ERROR:
                raise wire.decode_error(response.status, response.headers, await _error_body(response, waiting))
            try:
                async with waiting.timeout():
                    body = await response.start(self._limits.body + 1)
            except TimeoutError:
                raise waiting.failure() from None
        headers = {**response.headers, "content-encoding": ""}
        return HttpResponse(response.status, headers, _Came(body)), len(body) > self._limits.body or _is_json(body)

    async def _batches(
        self, wire: Wire, decoder: Decoder, response: HttpResponse, waiting: "_Waiting", counts: list[Usage]
    ) -> AsyncGenerator[Iterable[Delta], None]:
        """The deltas of each piece of the body as it arrives, not decoded before they are taken.

        ``counts`` are those of the headers of all answers of the call.
        """
        if response.status >= ERROR:
            raise wire.decode_error(response.status, response.headers, await _error_body(response, waiting))
        if found := request_id(response.headers):
            yield (Meta(request_id=found),)
        if counted := header_usage(response.headers):
            counts.append(counted)
            yield (summed(counts),)
        framing = Sniffed(self._limits, waiting.json)
        if waiting.stream:
            while chunk := await _read(response, decoder, waiting):
                yield _decoded(_framed(framing, chunk, decoder), decoder, waiting)
                if decoder.done:
                    break
                waiting.heard(framing.beats)
            await _drain(response, waiting.clock)
        else:
            frames = await _read_whole(response, framing, waiting)
            yield _whole(_decoded(frames, decoder, waiting), waiting)
        if framing.blank:
            raise ProviderFailure("empty_response", "the answer is empty")
        yield _whole(_decoded(_framed(framing, None, decoder), decoder, waiting), waiting)
        if framing.cut and isinstance(decoder, AnswerDecoder):
            decoder.broke_off()


class _Came:
    """A body that came already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def aclose(self) -> None:
        """Nothing is held."""


def _is_json(body: bytes) -> bool:
    """Whether a decoder finds JSON in a body."""
    try:
        orjson.loads(marked(body) or body)
    except orjson.JSONDecodeError:
        return False
    return True


def _final(failure: ProviderFailure) -> ProviderFailure:
    """The failure as one after which the same is not asked again."""
    facts = replace(failure.facts, should_retry=False)
    return ProviderFailure(failure.code, failure.message, facts=facts, hint=failure.hint)


class _Waiting:
    """How an answer comes, and how long its next piece is waited for."""

    __slots__ = ("_beats", "_idle", "_until", "clock", "json", "patience", "simulates", "stream")

    def __init__(self, clock: Clock, timeouts: Timeouts, parts: HttpParts, *, simulates: bool = False) -> None:
        self.clock = clock
        self.simulates = simulates and not parts.stream
        self.stream = parts.stream
        self.json = parts.json
        self.patience = timeouts.first if parts.stream else timeouts.whole
        self._idle = timeouts.idle
        self._beats = 0
        self._until = clock.now() + self.patience

    def timeout(self) -> Timer:
        """Raises TimeoutError when the provider is silent for too long."""
        return self.clock.timeout(self._until)

    def outlasts(self, pause: float) -> bool:
        """Whether something is still waited for after a pause (seconds)."""
        return self.clock.now() + pause < self._until

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


def _framed(framing: Framing, chunk: bytes | None, decoder: Decoder) -> Sequence[Frame]:
    """The frames that a chunk, or the end, completes; a failure knows the text so far."""
    try:
        return framing.finish() if chunk is None else framing.feed(chunk)
    except ProviderFailure as failure:
        raise with_text(failure, decoder.partial_text) from None


def _decoded(frames: Iterable[Frame], decoder: Decoder, waiting: _Waiting) -> Iterator[Delta]:
    for frame in frames:
        for delta in decoder.feed(frame):
            if delta.__class__ is not Meta:
                waiting.began()
            yield delta


def _whole(deltas: Iterator[Delta], waiting: _Waiting) -> Iterator[Delta]:
    """The deltas of a body that came whole, where a stream was asked for as one."""
    return simulated(deltas) if waiting.simulates else deltas


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
