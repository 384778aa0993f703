"""Async code from plain code, in a script or where an event loop is running already.

Whoever waits here can be interrupted, and whatever ends the waiting (Ctrl-C, a generator that is
closed, a task that is cancelled) cancels the work and waits until it has put itself away.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

from flowllm.core.errors import FlowError

T = TypeVar("T")
AHEAD = 64
"""Items that a source may be ahead of its reader."""
LOOK = 0.05
"""Seconds between two looks at whether the waiting was called off."""


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``; in a thread of its own when this one runs an event loop (notebooks do)."""
    try:
        return _run_apart(work) if _loop_runs() else _run_here(work)
    except FlowError as error:  # the frames of the engine say nothing to who called; a cause keeps its own
        raise error.with_traceback(None) from error.__cause__


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_here(work: Coroutine[Any, Any, T]) -> T:
    found: list[T] = []
    kept = _kept(work, found)
    try:
        asyncio.run(kept)
    finally:
        kept.close()  # neither was begun where no loop could be made
        work.close()
    return found[0]


async def _kept(work: Coroutine[Any, Any, T], found: list[T]) -> None:
    """Where `asyncio.run` gives Ctrl-C back it writes its task out, with all that the task returns."""
    found.append(await work)


def _run_apart(work: Coroutine[Any, Any, T]) -> T:
    ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
    caller, worker = Caller(), Worker(work, ended.put)
    try:
        worker.start()
        return caller.wait(ended).result()
    finally:
        worker.stop()


def iterate_sync(source: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of an async generator. It runs in a thread and waits for the reader; leaving ends it."""
    news: queue.SimpleQueue[_Item[T] | Future[None]] = queue.SimpleQueue()
    places = asyncio.Semaphore(AHEAD)
    caller, worker = Caller(), Worker(_hand_over(source, news, places), news.put)
    try:
        worker.start()
        while isinstance(item := caller.wait(news), _Item):
            worker.tell(places.release)
            yield item.value
        item.result()
    finally:
        worker.stop()


class _Item(Generic[T]):
    """One item on its way to the reader."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


class Caller:
    """Who waits in a thread. Its waiting ends by Ctrl-C and, in a task, when the task is cancelled."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        with suppress(RuntimeError):  # no event loop runs here
            self._task = asyncio.current_task()
        self._calls = 0 if self._task is None else self._task.cancelling()

    def wait(self, news: "queue.SimpleQueue[T]") -> T:
        """What comes next. Ctrl-C cancels the task of `asyncio.run` and raises nothing by itself."""
        while True:
            with suppress(queue.Empty):
                return news.get(timeout=LOOK)
            if self._task is not None and self._task.cancelling() > self._calls:
                raise asyncio.CancelledError


class Worker(Generic[T]):
    """Work on an event loop in a thread of its own; ``done`` gets its outcome, in that thread.

    Started apart from being made: Ctrl-C may come while the thread starts, and then `stop` must be at hand.
    """

    def __init__(self, work: Coroutine[Any, Any, T], done: Callable[[Future[T]], None]) -> None:
        self._outcome: Future[T] = Future()
        self._outcome.add_done_callback(done)
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancel: Callable[[], object] = lambda: None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._carry_out, work), daemon=True)
        self._started = False
        self._drop = work.close

    def start(self) -> None:
        """Begin; RuntimeError where no thread can be had."""
        self._started = True
        try:
            self._thread.start()
        except RuntimeError:
            self._started = False
            raise

    def tell(self, callback: Callable[[], object]) -> None:
        """Call back on the worker's loop, if that is still there."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(callback)

    def stop(self) -> None:
        """Cancel the work if it goes on still, and wait until nothing of it is left."""
        if not self._started:
            self._drop()
            return
        self._begun.wait()
        self.tell(self._cancel)
        while self._thread.is_alive():
            self._thread.join(LOOK)

    def _carry_out(self, work: Coroutine[Any, Any, T]) -> None:
        try:
            result = _run_here(self._watched(work))
        except BaseException as error:  # noqa: BLE001  it is raised where the outcome is waited for
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(result)
        finally:
            work.close()  # it was not begun where no loop could be made
            self._begun.set()

    async def _watched(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._cancel = asyncio.get_running_loop(), task.cancel
        self._begun.set()
        return await work


async def _hand_over(
    source: Callable[[], AsyncGenerator[T, None]],
    news: "queue.SimpleQueue[Any]",
    places: asyncio.Semaphore,
) -> None:
    async with aclosing(source()) as stream:
        async for item in stream:
            await places.acquire()
            news.put(_Item(item))
