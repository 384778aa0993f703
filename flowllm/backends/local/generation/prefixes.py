"""The past of prompts and answers that were read and written before, for prompts that begin with the same tokens.

A past is that of its tokens and of nothing else, so whoever's prompt begins with the same ones may go on from it. What
is kept are copies, the latest first, up to a number and so many bytes in all; who uses one copies it again.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from flowllm.core.record import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT = 512 * 2**20
"""Bytes of pasts that are kept of one model while it is loaded, at most."""
MOST = 16
"""Pasts that are kept: each prompt is compared with all of them."""
LEAST = 16
"""Tokens from which on a past is worth its copy."""


@record
class Kept:
    """Tokens, and the past of all of them: an array ``[heads, tokens, size]`` for every half of every layer."""

    tokens: "Sequence[int]"
    arrays: "list[NDArray[Any]]"

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(array.nbytes for array in self.arrays)


class Prefixes:
    """What is kept of one model: ``size`` bytes, ``most`` at most.

    One thread keeps and uses them, any may have them forgotten: that holds for what is being kept meanwhile too.
    """

    def __init__(self, most: int = KEPT) -> None:
        self.most = most
        self.size = 0
        self.changed: Callable[[], object] = _unheard
        """Called whenever ``size`` may have changed, by whoever had that done."""
        self._kept: list[Kept] = []
        self._lock = threading.Lock()

    def fits(self, tokens: Sequence[int], size: int) -> bool:
        """Whether a past of so many bytes is worth being kept: long enough, small enough, and not there yet."""
        if len(tokens) < LEAST or size > self.most:
            return False
        return all(common(kept.tokens, tokens) < len(tokens) for kept in self._kept)

    def keep(self, kept: Kept) -> None:
        """Keep one more, before those that it holds and at the cost of those that were not used for longest."""
        held = self._kept
        others = (old for old in held if common(old.tokens, kept.tokens) < len(old.tokens))
        found, room = [kept], self.most - kept.size
        for old in others:
            if old.size > room or len(found) == MOST:
                break
            room -= old.size
            found.append(old)
        self._put(held, found, self.most - room)
        self.changed()

    def forget(self) -> None:
        """Keep nothing of all that."""
        with self._lock:
            self._kept, self.size = [], 0
        self.changed()

    def longest(self, prompt: Sequence[int]) -> tuple[int, Kept | None]:
        """The one that has most of the first tokens of ``prompt``, and how many; it counts as used."""
        held = self._kept
        length, place = longest(prompt, [kept.tokens for kept in held])
        if not length:
            return 0, None
        found = held[place]
        self._put(held, [found, *held[:place], *held[place + 1 :]], self.size)
        return length, found

    def _put(self, before: list[Kept], kept: list[Kept], size: int) -> None:
        """Replace what was there ``before``; not where that was forgotten since."""
        with self._lock:
            if self._kept is before:
                self._kept, self.size = kept, size


def _unheard() -> None:
    """Nobody keeps account."""


def longest(prompt: Sequence[int], among: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many first tokens of ``prompt`` one of them has, the first that has most; 0 where these are too few."""
    length, place = max(((common(tokens, prompt), -place) for place, tokens in enumerate(among)), default=(0, 0))
    return (length, -place) if length >= LEAST else (0, 0)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
