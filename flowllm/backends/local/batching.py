"""One worker thread a model: texts of all callers, sorted by length, in batches of few padded tokens.

On a processor small batches win: what is worked on stays in its caches. So items are packed until the longest
times their number would pass a budget of tokens (256 by default), shortest first within a window of what waits.
Callers announce themselves before they tokenise: a worker that has less than a batch waits for those on their
way, for ``wait`` seconds at most. An item whose caller is gone is dropped before the next batch.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from flowllm.backends.local.shapes import rows_of
from flowllm.core.record import record

Item = TypeVar("Item")
Result = TypeVar("Result")

BUDGET = 256
"""Padded tokens of a batch."""
WINDOW = 1024
"""Items that are sorted together, at most: later ones wait for no more than these."""
WAIT = 0.002
"""Seconds for which a batch that is not full waits for callers on their way."""


@record
class Limits:
    """How batches are made: ``budget`` in padded tokens, ``window`` in items, ``wait`` in seconds.

    ``uniform``: items of one batch have one length, for models that cannot tell padding from text. ``lengths``:
    items are padded to one of these and batches to a power of two of rows, for devices that prepare for shapes.
    """

    budget: int = BUDGET
    window: int = WINDOW
    wait: float = WAIT
    uniform: bool = False
    lengths: tuple[int, ...] = ()


def next_batch(lengths: Sequence[int], limits: Limits) -> int:
    """How many of the first items, sorted by length, one batch takes: at least one."""
    count = 1
    while count < len(lengths) and lengths[count] * _rows(count + 1, limits) <= limits.budget:
        if limits.uniform and lengths[count] != lengths[0]:
            break
        count += 1
    return count


def _rows(count: int, limits: Limits) -> int:
    return rows_of(count) if limits.lengths else count


@dataclass(slots=True, eq=False)
class _Job(Generic[Item, Result]):
    """What one caller asked for; ``missing`` counts results that did not come yet."""

    missing: int
    results: list[Any]
    future: "Future[list[Result]]" = field(default_factory=Future)

    def give(self, place: int, result: Result) -> None:
        self.results[place] = result
        self.missing -= 1
        if not self.missing and not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result(self.results)

    def fail(self, error: BaseException) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@record
class _Waiting(Generic[Item]):
    """An item in the queue: its job, its place there, and its length in tokens."""

    item: Item
    length: int
    place: int
    job: _Job[Any, Any]


class Batcher(Generic[Item, Result]):
    """Runs items of many callers together. ``run`` takes a batch and gives a result each, in order.

    ``length`` is the tokens of an item. ``run`` is called on one thread, which starts with the first item and
    ends with `close`. What it raises fails the callers of that batch, and no others; a result that is an error
    fails the caller of its item alone.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        length: Callable[[Item], int],
        limits: Limits | None = None,
    ) -> None:
        self._run = run
        self._length = length
        self._limits = limits or Limits()
        self._queue: deque[_Waiting[Item]] = deque()
        self._tokens = 0
        self._coming = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Say that items are on their way, as long as it is entered."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def submit(self, items: Sequence[Item]) -> "Future[list[Result]]":
        """The results of the items, in their order; cancelling the future drops those that wait."""
        job: _Job[Item, Result] = _Job(len(items), [None] * len(items))
        if not items:
            job.future.set_result([])
            return job.future
        waiting = [_Waiting(item, self._length(item), place, job) for place, item in enumerate(items)]
        with self._changed:
            if self._closed:
                raise RuntimeError("the model was unloaded")
            self._queue.extend(waiting)
            self._tokens += sum(one.length for one in waiting)
            self._start()
            self._changed.notify_all()
        return job.future

    def close(self) -> None:
        """End the thread after the batch under way; what still waits is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        for waiting in self._queue:
            waiting.job.future.cancel()
        self._queue.clear()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="flowllm-local", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while window := self._taken():
            while window := [one for one in window if not one.job.future.done()]:
                if self._closed:
                    self._put_back(window)
                    return
                count = next_batch([one.length for one in window], self._limits)
                self._answer(window[:count])
                window = window[count:]

    def _taken(self) -> list[_Waiting[Item]]:
        """What waits, shortest first, no more than a window; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            until = time.monotonic() + self._limits.wait
            while self._coming and self._tokens < self._limits.budget and not self._closed:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            if self._closed:
                return []
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), self._limits.window))]
            self._tokens -= sum(one.length for one in taken)
        return sorted(taken, key=lambda one: one.length)

    def _put_back(self, window: list[_Waiting[Item]]) -> None:
        with self._changed:
            self._queue.extendleft(reversed(window))

    def _answer(self, batch: list[_Waiting[Item]]) -> None:
        try:
            answered = list(zip(batch, self._run([one.item for one in batch]), strict=True))
        except BaseException as error:  # noqa: BLE001  it belongs to the callers, and a panic is no Exception
            for one in batch:
                one.job.fail(error)
            return
        for one, result in answered:
            if isinstance(result, BaseException):
                one.job.fail(result)
            else:
                one.job.give(one.place, result)
