"""Splitting a text into parts that a model can take.

`split` gives parts and gaps of one length; ``gaps[i]`` is what stands between part i and the next,
so that without overlap ``parts[0] + gaps[0] + parts[1] + ...`` is the text exactly. No part is
empty; what stands before the first unit belongs to the first part, where it fits. Units are sentences,
paragraphs (apart by blank lines) or words; with ``max_tokens`` whole units are packed into a part while
they fit, and a unit that is too long alone is split into smaller ones: paragraph, sentence, word, character.
Nothing rests on counts that sum up: a whole may have fewer tokens than its halves, or more.
With ``overlap`` a part begins with the last units of the part before, up to so many tokens.

`sentences_of_prose` gives sentences alone, for where they are chosen from: headings, rows of tables and
fenced code are gaps, and what stands before the first sentence is left out. A text of nothing else is
split as without.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from flowllm.core.record import record
from flowllm.text.sentences import split_sentences
from flowllm.text.tokens import ESTIMATE, Counter

By = Literal["sentences", "paragraphs", "tokens"]
Span = tuple[int, int]

_PARAGRAPH_GAP = re.compile(r"\n(?:[ \t\r\f\v]*\n)+")
_WORD, _BLANK, _BLANKS = re.compile(r"\S"), re.compile(r"\s"), (" ", "\n", "\t", "\u3000")


@record
class Parts:
    """The parts and, for each, the text that follows it up to the next one."""

    parts: list[str]
    gaps: list[str]


def sentences_of_prose(text: str) -> Parts:
    """The sentences without headings, tables and code; all of it where there are none."""
    parts, gaps = split_sentences(text, prose=True)
    if parts and not parts[0]:
        parts, gaps = parts[1:], gaps[1:]
    return Parts(parts, gaps) if parts else split(text, "sentences")


def split(text: str, by: By, max_tokens: int | None = None, overlap: int = 0, counter: Counter = ESTIMATE) -> Parts:
    """Split; ``max_tokens`` holds unless one character, or the blanks before the first unit, are longer.

    ``by="tokens"`` needs ``max_tokens`` (ValueError).
    """
    levels = _LEVELS[by]
    if max_tokens is None:
        if not levels:
            raise ValueError("splitting by tokens needs max_tokens")
        return _cut(text, list(levels[0](text, 0, len(text))))
    fitting = _Fitting(text, max_tokens, counter)
    if not levels:
        return _cut(text, list(fitting.stretches(0, len(text), overlap)))
    units = [piece for span in levels[0](text, 0, len(text)) for piece in fitting.pieces(span, levels[1:])]
    return _cut(text, _packed(fitting.opened(units), fitting, overlap))


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


Level = Callable[[str, int, int], Iterator[Span]]
_LEVELS: dict[By, tuple[Level, ...]] = {
    "paragraphs": (_paragraphs, _sentences),
    "sentences": (_sentences,),
    "tokens": (),
}


class _Fitting:
    """Says what of the text fits. A unit is counted once or twice, a stretch of words some ten times."""

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
        """The span, or the smaller units of the first level that fit, or stretches of words."""
        if self.fits(self.size(*span)):
            yield span
        elif levels:
            for piece in levels[0](self._text, *span):
                yield from self.pieces(piece, levels[1:])
        else:
            yield from self.stretches(*span)

    def opened(self, units: list[Span]) -> list[Span]:
        """The units, before them the marks that open the text where they do not fit beside the first."""
        end = units[0][0] if units else len(self._text)
        fit = not end or (units and self.fits(self.size(0, units[0][1])))
        return units if fit else [*self.stretches(0, end), *units]

    def stretches(self, start: int, end: int, overlap: int = 0) -> Iterator[Span]:
        """As many words as fit, again and again, each beginning with the last ones of the one before."""
        start, behind = self._word(start, end), start
        while start < end:
            stop = self._reach(start, end)
            if stop <= behind:
                start = self._word(behind, end)
                continue
            yield start, stop
            behind = stop
            following = self._word(stop, end)
            back = self._back(start, stop, overlap) if overlap and following < end else following
            start = back if start < back < stop else following

    def _word(self, start: int, end: int) -> int:
        """Where the next word begins."""
        found = _WORD.search(self._text, start, end)
        return found.start() if found else end

    def _reach(self, start: int, end: int) -> int:
        """How far from ``start`` words fit: to the end of one, or into one that is too long alone."""
        low, step = start, self._limit
        while low + step < end and self.fits(self.size(start, low + step)):
            low, step = low + step, step * 2
        high = min(low + step, end + 1)
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(self.size(start, middle)) else (low, middle)
        stop = low
        if low < end and not self._text[low].isspace():
            stop = max(self._text.rfind(sign, start, low) for sign in _BLANKS)
        if stop <= start:
            return max(low, start + 1)
        return self._shortened(start, start + len(self._text[start:stop].rstrip()))

    def _shortened(self, start: int, stop: int) -> int:
        """``stop``, or less: a tokenizer may see more tokens in the beginning of what fits."""
        while stop - start > 1 and not self.fits(self.size(start, stop)):
            stop -= 1
        return stop

    def _back(self, start: int, stop: int, overlap: int) -> int:
        """Where the last words of a stretch begin that together have at most ``overlap`` tokens."""
        low, high = start, stop
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.size(middle, stop) <= overlap else (middle + 1, high)
        if low > start and not self._text[low - 1].isspace():
            blank = _BLANK.search(self._text, low, stop)
            low = blank.end() if blank else stop
        return self._word(low, stop)


def _packed(units: list[Span], fitting: _Fitting, overlap: int) -> list[Span]:
    """Whole units joined while they fit, each part beginning with up to ``overlap`` tokens of the last."""
    parts: list[Span] = []
    first = 0
    behind = 0
    while first < len(units):
        after = _last_that_fits(units, first, fitting)
        if after <= behind:  # nothing new fits behind what would be repeated
            first = behind
            continue
        behind = after
        parts.append((0 if first == 0 else units[first][0], units[after - 1][1]))
        if after == len(units):
            break
        first = _first_again(units, first, after, fitting, overlap)
    return parts


def _last_that_fits(units: list[Span], first: int, fitting: _Fitting) -> int:
    """The index behind the last unit of the part.

    Counts of units are summed; the part itself is counted where the sum is too much, which may be more than
    the whole, and at the end.
    """
    start, after, total = units[first][0] if first else 0, first, 0
    while after < len(units):
        total += fitting.size(units[after - 1][1] if after > first else start, units[after][1])
        if after > first and not fitting.fits(total):
            total = fitting.size(start, units[after][1])
            if not fitting.fits(total):
                break
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
