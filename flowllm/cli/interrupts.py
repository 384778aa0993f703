"""Run async work so that Ctrl-C and SIGTERM end it in order: the first cancels, the second ends at once."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from flowllm.cli import start
from flowllm.cli.main import Stopped

T = TypeVar("T")
TERMINATED = 128 + signal.SIGTERM


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work`` on an event loop of its own; `KeyboardInterrupt` or `Stopped` when it was ended."""
    start.end()
    with asyncio.Runner() as runner:
        return runner.run(_watched(work))


async def _watched(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    watch = _Termination(task)
    try:
        return await task
    except asyncio.CancelledError:
        if watch.came:
            raise Stopped from None
        raise
    finally:
        await _settle(task)
        watch.end()


async def _settle(task: "asyncio.Future[Any]") -> None:
    """Nothing of the work is left behind when this one is cancelled."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Termination:
    """SIGTERM while a loop runs: cancel the work; once more: leave."""

    def __init__(self, task: "asyncio.Future[Any]") -> None:
        self.came = False
        self._task = task
        self._loop = asyncio.get_running_loop()
        try:
            self._loop.add_signal_handler(signal.SIGTERM, self._stop)
            self._watching = True
        except (RuntimeError, ValueError):
            self._watching = False  # another thread, or a system without it

    def _stop(self) -> None:
        if self.came:
            os._exit(TERMINATED)
        self.came = True
        self._task.cancel()

    def end(self) -> None:
        if self._watching:
            self._loop.remove_signal_handler(signal.SIGTERM)
