"""The only thing handed down to nodes, policies and backends: who asks, and the world's clock and dice."""

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import field
from random import Random
from types import TracebackType
from typing import Any, Protocol

from flowllm.core.delta import Delta
from flowllm.core.errors import NodeFailure
from flowllm.core.event import Event
from flowllm.core.record import record
from flowllm.core.request import Request


class Timer(Protocol):
    """``async with``: its block ends with TimeoutError when the time is over. Those of asyncio are such timers."""

    def expired(self) -> bool:
        """Whether the time was over before the block was."""
        ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


class Clock(Protocol):
    """Monotonic seconds and sleeping; tests give one that jumps."""

    def now(self) -> float:
        """Seconds since some start."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, for expiry dates only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def timeout(self, deadline: float | None) -> Timer:
        """A context that raises TimeoutError at ``deadline`` (seconds of `now`), never when None."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        import asyncio

        await asyncio.sleep(seconds)

    def timeout(self, deadline: float | None) -> Timer:
        """A timer of the running loop; its clock may differ from `now`, so only the rest is used."""
        from flowllm.core.deadlines import Deadline

        return Deadline(math.inf if deadline is None else max(0.0, deadline - self.now()))


def _ignore(event: Event) -> None:
    """Nobody reads."""


async def _in_thread(work: Callable[[], object]) -> object:
    import asyncio

    return await asyncio.to_thread(work)


def no_call(request: Request, scope: "Scope") -> AsyncGenerator[Delta, None]:
    """What a step without a model has: it cannot ask one."""
    message = "this step was not bound to a model"
    raise NodeFailure("internal", message)


Call = Callable[[Request, "Scope"], AsyncGenerator[Delta, None]]
"""The one shape of everything that answers: backends make it, policies wrap it.

Hold the generator with ``contextlib.aclosing``; never keep a timeout or task group open across a yield.
"""


@record
class Scope:
    """What a step may use.

    ``address`` is the step's; ``call`` asks its model through its policies; ``deadline`` is on
    ``clock`` (None: no limit). ``salt`` is part of every cache key (set inside a retry from attempt
    2 on); ``refresh`` says that cached answers must not be read. ``attempt`` counts how often the
    same request was sent (the policy `retry`). ``emit`` never fails or waits.
    ``observed`` is False when nobody reads events, ``streamed`` when nobody reads `DeltaReceived`, so that
    hot paths need not build them.
    """

    address: str = ""
    emit: Callable[[Event], None] = _ignore
    call: Call = no_call
    deadline: float | None = None
    clock: Clock = field(default_factory=SystemClock)
    random: Random = field(default_factory=Random)
    salt: str = ""
    refresh: bool = False
    observed: bool = True
    streamed: bool = True
    attempt: int = 1
    run_in_thread: Callable[[Callable[[], object]], Awaitable[object]] = _in_thread
