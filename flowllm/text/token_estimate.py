"""How many tokens a text is, from its characters alone.

A character costs what it does on average in the vocabulary of the family (`token_tables`), two blanks in a row less
than twice one; the sum is rounded up. It needs no file, is linear (some three nanoseconds for a character of ASCII)
and grows with the text. ``weight(a + b)`` is ``weight(a) + weight(b)``, or less by what a pair of blanks
saves where the texts meet; so ``count(a + b)`` is ``count(a) + count(b)``, or one or two less.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain, islice
from typing import Final
from zlib import adler32

from flowllm.text.token_tables import ASCII, COSTS, LEADS, PAIRS

UNIT: Final = 10_000
"""What a token weighs."""
PIECE: Final = 1_000_000
"""Characters that are counted without letting other threads run: a few thousandths of a second."""
_NO_BLANK: Final = re.compile("[^ ]")
_SUMMED: Final = 65_520
"""The largest sum that the low half of an Adler checksum tells."""
_PAIR_OF_BLANKS: Final = b"  "


class Estimate:
    """The counter that needs no tokenizer, for one vocabulary of `token_tables` and a factor in hundredths."""

    exact = False
    __slots__ = ("_ascii_step", "_costs", "_factor", "_pairs", "_saved", "_step", "vocabulary")

    def __init__(self, vocabulary: str = "general", factor: int = 100) -> None:
        self.vocabulary = vocabulary
        numbers = map(int, COSTS[vocabulary].split())
        plain, other = list(islice(numbers, len(ASCII))), next(numbers)
        costs = bytearray([other] * 128 + [0] * 128)
        for place, cost in zip((*ASCII, *LEADS), chain(plain, islice(numbers, len(LEADS))), strict=True):
            costs[place] = cost
        self._costs = bytes(costs)
        *apart, self._saved = numbers
        self._pairs = [(pair[:1], pair, cost - costs[pair[0]]) for pair, cost in zip(PAIRS, apart, strict=True)]
        self._step, self._ascii_step = _SUMMED // max(costs), _SUMMED // max(costs[:128])
        self._factor = factor

    def count(self, text: str) -> int:
        """The estimated tokens of a text."""
        return -(-self.weight(text) // UNIT)

    def weight(self, text: str) -> int:
        """The estimate in parts of a token, `UNIT` to one, for what is summed before it is rounded."""
        return self._weight(text) if len(text) <= PIECE else sum(map(self._weight, _pieces(text)))

    def _weight(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        found = _sum(data.translate(self._costs), self._ascii_step if len(data) == len(text) else self._step)
        found -= self._saved * data.count(_PAIR_OF_BLANKS)
        if len(data) > len(text):
            found += sum(more * data.count(pair) for lead, pair, more in self._pairs if lead in data)
        return found * self._factor


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces, none of which ends among blanks: their weights are that of the text."""
    start = 0
    while start < len(text):
        found = _NO_BLANK.search(text, start + PIECE) if start + PIECE < len(text) else None
        end = found.start() if found else len(text)
        yield text[start:end]
        start = end


def _sum(data: bytes, step: int) -> int:
    """The sum of all bytes; no ``step`` of them sum to more than a checksum tells."""
    if len(data) <= step:
        return adler32(data, 0) & 0xFFFF
    view = memoryview(data)
    return sum([adler32(view[start : start + step], 0) & 0xFFFF for start in range(0, len(data), step)])


@cache
def estimate_for(vocabulary: str, factor: int) -> Estimate:
    """The one `Estimate` of a vocabulary and factor."""
    return Estimate(vocabulary, factor)
