"""A writer in the process of an isolated model: requests come by number, their deltas go back by it.

Requests are answered side by side by one event loop. While the model works, and writes nothing that can be shown
yet, it says now and then that it goes on: a process that is silent counts as one that hangs.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.backends.local.devices import parse_device
from flowllm.backends.local.generation.kv import Cache, Stepped
from flowllm.backends.local.generation.told import request_of, told_delta, told_failure
from flowllm.backends.local.generation.writer import Runner, Writer, open_runner
from flowllm.backends.local.layout import describe
from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.errors import FlowError, NodeFailure
from flowllm.core.scope import Scope, SystemClock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flowllm.backends.local.worker import Line


class Runs:
    """How often the model ran."""

    def __init__(self) -> None:
        self.count = 0

    def counted(self, cache: Cache) -> Cache:
        """The same cache, with its runs counted here."""
        return _Counted(self, cache)


class _Counted:
    """A cache whose runs are counted."""

    def __init__(self, runs: Runs, cache: Cache) -> None:
        self._runs = runs
        self._cache = cache
        self.begin = cache.begin
        self.drop = cache.drop

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        return self._cache.reuse(row, prompt)

    def read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        self._runs.count += 1
        return self._cache.read(row, tokens)

    def step(self, tokens: dict[int, int]) -> Stepped:
        self._runs.count += 1
        return self._cache.step(tokens)


class _Told(SystemClock):
    """A clock whose date is that of whoever asks."""

    def __init__(self, wall: float) -> None:
        self._wall = wall

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall


def serve_writer(line: "Line") -> None:
    """Open the model that the first message names, then write what is asked for."""
    runs = Runs()
    try:
        writer = _opened(line.first, runs)
    except FlowError as error:
        line.refuse(error)
        return
    asyncio.run(Serving(writer, line, runs).run(line.first["pulse"]))


def _opened(first: dict[str, Any], runs: Runs) -> Writer:
    device = parse_device(first["device"], "isolated")
    found = describe(Path(first["folder"]), device.precision)
    runner = open_runner(found, device)
    counted = Runner(runner.provider, runner.vocabulary, lambda: runs.counted(runner.cache()))
    return Writer(found, counted, Tokenizer(found.folder))


class Serving:
    """The answers in work."""

    def __init__(self, writer: Writer, line: "Line", runs: Runs) -> None:
        self._writer = writer
        self._line = line
        self._runs = runs
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self, pulse: float) -> None:
        """Answer, and show a sign of life every ``pulse`` seconds in which the model ran; for ever."""
        loop = asyncio.get_running_loop()

        def hear(message: tuple[dict[str, Any], dict[str, Any]]) -> None:
            loop.call_soon_threadsafe(self._take, message[0])

        self._line.listen(hear)
        self._line.send({"provider": self._writer.provider})
        seen = 0
        while True:
            await asyncio.sleep(pulse)
            if self._runs.count != seen:
                seen = self._runs.count
                self._line.send({"runs": seen})

    def _take(self, header: dict[str, Any]) -> None:
        number = header["call"]
        if "request" in header:
            task = self._tasks[number] = asyncio.ensure_future(self._answer(number, header))
            task.add_done_callback(lambda _: self._tasks.pop(number))
        elif number in self._tasks:
            self._tasks[number].cancel()

    async def _answer(self, number: int, header: dict[str, Any]) -> None:
        said: dict[str, Any] = {}
        try:
            await self._write(number, header)
        except FlowError as error:
            said = told_failure(error)
        except Exception as error:  # noqa: BLE001  one answer's fault is not the others'
            said = told_failure(NodeFailure("internal", f"{type(error).__name__}: {str(error)[:300]}"))
        self._line.send({"call": number, "ended": True, **said})

    async def _write(self, number: int, header: dict[str, Any]) -> None:
        scope = Scope(clock=_Told(header["wall"]))
        async with aclosing(self._writer.generate(request_of(header["request"]), scope)) as deltas:
            async for delta in deltas:
                self._line.send({"call": number, "delta": told_delta(delta)})
