"""Timeouts for work that begins many of them and hardly ever sees one end: a loop has one timer for all.

`asyncio.timeout` has a timer of its own each time, and a stream waits once for each of its pieces. Here the timer
stands at the moment that comes first; what ended well by then is forgotten, and the timer is set anew. A timeout
that is over does what asyncio's does: it cancels its task, and the cancellation leaves its block as TimeoutError
unless somebody else wanted it too.
"""

import asyncio
import math
import threading
from types import TracebackType
from typing import Self


class Deadline:
    """``async with`` around work of one task that may take so many seconds, ``math.inf`` for ever; used once."""

    __slots__ = ("_cancelling", "_expired", "_open", "_seconds", "_task", "moment")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False
        self.moment = math.inf

    def expired(self) -> bool:
        """Whether the time was over before the work was."""
        return self._expired

    def expire(self) -> None:
        """The time is over: end the work."""
        self._expired = True
        self._task.cancel()

    async def __aenter__(self) -> Self:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("a timeout is for the work of a task")
        self._task, self._cancelling = task, task.cancelling()
        self.moment = loop.time() + self._seconds
        self._open = _open_on(loop)
        self._open.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.discard(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class _Open:
    """The timeouts of a loop that are not at their end."""

    __slots__ = ("_all", "_timer", "discard", "first", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.first = math.inf
        self._all: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.discard = self._all.discard

    def add(self, deadline: Deadline) -> None:
        self._all.add(deadline)
        if deadline.moment < self.first:
            self._set(deadline.moment)

    def _set(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.first, self._timer = moment, self.loop.call_at(moment, self._ring)

    def _ring(self) -> None:
        # A loop may call a little early.
        now = max(self.first, self.loop.time())
        for late in [one for one in self._all if one.moment <= now]:
            self._all.discard(late)
            late.expire()
        self.first, self._timer = math.inf, None
        first = min((one.moment for one in self._all), default=math.inf)
        if first < math.inf:
            self._set(first)


_OF_THREAD = threading.local()


def _open_on(loop: asyncio.AbstractEventLoop) -> _Open:
    """Those of the running loop. A thread that goes back to an earlier loop begins anew there; none is lost."""
    found: _Open | None = getattr(_OF_THREAD, "open", None)
    if found is None or found.loop is not loop:
        found = _OF_THREAD.open = _Open(loop)
    return found
