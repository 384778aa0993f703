"""``fallback: [a/b, c/d]``: models that are asked in order when the node's own model does not answer.

A provider that cannot be reached, refuses the key, has no money left or does not know the model is
passed over, and so is a model whose window is too small. What the provider says about the request
itself (not accepted, content refused) would be the same elsewhere and is final. Once a delta was
passed on, `Restart` tells readers to forget it. `Meta.answered_by` names the next model to every
reader of the stream, also to one that joined a request under way.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.delta import Delta, Meta, Restart
from flowllm.core.errors import Failure, ProviderFailure
from flowllm.core.event import ModelChosen
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope

SAME_ELSEWHERE = frozenset({"bad_request", "content_filter"})


class Fallback(Policy):
    """Models in the order in which they are asked, after the node's own."""

    rank: ClassVar[int] = 40
    shorthand: ClassVar[str] = "models"
    models: Annotated[tuple[str, ...], Field(min_length=1)]

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that goes on to the next model."""

        async def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            attempts: list[str] = []
            begun = False
            left = [model for model in self.models if model != request.model]
            while True:
                try:
                    async with aclosing(inner(request, scope)) as deltas:
                        async for delta in deltas:
                            begun = True
                            yield delta
                except Failure as failure:
                    _collect(attempts, request.model, failure)
                    if not left or not _passed_over(failure, scope):
                        raise
                    reason = f"{request.model}: {failure.code}"
                else:
                    return
                request = replace(request, model=left.pop(0))
                scope.emit(ModelChosen(scope.address, scope.clock.now(), request.model, reason))
                if begun:
                    begun = False
                    yield Restart(reason)
                yield Meta(answered_by=request.model)

        return call


def _passed_over(failure: Failure, scope: Scope) -> bool:
    if scope.deadline is not None and scope.clock.now() >= scope.deadline:
        return False
    if isinstance(failure, ProviderFailure):
        return failure.code not in SAME_ELSEWHERE
    return failure.code == "context_too_long"


def _collect(attempts: list[str], model: str, failure: Failure) -> None:
    """What was tried with each model, one line each, on the failure that is raised in the end."""
    if isinstance(failure, ProviderFailure):
        attempts += [f"{model}, {line}" for line in failure.attempts] or [f"{model}: {failure.code}"]
        failure.attempts = tuple(attempts)
