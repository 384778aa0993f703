"""Async code from plain code, in a script or where an event loop is running already."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class End:
    """No more items come, because of ``error`` or because there are none."""

    error: BaseException | None = None


Items = queue.Queue[T | End]


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``; in a thread of its own when this one runs an event loop (notebooks do)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _in_thread(work)


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def carry_out() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  it is raised where the result is awaited
            failures.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(carry_out,), daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def iterate_sync(source: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of an async generator. It runs in a thread and waits for the reader; leaving ends it."""
    items: Items[T] = queue.Queue(64)
    left = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_hand_over(source, items, left)), daemon=True)
    thread.start()
    try:
        while True:
            item = items.get()
            if isinstance(item, End):
                break
            yield item
        if item.error is not None:
            raise item.error
    finally:
        left.set()
        while thread.is_alive():
            _drain(items)
            thread.join(0.01)


def _drain(items: "queue.Queue[Any]") -> None:
    while not items.empty():
        items.get_nowait()


async def _hand_over(
    source: Callable[[], AsyncGenerator[T, None]],
    items: "Items[T]",
    left: threading.Event,
) -> None:
    try:
        async with aclosing(source()) as stream:
            async for item in stream:
                if left.is_set():
                    return
                await asyncio.to_thread(items.put, item)
    except BaseException as error:  # noqa: BLE001  it is raised where the items are read
        items.put(End(error))
    else:
        items.put(End())
