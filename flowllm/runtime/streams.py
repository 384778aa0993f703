"""A run's output as it grows: the deltas of the call that it shows, while that call still answers.

An output shows a call's text where it reads it, also through routes, sub-pipelines and regions; a
region that may discard or keep what is inside holds the deltas until it has its value. Everything
else is shown as one text when it is known. Deltas stay until they are read, so whoever begins late
misses nothing; those of calls that the output does not show, and of attempts that were bad, are not kept.
"""

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flowllm.core.delta import Restart, Text
from flowllm.core.event import AttemptEnded, CaseChosen, DeltaReceived, Event, StepFinished, StepStarted, StreamHeld
from flowllm.core.record import record
from flowllm.core.slot import Path, Slot
from flowllm.runtime.bind import BoundFrame, BoundStep
from flowllm.text.writing import written

if TYPE_CHECKING:
    from flowllm.runtime.frame import Frame

_ATTEMPT = re.compile(r"#\d+")
Shown = Text | Restart
_SHOWN = (Text, Restart)
Deltas = AsyncGenerator[Shown, None]


class RunEnded(Exception):
    """The run ended before the awaited news came."""


class Follower:
    """A reader of a run's events that hands on the deltas of one output, of none where it is None. One for each run."""

    reads: ClassVar[frozenset[type[Event]]] = frozenset(
        {AttemptEnded, CaseChosen, DeltaReceived, StepFinished, StepStarted}
    )

    def __init__(self, bound: BoundFrame, output: str | None) -> None:
        self._output = output
        self._slot = None if output is None else bound.plan.outputs[output]
        self._shown_at = frozenset(_calls(bound, self._slot))
        self._deltas: defaultdict[str, deque[Shown]] = defaultdict(deque)
        self._waiter: asyncio.Future[None] | None = None
        self._begun = self._told = self._ended = False
        self._stirred = True
        self._failure: BaseException | None = None

    def __call__(self, event: Event) -> None:
        """A delta may be one of the output's; anything else may be what it waits for."""
        if type(event) is DeltaReceived:
            if isinstance(event.delta, _SHOWN):
                self._take(event.address, event.delta)
            return
        if type(event) is AttemptEnded and event.problem is not None:
            self._forget(f"{event.address}#")
        self._stir()

    def end(self, run: "asyncio.Task[Any]") -> None:
        """No more events will come: the run is over."""
        self._failure = None if run.cancelled() else run.exception()
        self._ended = True
        self._stir()

    async def deltas(self, frame: "Frame") -> Deltas:
        """What is not read yet: deltas, and the value where none came or `when_failed` gave another one.

        Raises the run's failure where that came before the value.
        """
        try:
            way = await self._way(frame)
            self._stirred = True  # an earlier reader may have seen what was over, and left before it read all
            came = self._deltas[way[-1].address] if way else deque()
            while way:
                over = self._stirred and any(stage.over for stage in way)
                self._stirred = False
                while came:
                    self._begun = True
                    yield came.popleft()
                if over:
                    break
                if not self._stirred:  # what came while the reader held a delta woke nobody
                    await self._news()
            await self._until(lambda: way[0].over if way else frame.missing_roots == 0)
            came.extend(self._rest(frame, way))
            while came:
                yield came.popleft()
        except RunEnded:
            pass
        else:
            return
        if self._failure is not None:
            raise self._failure

    def _take(self, address: str, delta: Shown) -> None:
        if (_ATTEMPT.sub("", address) if "#" in address else address) in self._shown_at:
            self._deltas[address].append(delta)
            self._wake()

    def _forget(self, prefix: str) -> None:
        """What came from the calls whose addresses begin so will never be shown."""
        for address in [address for address in self._deltas if address.startswith(prefix)]:
            self._deltas[address].clear()

    def _stir(self) -> None:
        """Something other than a delta happened: a step may be over."""
        self._stirred = True
        self._wake()

    def _wake(self) -> None:
        """Something happened that the reader may wait for."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _rest(self, frame: "Frame", way: "Sequence[Stage]") -> Sequence[Shown]:
        rescued = any(stage.rescued for stage in way)
        if self._output is None or self._told or (self._begun and not rescued):
            return ()
        self._told = True
        restart = (Restart("when_failed"),) if self._begun else ()
        text = written(frame.output(self._output))
        return (*restart, Text(text)) if text else restart

    async def _way(self, frame: "Frame") -> "Sequence[Stage]":
        """The step that the output reads and those that it shows inside, as far as deltas are passed on."""
        way: list[Stage] = []
        slot = self._slot
        while (found := _read(frame.bound, slot)) is not None:
            way.append(Stage(frame, frame.bound.index[found[0].step.id], *found))
            inside = await self._inside(way[-1])
            if inside is None:
                break
            frame, slot = inside
        return way

    async def _inside(self, stage: "Stage") -> "tuple[Frame, Slot | None] | None":
        """What a step shows: the chosen case of a route, an output of a region's body."""
        frame, index, bound, port = stage.frame, stage.index, stage.bound, stage.port
        if _is_route(bound, port):
            await self._until(lambda: index in frame.chosen or stage.over)
            case = frame.chosen.get(index)
            return None if case is None else (frame, bound.step.cases.get(case, bound.step.default))
        output, reason = _output(bound, port), holding(bound, port)
        if output:
            await self._until(lambda: index in frame.children or stage.over)
        if reason and not stage.over:
            frame.run.emit(StreamHeld(stage.address, frame.run.clock.now(), self._output or "", reason))
            await self._until(lambda: stage.over)
        child = None if reason and stage.rescued else frame.children.get(index)
        return (child, child.bound.plan.outputs.get(output)) if child and output else None

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._news()

    async def _news(self) -> None:
        if self._ended:
            raise RunEnded
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


@record
class Stage:
    """A step of a frame, and the port of it that is shown."""

    frame: "Frame"
    index: int
    bound: BoundStep
    port: str

    @property
    def address(self) -> str:
        """Where it stands in the run."""
        return self.frame.address(self.bound)

    @property
    def over(self) -> bool:
        """Whether its ports are known."""
        return self.frame.is_done(self.index)

    @property
    def rescued(self) -> bool:
        """Whether its ports came from its `when_failed`."""
        return self.over and self.frame.was_rescued(self.index)


def _read(bound: BoundFrame, slot: Slot | None) -> tuple[BoundStep, str] | None:
    """The step and the port that a slot reads; None where it reads more or less than one port."""
    index = bound.index.get(slot.root) if isinstance(slot, Path) else None
    if index is None or not isinstance(slot, Path) or len(slot.steps) != 1:
        return None
    return bound.steps[index], str(slot.steps[0])


def _calls(bound: BoundFrame, slot: Slot | None, prefix: str = "") -> Iterator[str]:
    """The addresses, without attempts, of all calls whose deltas a slot may show."""
    found = _read(bound, slot)
    if found is None:
        return
    step, port = found
    address, output = prefix + step.step.id, _output(*found)
    if step.policies and port == "text":
        yield address
    elif _is_route(*found):
        for case in (*step.step.cases.values(), step.step.default):
            yield from _calls(bound, case, prefix)
    elif output and step.body is not None:
        yield from _calls(step.body, step.body.plan.outputs.get(output), f"{address}/")


def _is_route(bound: BoundStep, port: str) -> bool:
    return bound.control == "route" and port == "value"


def _output(bound: BoundStep, port: str) -> str:
    """The output of a region's body that one of its ports shows; "" where it shows none."""
    if bound.control == "pipeline":
        return port
    return "of" if bound.control in ("retry", "cache") and port == "value" else ""


def holding(bound: BoundStep, port: str) -> str:
    """Why deltas cannot be shown as they come; "" when they can."""
    name = bound.step.id
    if port != "value":
        return ""
    if bound.control == "retry" and bound.params.attempts > 1:
        return f"`{name}` may try again, so its text is shown when an attempt is good"
    if bound.control == "cache":
        return f"`{name}` is a cache region, so its text is shown when it is complete"
    return f"`{name}` checks the whole text before it is shown" if bound.step.kind == "validate" else ""
