"""What a benchmark gives: rows, each measured against a floor that ran in turns with it.

Only ratios are carried from one machine to another. A benchmark is a module with
`measure(size: Size) -> list[Row]`; `size` says how much work makes one figure and how many rounds.
"""

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Size:
    """``rounds`` of each pair, and the share of the full work that one round does."""

    rounds: int
    share: float

    def of(self, full: int, least: int = 1) -> int:
        return max(least, int(full * self.share))


FULL = Size(rounds=7, share=1.0)
SMOKE = Size(rounds=1, share=0.02)


@dataclass(frozen=True, slots=True)
class Target:
    """The most that is wanted of the ratio, of our own figure, or of what ours adds to the floor."""

    most: float
    of: Literal["ratio", "ours", "added"] = "ratio"

    def __str__(self) -> str:
        return {"ratio": f"{self.most:g}x", "ours": f"{self.most:g}", "added": f"+{self.most:g}"}[self.of]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``ratio`` is the median of the rounds' ratios, None where there is no floor."""

    name: str
    ours: float
    floor: float | None
    ratio: float | None
    target: Target | None
    unit: str
    against: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None where there is none."""
        if self.target is None:
            return None
        reached = {"ratio": self.ratio, "ours": self.ours, "added": self.ours - (self.floor or 0.0)}[self.target.of]
        return reached is not None and reached <= self.target.most


Way = Callable[[], float]
"""Does the work once and says what it cost."""


def in_turns(rounds: int, *ways: Way) -> list[list[float]]:
    """What each way cost in each round."""
    costs: list[list[float]] = [[] for _ in ways]
    for counts, order in turns(rounds, len(ways)):
        for index in order:
            cost = ways[index]()
            if counts:
                costs[index].append(cost)
    return costs


def turns(rounds: int, ways: int) -> Iterator[tuple[bool, list[int]]]:
    """Whether a turn counts, and the order of the ways in it.

    The order alternates. Before several rounds comes a turn that warms caches up and does not count.
    """
    for number in range(0 if rounds > 1 else 1, rounds + 1):
        yield number > 0, list(range(ways))[:: 1 if number % 2 else -1]


def row(name: str, ours: list[float], floor: list[float], target: Target | None, unit: str, against: str) -> Row:
    """A row from the figures of many rounds."""
    ratio = median(a / b for a, b in zip(ours, floor, strict=True))
    return Row(name, median(ours), median(floor), ratio, target, unit, against)


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU that ``work`` took in this process, all threads."""
    gc.collect()
    before = time.process_time()
    work()
    return time.process_time() - before


async def cpu_of(work: Callable[[], Awaitable[object]]) -> float:
    """The same for a coroutine, on the running loop."""
    gc.collect()
    before = time.process_time()
    await work()
    return time.process_time() - before


def figure(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table in Markdown."""
    yield "| what | ours | floor | ratio | target | met | unit | floor is |"
    yield "|---|---:|---:|---:|---:|---|---|---|"
    for found in rows:
        ratio = "-" if found.ratio is None else f"{found.ratio:.2f}x"
        met = {True: "yes", False: "no", None: "-"}[found.met]
        target = f"<= {found.target}" if found.target else "-"
        yield (
            f"| {found.name} | {figure(found.ours)} | {figure(found.floor)} | {ratio} | {target} | {met} "
            f"| {found.unit} | {found.against or '-'} |"
        )


def pin(core: int) -> None:
    """Stay on one core, where the system can; 0 is ours, 1 that of a server."""
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})
