"""Which items to take: the best, few that say the same, and as many as the room allows.

Items come with a score, a size and the terms of their text. They are taken by marginal relevance:
score less likeness to what was taken. With diversity, two near-copies are never both taken while
the room can be filled without. Where greed misses the room, one item is exchanged; where that is
not enough, a subset that fits is looked for among all, best items first. Equal input gives equal
output; callers that want no influence of position give the items in an order of their own.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any

from flowllm.core.record import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHORT = 6
_SHARE, _SHARE_OF_SHORT = 0.5, 0.6


@record
class Room:
    """How much may be taken: total size from ``least`` to ``most``, and at most ``count`` items."""

    least: float
    most: float
    count: int


@dataclass(frozen=True)
class Items:
    """What can be chosen from. ``rows`` have length 1, their dot product is the likeness of two items.

    ``scores`` and ``sizes`` have one number for each row; an item of size 0 is never taken.
    """

    rows: "NDArray[Any]"
    scores: "NDArray[Any]"
    sizes: Sequence[int]
    terms: Sequence[frozenset[str]]
    diversity: float

    @cached_property
    def worth(self) -> "NDArray[Any]":
        """Scores from 0 to 1."""
        above = self.scores.clip(min=0.0)
        worth: NDArray[Any] = above / (float(above.max()) or 1.0)
        return worth

    @cached_property
    def _holders(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for index, terms in enumerate(self.terms):
            for term in terms:
                found[term].append(index)
        return found

    def near_copies(self, index: int) -> set[int]:
        """Other items that hold half of this one's terms or have half of theirs in it; none without diversity."""
        if self.diversity == 0.0:
            return set()
        shared = Counter(other for term in self.terms[index] for other in self._holders[term])
        del shared[index]
        return {other for other, count in shared.items() if self._alike(index, other, count)}

    def _alike(self, one: int, other: int, shared: int) -> bool:
        smaller = min(len(self.terms[one]), len(self.terms[other]))
        share = _SHARE_OF_SHORT if smaller < _SHORT else _SHARE
        return shared > 1 and shared >= smaller * share


def choose(items: Items, room: Room) -> list[int]:
    """Indexes of what is taken, in the order in which it was; [] when not even one item fits."""
    if not len(items.scores):
        return []
    taken = _greedy(items, room)
    if _total(items, taken) >= room.least or room.most == inf:
        return taken
    return _exchanged(items, room, taken) or _searched(items, room) or taken


def _total(items: Items, taken: Sequence[int]) -> int:
    return sum(items.sizes[index] for index in taken)


def _greedy(items: Items, room: Room) -> list[int]:
    import numpy as np

    sizes = np.asarray(items.sizes, dtype=np.float64)
    free = sizes > 0
    likeness = np.zeros(len(sizes))
    taken: list[int] = []
    left, needed = room.most, room.least
    while len(taken) < room.count and needed > 0.0:
        value = (1.0 - items.diversity) * items.worth - items.diversity * likeness
        value[~free | (sizes > left)] = -np.inf
        best = int(value.argmax())
        if value[best] == -np.inf:
            break
        taken.append(best)
        left, needed = left - sizes[best], needed - sizes[best]
        free[[best, *items.near_copies(best)]] = False
        if items.diversity > 0.0:
            likeness = np.maximum(likeness, items.rows @ items.rows[best])
    return taken


def _exchanged(items: Items, room: Room, taken: list[int]) -> list[int]:
    """The best way into the room by giving one item up for another; [] when there is none."""
    total, best, found = _total(items, taken), -1.0, []
    for out in taken:
        rest = [index for index in taken if index != out]
        barred = {*taken}.union(*(items.near_copies(index) for index in rest))
        fits = _between(room.least - total + items.sizes[out], room.most - total + items.sizes[out])
        for other in range(len(items.sizes)):
            gain = float(items.worth[other] - items.worth[out]) + 1.0
            if gain > best and fits(items.sizes[other]) and other not in barred:
                best, found = gain, [*rest, other]
    return found


def _between(least: float, most: float) -> Callable[[int], bool]:
    return lambda size: least <= size <= most


def _searched(items: Items, room: Room) -> list[int]:
    """Any subset that fits, of the best items first; near-copies only when nothing else does."""
    order = sorted(range(len(items.sizes)), key=lambda index: -items.worth[index])
    order = [index for index in order if 0 < items.sizes[index] <= room.most]
    barred: set[int] = set()
    apart: list[int] = []
    for index in order:
        if index not in barred:
            apart.append(index)
            barred |= items.near_copies(index)
    return _subset(items, room, apart) or _subset(items, room, order)


def _subset(items: Items, room: Room, order: Sequence[int]) -> list[int]:
    """Sums that can be reached, each with the item that reached it first; stops at the first that fits."""
    import numpy as np

    most = min(int(room.most), sum(items.sizes[index] for index in order))
    reached = np.full(most + 1, -1, dtype=np.int64)
    counts = np.zeros(most + 1, dtype=np.int64)
    known = np.zeros(most + 1, dtype=bool)
    known[0] = True
    least = int(-(-room.least // 1))
    for index in order:
        size = items.sizes[index]
        sums = np.flatnonzero(known[: most + 1 - size] & ~known[size:] & (counts[: most + 1 - size] < room.count))
        known[sums + size], reached[sums + size], counts[sums + size] = True, index, counts[sums] + 1
        hits = sums[sums + size >= least]
        if len(hits):
            return _traced(items, reached, int(hits[-1]) + size)
    return []


def _traced(items: Items, reached: "NDArray[Any]", total: int) -> list[int]:
    found: list[int] = []
    while total > 0:
        found.append(int(reached[total]))
        total -= items.sizes[found[-1]]
    return found[::-1]
