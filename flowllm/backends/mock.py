"""The provider ``mock``: answers from rules (`mock_rules`), in the bytes that a real provider would send.

``mock/echo`` answers with the last user message. Every other ``mock/NAME`` takes the first rule that
matches and is named ``NAME`` or nothing; embeddings need no rule. A reply is rendered as the JSON or
the events of the OpenAI format and decoded like any other answer, so ``cut: 40`` breaks off after 40
bytes, and an error is judged by its status and words like a real one.
"""

import hashlib
import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from flowllm.backends.framing import Sniffed
from flowllm.backends.mock_bytes import answer_bytes, embeddings_bytes, error_bytes, overlap
from flowllm.backends.wire import Wire, find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Finish, Meta, Scores
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.request import Chat, Embed, Message, Request, Rerank
from flowllm.core.scope import Scope

if TYPE_CHECKING:
    from flowllm.backends.mock_rules import MockError, MockRule

CARD = ProviderCard("mock", wire={"chat": "openai_chat", "embed": "openai_embeddings"}, local=True)


class MockBackend:
    """A `Call` that answers from rules. ``capture`` keeps what was asked in ``requests``, in order."""

    def __init__(self, rules: Sequence[Any] = (), *, capture: bool = False) -> None:
        self._rules = _parsed(rules)
        self._turns = [itertools.count() for _ in self._rules]
        self._capture = capture
        self.requests: list[Request] = []

    @cached_property
    def _chat(self) -> Wire:
        return find_wire("openai_chat", CARD)

    @cached_property
    def _embed(self) -> Wire:
        return find_wire("openai_embeddings", CARD)

    @cached_property
    def identity(self) -> str:
        """A digest of the rules: answers of other rules are not this backend's."""
        rules = [rule.model_dump() for rule in self._rules]
        return hashlib.sha256(orjson.dumps(rules, default=str, option=orjson.OPT_NON_STR_KEYS)).hexdigest()

    def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The deltas of one answer."""
        if self._capture:
            self.requests.append(request)
        return self._answer(request, scope)

    async def _answer(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        if isinstance(request, Rerank):
            for delta in _reranked(request):
                yield delta
            return
        wire = self._chat if isinstance(request, Chat) else self._embed
        rule, reply = self._choose(wire, request)
        if rule and rule.latency:
            await scope.clock.sleep(rule.latency)
        if rule and rule.error:
            raise self._failure(wire, rule.error, request.model)
        body = embeddings_bytes(request) if isinstance(request, Embed) else answer_bytes(request, reply)
        if rule and rule.cut is not None:
            body = body[: rule.cut]
        for delta in _decoded(wire, request, body):
            yield delta

    def _choose(self, wire: Wire, request: Chat | Embed) -> "tuple[MockRule | None, Any]":
        name = request.model.partition("/")[2]
        if isinstance(request, Chat) and name == "echo":
            return None, last_user_text(request.messages)
        prompt, body = rendered_prompt(request), orjson.loads(wire.encode(request).body)
        for rule, turn in zip(self._rules, self._turns, strict=True):
            if isinstance(request, Embed) and rule.error is None:
                continue
            if rule.fits(name, prompt, body):
                replies = rule.replies or (rule.reply,)
                return rule, replies[min(next(turn), len(replies) - 1)]
        if isinstance(request, Embed):
            return None, None
        raise self._unanswered(request.model)

    def _unanswered(self, model: str) -> ProviderFailure:
        known = "; ".join(f"match: {rule.match!r}" for rule in self._rules[:5]) or "there are none"
        hint = f"add a rule to `mock:` or ask `mock/echo`; the rules: {known}"
        facts = ProviderFacts("mock", model)
        return ProviderFailure("not_found", f"no mock rule answers this prompt for `{model}`", facts=facts, hint=hint)

    def _failure(self, wire: Wire, error: "MockError", model: str) -> ProviderFailure:
        headers = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
        failure = wire.decode_error(error.status, headers, error_bytes(error.message, error.code))
        facts = failure.facts
        named = ProviderFacts("mock", model, facts.status, facts.request_id, facts.retry_after, facts.should_retry)
        return ProviderFailure(failure.code, failure.message, facts=named)


def _parsed(rules: Sequence[Any]) -> "tuple[MockRule, ...]":
    if not rules:
        return ()
    from flowllm.backends.mock_rules import parse_rules

    return parse_rules(rules)


def rendered_prompt(request: Request) -> str:
    """What rules are matched with: ``role: text`` for each message, or the texts, one a line."""
    if isinstance(request, Chat):
        return "\n".join(f"{message.role}: {message.text}" for message in request.messages)
    return "\n".join(request.texts if isinstance(request, Embed) else request.documents)


def last_user_text(messages: Sequence[Message]) -> str:
    """The text of the last user message, empty when there is none."""
    return next((m.text for m in reversed(messages) if m.role == "user"), "")


def _decoded(wire: Wire, request: Request, body: bytes) -> Iterator[Delta]:
    framing, decoder = Sniffed(), wire.decoder(request)
    for frame in itertools.chain(framing.feed(body), framing.finish()):
        yield from decoder.feed(frame)
    yield from decoder.finish()


def _reranked(request: Rerank) -> Iterator[Delta]:
    scores = [overlap(request.query, document) for document in request.documents]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: request.k]
    yield Scores(order, [scores[i] for i in order])
    yield Meta(model=request.model.partition("/")[2])
    yield Finish("stop", "stop")
