"""A run whose text is read as it comes."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Self

from flowllm.api.result import FlowResult
from flowllm.runtime import Result, RunStream
from flowllm.runtime.streams import Deltas


class FlowStream:
    """Iterate for `Text` and `Restart` (forget what came before); ``await result()`` afterwards.

    A run that fails before its text is complete raises its failure in the iteration too. It is an async
    context manager: leaving it ends the run and closes its connections.
    """

    def __init__(self, opening: AbstractAsyncContextManager[RunStream], finish: Callable[[Result], FlowResult]) -> None:
        self._opening = opening
        self._finish = finish
        self._run: RunStream | None = None

    async def __aenter__(self) -> Self:
        self._run = await self._opening.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._opening.__aexit__(None, None, None)

    def __aiter__(self) -> Deltas:
        return aiter(self._entered())

    async def result(self) -> FlowResult:
        """The run's result, or its failure."""
        return self._finish(await self._entered().result())

    def _entered(self) -> RunStream:
        if self._run is None:
            raise RuntimeError("enter the stream with `async with` first")
        return self._run
