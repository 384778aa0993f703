"""What is minted and ends: kept, renewed before its end, and minted once for all who wait.

Life is counted on this process's monotonic clock from before the mint was asked, so that neither a wrong
wall clock nor a slow answer makes a token seem to live longer. Many event loops and threads may share one
`Tokens`. A mint that failed is forgotten: the next call tries again, and a token that still lives is given.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Generic, TypeVar

from flowllm.core.record import record

T = TypeVar("T")

MARGIN = 240.0
"""Seconds before the end from which a token is renewed; at most a fifth of its life."""

SKEW = 30.0
"""Seconds before the end from which a token is no longer given; at most a twentieth of its life."""

AGAIN = 10.0
"""Seconds until a renewal that failed is tried again while the old token lives."""

YOUNG = 10.0
"""Seconds in which a refused token is not renewed: a newer one would be refused too."""


@record
class Minted(Generic[T]):
    """A token and how many seconds it lives; None: it has no end."""

    value: T
    life: float | None


@record
class _Held(Generic[T]):
    """A token with times of the clock: when it was asked for, is to be renewed, and ends."""

    value: T
    asked: float
    renew: float
    ends: float


class Tokens(Generic[T]):
    """One token at a time. ``mint`` gets a new one; its argument says that the last one was refused."""

    def __init__(
        self,
        mint: Callable[[bool], Awaitable[Minted[T]]],
        now: Callable[[], float] | None = None,
        young: float = YOUNG,
    ) -> None:
        self._mint = mint
        self._now = now or time.monotonic
        self._young = young
        self._lock = threading.Lock()
        self._held: _Held[T] | None = None
        self._flight: Future[None] | None = None
        self._refused = False

    async def get(self) -> T:
        """A token that lives; raises what the mint raises where there is none."""
        while True:
            held = self._held
            if held is not None and self._now() < held.renew:
                return held.value
            flight, mine = self._board()
            if mine:
                return await self._fly(flight)
            if held is not None and self._now() < held.ends:
                return held.value
            await asyncio.wrap_future(flight)

    async def renew(self, refused: Callable[[T], bool]) -> bool:
        """A token that ``refused`` recognises was not accepted: whether another one can be given now."""
        with self._lock:
            held = self._held
            if held is None or not refused(held.value):
                return True
            if self._now() < held.asked + self._young:
                return False
            self._held, self._refused = None, True
        return not refused(await self.get())

    def _board(self) -> tuple[Future[None], bool]:
        """The mint that is under way, or a new one, which is the caller's to carry out."""
        with self._lock:
            if self._flight is not None:
                return self._flight, False
            self._flight = Future()
            # A waiter that is cancelled must not cancel it for the others.
            self._flight.set_running_or_notify_cancel()
            return self._flight, True

    async def _fly(self, flight: Future[None]) -> T:
        asked, old = self._now(), self._held
        if old is not None and asked < old.renew:
            self._land(flight, old)
            return old.value
        try:
            minted = await self._mint(self._refused)
        except BaseException as error:
            if not isinstance(error, Exception):
                # Cancelled: one of those who wait will mint.
                self._land(flight, self._held)
                raise
            if old is None or self._held is not old or self._now() >= old.ends:
                self._land(flight, None, error)
                raise
            self._land(flight, replace(old, renew=self._now() + AGAIN))
            return old.value
        self._refused = False
        self._land(flight, _held(minted, asked))
        return minted.value

    def _land(self, flight: Future[None], held: _Held[T] | None, error: Exception | None = None) -> None:
        with self._lock:
            self._held, self._flight = held, None
        if error is None:
            flight.set_result(None)
        else:
            flight.set_exception(error)


def _held(minted: Minted[T], asked: float) -> _Held[T]:
    if minted.life is None:
        return _Held(minted.value, asked, float("inf"), float("inf"))
    ends = asked + minted.life
    return _Held(minted.value, asked, ends - min(MARGIN, minted.life / 5), ends - min(SKEW, minted.life / 20))
