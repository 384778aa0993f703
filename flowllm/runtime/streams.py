"""An output as it grows: whose deltas are it, and when may they be shown.

A path to a call's text is that call's deltas. A route is its chosen case, a region its body's `of`;
a retry with more than one attempt, a validate and a cache miss hold them until they are settled.
Everything else comes whole, as one piece of text.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from flowllm.core.delta import Delta, Restart, Text
from flowllm.core.event import DeltaReceived, Event, StreamHeld
from flowllm.core.slot import Path, Slot
from flowllm.runtime.bind import BoundStep
from flowllm.text.writing import written

if TYPE_CHECKING:
    from flowllm.runtime.frame import Frame

Deltas = AsyncGenerator[Delta, None]


class RunEnded(Exception):
    """The run ended before the awaited news came."""


class Follower:
    """Reads a run's events and yields the deltas of its outputs. One for each run."""

    def __init__(self) -> None:
        self._deltas: defaultdict[str, list[Delta]] = defaultdict(list)
        self._news = asyncio.Event()
        self._ended = False
        self._said: set[str] = set()

    def read(self, event: Event) -> None:
        """A reader of the bus."""
        if isinstance(event, DeltaReceived) and isinstance(event.delta, Text | Restart):
            self._deltas[event.address].append(event.delta)
        self._news.set()

    def end(self) -> None:
        """No more events will come."""
        self._ended = True
        self._news.set()

    async def output(self, frame: "Frame", name: str) -> Deltas:
        """The deltas of one output; ends early when the run fails."""
        shown = False
        try:
            async with aclosing(self._follow(frame, frame.bound.plan.outputs[name], name)) as deltas:
                async for delta in deltas:
                    shown = True
                    yield delta
        except RunEnded:
            return
        if not shown:
            await self._until(lambda: frame.missing_roots == 0)
            value = frame.output(name)
            if value is not None and value != "":
                yield Text(written(value))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._ended:
                raise RunEnded
            self._news.clear()
            await self._news.wait()

    async def _follow(self, frame: "Frame", slot: Slot | None, name: str) -> Deltas:
        """The deltas of a slot, as far as they are some call's; else nothing."""
        index = frame.bound.index.get(slot.root) if isinstance(slot, Path) else None
        if index is None or not isinstance(slot, Path) or len(slot.steps) != 1:
            return
        port, bound = slot.steps[0], frame.bound.steps[index]
        source = self._source(frame, index, bound, port, name)
        if source is not None:
            async with aclosing(source) as deltas:
                async for delta in deltas:
                    yield delta

    def _source(self, frame: "Frame", index: int, bound: BoundStep, port: Any, name: str) -> Deltas | None:
        if bound.call is not None and port == "text":
            return self._call(frame, index)
        if port == "value" and bound.control == "route":
            return self._route(frame, index, name)
        if port == "value" and bound.control in ("retry", "cache"):
            return self._region(frame, index, "of", name)
        if bound.control == "pipeline":
            return self._region(frame, index, str(port), name)
        if bound.step.kind == "validate" and port == "value":
            self._say_held(frame, bound, name, f"`{bound.step.id}` checks the whole text before it is shown")
        return None

    def _say_held(self, frame: "Frame", bound: BoundStep, name: str, reason: str) -> None:
        """Once an output, by whatever holds it first."""
        if name in self._said:
            return
        self._said.add(name)
        frame.run.emit(StreamHeld(frame.address(bound), frame.run.clock.now(), name, reason))

    async def _call(self, frame: "Frame", index: int) -> Deltas:
        address, seen = frame.address(frame.bound.steps[index]), 0
        while True:
            done = frame.is_done(index)
            news = self._deltas[address][seen:]
            seen += len(news)  # more may come while these are handed out
            for delta in news:
                yield delta
            if done:
                break
            await self._until(partial(self._has_news, frame, index, seen))
        if frame.was_rescued(index):
            yield Restart("when_failed")
            yield Text(str(frame.names[frame.bound.steps[index].step.id]["text"]))

    def _has_news(self, frame: "Frame", index: int, seen: int) -> bool:
        address = frame.address(frame.bound.steps[index])
        return len(self._deltas[address]) > seen or frame.is_done(index)

    async def _route(self, frame: "Frame", index: int, name: str) -> Deltas:
        await self._until(lambda: index in frame.chosen or frame.is_done(index))
        if index not in frame.chosen:
            return
        step, case = frame.bound.steps[index].step, frame.chosen[index]
        async with aclosing(self._follow(frame, step.cases.get(case, step.default), name)) as deltas:
            async for delta in deltas:
                yield delta

    async def _region(self, frame: "Frame", index: int, output: str, name: str) -> Deltas:
        bound = frame.bound.steps[index]
        await self._until(lambda: index in frame.children or frame.is_done(index))
        held = holding(bound)
        if held and not frame.is_done(index):
            self._say_held(frame, bound, name, held)
            await self._until(lambda: frame.is_done(index))
        child = frame.children.get(index)
        if child is None or frame.was_rescued(index):
            return
        async with aclosing(self._follow(child, child.bound.plan.outputs.get(output), name)) as deltas:
            async for delta in deltas:
                yield delta


def holding(bound: BoundStep) -> str:
    """Why a region's deltas cannot be shown as they come; "" when they can."""
    if bound.control == "retry" and bound.params.attempts > 1:
        return f"`{bound.step.id}` may try again, so its text is shown when an attempt is good"
    if bound.control == "cache":
        return f"`{bound.step.id}` is a cache region, so its text is shown when it is complete"
    return ""
