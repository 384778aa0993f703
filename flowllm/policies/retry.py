"""``retry: {attempts: 4}``: send a request again that did not arrive. Always on; ``retry: false`` ends it.

A failure says itself whether the same request may be sent again; this is the only place that does. (That a
provider is asked after a job that it was given is no request sent again: the job is there.)
The wait is drawn from 0 to ``base * 2^n``, at most ``cap``; a provider's Retry-After is waited for
in full and up to a tenth more, never less. A wait that is longer than ``longest`` or than the time
left is not begun: the failure is final at once. Text that the reader has seen is not taken back unless
``restart`` allows it. Vectors that came stay: only the texts after them are sent again, and attempts are counted
anew. `CallRetried.attempt` is the attempt that failed.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.delta import Delta, Restart, Text, Usage, Vectors, summed
from flowllm.core.durations import Duration
from flowllm.core.errors import CODES, Failure, ProviderFailure
from flowllm.core.event import CallRetried
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Embed, Request
from flowllm.core.scope import Call, Scope

THROTTLED_BASE = 1.0
DAY = 86_400


class Retry(Policy):
    """How often, and with what waits, in seconds; ``attempts`` counts the first one."""

    rank: ClassVar[int] = 50
    shorthand: ClassVar[str] = "attempts"
    attempts: Annotated[int, Field(ge=1, le=20)] = 4
    base: Duration = 0.5
    cap: Duration = 20.0
    longest: Duration = 60.0
    restart: bool = False

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that tries again."""
        if self.attempts == 1:
            return inner

        async def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            tried = _Tried()
            ask = _Rows(inner, request, tried).ask if isinstance(request, Embed) else inner
            while True:
                begun = seen = False
                try:
                    async with aclosing(ask(request, scope)) as deltas:
                        async for delta in deltas:
                            if not seen:
                                begun, seen = True, type(delta) is Text
                            yield delta
                except Failure as failure:
                    wait = self._next(failure, scope, tried) if self.restart or not seen else None
                    if wait is None:
                        _keep(tried.lines, failure)
                        self._tell_remedy(failure, seen=seen)
                        raise
                    reason = failure.code
                    _tell(failure, request, scope, wait)
                else:
                    return
                await scope.clock.sleep(wait)
                scope = replace(scope, attempt=scope.attempt + 1)
                if begun and not tried.kept:
                    yield Restart(reason)

        return call

    def _next(self, failure: Failure, scope: Scope, tried: "_Tried") -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        most = CODES[failure.code].attempts or self.attempts
        count = tried.count + 1
        if not failure.retryable or count >= min(most, self.attempts):
            return None
        wait = self.wait(failure, count, scope)
        if wait is None or (scope.deadline is not None and scope.clock.now() + wait >= scope.deadline):
            return None
        tried.add(failure, wait)
        return wait

    def _tell_remedy(self, failure: Failure, *, seen: bool) -> None:
        """Have a failure that is final name the field that lets it be repeated."""
        _tell_pause(failure, self.longest)
        if seen and failure.retryable and not self.restart:
            failure.hint = "retry: {restart: true}"

    def wait(self, failure: Failure, count: int, scope: Scope) -> float | None:
        """Seconds to wait after attempt ``count``; None when the provider asks for too long a pause."""
        asked = failure.facts.retry_after if isinstance(failure, ProviderFailure) else None
        if asked is not None and not math.isnan(asked):
            asked = max(0.0, asked)
            return None if asked > self.longest else asked + scope.random.uniform(0, 0.1 * asked + 0.1)
        base = max(self.base, THROTTLED_BASE) if failure.code == "rate_limited" and self.base else self.base
        return scope.random.uniform(0, min(self.cap, base * 2 ** (count - 1)))


class _Tried:
    """What was tried: one line an attempt, and how many there were since something came that stays."""

    __slots__ = ("count", "kept", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.kept = False

    def add(self, failure: Failure, wait: float) -> None:
        self.count += 1
        self.lines.append(f"attempt {len(self.lines) + 1}: {failure.code}, waited {wait:.1f} s")


class _Rows:
    """The vectors of one request over its attempts, and what they cost together."""

    __slots__ = ("_booked", "_came", "_inner", "_left", "_tried", "_usage")

    def __init__(self, inner: Call, request: Embed, tried: _Tried) -> None:
        self._inner = inner
        self._left = request
        self._tried = tried
        self._came = 0
        self._usage = Usage()
        self._booked: list[Usage] = []

    async def ask(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The next attempt at what is left of ``request``."""
        try:
            async with aclosing(self._inner(self._left, scope)) as deltas:
                async for delta in deltas:
                    yield self._took(delta)
        except Failure:
            self._move(request)
            raise

    def _took(self, delta: Delta) -> Delta:
        """A delta of the attempt under way as the reader gets it."""
        if isinstance(delta, Vectors):
            self._came += len(delta.vectors)
        elif isinstance(delta, Usage):
            self._usage = delta
            return summed([*self._booked, delta])
        return delta

    def _move(self, request: Request) -> None:
        """On to the texts without vectors; back to all of them where the failure came after the last vector."""
        texts, came, usage, tried = self._left.texts, self._came, self._usage, self._tried
        self._came, self._usage = 0, Usage()
        if 0 < came < len(texts):
            self._left, tried.kept, tried.count = replace(self._left, texts=texts[came:]), True, 0
            self._booked.append(usage)
        elif came:
            assert isinstance(request, Embed)
            self._left, tried.kept, self._booked = request, False, []


def _keep(tried: list[str], failure: Failure) -> None:
    if isinstance(failure, ProviderFailure) and tried:
        failure.attempts = (*failure.attempts, *tried, f"attempt {len(tried) + 1}: {failure.code}")


def _tell_pause(failure: Failure, longest: float) -> None:
    """Say in the failure how long a pause the provider asks for, where it is a longer one than is waited for."""
    asked = failure.facts.retry_after if isinstance(failure, ProviderFailure) and failure.retryable else None
    if asked is not None and longest < asked < math.inf:
        pause = f"{math.ceil(asked)} s" if asked <= DAY else "more than a day"
        failure.message += f"; it asks for a pause of {pause}, and none longer than {longest:g} s is begun"
        failure.args = (failure.message,)
        failure.hint = f"retry: {{longest: {math.ceil(asked)}s}}" if asked <= DAY else "fallback: [another/model]"


def _tell(failure: Failure, request: Request, scope: Scope, wait: float) -> None:
    if scope.observed:
        now = scope.clock.now()
        scope.emit(CallRetried(scope.address, now, request.model, scope.attempt, wait, failure.code, failure.message))
