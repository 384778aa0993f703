"""One frame at work: steps start when what they need is done, and only when something needs them.

A frame is the pipeline itself or one attempt or item of a region. Demand flows from the roots to
what they need; a route demands its chosen case when its switch is known; a `when_failed` demands
what it reads when its step failed. Ready steps start in the order of their ids. The first failure
that no step rescues cancels the rest of the frame.
"""

import asyncio
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import field
from heapq import heappop, heappush
from typing import Any

from flowllm.core.errors import Failure, FlowError, NodeFailure, SetupError
from flowllm.core.event import CaseChosen, Event, StepCancelled, StepFailed, StepFinished, StepRescued, StepStarted
from flowllm.core.record import record
from flowllm.runtime.bind import BoundFrame, BoundStep
from flowllm.runtime.context import Place, Run
from flowllm.runtime.values import case_of, run_step
from flowllm.runtime.work import begin, left, ports_of

IDLE, WAITING, WORKING, CHOSEN, RESCUED, DONE, FAILED = range(7)
BEGUN = frozenset({WORKING, CHOSEN, RESCUED})
"""States of a step that has started and not ended."""
INLINE_AT_ONCE = 256
"""Sync steps carried out before the event loop gets its turn."""


@record(frozen=False)
class Progress:
    """How far one step is: its state, how many of its needs are missing, when it started.

    ``known`` is what a retry region's `when_failed` may read of it besides error and code.
    """

    state: int = IDLE
    missing: int = 0
    started: float = 0.0
    failure: Failure | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    waiters: list[int] = field(default_factory=list)


class Frame:
    """One pass through a `BoundFrame`. ``names`` is what slots can read; it grows as steps finish.

    ``children`` holds the latest inner frame of each region, ``chosen`` the case of each route.
    """

    __slots__ = (
        "_done", "_ended", "_failure", "_inline", "_ready", "_tasks",
        "bound", "children", "chosen", "missing_roots", "names", "place", "progress", "run",
    )  # fmt: skip

    def __init__(self, bound: BoundFrame, names: dict[str, Any], place: Place, run: Run) -> None:
        self.bound = bound
        self.names = names
        self.place = place
        self.run = run
        self.progress = [Progress() for _ in bound.steps]
        self.children: dict[int, Frame] = {}
        self.chosen: dict[int, str] = {}
        self._ready: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._done: asyncio.Future[None] | None = None
        self.missing_roots = len(bound.roots)
        self._inline = 0
        self._ended = False

    async def complete(self) -> None:
        """Run all that the roots need; raises the first failure after the rest has ended."""
        self._demand(self.bound.roots)
        try:
            self._pump()
            await self._finished()
        finally:
            self._ended = True
            await self._end_tasks()
        if self._failure is not None:
            raise self._failure

    def output(self, name: str) -> Any:
        """The value of one output; the frame must be complete."""
        return self.bound.outputs[name](self.names)

    def is_done(self, index: int) -> bool:
        """Whether a step has given its ports."""
        return self.progress[index].state == DONE

    def was_rescued(self, index: int) -> bool:
        """Whether a step's ports came from its `when_failed`."""
        return self.progress[index].failure is not None

    def address(self, bound: BoundStep) -> str:
        """Where a step stands in the run."""
        return self.place.prefix + bound.step.id

    async def _finished(self) -> None:
        if self.missing_roots and self._failure is None:
            self._done = asyncio.get_running_loop().create_future()
            await self._done

    async def _end_tasks(self) -> None:
        """End what is under way. Who is cancelled while it waits here has cancelled the tasks once more."""
        if not self._tasks and not self.missing_roots:
            return
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            if self.run.observed:
                self._tell_cancelled()

    def _tell_cancelled(self) -> None:
        for bound, progress in zip(self.bound.steps, self.progress, strict=True):
            if progress.state in BEGUN:
                self._emit(StepCancelled(self.address(bound), self.run.clock.now(), bound.step.kind))

    def _wake(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _demand(self, indexes: Iterable[int]) -> None:
        """Make steps, and all they need, wait for their turn."""
        pending = [i for i in indexes if self.progress[i].state == IDLE]
        while pending:
            index = pending.pop()
            progress = self.progress[index]
            if progress.state != IDLE:
                continue
            progress.state = WAITING
            step = self.bound.steps[index].step
            self._await_needs(index, step.needs)
            pending.extend(i for i in (*step.needs, *step.early) if self.progress[i].state == IDLE)

    def _await_needs(self, index: int, needs: tuple[int, ...]) -> None:
        progress = self.progress[index]
        for need in needs:
            other = self.progress[need]
            if other.state != DONE:
                other.waiters.append(index)
                progress.missing += 1
        if not progress.missing:
            heappush(self._ready, self.bound.rank[index])

    def _pump(self) -> None:
        """Start whatever is ready; gives the loop its turn after many sync steps."""
        ready, by_rank = self._ready, self.bound.by_rank
        try:
            while ready and self._failure is None and not self._ended:
                if self._inline >= INLINE_AT_ONCE:
                    self._inline = 0
                    asyncio.get_running_loop().call_soon(self._pump)
                    return
                self._advance(by_rank[heappop(ready)])
        except BaseException as error:  # noqa: BLE001  a fault here must end the frame, not the loop
            self._fail(error)

    def _advance(self, index: int) -> None:
        progress = self.progress[index]
        if progress.state == WAITING:
            self._start(index)
        elif progress.state == CHOSEN:
            self._settle(index, self._case_ports)
        elif progress.state == RESCUED:
            self._settle(index, self._rescue_ports)

    def _start(self, index: int) -> None:
        bound, progress = self.bound.steps[index], self.progress[index]
        progress.state = WORKING
        if self.run.observed:
            progress.started = self.run.clock.now()
            self._emit(StepStarted(self.address(bound), progress.started, bound.step.kind))
        if bound.inline:
            self._inline += 1
            self._settle(index, self._inline_ports)
        elif bound.control == "route":
            self._choose(index)
        else:
            task = asyncio.get_running_loop().create_task(self._carry_out(index))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _settle(self, index: int, ports_of: Any) -> None:
        try:
            ports = ports_of(index)
        except Exception as error:  # noqa: BLE001  kinds may raise anything
            self._step_failed(index, error)
        else:
            self._finish(index, ports)

    async def _carry_out(self, index: int) -> None:
        try:
            ports = await run_step(self, index)
        except Exception as error:  # noqa: BLE001  kinds may raise anything
            self._step_failed(index, error)
        except asyncio.CancelledError as error:
            if self._ended:
                raise
            self._step_failed(index, left(self.bound.steps[index], error))
        except BaseException as error:  # noqa: BLE001  what no step can fail with ends the frame
            self._fail(error)
        else:
            self._finish(index, ports)
        self._pump()

    def _inline_ports(self, index: int) -> Mapping[str, Any]:
        bound = self.bound.steps[index]
        names = self.names
        arguments = {name: evaluate(names) for name, evaluate in bound.inputs}
        if bound.takes_scope:
            arguments["scope"] = self.place.scope(self, bound)
        return ports_of(bound, begin(bound, arguments))

    def _choose(self, index: int) -> None:
        bound = self.bound.steps[index]
        try:
            case = case_of(bound, self.names)
        except Exception as error:  # noqa: BLE001  expressions may raise anything
            self._step_failed(index, error)
            return
        self.chosen[index] = case
        self.progress[index].state = CHOSEN
        if self.run.observed:
            self._emit(CaseChosen(self.address(bound), self.run.clock.now(), case or "default"))
        needs = bound.step.lazy.get(case, ())
        self._demand(needs)
        self._await_needs(index, needs)

    def _case_ports(self, index: int) -> Mapping[str, Any]:
        bound, case = self.bound.steps[index], self.chosen[index]
        evaluate = bound.cases.get(case, bound.default)
        assert evaluate is not None
        return {"value": evaluate(self.names), "case": case or "default"}

    def _step_failed(self, index: int, raised: Exception) -> None:
        bound, progress = self.bound.steps[index], self.progress[index]
        error = raised if isinstance(raised, FlowError) else unexpected(raised)
        own = progress.state != RESCUED
        if isinstance(error, Failure):
            error.at(self.address(bound), bound.step.origin)
            if bound.rescue is not None and own and not self.run.is_final(error):
                self._rescue(index, error)
                return
        elif isinstance(error, SetupError):
            error.needed_at(bound.step.asked_at)
        progress.state = FAILED
        if self.run.observed:
            self._emit(
                StepFailed(self.address(bound), self.run.clock.now(), bound.step.kind, error.code, error.message)
            )
        self._fail(error)

    def _rescue(self, index: int, failure: Failure) -> None:
        bound, progress = self.bound.steps[index], self.progress[index]
        assert bound.rescue is not None
        progress.state, progress.failure = RESCUED, failure
        if self.run.observed:
            self._emit(
                StepRescued(self.address(bound), self.run.clock.now(), bound.step.kind, failure.code, failure.message)
            )
        self._demand(bound.rescue.needs)
        self._await_needs(index, bound.rescue.needs)

    def _rescue_ports(self, index: int) -> Mapping[str, Any]:
        bound, failure = self.bound.steps[index], self.progress[index].failure
        assert bound.rescue is not None and failure is not None  # noqa: PT018  set together
        before = self.names.get(bound.step.id)
        own = {**before} if isinstance(before, dict) else {}
        own |= {**self.progress[index].known, "error": failure.message, "code": failure.code}
        names = ChainMap({bound.step.id: own}, self.names)
        return {**bound.empty_ports, **{name: evaluate(names) for name, evaluate in bound.rescue.ports}}

    def _finish(self, index: int, ports: Mapping[str, Any]) -> None:
        bound, progress = self.bound.steps[index], self.progress[index]
        self.names[bound.step.id] = ports
        rescued = progress.state == RESCUED
        progress.state = DONE
        if self.run.observed:
            now = self.run.clock.now()
            self._emit(StepFinished(self.address(bound), now, bound.step.kind, now - progress.started, rescued))
        for waiter in progress.waiters:
            waiting = self.progress[waiter]
            waiting.missing -= 1
            if not waiting.missing:
                heappush(self._ready, self.bound.rank[waiter])
        if index in self.bound.roots:
            self.missing_roots -= 1
            if not self.missing_roots:
                self._wake()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self._wake()

    def _emit(self, event: Event) -> None:
        self.run.emit(event)


def unexpected(error: Exception) -> NodeFailure:
    """What a node raised that is no failure of ours, as one."""
    failure = NodeFailure("node_failed", f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
