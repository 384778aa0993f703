"""Identical requests under way at the same time are sent once; on wherever a call's answers are cached.

Each caller reads the whole answer. One that leaves takes nothing from the others; when the last one
leaves, the request is cancelled and its connection closed at once. A failure is given to those who
wait for it and kept for nobody. Only callers share that would have been answered alike: with the same
policies inside this one and the same behind its models, on one event loop, and with no more time than
the request has. It has a little more than its first caller, who still leaves in time: the executor ends
each caller at its own deadline.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import ClassVar

from flowllm.core.delta import Delta
from flowllm.core.errors import Interrupted
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Request, digest
from flowllm.core.scope import Call, Scope

SPARE = 1.0
"""Seconds that a request may take beyond its first caller's time, so that who calls soon after can share it."""


class SingleFlight(Policy):
    """One request for many callers who would make it alike."""

    rank: ClassVar[int] = 30
    inside: str = ""
    """How the request is made: the policies inside, as text."""
    models: tuple[str, ...] = ()
    """Those that may answer after the request's own."""

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that joins the same call under way, if there is one."""

        async def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            loop = asyncio.get_running_loop()
            behind = ",".join(map(services.identity, (request.model, *self.models)))
            key = f"{id(loop)}:{scope.refresh}:{digest(request, scope.salt, behind)}:{self.inside}"
            flight: _Flight | None = services.flights.get(key)
            if flight is None or not flight.lasts(scope.deadline):
                deadline = None if scope.deadline is None else scope.deadline + SPARE
                flight = _Flight(services, key, deadline)
                flight.start(inner(request, replace(scope, deadline=deadline)))
            flight.readers += 1
            try:
                position = 0
                while await flight.has(position):
                    yield flight.deltas[position]
                    position += 1
            finally:
                await flight.left()

        return call


class _Flight:
    """One request under way: what came so far, and who reads it."""

    __slots__ = ("_deadline", "_done", "_key", "_news", "_services", "_task", "deltas", "error", "readers")

    def __init__(self, services: Services, key: str, deadline: float | None) -> None:
        self._services, self._key, self._deadline = services, key, deadline
        self.deltas: list[Delta] = []
        self.error: Exception | None = None
        self.readers = 0
        self._done = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, answer: AsyncGenerator[Delta, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._fly(answer))
        self._services.flights[self._key] = self

    def lasts(self, deadline: float | None) -> bool:
        """Whether the request has as much time as one who waits until ``deadline``."""
        return self._deadline is None or (deadline is not None and deadline <= self._deadline)

    async def _fly(self, answer: AsyncGenerator[Delta, None]) -> None:
        try:
            async with aclosing(answer) as deltas:
                async for delta in deltas:
                    self.deltas.append(delta)
                    self._wake()
        except asyncio.CancelledError:
            self.error = Interrupted("interrupted", "the shared request was cancelled")
            raise
        except Exception as error:  # noqa: BLE001  every reader raises it
            self.error = error
        finally:
            self._done = True
            self._forget()
            self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _forget(self) -> None:
        if self._services.flights.get(self._key) is self:
            del self._services.flights[self._key]

    async def has(self, position: int) -> bool:
        """Wait until there is a delta at ``position``; False at the end; raises what the request raised."""
        while position >= len(self.deltas):
            if self._done:
                if self.error is not None:
                    raise _twin(self.error)
                return False
            await self._news.wait()
        return True

    async def left(self) -> None:
        """A reader goes; the last one ends what is still under way, and waits until it is closed."""
        self.readers -= 1
        task = self._task
        if self.readers == 0 and task is not None and not task.done():
            self._forget()
            task.cancel()
            await asyncio.wait([task])


def _twin(error: Exception) -> Exception:
    """The same failure for one reader: what names the step it happened in changes the object."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
