"""``retry: {attempts: 4}``: send a request again that did not arrive. Always on; ``retry: false`` ends it.

A failure says itself whether the same request may be sent again; this is the only place that does.
The wait is drawn from 0 to ``base * 2^n``, at most ``cap``; a provider's Retry-After is waited for
in full and up to a tenth more, never less. A wait that is longer than ``longest`` or than the time
left is not begun: the failure is final at once. Text that the reader has seen is not taken back unless
``restart`` allows it. `CallRetried.attempt` is the attempt that failed.
"""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.delta import Delta, Restart, Text
from flowllm.core.durations import Duration
from flowllm.core.errors import CODES, Failure, ProviderFailure
from flowllm.core.event import CallRetried
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope

THROTTLED_BASE = 1.0


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
            tried: list[str] = []
            while True:
                begun = seen = False
                try:
                    async with aclosing(inner(request, scope)) as deltas:
                        async for delta in deltas:
                            if not seen:
                                begun, seen = True, type(delta) is Text
                            yield delta
                except Failure as failure:
                    wait = self._next(failure, scope, tried) if self.restart or not seen else None
                    if wait is None:
                        _keep(tried, failure)
                        raise
                    reason = failure.code
                    _tell(failure, request, scope, wait)
                else:
                    return
                await scope.clock.sleep(wait)
                scope = replace(scope, attempt=scope.attempt + 1)
                if begun:
                    yield Restart(reason)

        return call

    def _next(self, failure: Failure, scope: Scope, tried: list[str]) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        most = CODES[failure.code].attempts or self.attempts
        count = len(tried) + 1
        if not failure.retryable or count >= min(most, self.attempts):
            return None
        wait = self.wait(failure, count, scope)
        if wait is None or (scope.deadline is not None and scope.clock.now() + wait >= scope.deadline):
            return None
        tried.append(f"attempt {count}: {failure.code}, waited {wait:.1f} s")
        return wait

    def wait(self, failure: Failure, count: int, scope: Scope) -> float | None:
        """Seconds to wait after attempt ``count``; None when the provider asks for too long a pause."""
        asked = failure.facts.retry_after if isinstance(failure, ProviderFailure) else None
        if asked is not None and not math.isnan(asked):
            asked = max(0.0, asked)
            return None if asked > self.longest else asked + scope.random.uniform(0, 0.1 * asked + 0.1)
        base = max(self.base, THROTTLED_BASE) if failure.code == "rate_limited" and self.base else self.base
        return scope.random.uniform(0, min(self.cap, base * 2 ** (count - 1)))


def _keep(tried: list[str], failure: Failure) -> None:
    if isinstance(failure, ProviderFailure) and tried:
        failure.attempts = (*failure.attempts, *tried, f"attempt {len(tried) + 1}: {failure.code}")


def _tell(failure: Failure, request: Request, scope: Scope, wait: float) -> None:
    if scope.observed:
        now = scope.clock.now()
        scope.emit(CallRetried(scope.address, now, request.model, scope.attempt, wait, failure.code, failure.message))
