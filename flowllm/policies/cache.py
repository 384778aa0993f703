"""``cache: {ttl: 7d}``: an answer that came once is not paid for twice. Off for calls unless written.

The key is the digest of everything that can change the answer: request, model that answered, and
the attempt of a retry region around it. With fallbacks the models are looked up in order. Stored is
plain data with a version; a failure, an empty answer, and one that ended in error or by a content
filter are not stored, one that was cut off at its length is. A hit is replayed as deltas.

Vectors are kept for each text apart, as float32 bytes, also where nothing is written: of a batch
only the texts that are not known are asked for. ``cache: false`` ends that. Providers that run in
this process are not cached.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, ClassVar, cast

from flowllm.core.delta import Delta, Finish, Fold, Meta, Reasoning, Reply, Scores, Text, ToolCall, Usage, Vectors
from flowllm.core.durations import Duration
from flowllm.core.errors import ProviderFailure
from flowllm.core.event import CacheHit, CacheMiss, Event, ModelChosen
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Embed, Request, digest
from flowllm.core.scope import Call, Scope

VERSION = 1
NOT_KEPT = frozenset({"error", "content_filter"})


class Cache(Policy):
    """How long an answer is good, in seconds; without ``ttl`` until room is needed.

    ``models`` are those whose answers are taken too, in order, after the node's own. ``replies``
    False leaves calls and reranking alone and keeps vectors only.
    """

    rank: ClassVar[int] = 20
    shorthand: ClassVar[str] = "ttl"
    ttl: Duration | None = None
    models: tuple[str, ...] = ()
    replies: bool = True

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that looks into the store first."""
        answer, embed = self._answers(inner, services), self._embeds(inner, services)

        def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            if isinstance(request, Embed):
                return inner(request, scope) if _is_local(request, services) else embed(request, scope)
            return answer(request, scope) if self.replies else inner(request, scope)

        return call

    def _answers(self, inner: Call, services: Services) -> Call:
        async def answer(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            key, stored = self._look_up(request, scope, services)
            if stored is not None:
                for delta in stored:
                    yield delta
                return
            models, scope = _answering(request, scope)
            folded = Fold()
            async with aclosing(inner(request, scope)) as deltas:
                async for delta in deltas:
                    folded.add(delta)
                    yield delta
            if models[-1] != request.model:
                request = replace(request, model=models[-1])
                key = digest(request, scope.salt)
            self._keep(key, request, folded.reply(), scope, services)

        return answer

    def _embeds(self, inner: Call, services: Services) -> Callable[[Embed, Scope], AsyncGenerator[Delta, None]]:
        async def embed(request: Embed, scope: Scope) -> AsyncGenerator[Delta, None]:
            known = _Known(request, scope, services)
            reply = Reply(usage=Usage(input=0), model=known.model)
            if known.missing:
                folded = Fold()
                async with aclosing(inner(replace(request, texts=known.missing), scope)) as deltas:
                    async for delta in deltas:
                        folded.add(delta)
                reply = folded.reply()
                known.learn(reply, self.ttl)
            yield Vectors(known.vectors())
            for delta in _ending(reply):
                yield delta

        return embed

    def _look_up(self, request: Request, scope: Scope, services: Services) -> tuple[str, list[Delta] | None]:
        """The own model's key, and the stored answer of the first model that has one."""
        own = digest(request, scope.salt)
        if not services.read_cache:
            return own, None
        reason = "refresh" if scope.refresh else "absent"
        for model in (request.model, *self.models) if reason == "absent" else ():
            key = own if model == request.model else digest(replace(request, model=model), scope.salt)
            value = services.store.get(key)
            if value is None:
                continue
            deltas = _replay(value)
            if deltas is not None:
                scope.emit(CacheHit(scope.address, scope.clock.now(), key, "call", _amount(value)))
                return own, deltas
            reason = "unreadable"
        scope.emit(CacheMiss(scope.address, scope.clock.now(), own, reason))
        return own, None

    def _keep(self, key: str, request: Request, reply: Reply, scope: Scope, services: Services) -> None:
        empty = not (reply.text or reply.tool_calls or reply.scores)
        if services.write_cache and not empty and reply.finish not in NOT_KEPT:
            cost = services.price(request.model, reply.usage).total
            services.store.put(key, _plain(reply, request, cost, scope.clock.wall()), self.ttl)


def _is_local(request: Request, services: Services) -> bool:
    card = services.catalog.providers.get(request.model.partition("/")[0])
    return card is not None and card.local


def _answering(request: Request, scope: Scope) -> tuple[list[str], Scope]:
    """A list whose last entry is the model that answers, kept up to date by the events on the way."""
    models = [request.model]

    def emit(event: Event) -> None:
        if type(event) is ModelChosen:
            models.append(event.model)
        scope.emit(event)

    return models, replace(scope, emit=emit)


def _plain(reply: Reply, request: Request, cost: Decimal | None, at: float) -> dict[str, Any]:
    usage, scores = reply.usage, reply.scores
    return {
        "version": VERSION,
        "kind": "call",
        "model": request.model,
        "at": at,
        "cost": None if cost is None else str(cost),
        "text": reply.text,
        "reasoning": reply.reasoning,
        "tool_calls": [[call.name, call.arguments, call.id] for call in reply.tool_calls],
        "scores": None if scores is None else [[int(i) for i in scores.indexes], [float(s) for s in scores.scores]],
        "usage": None if usage is None else {field.name: getattr(usage, field.name) for field in fields(usage)},
        "finish": [reply.finish, reply.finish_raw],
        "meta": [reply.model, reply.request_id, reply.citations],
    }


def _replay(value: Any) -> list[Delta] | None:
    """A stored answer as deltas; None when it is not what this version stores."""
    try:
        return list(_deltas(value)) if value["version"] == VERSION and value["kind"] == "call" else None
    except (KeyError, TypeError, ValueError):
        return None


def _deltas(value: Mapping[str, Any]) -> Iterator[Delta]:
    if value["reasoning"]:
        yield Reasoning(value["reasoning"])
    if value["text"]:
        yield Text(value["text"])
    for index, (name, arguments, identity) in enumerate(value["tool_calls"]):
        yield ToolCall(index, identity, name, arguments)
    if value["scores"]:
        yield Scores(*value["scores"])
    if value["usage"]:
        yield Usage(**value["usage"])
    yield Finish(*value["finish"])
    yield Meta(*value["meta"])


def _ending(reply: Reply) -> Iterator[Delta]:
    if reply.usage is not None:
        yield reply.usage
    yield Finish(reply.finish, reply.finish_raw)
    yield Meta(reply.model, reply.request_id, reply.citations)


def _amount(value: Mapping[str, Any]) -> Decimal | None:
    try:
        return None if value.get("cost") is None else Decimal(value["cost"])
    except (ArithmeticError, TypeError, ValueError):
        return None


class _Known:
    """The vectors of one batch: those from the store, and those that are learned."""

    def __init__(self, request: Embed, scope: Scope, services: Services) -> None:
        self._request, self._scope, self._services = request, scope, services
        self._found: dict[str, Any] = {}
        self._keys = {text: digest(replace(request, texts=(text,))) for text in request.texts}
        self._saved: list[Decimal | None] = []
        self.model: str | None = None
        reading = services.read_cache and not scope.refresh
        if reading:
            self._read()
        self.missing = tuple(text for text in self._keys if text not in self._found)
        if services.read_cache:
            self._tell("absent" if reading else "refresh")

    def _read(self) -> None:
        for text, key in self._keys.items():
            value = self._services.store.get(key)
            if value is not None and (vector := _vector(value)) is not None:
                self._found[text] = vector
                self._saved.append(_amount(value))
                self.model = value.get("answered")
        if len({len(vector) for vector in self._found.values()}) > 1:
            self._found.clear()

    def _tell(self, reason: str) -> None:
        scope, now = self._scope, self._scope.clock.now()
        key = next(iter(self._keys.values()), "")
        if self._found:
            known = [amount for amount in self._saved if amount is not None]
            saved = sum(known, Decimal(0)) if len(known) == len(self._saved) else None
            scope.emit(CacheHit(scope.address, now, key, "embed", saved))
        if self.missing:
            scope.emit(CacheMiss(scope.address, now, self._keys[self.missing[0]], reason))

    def learn(self, reply: Reply, ttl: float | None) -> None:
        """Take the answer for the missing texts in, and keep it."""
        import numpy as np

        rows = np.asarray(reply.vectors if reply.vectors is not None else (), dtype="<f4")
        if len(rows) != len(self.missing):
            raise ProviderFailure(
                "invalid_response", f"{self._request.model} gave {len(rows)} vectors for {len(self.missing)} texts"
            )
        self._found.update(zip(self.missing, rows, strict=True))
        if self._services.write_cache:
            self._write(rows, reply, ttl)

    def _write(self, rows: Any, reply: Reply, ttl: float | None) -> None:
        services, model = self._services, self._request.model
        total = services.price(model, reply.usage).total
        cost = None if total is None else str(total / len(rows))
        for text, row in zip(self.missing, rows, strict=True):
            value = {"version": VERSION, "kind": "embed", "model": model, "answered": reply.model}
            value |= {"at": self._scope.clock.wall(), "cost": cost, "vector": row.tobytes()}
            services.store.put(self._keys[text], value, ttl)

    def vectors(self) -> Sequence[Any]:
        """Float32 of shape (texts, dimensions), in the order of the request."""
        import numpy as np

        rows = [self._found[text] for text in self._request.texts]
        return cast("Sequence[Any]", np.stack(rows) if rows else np.empty((0, 0), dtype="<f4"))


def _vector(value: Any) -> Any | None:
    import numpy as np

    try:
        right = value["version"] == VERSION and value["kind"] == "embed" and value["vector"]
        return np.frombuffer(value["vector"], dtype="<f4") if right else None
    except (KeyError, TypeError, ValueError):
        return None
