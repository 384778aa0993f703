"""``attempt_timeout: 20s``: how long one attempt may take; one that took longer may be tried again.

The limit covers the whole answer, from sending to the last delta, and is watched at each wait for
the next delta: nothing stays open while the reader has the word. The failure keeps the text that came.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.delta import Delta, Text
from flowllm.core.durations import Duration
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope


class AttemptTimeout(Policy):
    """Seconds for one attempt."""

    rank: ClassVar[int] = 80
    shorthand: ClassVar[str] = "seconds"
    seconds: Annotated[Duration, Field(gt=0)]

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that fails with ``timeout`` when its answer is not complete in time."""

        async def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            own = scope.clock.now() + self.seconds
            whole = scope.deadline is not None and scope.deadline <= own
            end = scope.deadline if whole else own
            said: list[str] = []
            async with aclosing(inner(request, replace(scope, deadline=end))) as deltas:
                while True:
                    try:
                        async with scope.clock.timeout(end):
                            delta = await anext(deltas, None)
                    except TimeoutError:
                        raise self._failure(request, "".join(said), whole=whole) from None
                    if delta is None:
                        return
                    if type(delta) is Text:
                        said.append(delta.text)
                    yield delta

        return call

    def _failure(self, request: Request, said: str, *, whole: bool) -> ProviderFailure:
        limit = "the node's time ran out" if whole else f"no complete answer within {self.seconds:g} s"
        provider = request.model.partition("/")[0]
        facts = ProviderFacts(provider, request.model, should_retry=not whole, partial_text=said)
        hint = "raise the node's `timeout`" if whole else "raise `attempt_timeout`"
        return ProviderFailure("timeout", f"{request.model}: {limit}", facts=facts, hint=hint)
