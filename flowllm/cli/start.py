"""How a command starts soon: what it says before it imports anything.

A start makes some hundred thousand objects and hardly any garbage. To look through them for garbage
takes a tenth of the time, while they are made and once more when the process ends. So the collector waits
until the work begins, and what stands there by then is never looked through.
"""

import gc
import os

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
