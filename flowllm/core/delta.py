"""The smallest news of an answer, and the fold of all of them into a `Reply`.

Everything that answers is a stream of deltas; a whole HTTP body is one that came in one piece.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from decimal import Decimal
from typing import Any

from flowllm.core.record import record
from flowllm.core.request import Thought, ToolUse


@record
class Text:
    """More text of the answer."""

    text: str


@record
class Reasoning:
    """More text of the model's thinking; ``signature`` must be sent back with it where one is given.

    A signature ends a thought; ``sealed`` says that it holds the whole of it. ``id`` and ``format`` as in `Thought`.
    """

    text: str
    signature: str = ""
    id: str = ""
    sealed: bool = False
    format: str = ""


@record
class ToolCall:
    """More of the tool call number ``index``; ``arguments`` is a piece of JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = ""


@record
class Vectors:
    """Embeddings of the next texts, one row a text, float32 array of shape (texts, dimensions) or lists of floats."""

    vectors: Sequence[Any]


@record
class Scores:
    """Reranked documents: index in the request and score, best first."""

    indexes: Sequence[int]
    scores: Sequence[float]


@record
class Usage:
    """What the provider counts and says of its price. The last report wins; None is unknown.

    ``input`` holds all prompt tokens including cached and cache-write ones, ``output`` all
    generated ones including reasoning. ``estimated`` marks counts that the provider did not give.

    ``classes`` are tokens of further classes, by the words of `core.prices.TOKENS`. What is read of sound, pictures
    and films is part of ``input``, and includes what came of them from the cache (``cached_audio``,
    ``cached_image``, parts of ``cached_input``); what is written of them is part of ``output``; ``citations`` are
    beside both. ``written`` is ``cache_write`` by lifetime (5m, 1h). ``units`` is what is counted otherwise, by the
    words of `core.prices.UNITS`. ``service`` is the class of service (batch, flex, priority), empty for the standard
    one, ``region`` and ``speed`` where the answer says that another than the usual one served it, ``variant`` as in
    `core.prices.Rate`. ``reported`` is what the provider itself says that the answer costs, in US dollars;
    ``billed_input`` and ``billed_output`` are the tokens that it says it bills, where these are others than it counts.
    """

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    estimated: bool = False
    classes: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, int | Decimal] = field(default_factory=dict)
    service: str = ""
    region: str = ""
    speed: str = ""
    variant: str = ""
    reported: Decimal | None = None
    billed_input: int | None = None
    billed_output: int | None = None


@record
class Token:
    """A token as text, the log probability that the model gave it, and the likeliest ones in its place, best first."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@record
class Logprobs:
    """Log probabilities of the next tokens of the answer, where they were asked for."""

    tokens: tuple[Token, ...]


@record
class Finish:
    """The end mark: stop, length, tool_calls, content_filter, error, other or None; ``raw`` as sent."""

    reason: str | None = None
    raw: str | None = None


@record
class Meta:
    """Who answered: the model that the response names and the provider's request id.

    ``answered_by`` is ``provider/model`` in our words, where it is another one than was asked first; it
    outlives a `Restart`, and the last one holds. ``simulated``: a stream was asked for, the answer came whole.
    """

    model: str | None = None
    request_id: str | None = None
    citations: int | None = None
    answered_by: str | None = None
    simulated: bool = False


@record
class Restart:
    """Forget everything that came before: another attempt or model answers from the start."""

    reason: str = ""


Delta = Text | Reasoning | ToolCall | Vectors | Scores | Logprobs | Usage | Finish | Meta | Restart


@record
class Reply:
    """A complete answer. ``answered_by`` is None where the model that was asked answered.

    ``simulated``: it was asked for as a stream and came whole. ``logprobs`` is None where none were told.
    """

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolUse, ...] = ()
    vectors: Sequence[Any] | None = None
    scores: Scores | None = None
    usage: Usage | None = None
    finish: str | None = None
    finish_raw: str | None = None
    model: str | None = None
    request_id: str | None = None
    citations: int | None = None
    thoughts: tuple[Thought, ...] = ()
    answered_by: str | None = None
    simulated: bool = False
    logprobs: tuple[Token, ...] | None = None


@record(frozen=False)
class _Pieces:
    """A thought while it comes."""

    texts: list[str]
    id: str
    signature: str = ""
    sealed: bool = False
    format: str = ""

    def thought(self) -> Thought:
        return Thought("".join(self.texts), self.signature, self.id, self.sealed, self.format)


@record(frozen=False)
class _CallPieces:
    """A tool call while it comes."""

    arguments: list[str]
    name: str = ""
    id: str = ""
    signature: str = ""

    def call(self) -> ToolUse:
        return ToolUse(self.name, "".join(self.arguments), self.id, self.signature)


class Fold:
    """Collects deltas as they come; ``reply()`` is the answer so far."""

    __slots__ = (
        "_answered_by", "_calls", "_finish", "_logprobs", "_meta", "_scores", "_text", "_thoughts", "_usage",
        "_vectors",
    )  # fmt: skip

    def __init__(self) -> None:
        self._answered_by: str | None = None
        self._clear()

    def _clear(self) -> None:
        self._text: list[str] = []
        self._thoughts: list[_Pieces] = []
        self._calls: dict[int, _CallPieces] = {}
        self._vectors: list[Sequence[Any]] = []
        self._scores: Scores | None = None
        self._logprobs: list[Token] | None = None
        self._usage: Usage | None = None
        self._finish = Finish()
        self._meta = Meta()

    def add(self, delta: Delta) -> None:
        """Take one delta in."""
        if type(delta) is Text:
            self._text.append(delta.text)
        else:
            self._add_rare(delta)

    def _add_rare(self, delta: Delta) -> None:
        match delta:
            case Reasoning():
                self._add_thought(delta)
            case ToolCall():
                self._add_call(delta)
            case Usage():
                self._usage = delta
            case Finish():
                self._finish = delta
            case Meta():
                self._add_meta(delta)
            case Vectors(vectors=vectors):
                self._vectors.append(vectors)
            case Scores():
                self._scores = delta
            case Logprobs(tokens=tokens):
                self._add_logprobs(tokens)
            case Restart():
                self._clear()

    def _add_meta(self, delta: Meta) -> None:
        old, citations = self._meta, delta.citations
        self._meta = Meta(
            old.model or delta.model,
            old.request_id or delta.request_id,
            citations if citations is not None else old.citations,
            simulated=delta.simulated or old.simulated,
        )
        self._answered_by = delta.answered_by or self._answered_by

    def _add_logprobs(self, tokens: tuple[Token, ...]) -> None:
        if self._logprobs is None:
            self._logprobs = []
        self._logprobs += tokens

    def _add_call(self, delta: ToolCall) -> None:
        call = self._calls.get(delta.index)
        if call is None:
            call = self._calls[delta.index] = _CallPieces([])
        call.name = call.name or delta.name
        call.arguments.append(delta.arguments)
        call.id = call.id or delta.id
        call.signature = call.signature or delta.signature

    def _add_thought(self, delta: Reasoning) -> None:
        last = self._thoughts[-1] if self._thoughts else None
        if last is None or last.signature or delta.id not in ("", last.id):
            last = _Pieces([], delta.id)
            self._thoughts.append(last)
        last.texts.append(delta.text)
        last.signature, last.sealed, last.format = delta.signature, delta.sealed, delta.format

    def reply(self) -> Reply:
        """The answer so far."""
        thoughts = tuple(t.thought() for t in self._thoughts)
        return Reply(
            text="".join(self._text),
            reasoning="".join(thought.text for thought in thoughts) or None,
            tool_calls=tuple(self._calls[i].call() for i in sorted(self._calls)),
            vectors=_rows(self._vectors),
            scores=self._scores,
            usage=self._usage,
            finish=self._finish.reason,
            finish_raw=self._finish.raw,
            model=self._meta.model,
            request_id=self._meta.request_id,
            citations=self._meta.citations,
            thoughts=thoughts,
            answered_by=self._answered_by,
            simulated=self._meta.simulated,
            logprobs=None if self._logprobs is None else tuple(self._logprobs),
        )


def _rows(vectors: list[Sequence[Any]]) -> Sequence[Any] | None:
    """All rows; those that came together as they came."""
    return [row for rows in vectors for row in rows] if len(vectors) > 1 else vectors[0] if vectors else None


_COUNTS = ("input", "output", "cached_input", "cache_write", "reasoning", "reported", "billed_input", "billed_output")


def summed(usages: Sequence[Usage]) -> Usage:
    """What several requests of one call counted: a count is unknown where one of them does not tell it.

    Where and in which class they were served is what the last one says.
    """
    *_, last = usages
    if len(usages) == 1:
        return last
    told: dict[str, Any] = {name: _sum([getattr(usage, name) for usage in usages]) for name in _COUNTS}
    told |= {name: _sum_of([getattr(usage, name) for usage in usages]) for name in ("classes", "written", "units")}
    return replace(last, **told, estimated=any(usage.estimated for usage in usages))


def _sum(counts: Sequence[Any]) -> Any:
    return None if None in counts else sum(counts)


def _sum_of(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    words = dict.fromkeys(word for table in tables for word in table)
    return {word: sum(table.get(word, 0) for table in tables) for word in words}


def fold(deltas: Iterable[Delta]) -> Reply:
    """All deltas of one answer to the answer."""
    folded = Fold()
    for delta in deltas:
        folded.add(delta)
    return folded.reply()
