"""``timeout: 45s``: how long a whole node may take, with all its attempts, models and waits.

The executor ends a node of any kind at that moment. Here the same limit reaches what is inside the
call, so that no attempt starts and no wait begins that could not end in time.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.delta import Delta
from flowllm.core.durations import Duration
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope


class Timeout(Policy):
    """Seconds for the whole node."""

    rank: ClassVar[int] = 10
    shorthand: ClassVar[str] = "seconds"
    seconds: Annotated[Duration, Field(gt=0)]

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call whose scope ends no later than ``seconds`` from its start."""

        def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            end = scope.clock.now() + self.seconds
            if scope.deadline is None or end < scope.deadline:
                scope = replace(scope, deadline=end)
            return inner(request, scope)

        return call
