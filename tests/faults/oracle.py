"""One judge for every fault: it ended in time, with a typed code, and left nothing behind."""

import asyncio
import gc
import os
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from flowllm.core.errors import CODES, FlowError

CANARY = "sk-canary-0123456789abcdef"
DEADLINE = 5.0
GRACE = 1.0


@dataclass
class Outcome:
    """What a call came to: its value, or the failure it raised."""

    value: object = None
    failure: BaseException | None = None

    @property
    def code(self) -> str:
        """The failure's code, ``ok`` without one."""
        return "ok" if self.failure is None else getattr(self.failure, "code", type(self.failure).__name__)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def judge(work: Callable[[], Awaitable[object]], deadline: float = DEADLINE) -> tuple[Outcome, list[str]]:
    """Run ``work`` and list everything that the common rule of all faults forbids."""
    tasks, descriptors, started = len(asyncio.all_tasks()), _descriptors(), monotonic()
    outcome = Outcome()
    try:
        async with asyncio.timeout(deadline + GRACE):
            outcome.value = await work()
    except BaseException as failure:  # noqa: BLE001  the judge looks at everything
        outcome.failure = failure
    wrong = _wrong_about(outcome.failure)
    if monotonic() - started > deadline + GRACE:
        wrong.append("it hung past the deadline")
    return outcome, wrong + await _left_behind(tasks, descriptors)


def _wrong_about(failure: BaseException | None) -> list[str]:
    if failure is None:
        return []
    wrong = []
    if not isinstance(failure, FlowError) or failure.code not in CODES:
        wrong.append(f"untyped {type(failure).__name__}")
    shown = "".join(traceback.format_exception(failure)) + repr(vars(failure))
    if CANARY in shown:
        wrong.append("the secret is shown")
    if not str(failure):
        wrong.append("it says nothing")
    return wrong


async def _left_behind(tasks: int, descriptors: int) -> list[str]:
    for _ in range(200):
        gc.collect(0)
        if len(asyncio.all_tasks()) <= tasks and _descriptors() <= descriptors:
            return []
        await asyncio.sleep(0.005)
    left = len(asyncio.all_tasks()) - tasks, _descriptors() - descriptors
    return [f"{left[0]} tasks and {left[1]} descriptors are left"] if os.name == "posix" else []
