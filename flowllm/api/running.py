"""Runs of one flow: for each an engine, a ledger and a result. Imported by the first run; a check needs none of it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from flowllm.api.engine import RunOptions, build_engine, run_options, time_limit
from flowllm.api.result import FlowResult, shown_output
from flowllm.runtime import Bound, BoundFrame, Engine, Options, RunStream
from flowllm.sinks.ledger import Ledger

if TYPE_CHECKING:
    from flowllm.api.flow import Flow
    from flowllm.api.stream import FlowStream
    from flowllm.backends.router import Backends


class Running:
    """How a flow is run. ``kept`` are backends that stay open over many runs; without them a run has its own."""

    def __init__(self, flow: "Flow", kept: "Backends | None", options: RunOptions | None) -> None:
        self._flow = flow
        self._kept = kept
        self._ledger = Ledger()
        options = self._asked = run_options(options)
        self._options = Options((self._ledger, *options.readers), options.refresh, time_limit(options))

    async def result(self, inputs: Mapping[str, Any]) -> FlowResult:
        """What the run gives."""
        async with self._bound() as bound:
            result = await bound.run(inputs, self._options)
        return FlowResult.of(result, self._flow.plan, self._ledger)

    def stream(self, inputs: Mapping[str, Any]) -> "FlowStream":
        """The run, to be entered and read."""
        from flowllm.api.stream import FlowStream

        return FlowStream(self._streamed(inputs), lambda result: FlowResult.of(result, self._flow.plan, self._ledger))

    @asynccontextmanager
    async def _streamed(self, inputs: Mapping[str, Any]) -> AsyncGenerator[RunStream, None]:
        shown = shown_output(self._flow.plan)
        async with self._bound() as bound, bound.stream(inputs, shown, self._options) as stream:
            yield stream

    @asynccontextmanager
    async def _bound(self) -> AsyncGenerator[Bound, None]:
        """The plan, on an engine that can ask every model it needs."""
        environment = self._flow.environment
        backends = self._kept or environment.connect()
        try:
            engine = build_engine(environment, backends, self._asked)
            bound = Bound(self._frame(engine), engine)
            bound.check_models()
            yield bound
        finally:
            if self._kept is None:
                await backends.aclose()

    def _frame(self, engine: Engine) -> BoundFrame:
        """The flow's own, but for a rehearsal, which has kinds of its own."""
        flow = self._flow
        return flow.frame if engine.kinds is flow.environment.kinds else flow.bound_to(engine.kinds)
