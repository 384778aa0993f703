"""How a command starts soon, and ends soon: what it says before it imports anything, and when all is done.

A start makes some hundred thousand objects and hardly any garbage. To look through them for garbage
takes a tenth of the time, while they are made and once more when the process ends. So the collector waits
until the work begins, and what stands there by then is never looked through, nor taken apart in the end.
"""

import atexit
import gc
import os
import sys
import threading

WAITING = 200_000
"""New objects after which there is a collection all the same: a bound for commands that have no run."""
_USUAL = gc.get_threshold()


def begin() -> None:
    """A command starts. Its pydantic models are its own: no installed plugin is looked for to watch them."""
    gc.set_threshold(WAITING)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def end() -> None:
    """The work begins, where a start was begun; or a command without a run ends."""
    if gc.get_threshold()[0] == WAITING:
        gc.freeze()
        gc.set_threshold(*_USUAL)


def leave(status: int) -> int:
    """End the process, at once, for to take apart what it holds lasts a tenth of its time.

    What asked to be told of the end is told first. Gives ``status`` back where the end is somebody else's as well: a
    thread's, a tracer's, that of an interpreter that stays open or that looks for what was left open.
    """
    watched = sys.gettrace() or sys.getprofile() or sys.flags.inspect or sys.flags.interactive or sys.flags.dev_mode
    if watched or threading.active_count() > 1:
        return status
    atexit._run_exitfuncs()  # noqa: SLF001  what the interpreter itself does, and no other name for it
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):  # the interpreter says so, by a status of its own
        return status
    os._exit(status)
