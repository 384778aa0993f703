"""Which documents fit a question best, by their words: BM25."""

from collections import Counter
from collections.abc import Sequence
from math import log

from flowllm.text.lexical import terms

_SATURATION = 1.2
_LENGTH = 0.75


def rank(query: str, documents: Sequence[str], k: int | None = None) -> list[tuple[int, float]]:
    """Index and score of the ``k`` best documents (None: all), best first; equal ones in their order."""
    counts = [Counter(terms(document)) for document in documents]
    sizes = [count.total() for count in counts]
    mean = sum(sizes) / len(sizes) if any(sizes) else 1.0
    weights = _weights(set(terms(query)), counts)
    scores = [_score(weights, count, size / mean) for count, size in zip(counts, sizes, strict=True)]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return [(index, scores[index]) for index in order[:k]]


def _weights(wanted: set[str], counts: Sequence[Counter[str]]) -> dict[str, float]:
    """Rare terms weigh more; the form of the weight that is never negative. Sorted, so sums repeat."""
    weights = {}
    for term in sorted(wanted):
        holders = sum(term in count for count in counts)
        weights[term] = log(1.0 + (len(counts) - holders + 0.5) / (holders + 0.5))
    return weights


def _score(weights: dict[str, float], count: Counter[str], length: float) -> float:
    damping = _SATURATION * (1.0 - _LENGTH + _LENGTH * length)
    return sum(
        weight * count[term] * (_SATURATION + 1.0) / (count[term] + damping)
        for term, weight in weights.items()
        if term in count
    )
