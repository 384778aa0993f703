"""``cache: {ttl: 7d}``: an answer that came once is not paid for twice. Off for calls unless written.

The key is the digest of everything that can change the answer: request, model that answered, what
the catalog says of it (address, wire, headers, quirks), the rules of the mock, and the attempt of a
retry region around it. With fallbacks the models are looked up in order. Stored is plain data with a
version; a failure, an empty answer, one that ended in error or by a content filter, and one of a
model whose files were replaced meanwhile are not stored, one that was cut off at its length is. A
hit is replayed as deltas.

Vectors are kept for each text apart, as float32 bytes, also where nothing is written: of a batch
only the texts that are not known are asked for, and all of them where another model answers than the
one that the known ones are of. ``cache: false`` ends that. Vectors of providers that run in this
process are not kept.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, fields, replace
from decimal import Decimal
from typing import Any, ClassVar, cast

from flowllm.core.delta import (
    Delta,
    Finish,
    Fold,
    Logprobs,
    Meta,
    Reasoning,
    Reply,
    Scores,
    Text,
    Token,
    ToolCall,
    Usage,
    Vectors,
)
from flowllm.core.durations import Duration
from flowllm.core.errors import ProviderFailure
from flowllm.core.event import CacheHit, CacheMiss
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Embed, Request, digest
from flowllm.core.scope import Call, Scope

VERSION = 2
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
            keys = _Keys(services)
            stored = self._look_up(request, scope, keys)
            if stored is not None:
                for delta in stored:
                    yield delta
                return
            keys.see(request.model, *self.models)
            folded = Fold()
            async with aclosing(inner(request, scope)) as deltas:
                async for delta in deltas:
                    folded.add(delta)
                    yield delta
            self._keep(request, folded.reply(), scope, keys)

        return answer

    def _embeds(self, inner: Call, services: Services) -> Callable[[Embed, Scope], AsyncGenerator[Delta, None]]:
        async def embed(request: Embed, scope: Scope) -> AsyncGenerator[Delta, None]:
            keys = _Keys(services)
            known = _Known(request, scope, keys)
            reply, asked = Reply(usage=Usage(input=0), model=known.model), request
            if known.missing:
                keys.see(request.model, *self.models)
                asked = replace(request, texts=known.missing)
                reply = await _whole(inner, asked, scope)
                if known.mixes(reply):
                    asked = replace(asked, model=reply.answered_by or asked.model, texts=known.forget())
                    reply = await _whole(inner, asked, scope)
                asked = replace(asked, model=reply.answered_by or asked.model)
                known.learn(asked, reply, self.ttl)
            yield Vectors(known.vectors())
            for delta in _ending(reply, None if asked.model == request.model else asked.model):
                yield delta

        return embed

    def _look_up(self, request: Request, scope: Scope, keys: "_Keys") -> list[Delta] | None:
        """The stored answer of the first model that has one."""
        if not keys.services.read_cache:
            return None
        reason = "refresh" if scope.refresh else "absent"
        for model in (request.model, *self.models) if reason == "absent" else ():
            key = keys.of(replace(request, model=model), scope.salt)
            value = keys.services.store.get(key)
            if value is None:
                continue
            deltas = _replay(value, None if model == request.model else model)
            if deltas is not None:
                scope.emit(CacheHit(scope.address, scope.clock.now(), key, "call", _amount(value)))
                return deltas
            reason = "unreadable"
        scope.emit(CacheMiss(scope.address, scope.clock.now(), keys.of(request, scope.salt), reason))
        return None

    def _keep(self, request: Request, reply: Reply, scope: Scope, keys: "_Keys") -> None:
        """Store the answer under the model that gave it."""
        services, empty = keys.services, not (reply.text or reply.tool_calls or reply.scores)
        if services.write_cache and not empty and reply.finish not in NOT_KEPT:
            request = replace(request, model=reply.answered_by or request.model)
            if not keys.hold(request.model):
                return
            cost = services.price(request.model, reply.usage).total
            services.store.put(keys.of(request, scope.salt), _plain(reply, request, cost, scope.clock.wall()), self.ttl)


class _Keys:
    """The keys of one call's requests: of what stood behind each model before it was asked."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._identities: dict[str, str] = {}

    def of(self, request: Request, salt: str = "") -> str:
        """The key of a request."""
        return digest(request, salt, self._identity(request.model))

    def see(self, *models: str) -> None:
        """Look at what stands behind models that are about to be asked."""
        for model in models:
            self._identity(model)

    def hold(self, model: str) -> bool:
        """Whether the same still stands behind a model that was asked; where not, nobody knows which answered."""
        return self._identities.get(model) == self.services.identity(model)

    def _identity(self, model: str) -> str:
        found = self._identities.get(model)
        if found is None:
            found = self._identities[model] = self.services.identity(model)
        return found


async def _whole(inner: Call, request: Request, scope: Scope) -> Reply:
    folded = Fold()
    async with aclosing(inner(request, scope)) as deltas:
        async for delta in deltas:
            folded.add(delta)
    return folded.reply()


def _is_local(request: Request, services: Services) -> bool:
    card = services.catalog.providers.get(request.model.partition("/")[0])
    return card is not None and card.local


def _plain(reply: Reply, request: Request, cost: Decimal | None, at: float) -> dict[str, Any]:
    usage, scores = reply.usage, reply.scores
    return {
        "version": VERSION,
        "kind": "call",
        "model": request.model,
        "at": at,
        "cost": None if cost is None else str(cost),
        "text": reply.text,
        "thoughts": [asdict(thought) for thought in reply.thoughts],
        "tool_calls": [[call.name, call.arguments, call.id, call.signature] for call in reply.tool_calls],
        "scores": None if scores is None else [[int(i) for i in scores.indexes], [float(s) for s in scores.scores]],
        "usage": None if usage is None else _counts(usage),
        "finish": [reply.finish, reply.finish_raw],
        "meta": [reply.model, reply.request_id, reply.citations],
        "simulated": reply.simulated,
        **_likelihoods(reply),
    }


def _likelihoods(reply: Reply) -> dict[str, Any]:
    if reply.logprobs is None:
        return {}
    return {"logprobs": [[token.text, token.logprob, list(map(list, token.top))] for token in reply.logprobs]}


def _counts(usage: Usage) -> dict[str, Any]:
    """What was counted as plain data, amounts as text."""
    told = {field.name: getattr(usage, field.name) for field in fields(usage)}
    told["reported"] = None if usage.reported is None else str(usage.reported)
    told["units"] = {name: str(count) for name, count in usage.units.items()}
    return told


def _usage(told: Mapping[str, Any]) -> Usage:
    reported, units = told.get("reported"), told.get("units") or {}
    exact = {
        "reported": None if reported is None else Decimal(reported),
        "units": {name: Decimal(count) for name, count in units.items()},
    }
    return Usage(**{**told, **exact})


def _replay(value: Any, answered_by: str | None) -> list[Delta] | None:
    """A stored answer as deltas; None when it is not what this version stores."""
    try:
        right = value["version"] == VERSION and value["kind"] == "call"
        return list(_deltas(value, answered_by)) if right else None
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return None


def _deltas(value: Mapping[str, Any], answered_by: str | None) -> Iterator[Delta]:
    for thought in value["thoughts"]:
        yield Reasoning(**thought)
    if value["text"]:
        yield Text(value["text"])
    for index, (name, arguments, identity, signature) in enumerate(value["tool_calls"]):
        yield ToolCall(index, identity, name, arguments, signature)
    if value["scores"]:
        yield Scores(*value["scores"])
    if "logprobs" in value:
        told = value["logprobs"]
        yield Logprobs(tuple(Token(text, number, tuple(map(tuple, top))) for text, number, top in told))
    if value["usage"]:
        yield _usage(value["usage"])
    yield Finish(*value["finish"])
    model, request_id, citations = value["meta"]
    # A row may be of a time when the word was not kept.
    yield Meta(model, request_id, citations, answered_by, value.get("simulated") is True)


def _ending(reply: Reply, answered_by: str | None) -> Iterator[Delta]:
    if reply.usage is not None:
        yield reply.usage
    yield Finish(reply.finish, reply.finish_raw)
    yield Meta(reply.model, reply.request_id, reply.citations, answered_by)


def _amount(value: Mapping[str, Any]) -> Decimal | None:
    try:
        return None if value.get("cost") is None else Decimal(value["cost"])
    except (ArithmeticError, TypeError, ValueError):
        return None


class _Known:
    """The vectors of one batch: those from the store, and those that are learned."""

    def __init__(self, request: Embed, scope: Scope, keys: _Keys) -> None:
        self._request, self._scope, self._services, self._call_keys = request, scope, keys.services, keys
        self._found: dict[str, Any] = {}
        self._keys = {text: keys.of(replace(request, texts=(text,))) for text in request.texts}
        self._saved: list[Decimal | None] = []
        self.model: str | None = None
        reading = self._services.read_cache and not scope.refresh
        if reading:
            self._read()
        self.missing = tuple(text for text in self._keys if text not in self._found)
        if self._services.read_cache:
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

    def mixes(self, reply: Reply) -> bool:
        """Whether the answer is of another model than the vectors that are known, or not as long as they are."""
        known = next(iter(self._found.values()), None)
        if known is None:
            return False
        came = () if reply.vectors is None else reply.vectors
        lengths = {len(vector) for vector in came}
        return reply.answered_by not in (None, self._request.model) or not lengths <= {len(known)}

    def forget(self) -> tuple[str, ...]:
        """Know nothing; the texts that are missing then."""
        self._found.clear()
        self.missing = tuple(self._keys)
        return self.missing

    def learn(self, asked: Embed, reply: Reply, ttl: float | None) -> None:
        """Take the answer for the missing texts in, and keep it; ``asked`` names the model that answered."""
        import numpy as np

        rows = np.asarray(reply.vectors if reply.vectors is not None else (), dtype="<f4")
        if len(rows) != len(self.missing):
            message = f"{asked.model} gave {len(rows)} vectors for {len(self.missing)} texts"
            raise ProviderFailure("invalid_response", message)
        self._found.update(zip(self.missing, rows, strict=True))
        if self._services.write_cache and self._call_keys.hold(asked.model):
            self._write(asked, rows, reply, ttl)

    def _write(self, asked: Embed, rows: Any, reply: Reply, ttl: float | None) -> None:
        services = self._services
        total = services.price(asked.model, reply.usage).total
        cost = None if total is None else str(total / len(rows))
        for text, row in zip(self.missing, rows, strict=True):
            value = {"version": VERSION, "kind": "embed", "model": asked.model, "answered": reply.model}
            value |= {"at": self._scope.clock.wall(), "cost": cost, "vector": row.tobytes()}
            services.store.put(self._call_keys.of(replace(asked, texts=(text,))), value, ttl)

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
