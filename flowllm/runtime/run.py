"""A bound plan, run: once with its result, or as a stream of an output's deltas."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from flowllm.core.errors import FlowError, NodeFailure, SetupError, UsageError
from flowllm.core.event import DeltaReceived, RunFinished, RunStarted
from flowllm.core.origin import Origin
from flowllm.core.plan import Plan
from flowllm.core.record import record
from flowllm.runtime.bind import BoundFrame, Engine, bind_frame, unconditional
from flowllm.runtime.bus import Bus, Reader
from flowllm.runtime.context import Place, Run, node_of
from flowllm.runtime.frame import Frame
from flowllm.runtime.inputs import complete_inputs
from flowllm.runtime.values import models_of

if TYPE_CHECKING:
    from flowllm.runtime.streams import Deltas, Follower


@record
class Result:
    """What a run gave. ``seconds`` is its duration, ``run`` its id."""

    run: str
    outputs: Mapping[str, Any]
    seconds: float


@record
class Options:
    """How one run is made. ``timeout`` in seconds for the whole of it."""

    readers: Sequence[Reader] = ()
    refresh: Iterable[str] = ()
    timeout: float | None = None


class Bound:
    """A plan and everything that it needs here; can be run many times, also at the same time."""

    def __init__(self, frame: BoundFrame, engine: Engine) -> None:
        self.frame = frame
        self.engine = engine

    @property
    def plan(self) -> Plan:
        """The plan that was bound."""
        return self.frame.plan

    def check_models(self) -> None:
        """Raise `SetupError` when a step that runs in any case has no model, or its key is missing."""
        for bound in unconditional(self.frame):
            if bound.policies and "model" not in bound.step.inputs:
                for model in models_of(bound, {}):
                    self._check_model(model, bound.step.asked_at)

    def _check_model(self, model: str, origin: Origin) -> None:
        try:
            self.engine.check_model(model)
        except SetupError as error:
            raise error.needed_at(origin) from None

    async def run(self, inputs: Mapping[str, Any], options: Options | None = None) -> Result:
        """Run once. Raises `FlowError`; nothing of the run is left when it returns."""
        started = self._start(inputs, options or Options())
        return await started.complete()

    def stream(self, inputs: Mapping[str, Any], output: str | None, options: Options | None = None) -> "RunStream":
        """Run once and show ``output`` as it grows, None: nothing; use it as an async context manager."""
        from flowllm.runtime.streams import Follower

        options = options or Options()
        follower = Follower(self.frame, output)
        readers: tuple[Reader, ...] = (*options.readers, follower)
        return RunStream(self._start(inputs, Options(readers, options.refresh, options.timeout)), follower)

    def _start(self, inputs: Mapping[str, Any], options: Options) -> "Started":
        names = {"inputs": complete_inputs(self.plan.inputs, inputs)}
        bus, engine = Bus(options.readers), self.engine
        refresh = frozenset(self._address(wanted) for wanted in options.refresh)
        run = Run(
            emit=bus.emit,
            observed=bus.observed,
            streamed=bool(bus.readers_of(DeltaReceived)),
            clock=engine.clock,
            random=engine.random,
            services=engine.services,
            backends=engine.backends,
            refresh=refresh,
        )
        deadline = None if options.timeout is None else engine.clock.now() + options.timeout
        return Started(Frame(self.frame, names, Place(deadline=deadline), run), secrets.token_hex(6), options.timeout)

    def _address(self, wanted: str) -> str:
        """An address as the user wrote it, without a slash at its end; `UsageError` when it names no step."""
        frame: BoundFrame | None = self.frame
        words = wanted.strip("/").split("/")
        for position, word in enumerate(words):
            name = node_of(word)
            if frame is None or name not in frame.index:
                known = ", ".join(["/".join([*words[:position], i]) for i in frame.index]) if frame else ""
                hint = f"steps there: {known}" if known else f"`{'/'.join(words[:position])}` has no steps inside"
                raise UsageError("bad_usage", f"`{wanted}` names no step", hint=hint)
            frame = frame.steps[frame.index[name]].body
        return "/".join(words)


@record
class Started:
    """One run under way."""

    frame: Frame
    id: str
    timeout: float | None

    async def complete(self) -> Result:
        """Run to the end."""
        run, plan = self.frame.run, self.frame.bound.plan
        begin = run.clock.now()
        run.emit(RunStarted("", begin, self.id, plan.name, self.frame.bound.digest))
        code, outputs = "interrupted", dict[str, Any]()
        try:
            await self._within_time()
            outputs = {name: self.frame.output(name) for name in plan.outputs}
            code = ""
        except FlowError as error:
            code = error.code
            raise
        finally:
            now = run.clock.now()
            run.emit(RunFinished("", now, code, now - begin, outputs))
        return Result(self.id, outputs, now - begin)

    async def _within_time(self) -> None:
        timer = self.frame.run.clock.timeout(self.frame.place.deadline)
        try:
            async with timer:
                await self.frame.complete()
        except TimeoutError:
            if not timer.expired():
                raise
            message = f"the run gave no result after {self.timeout:g} s"
            raise NodeFailure("timeout", message) from None


class RunStream:
    """Iterate for the output's deltas; ``await result()`` afterwards. Leaving the context ends the run."""

    def __init__(self, started: Started, follower: "Follower") -> None:
        self._started = started
        self._follower = follower
        self._task: asyncio.Task[Result] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._started.complete())
        self._task.add_done_callback(self._follower.end)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, FlowError):
                await self._task

    def __aiter__(self) -> "Deltas":
        return self._follower.deltas(self._started.frame)

    async def result(self) -> Result:
        """The run's result, or its failure."""
        if self._task is None:
            message = "a stream is entered with `async with` before its result is asked for"
            raise NodeFailure("internal", message)
        return await self._task


def bind(plan: Plan, engine: Engine) -> Bound:
    """Make a plan ready to run."""
    return Bound(bind_frame(plan, engine.kinds), engine)
