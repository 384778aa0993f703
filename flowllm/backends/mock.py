"""The provider ``mock``: answers from rules, in the bytes that a real provider would send.

``mock/echo`` answers with the last user message. Every other ``mock/NAME`` takes the first rule that
matches and is named ``NAME`` or nothing; embeddings need no rule. A reply is rendered as the JSON or
the events of the OpenAI format and decoded like any other answer, so ``cut: 40`` breaks off after 40
bytes, and an error is judged by its status and words like a real one.

    mock:
      - {match: "(?i)translate", reply: Bonjour}
      - {match: {path: "$.messages[0].role", equals: system}, model: judge, replies: [{score: 1}, {score: 2}]}
      - {match: limit, error: {status: 429, retry_after: 2}}
"""

import hashlib
import itertools
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flowllm.backends.framing import Sniffed
from flowllm.backends.mock_bytes import answer_bytes, embeddings_bytes, error_bytes, overlap
from flowllm.backends.wire import Wire, find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Finish, Meta, Scores
from flowllm.core.durations import Duration
from flowllm.core.errors import PipelineInvalid, Problem, ProviderFacts, ProviderFailure
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.request import Chat, Embed, Message, Request, Rerank
from flowllm.core.scope import Scope
from flowllm.text.misfits import Part, Steps, misfits

CARD = ProviderCard("mock", wire={"chat": "openai_chat", "embed": "openai_embeddings"}, local=True)
Place = Callable[[Steps, Part], Origin]
"""Where the key or the value stands that steps lead to."""

_EXAMPLE = '- {match: "(?i)hello", reply: Hi there}'
_EXAMPLES = {
    "match": '"(?i)hello"',
    "model": "judge",
    "replies": "[first, second]",
    "error": "{status: 429, retry_after: 2}",
    "status": "429",
    "retry_after": "2",
    "latency": "200ms",
    "cut": "40",
    "path": '"$.messages[0].content"',
}
_STEP = r"(?a)\.([A-Za-z_]\w*)|\[(\d+)\]"


class MockError(BaseModel):
    """An error in place of a reply. ``code`` is the provider's word; ``message`` its sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    status: int
    retry_after: float | None = None
    code: str | None = None
    message: str = "the mock was told to fail"


class PathMatch(BaseModel):
    """A place in the body sent, ``$.messages[0].content``: it must be there, and be ``equals`` or match where given."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: str
    equals: Any = None
    matches: str | None = None


class MockRule(BaseModel):
    """When it matches, and what is answered: one of ``reply``, ``replies`` or ``error``.

    ``match`` is a regular expression searched in the prompt, every message as ``role: text`` on
    lines of their own (``^`` and ``$`` mean lines); absent, it always matches. The last of
    ``replies`` is repeated. A reply is text, or any JSON value, or a mapping with ``text`` or
    ``tool_calls`` and ``usage``, ``finish``, ``reasoning``. ``latency`` is seconds, or a time
    such as ``200ms``, ``cut`` a number of bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    match: str | PathMatch | None = None
    model: str | None = None
    reply: Any = None
    replies: tuple[Any, ...] | None = None
    error: MockError | None = None
    latency: Duration = 0.0
    cut: int | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        given = self.model_fields_set & {"reply", "replies", "error"}
        if len(given) != 1 or self.replies == ():
            message = "a rule answers with exactly one of reply, replies or error"
            raise ValueError(message)
        for pattern in (self.match, getattr(self.match, "matches", None)):
            if isinstance(pattern, str):
                _compiled(pattern)
        return self

    def fits(self, model: str, prompt: str, body: Mapping[str, Any]) -> bool:
        """Whether the rule answers this request."""
        if self.model not in (None, model):
            return False
        if isinstance(self.match, PathMatch):
            return _path_fits(self.match, body)
        return self.match is None or re.search(self.match, prompt, re.MULTILINE) is not None


def parse_rules(rules: Sequence[Any], place: Place = lambda steps, part: UNKNOWN) -> tuple[MockRule, ...]:
    """The configuration's ``mock`` list; `PipelineInvalid` with every mistake in it.

    ``place`` finds where the rules were written, by a rule's position and the way inside it.
    """
    problems: list[Problem] = []
    parsed: list[MockRule] = []
    for position, rule in enumerate(rules):
        try:
            parsed.append(MockRule.model_validate(rule))
        except ValidationError as error:
            for found in misfits(error, rule, MockRule, "a mock rule", _EXAMPLES):
                where = ".".join(map(str, (f"mock[{position}]", *found.steps)))
                origin = place((position, *found.steps), found.part)
                problems.append(Problem(found.code, found.message, where, origin, found.hint or _EXAMPLE))
    if problems:
        raise PipelineInvalid(problems)
    return tuple(parsed)


class MockBackend:
    """A `Call` that answers from rules. ``capture`` keeps what was asked in ``requests``, in order."""

    def __init__(self, rules: Sequence[Any] = (), *, capture: bool = False) -> None:
        self._rules = parse_rules(rules)
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

    def _choose(self, wire: Wire, request: Chat | Embed) -> tuple[MockRule | None, Any]:
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

    def _failure(self, wire: Wire, error: MockError, model: str) -> ProviderFailure:
        headers = {} if error.retry_after is None else {"retry-after": f"{error.retry_after:g}"}
        failure = wire.decode_error(error.status, headers, error_bytes(error.message, error.code))
        facts = failure.facts
        named = ProviderFacts("mock", model, facts.status, facts.request_id, facts.retry_after, facts.should_retry)
        return ProviderFailure(failure.code, failure.message, facts=named)


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


def _compiled(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"`{pattern}` is no regular expression: {error}"
        raise ValueError(message) from None


def _path_fits(match: PathMatch, body: Any) -> bool:
    found, value = _follow(match.path, body)
    if not found:
        return False
    if match.matches is not None:
        return re.search(match.matches, value if isinstance(value, str) else orjson.dumps(value).decode()) is not None
    return "equals" not in match.model_fields_set or value == match.equals


def _follow(path: str, value: Any) -> tuple[bool, Any]:
    for key, index in re.findall(_STEP, path.removeprefix("$")):
        if key and isinstance(value, dict) and key in value:
            value = value[key]
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return False, None
    return True, value
