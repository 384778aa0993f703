"""A clock that jumps, a backend that plays a script, and what they saw: for tests of policies."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from flowllm.core.delta import Fold
from flowllm.core.policy import Services
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from flowllm.policies import chain as policies


def chain(written, backend, services):
    """The backend within the policies that a node writes."""
    return policies.chain(policies.ordered(written), backend, services)


class Expired:
    """Stands for asyncio.Timeout on a clock that jumps: it expires when the time passes it."""

    def __init__(self, clock, deadline):
        self.clock, self.deadline = clock, deadline

    async def __aenter__(self):
        self.clock.limits.append((self.deadline, asyncio.current_task()))
        if self.deadline is not None and self.clock.time >= self.deadline:
            raise TimeoutError
        return self

    async def __aexit__(self, kind, error, trace):
        self.clock.limits.pop()
        if kind is asyncio.CancelledError and self.clock.expired is self.deadline:
            self.clock.expired = None
            raise TimeoutError from error


class FakeClock:
    """Jumps to the end of every sleep, unless a limit comes first."""

    def __init__(self):
        self.time, self.slept, self.limits, self.expired = 100.0, [], [], None

    def now(self):
        return self.time

    def wall(self):
        return 1_000_000 + self.time

    def timeout(self, deadline):
        return Expired(self, deadline)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        end = self.time + seconds
        due = [limit for limit, _ in self.limits if limit is not None and limit < end]
        await asyncio.sleep(0)
        if due:
            self.time = self.expired = min(due)
            raise asyncio.CancelledError
        self.time = end


@dataclass
class Script:
    """A backend: each call plays the next list of deltas, waits (numbers) and failures; the last one repeats."""

    answers: list
    clock: FakeClock
    requests: list = field(default_factory=list)
    scopes: list = field(default_factory=list)
    open: int = 0
    gate: asyncio.Event | None = None

    async def __call__(self, request, scope):
        self.requests.append(request)
        self.scopes.append(scope)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        self.open += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            for item in answer(request) if callable(answer) else answer:
                if isinstance(item, int | float):
                    await self.clock.sleep(item)
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            self.open -= 1

    @property
    def models(self):
        return [request.model for request in self.requests]


@dataclass
class World:
    """Everything that a call needs, and the events that it sent."""

    clock: FakeClock = field(default_factory=FakeClock)
    events: list = field(default_factory=list)
    services: Services = field(default_factory=Services)

    def script(self, *answers):
        return Script(list(answers), self.clock)

    def scope(self, seed=0, **fields):
        fields = {"clock": self.clock, "emit": self.events.append, "address": "ask", **fields}
        return Scope(random=random.Random(seed), **fields)

    def told(self, *kinds):
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def names(self):
        return [type(event).__name__ for event in self.events]


def chat(text="hi", model="acme/m"):
    return Chat(model, (Message("user", (Text(text),)),))


async def collect(call, request, scope):
    async with contextlib.aclosing(call(request, scope)) as deltas:
        return [delta async for delta in deltas]


async def reply(call, request, scope):
    folded = Fold()
    for delta in await collect(call, request, scope):
        folded.add(delta)
    return folded.reply()
