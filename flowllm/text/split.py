"""Splitting a text into parts that a model can take.

`split` gives parts and gaps of one length; ``gaps[i]`` is what stands between part i and the next,
so that without overlap ``parts[0] + gaps[0] + parts[1] + ...`` is the text exactly. No part is
empty; blanks before the first unit belong to the first part. Units are sentences, paragraphs (apart
by blank lines) or words; with ``max_tokens`` whole units are packed into a part while they fit, and
a unit that is too long alone is split into smaller ones: paragraph, sentence, word, character.
With ``overlap`` a part begins with the last units of the part before, up to so many tokens.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flowllm.text.sentences import split_sentences
from flowllm.text.tokens import ESTIMATE, Counter

By = Literal["sentences", "paragraphs", "tokens"]
Span = tuple[int, int]

_PARAGRAPH_GAP = re.compile(r"\n(?:[ \t\r\f\v]*\n)+")
_WORD = re.compile(r"\S+")
_PIECE = 2000
"""Characters of a word that is looked at as one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts and, for each, the text that follows it up to the next one."""

    parts: list[str]
    gaps: list[str]


def split(text: str, by: By, max_tokens: int | None = None, overlap: int = 0, counter: Counter = ESTIMATE) -> Parts:
    """Split; ``max_tokens`` holds unless one character, or the blanks before the first unit, are longer."""
    levels = _LEVELS[by]
    spans: list[Span] = list(levels[0](text, 0, len(text)))
    if max_tokens is not None:
        fitting = _Fitting(text, max_tokens, counter)
        spans = _packed([piece for span in spans for piece in fitting.pieces(span, levels[1:])], fitting, overlap)
    return _cut(text, spans)


def _cut(text: str, spans: list[Span]) -> Parts:
    if not spans:
        return Parts([text], [""]) if text else Parts([], [])
    spans[0] = (0, spans[0][1])
    following = [start for start, _ in spans[1:]] + [len(text)]
    parts = [text[start:end] for start, end in spans]
    return Parts(parts, [text[end:then] for (_, end), then in zip(spans, following, strict=True)])


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    parts, gaps = split_sentences(text[start:end])
    for part, gap in zip(parts, gaps, strict=True):
        if part:
            yield start, start + len(part)
        start += len(part) + len(gap)


def _paragraphs(text: str, start: int, end: int) -> Iterator[Span]:
    gaps = [gap.span() for gap in _PARAGRAPH_GAP.finditer(text, start, end)]
    for gap_start, gap_end in [*gaps, (end, end)]:
        words = text[start:gap_start].rstrip()
        if words:
            yield start, start + len(words)
        start = gap_end


def _words(text: str, start: int, end: int) -> Iterator[Span]:
    for word in _WORD.finditer(text, start, end):
        for piece in range(word.start(), word.end(), _PIECE):
            yield piece, min(piece + _PIECE, word.end())


Level = Callable[[str, int, int], Iterator[Span]]
_LEVELS: dict[By, tuple[Level, ...]] = {
    "paragraphs": (_paragraphs, _sentences, _words),
    "sentences": (_sentences, _words),
    "tokens": (_words,),
}


class _Fitting:
    """Says whether a stretch of the text fits; every unit is counted once, and every part once more."""

    def __init__(self, text: str, limit: int, counter: Counter) -> None:
        self._text = text
        self._limit = limit
        self._count = counter.count

    def size(self, start: int, end: int) -> int:
        """The tokens from ``start`` to ``end``."""
        return self._count(self._text[start:end])

    def fits(self, size: int) -> bool:
        """Whether so many tokens are allowed."""
        return size <= self._limit

    def pieces(self, span: Span, levels: Sequence[Level]) -> Iterator[Span]:
        """The span, or the smaller units of the first level that fit."""
        if self.fits(self.size(*span)):
            yield span
        elif levels:
            for piece in levels[0](self._text, *span):
                yield from self.pieces(piece, levels[1:])
        else:
            yield from self._halves(span)

    def _halves(self, span: Span) -> Iterator[Span]:
        waiting = [span]
        while waiting:
            start, end = waiting.pop()
            if end - start == 1 or self.fits(self.size(start, end)):
                yield start, end
            else:
                middle = (start + end) // 2
                waiting += [(middle, end), (start, middle)]


def _packed(units: list[Span], fitting: _Fitting, overlap: int) -> list[Span]:
    """Whole units joined while they fit, each part beginning with up to ``overlap`` tokens of the last."""
    parts: list[Span] = []
    first = 0
    while first < len(units):
        after = _last_that_fits(units, first, fitting)
        parts.append((0 if first == 0 else units[first][0], units[after - 1][1]))
        if after == len(units):
            break
        first = _first_again(units, first, after, fitting, overlap)
    return parts


def _last_that_fits(units: list[Span], first: int, fitting: _Fitting) -> int:
    """The index behind the last unit of the part: sums of unit counts, then the part itself is counted."""
    start, after, total = units[first][0] if first else 0, first, 0
    while after < len(units):
        size = fitting.size(units[after - 1][1] if after > first else start, units[after][1])
        if after > first and not fitting.fits(total + size):
            break
        total += size
        after += 1
    while after - first > 1 and not fitting.fits(fitting.size(start, units[after - 1][1])):
        after -= 1
    return after


def _first_again(units: list[Span], first: int, after: int, fitting: _Fitting, overlap: int) -> int:
    """Where the next part begins: behind ``first``, and not so far back that nothing new would fit."""
    again, total, new = after, 0, fitting.size(units[after - 1][1], units[after][1]) if overlap else 0
    while again - 1 > first:
        total += fitting.size(units[again - 1][0], units[again][0])
        if total > overlap or not fitting.fits(total + new):
            break
        again -= 1
    return again
