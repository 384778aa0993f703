"""How many tokens a text is, from its words and characters alone.

A word of letters that is frequent (`token_words`) costs what such words do in the vocabulary of the family; another
one by how long it is, by its letters and by each two of them that stand together. All that is no letter costs by what
it is and by the kind of what stands before it, and so do letters of scripts that are not Latin. The costs are in
`token_tables`; the sum is rounded up. It needs no tokenizer and is linear.

``count(a + b)`` is about ``count(a) + count(b)``: it differs by what the word costs that is cut where the texts meet,
at most `BOUND` tokens where that word has no more than twenty letters.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import compress, islice, repeat
from typing import Final
from zlib import adler32

from flowllm.core.record import record
from flowllm.text.token_words import frequent_words

UNIT: Final = 20_000
"""What a token weighs."""
BOUND: Final = 12
"""Tokens by which the count of a text may differ from the counts of its halves."""
PIECE: Final = 100_000
"""Characters that are counted without letting other threads run: a few thousandths of a second."""
_SUMMED: Final = 65_520
"""The largest sum that the low half of an Adler checksum tells."""
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OTHER: Final = 255
"""The kind of words that are not frequent."""
_RARE: Final = bytes(255) + b"\1"
_LONGEST: Final = 15
"""Bytes from which words are all as long."""
_APART: Final = (b"\xe2\x80", b"\xc2")
"""How signs begin that are not ASCII, and stand between words: each has one byte more."""
_KINDS: Final = (
    (_LETTERS[26:], 0), (_LETTERS[:26], 1), (b"0123456789", 2), (b" \t\r", 3), (b"\n", 4),
    (b".,;:!?", 5), (b"()[]{}'\"`<>", 6),
)  # fmt: skip
"""Kinds of characters; what is not ASCII is 0, other signs 7."""
_DIGIT: Final = 2
"""The first kind that stands in no word."""
_AFTER_A_LINE: Final = 4 << 3
"""What stands before the first character."""


@record
class _Scale:
    """What bytes cost: ``table`` is by the byte, ``less`` too much for each, for no byte of it is under 0."""

    table: bytes
    less: int
    step: int

    def weigh(self, data: bytes) -> int:
        """What all bytes cost together."""
        data = data.translate(self.table)
        if len(data) <= self.step:
            return (adler32(data, 0) & 0xFFFF) - self.less * len(data)
        view, step = memoryview(data), self.step
        parts = [adler32(view[start : start + step], 0) & 0xFFFF for start in range(0, len(data), step)]
        return sum(parts) - self.less * len(data)


@record
class _Costs:
    """What one vocabulary costs, in the units of `token_tables`."""

    signs: _Scale
    pairs: tuple[tuple[bytes, bytes, int], ...]
    neighbours: _Scale
    frequent: tuple[int, ...]
    lengths: _Scale
    letters: _Scale
    marks: tuple[tuple[bytes, int], ...]
    spelled: _Scale


class Estimate:
    """The counter that needs no tokenizer, for one vocabulary of `token_tables` and a factor in hundredths."""

    exact = False
    __slots__ = ("_factor", "vocabulary")

    def __init__(self, vocabulary: str = "general", factor: int = 100) -> None:
        self.vocabulary = vocabulary
        self._factor = factor

    def count(self, text: str) -> int:
        """The estimated tokens of a text."""
        return -(-self.weight(text) // UNIT)

    def weight(self, text: str) -> int:
        """The estimate in parts of a token, `UNIT` to one, for what is summed before it is rounded."""
        if not text:
            return 0
        costs = _costs(self.vocabulary)
        return self._factor * max(1, sum(_weight(piece, costs) for piece in _pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces; none begins within a word that has a blank near."""
    start = 0
    while len(text) - start > PIECE:
        found = text.find(" ", start + PIECE, start + 2 * PIECE)
        end = found if found >= 0 else start + PIECE
        yield text[start:end]
        start = end
    yield text[start:]


def _weight(text: str, costs: _Costs) -> int:
    data = text.encode("utf-8", "surrogatepass")
    found = 2 * (costs.signs.weigh(data) + costs.neighbours.weigh(_neighbours(data)))
    if not text.isascii():
        found += 2 * sum(more * data.count(pair) for lead, pair, more in costs.pairs if lead in data)
    words = _words(data)
    known = bytes(map(frequent_words().get, words, repeat(_OTHER)))
    found += sum(known.count(kind) * cost for kind, cost in enumerate(costs.frequent))
    other = list(compress(words, known.translate(_RARE)))
    return found + (_spelled(other, costs) if other else 0)


def _words(data: bytes) -> list[bytes]:
    """What stands between signs: words of letters, and whatever is not ASCII."""
    for mark in _APART:
        if mark in data:
            head, *rest = data.split(mark)
            data = b" ".join([head, *(part[1:] for part in rest)])
    return data.translate(_tables().words).split()


def _spelled(words: list[bytes], costs: _Costs) -> int:
    """What words cost that are not frequent."""
    lengths = bytes(map(min, map(len, words), repeat(_LONGEST)))
    data = b" " + b" ".join(words) + b" "
    left = int.from_bytes(data[:-1].translate(_tables().left), "little")
    right = int.from_bytes(data[1:].translate(_tables().right), "little")
    pairs = (left | right).to_bytes(len(data) - 1, "little")
    found = 4 * costs.lengths.weigh(lengths) + costs.letters.weigh(data) + costs.spelled.weigh(pairs)
    return found + sum(cost * data.count(mark) for mark, cost in costs.marks)


def _neighbours(data: bytes) -> bytes:
    """For each byte its kind and that of the one before: they are digits of long numbers, so a shift is a neighbour."""
    kinds = int.from_bytes(data.translate(_tables().kinds), "little")
    pairs = kinds | kinds << 11 | _AFTER_A_LINE
    return pairs.to_bytes(len(data) + 2, "little")[: len(data)]


@record
class _Bytes:
    """What becomes of a byte: whether it stands in words, its kind, and what it is as first and second of two."""

    words: bytes
    kinds: bytes
    left: bytes
    right: bytes


@cache
def _tables() -> _Bytes:
    from flowllm.text.token_tables import LEFT, RIGHT

    kinds = bytearray([7] * 128 + [0] * 128)
    for signs, kind in _KINDS:
        for byte in signs:
            kinds[byte] = kind
    words = bytes(byte if kind < _DIGIT else 32 for byte, kind in enumerate(kinds))
    left, right = (bytes(int(kind, 16) for kind in row) for row in (LEFT, RIGHT))
    return _Bytes(words, bytes(kinds), bytes(kind << 4 for kind in left), right)


@cache
def _costs(vocabulary: str) -> _Costs:
    from flowllm.text import token_tables as tables

    numbers = iter(map(int, tables.COSTS[vocabulary].split()))
    signs = {byte: next(numbers) for byte in (*tables.SIGNS, *tables.LEADS)}
    return _Costs(
        signs=_scale(signs),
        pairs=tuple((pair[:1], pair, next(numbers) - signs[pair[0]]) for pair in tables.PAIRS),
        neighbours=_scale(dict(enumerate(islice(numbers, tables.KINDS**2)))),
        frequent=tuple(islice(numbers, tables.FREQUENT)),
        lengths=_scale(dict(enumerate(islice(numbers, tables.LONGEST), 1))),
        letters=_scale({byte: next(numbers) for byte in tables.LETTERS}),
        marks=tuple((mark, next(numbers)) for mark in tables.MARKS),
        spelled=_scale(dict(enumerate(numbers))),
    )


def _scale(costs: Mapping[int, int]) -> _Scale:
    less = -min(0, *costs.values())
    table = bytes(costs.get(byte, 0) + less for byte in range(256))
    return _Scale(table, less, _SUMMED // max(table))


@cache
def estimate_for(vocabulary: str, factor: int) -> Estimate:
    """The one `Estimate` of a vocabulary and factor."""
    return Estimate(vocabulary, factor)
