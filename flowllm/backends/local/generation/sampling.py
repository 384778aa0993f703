"""From logits to the next token: how one answer is drawn, with numbers that repeat under a seed.

Order: repetition, presence and frequency penalties, what a grammar forbids, temperature, the ``top_k``
best, the ``top_p`` nucleus, ``min_p`` of the best one's share. Log probabilities are those of the model, before any
of that.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowllm.backends.local.refused import refused
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.nearest import did_you_mean
from flowllm.core.record import record
from flowllm.core.request import Chat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]

_BLOCK = 512
"""Scores that are summed up together: few sums to search, and few scores in each."""

_COLD = 1e-6
"""A temperature below which the best is as good as sure, and dividing by it in single precision gives no number."""

MODELS_OWN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""What a model's generation_config.json says of drawing."""


@record
class Drawing:
    """How tokens are drawn. Temperature 0 takes the best; ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 leave all in.

    ``repetition_penalty`` divides (1: none) what prompt or answer hold already; ``presence_penalty`` and
    ``frequency_penalty`` are taken off what the answer holds, once and for each time. ``seed`` None
    draws anew each time. ``logprobs`` is how many of the likeliest tokens are told with that which was drawn, None
    where no log probabilities are.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logprobs: int | None = None

    @property
    def plain(self) -> bool:
        """Whether the best token is taken as the model gives it, so that nothing need be worked out."""
        return self.greedy and not self.penalised and self.logprobs is None

    @property
    def greedy(self) -> bool:
        """Whether the best token is taken: at temperature 0, or next to it."""
        return self.temperature < _COLD

    @property
    def penalised(self) -> bool:
        """Whether tokens that were there weigh less."""
        return self.repetition_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0


_LEAST_AND_MOST: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 100.0),
    "top_k": (0, 1 << 30),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
    "presence_penalty": (-100.0, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "seed": (-(1 << 63), (1 << 64) - 1),
}
_WHOLE = ("top_k", "seed")
EXTRA = tuple(name for name in _LEAST_AND_MOST if name not in ("temperature", "top_p", "seed"))
"""What a call has no field for, so that its ``extra`` says it."""


def drawing(request: Chat, own: Mapping[str, Any]) -> Drawing:
    """What a request asks for, else what ``own`` (the model's generation_config.json) says, else greedy.

    Raises `ProviderFailure` ``unknown_field`` for a word and ``bad_value`` for a number that cannot be.
    """
    said: dict[str, Any] = _by_model(own)
    asked = request.sampling
    given = {"temperature": asked.temperature, "top_p": asked.top_p, "seed": asked.seed}
    said |= {name: value for name, value in given.items() if value is not None}
    for name, value in request.extra.items():
        if name == "logprobs":
            message = f"`{request.model}` is asked for log probabilities by the call itself, not in `extra`"
            raise refused(request.model, message, "logprobs: 5", "unknown_field")
        if name not in _LEAST_AND_MOST:
            hint = did_you_mean(name, _LEAST_AND_MOST, f"known are {', '.join(EXTRA)}")
            raise refused(request.model, f"`{request.model}` knows no `{name}`", hint, "unknown_field")
        said[name] = value
    numbers = {name: _number(request.model, name, value) for name, value in said.items()}
    return Drawing(**numbers, logprobs=asked.logprobs)


def _by_model(own: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's files say; without ``do_sample`` it is greedy and only penalties count."""
    found = {name: own[name] for name in MODELS_OWN if isinstance(own.get(name), (int, float))}
    found = {name: value for name, value in found.items() if fits(name, value)}
    if own.get("do_sample") is True:
        return {"temperature": 1.0} | found
    return {name: value for name, value in found.items() if name == "repetition_penalty"}


def fits(name: str, value: Any) -> bool:
    """Whether a number of a `Drawing` can be this one."""
    least, most = _LEAST_AND_MOST[name]
    whole = isinstance(value, int) or name not in _WHOLE
    return isinstance(value, (int, float)) and not isinstance(value, bool) and whole and least <= value <= most


def _number(model: str, name: str, value: Any) -> Any:
    if fits(name, value):
        return value
    hint = f"{name}: {max(_LEAST_AND_MOST[name][0], 0):g}"
    raise refused(model, f"`{name}` of `{model}` is {range_of(name)}, not {value!r}", hint, "bad_value")


def range_of(name: str) -> str:
    """What a number of a `Drawing` can be, in words: ``a whole number from 0 to 1073741824``."""
    least, most = _LEAST_AND_MOST[name]
    return f"a whole number from {least} to {most}" if name in _WHOLE else f"a number from {least:g} to {most:g}"


@record
class Drawn:
    """One token, and its log probability and the best ones' (token, log probability) where they were asked for."""

    token: int
    logprob: float | None = None
    best: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Sampler:
    """Draws the tokens of one answer. ``prompt`` is what stood before it."""

    how: Drawing
    prompt: Sequence[int] = ()
    written: Counter[int] = field(default_factory=Counter)
    _random: "np.random.Generator | None" = None
    _seen: "NDArray[np.int64] | None" = None
    _last: int | None = None

    def draw(self, logits: "Logits", allowed: "NDArray[np.bool_] | None" = None) -> Drawn:
        """The next token. ``logits`` is one row over the vocabulary and is not changed; ``allowed`` is what may come.

        Raises `ProviderFailure` where the model gave no numbers to choose by.
        """
        import numpy as np

        model = logits
        if self.how.penalised:
            logits = self._penalised(logits)
        among = None if allowed is None else np.flatnonzero(allowed)
        logits = logits if among is None else logits[among]
        place = int(logits.argmax()) if len(logits) else -1  # the place of a NaN, where there is one
        if place < 0 or not np.isfinite(logits[place]):
            message = "the model gave no numbers to choose the next token by"
            raise ProviderFailure("invalid_response", message, facts=ProviderFacts("local"))
        place = place if self.how.greedy else self._pick(logits)
        token = place if among is None else int(among[place])
        self.written[token] += 1
        self._last = token
        return Drawn(token) if self.how.logprobs is None else _with_logprobs(model, token, self.how.logprobs)

    def _penalised(self, logits: "Logits") -> "Logits":
        import numpy as np

        logits, how = logits.astype(np.float32), self.how
        if how.repetition_penalty != 1.0:
            seen = self._all_seen()
            was = logits[seen]
            logits[seen] = np.where(was > 0, was / how.repetition_penalty, was * how.repetition_penalty)
        if how.presence_penalty or how.frequency_penalty:
            written = np.fromiter(self.written, np.int64, len(self.written))
            times = np.fromiter(self.written.values(), np.float32, len(written))
            logits[written] -= how.presence_penalty + how.frequency_penalty * times
        return logits

    def _all_seen(self) -> "NDArray[np.int64]":
        """Each token of prompt and answer once."""
        import numpy as np

        if self._seen is None:
            self._seen = np.unique(np.asarray([*self.prompt, *self.written], np.int64))
        elif self._last is not None and not (self._seen == self._last).any():
            self._seen = np.append(self._seen, self._last)
        return self._seen

    def _pick(self, logits: "Logits") -> int:
        import numpy as np

        if self._random is None:
            seed = self.how.seed
            self._random = np.random.default_rng(None if seed is None else seed % (1 << 64))
        return picked(logits, self.how, self._random)


def picked(logits: "Logits", how: Drawing, random: "np.random.Generator") -> int:
    """A token by its share of what ``top_k``, ``top_p`` and ``min_p`` leave in, with nothing put in order.

    One is drawn from all. Where it is not among those left in, neither is any that is rarer, and one is drawn from
    the rest: what comes has the shares of those left in, whoever else there was.
    """
    import numpy as np

    tokens = best(logits, how.top_k) if how.top_k else None
    scores = _scores(logits if tokens is None else logits[tokens], how.temperature)
    within = how.top_p * float(scores.sum())
    if how.min_p:
        kept = np.flatnonzero(scores >= how.min_p)
        tokens, scores = kept if tokens is None else tokens[kept], scores[kept]
    while True:
        place = _by_share(scores, 1.0 - random.random())
        if how.top_p == 1.0:
            break
        ahead = scores > scores[place]
        ahead[:place] = scores[:place] >= scores[place]
        rest = scores * ahead
        before = float(rest.sum())
        if before < within or not before:  # the best is always in
            break
        scores = rest
    return place if tokens is None else int(tokens[place])


def _scores(logits: "Logits", temperature: float) -> "Logits":
    """Shares before they are made to sum up to 1: that of the best is 1."""
    import numpy as np

    scores: Logits = logits - logits.max()
    scores /= np.float32(temperature)
    np.exp(scores, out=scores)
    return scores


def _by_share(scores: "Logits", height: float) -> int:
    """The place at a height of all scores put on each other, from more than 0 to 1."""
    import numpy as np

    heights = np.add.reduceat(scores, np.arange(0, len(scores), _BLOCK)).cumsum(dtype=np.float64)
    height *= float(heights[-1])
    block = int(heights.searchsorted(height))
    under = float(heights[block - 1]) if block else 0.0
    start = block * _BLOCK
    inside = scores[start : start + _BLOCK].cumsum(dtype=np.float64)
    return start + int(inside.searchsorted(min(height - under, inside[-1])))


def best(logits: "Logits", count: int) -> "NDArray[np.int64]":
    """The ``count`` best, best first, the first of equal ones; less where fewer are more than minus infinity."""
    import numpy as np

    count = min(count, len(logits))
    # Of as many parts each has its best, so that no one below the least of these is among those wanted.
    parts = np.maximum.reduceat(logits, np.arange(count) * len(logits) // count)
    among = np.flatnonzero(logits >= max(parts.min(), np.finfo(logits.dtype).min))
    return among[np.argsort(-logits[among], kind="stable")[:count]]


def _with_logprobs(logits: "Logits", token: int, count: int) -> Drawn:
    import numpy as np

    whole = float(logits.max()) + float(np.log(_scores(logits, 1.0).sum(dtype=np.float64)))
    likeliest = best(logits, count) if count else ()
    return Drawn(
        token, float(logits[token]) - whole, tuple((int(one), float(logits[one]) - whole) for one in likeliest)
    )
