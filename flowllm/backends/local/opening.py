"""Work that one thread does and any number of callers wait for: tasks of any event loop, and threads.

Who waits takes no thread of the loop's pool, and who goes meanwhile leaves the work as it is.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future


class Opening:
    """One piece of work, begun at once on a thread of its own. What it raises is raised where it is waited for.

    The interpreter waits for it at its end: a thread inside of ONNX Runtime must not outlive it.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._done: Future[None] = Future()
        # From here on nobody who goes can cancel it for the others.
        self._done.set_running_or_notify_cancel()
        threading.Thread(target=self._carry_out, args=(work,), name="flowllm opening").start()

    @property
    def ended(self) -> bool:
        """Whether it came to an end, well or not."""
        return self._done.done()

    def wait(self) -> None:
        """Wait in a thread."""
        self._done.result()

    async def come(self) -> None:
        """Wait in a task."""
        if not self._done.done():
            await asyncio.wrap_future(self._done)
        self._done.result()

    def _carry_out(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it belongs to those who wait
            self._done.set_exception(error)
        else:
            self._done.set_result(None)
