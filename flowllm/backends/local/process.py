"""A process of this interpreter that runs one model, as seen from here: messages go there, messages come back.

It is started afresh, never forked. Sending and hearing have a thread each, so that a process that hangs blocks
nobody. It ends when this one does: its input ends with us. It knows no key (`surroundings`). What it sends is read by
the rules of `frames`; what is no message ends it.
"""

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any
from weakref import WeakSet

from flowllm.backends.local import frames
from flowllm.backends.local.surroundings import known_variables

_GRACE = 2.0
"""Seconds until a process that should end is made to."""
_MODULE = "flowllm.backends.local.worker"

Message = tuple[dict[str, Any], dict[str, Any]]
"""A header and arrays by name."""
Hear = Callable[["Process", dict[str, Any] | None], None]
"""Takes the headers of what comes after the first message, and None at the end; called on one thread.

A process that is heard so says of each message that it was taken (``taken``), apart from what it makes of it.
"""


class Died(Exception):
    """The process ended, or was ended because it said nothing: the text says which."""


class Process:
    """A running process. ``hear`` gets what it says; without one, `answer` does."""

    def __init__(self, hear: Hear | None = None) -> None:
        self._hear = hear
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._why = ""
        self._untaken: deque[float] = deque()
        self._child = _started()
        _MADE.add(self)
        for work in (self._send_on, self._hear_on):
            threading.Thread(target=work, name=f"flowllm process {self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs and may."""
        return not self._why and self._child.poll() is None

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
        """Have a message sent; never waits. `frames.Unsendable` for what is none: nothing is sent then."""
        message = frames.packed(header, arrays)
        self._untaken.append(time.monotonic())
        self._outbox.put(message)

    @property
    def silence(self) -> float:
        """Seconds since the first message was sent that it has not taken yet; 0 where it took all."""
        first = next(iter(list(self._untaken)), None)
        return 0.0 if first is None else max(time.monotonic() - first, 1e-9)

    def answer(self, patience: float) -> Message:
        """The next message. `Died` where the process ends, or says nothing for ``patience`` seconds and is ended."""
        try:
            found = self._inbox.get(timeout=patience)
        except queue.Empty:
            self.stop(f"said nothing for {patience:g} s and was ended")
            found = self._inbox.get()
        if found is None:
            self._inbox.put(None)
            raise Died(self.last_words)
        return found

    @property
    def last_words(self) -> str:
        """How it ended, to go behind `the process`."""
        return self._why or f"ended ({self._child.wait()})"

    def stop(self, why: str) -> None:
        """End it at once; ``why`` are its last words."""
        self._why = why
        self._child.kill()

    def end(self) -> None:
        """Let it end, and make it where it does not; returns when it is gone."""
        self._outbox.put(None)
        try:
            self._child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def leave(self) -> None:
        """Close the pipes, in a process that was forked from the one whose it is: its input ends with that one."""
        for pipe in (self._child.stdin, self._child.stdout):
            # Not by the buffer, whose lock may be that of a thread that is not here.
            raw = getattr(pipe, "raw", None)
            if raw is not None:
                raw.close()

    def _send_on(self) -> None:
        stream = _piped(self._child.stdin)
        with contextlib.suppress(OSError):
            while (message := self._outbox.get()) is not None:
                stream.writelines(message)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

    def _hear_on(self) -> None:
        try:
            with contextlib.suppress(OSError, frames.Ended):
                self._listen()
        except Exception as error:  # noqa: BLE001  whatever it sent: nobody may wait for more of it
            self.stop(f"sent what cannot be taken ({type(error).__name__}) and was ended")
        self.end()
        self._inbox.put(None)
        if self._hear is not None:
            self._hear(self, None)

    def _listen(self) -> None:
        with _piped(self._child.stdout) as stream:
            self._answered(frames.read(stream))
            while self._hear is None:
                self._answered(frames.read(stream))
            while True:
                header, _ = frames.read(stream)
                if "taken" in header:
                    self._untaken.popleft()
                else:
                    self._hear(self, header)

    def _answered(self, message: Message) -> None:
        self._untaken.popleft()
        self._inbox.put(message)


def _started() -> "subprocess.Popen[bytes]":
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(  # noqa: S603  this interpreter and a module of this package
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**known_variables(), "PYTHONPATH": path},
    )


def _piped(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


_MADE: WeakSet[Process] = WeakSet()


def _after_fork() -> None:
    for process in list(_MADE):
        process.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
