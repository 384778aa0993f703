"""Hidden folders in which models are made, beside their places on the shelf: no list of models shows them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowllm.core.errors import SetupError


@contextmanager
def alone(part: Path, work: str = "pulls") -> Iterator[int | None]:
    """Hold a folder as the only process that writes into it, where the system can tell.

    Gives the file descriptor that holds it: a process that inherits it holds the folder too.
    """
    try:
        import fcntl
    except ImportError:
        yield None
        return
    held = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another process {work} into {part}"
            raise SetupError("missing_model_file", message, hint="wait until it has ended") from None
        yield held
    finally:
        os.close(held)
