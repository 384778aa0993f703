"""Always on, closest to the provider: says when a request left and how it ended, and books its cost.

A request that was cancelled or broke off once an answer had begun is booked as well: at what the provider
had counted, and at no less than an estimate of the request and of what had come.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import ClassVar, cast

from flowllm.core.delta import Delta, Finish, Meta, Reasoning, Text, ToolCall, Usage
from flowllm.core.errors import BudgetExceeded, Failure
from flowllm.core.event import CallFailed, CallFinished, CallStarted
from flowllm.core.policy import Policy, Services
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope


class Meter(Policy):
    """Events and cost of every request."""

    rank: ClassVar[int] = 90

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that is observed and paid for."""

        async def call(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
            known = services.price(request.model, None)
            if known.total != 0:  # what is free is never over a limit
                services.may_spend()
            if known.total is None and not known.source:
                services.may_guess(request.model)
            reading = _Reading(request, scope, services)
            said, first = reading.said.append, False
            try:
                async with aclosing(inner(request, scope)) as deltas:
                    async for delta in deltas:
                        if not first:
                            first = True
                            reading.answers()
                        if type(delta) is Text:
                            said(delta.text)
                        else:
                            reading.take(delta)
                        yield delta
            except BaseException as error:
                try:
                    await reading.weigh()
                finally:
                    reading.broke(error)
                raise
            reading.finished()

        return call


class _Reading:
    """What is known of one request so far; ``said`` are the texts that came."""

    __slots__ = (
        "_broken",
        "_finish",
        "_first",
        "_model",
        "_request",
        "_scope",
        "_services",
        "_simulated",
        "_started",
        "_usage",
        "said",
    )

    def __init__(self, request: Request, scope: Scope, services: Services) -> None:
        self._request, self._scope, self._services = request, scope, services
        model = self._model = request.model
        self.said: list[str] = []
        self._started = scope.clock.now()
        self._first: float | None = None
        self._usage: Usage | None = None
        self._broken: Usage | None = None
        self._finish: Finish | None = None
        self._simulated = False
        if scope.observed:
            scope.emit(CallStarted(scope.address, self._started, model, scope.attempt))

    def answers(self) -> None:
        self._first = self._scope.clock.now() - self._started

    def take(self, delta: Delta) -> None:
        if type(delta) is Usage:
            self._usage = delta
        elif type(delta) is Reasoning:
            self.said.append(delta.text)
        elif type(delta) is ToolCall:
            self.said.append(delta.arguments)
        elif type(delta) is Finish:
            self._finish = delta
        elif type(delta) is Meta:
            self._simulated = self._simulated or delta.simulated

    def finished(self) -> None:
        """A complete answer: say so, then book it (which may end the run)."""
        scope = self._scope
        cost = self._services.price(self._model, self._usage)
        if scope.observed:
            now, finish = scope.clock.now(), self._finish.reason if self._finish else None
            seconds = now - self._started
            told = self._model, self._usage, cost, seconds, self._first, finish, self._simulated
            scope.emit(CallFinished(scope.address, now, *told))
        self._services.spend(cost.total)

    def broke(self, error: BaseException) -> None:
        """A failure, or a reader who left: after the end mark nothing is missing."""
        if isinstance(error, GeneratorExit) and self._finish is not None:
            self.finished()
            return
        usage = self._broken or self._broken_usage()
        cost = None if usage is None else self._services.price(self._model, usage)
        if self._scope.observed:
            code, message = self._reason(error)
            scope, now = self._scope, self._scope.clock.now()
            scope.emit(CallFailed(scope.address, now, self._model, code, message, usage, cost))
        if cost is not None:
            with suppress(BudgetExceeded):  # the next request is refused; this one ends as it did
                self._services.spend(cost.total)

    async def weigh(self) -> None:
        """Before `broke`: count what was asked and came in a thread where it is much."""
        if self._first is not None and self._finish is None:
            from flowllm.text.tokens import LARGE, length

            letters = sum(map(len, self.said)) + length(self._request)
            if letters > LARGE:
                self._broken = cast("Usage | None", await self._scope.run_in_thread(self._broken_usage))

    def _broken_usage(self) -> Usage | None:
        """What is booked of an answer that is not complete; None where none had begun."""
        if self._first is None:
            return None
        from flowllm.text.tokens import count, count_request

        known, came = self._usage or Usage(), count("".join(self.said))
        if known.input is not None and known.output is not None and known.output >= came:
            return known
        asked = count_request(self._request) if known.input is None else known.input
        return replace(known, input=asked, output=max(came, known.output or 0), estimated=True)

    def _reason(self, error: BaseException) -> tuple[str, str]:
        if isinstance(error, Failure):
            return error.code, error.message
        if isinstance(error, Exception):
            return "internal", f"{type(error).__name__} in the call of {self._model}"
        end = self._scope.deadline
        if end is not None and self._scope.clock.now() >= end:
            return "timeout", "the time ran out"
        return "interrupted", "the call was cancelled"
