"""A writer in the process of an isolated model: requests come by number, their deltas go back by it.

Requests are answered side by side by one event loop, which says of each message that it was taken: a process that
is silent counts as one that hangs. The model runs on a thread beside it, which the loop watches.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.backends.local.devices import parse_device
from flowllm.backends.local.generation.kv import Cache, Stepped
from flowllm.backends.local.generation.told import request_of, told_delta, told_failure
from flowllm.backends.local.generation.writer import Writer, open_runner
from flowllm.backends.local.layout import describe
from flowllm.backends.local.memory_limit import limit_memory
from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.errors import FlowError, NodeFailure
from flowllm.core.scope import Scope, SystemClock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flowllm.backends.local.worker import Line


class Runs:
    """Since when the model runs, in seconds of a clock that only goes on; None between two runs."""

    def __init__(self) -> None:
        self.since: float | None = None

    def watched(self, cache: Cache) -> Cache:
        """The same cache, with its runs seen here."""
        return _Watched(self, cache)


class _Watched:
    """A cache whose runs are seen."""

    def __init__(self, runs: Runs, cache: Cache) -> None:
        self._runs = runs
        self._cache = cache
        self.begin = cache.begin
        self.drop = cache.drop

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        return self._cache.reuse(row, prompt)

    def read(self, tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        with self._seen():
            return self._cache.read(tokens)

    def step(self, tokens: dict[int, int]) -> Stepped:
        with self._seen():
            return self._cache.step(tokens)

    @contextmanager
    def _seen(self) -> Iterator[None]:
        self._runs.since = time.monotonic()
        try:
            yield
        finally:
            self._runs.since = None


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
    asyncio.run(Serving(writer, line, runs).run(line.first["patience"]))


def _opened(first: dict[str, Any], runs: Runs) -> Writer:
    device = parse_device(first["device"], "isolated")
    limit_memory(device, first["memory"])
    found = describe(Path(first["folder"]), device.precision)
    runner = open_runner(found, device, first["room"])
    watched = replace(runner, cache=lambda: runs.watched(runner.cache()))
    return Writer(found, watched, Tokenizer(found.folder))


class Serving:
    """The answers in work."""

    def __init__(self, writer: Writer, line: "Line", runs: Runs) -> None:
        self._writer = writer
        self._line = line
        self._runs = runs
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self, patience: float) -> None:
        """Answer, and tell of a run of the model that lasts longer than ``patience`` seconds; for ever."""
        loop = asyncio.get_running_loop()

        def hear(message: tuple[dict[str, Any], dict[str, Any]]) -> None:
            loop.call_soon_threadsafe(self._take, message[0])

        self._line.listen(hear)
        self._line.send({"provider": self._writer.provider})
        self._writer.prefixes.changed = lambda: loop.call_soon_threadsafe(self._tell_kept)
        while True:
            await asyncio.sleep(patience / 4)
            since = self._runs.since
            if since is not None and time.monotonic() - since >= patience:
                self._line.send({"hangs": True})

    def _take(self, header: dict[str, Any]) -> None:
        self._line.send({"taken": True})
        number: int = header.get("call", 0)
        if "forget" in header:
            self._writer.forget()
        elif "request" in header:
            task = self._tasks[number] = asyncio.ensure_future(self._answer(number, header))
            task.add_done_callback(lambda _: self._tasks.pop(number))
        elif number in self._tasks:
            self._tasks[number].cancel()

    def _tell_kept(self) -> None:
        """Say how many bytes are kept: before the end of the answer that they are of, which comes by the same loop."""
        self._line.send({"keeps": self._writer.kept})

    async def _answer(self, number: int, header: dict[str, Any]) -> None:
        said: dict[str, Any] = {}
        try:
            await self._write(number, header)
        except FlowError as error:
            said = told_failure(error)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  whoever asked waits for the end; panics are no Exception
            said = told_failure(NodeFailure("internal", f"{type(error).__name__}: {str(error)[:300]}"))
        self._line.send({"call": number, "ended": True, **said})

    async def _write(self, number: int, header: dict[str, Any]) -> None:
        scope = Scope(clock=_Told(header["wall"]))
        async with aclosing(self._writer.generate(request_of(header["request"]), scope)) as deltas:
            async for delta in deltas:
                self._line.send({"call": number, "delta": told_delta(delta)})
