"""The standard streams of the process: there or closed, UTF-8, writable or not.

A stderr that was closed before the start (``2>&-``, daemons) leads to nowhere. What stderr cannot take is
dropped, for it is no reason to lose a result; what stdout cannot take is `StdoutRefused`, and where its
reader has left `BrokenPipeError`. A stdout that was closed before the start takes nothing.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class StdoutRefused(OSError):
    """stdout takes no more, and not because its reader has left."""


def prepare() -> None:
    """Make all three streams usable. Text is UTF-8 whatever the locale says; what has no UTF-8 is shown escaped."""
    if sys.stdin is None:
        # Files that are opened later must not become standard input, output or errors.
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It lives as long as the process: nothing closes it. One that is open for reading refuses every write.
            way = os.O_RDONLY if name == "stdout" else os.O_WRONLY
            setattr(sys, name, os.fdopen(os.open(os.devnull, way), "w", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextmanager
def to_stdout() -> Iterator[None]:
    """Around every write to stdout: says which stream it was that failed."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutRefused(error.errno, error.strerror) from error


@contextmanager
def to_stderr(stream: Any) -> Iterator[None]:
    """Around every write to stderr: one that fails silences it."""
    try:
        yield
    except OSError:
        silence(stream)


def settle() -> None:
    """Write what is still held. Raises `BrokenPipeError` and `StdoutRefused`."""
    with to_stderr(sys.stderr):
        sys.stderr.flush()
    with to_stdout():
        sys.stdout.flush()


def silence(stream: Any) -> None:
    """Point a broken stream to nowhere, so that the interpreter does not complain when it flushes it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
