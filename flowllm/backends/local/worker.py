"""The process of an isolated model, from its own side; this file is run as a module (`process` starts it).

The first message says what is opened: a session, whose runs are answered one by one, or a writer, whose answers are
written side by side. It ends at once where the other side does, also in the middle of a run. An interrupt from the
keyboard is for the other side, which may want what is under way.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn

from flowllm.backends.local import frames
from flowllm.backends.local.devices import parse_device
from flowllm.backends.local.memory_limit import limit_memory
from flowllm.backends.local.sessions import open_session
from flowllm.core.errors import FlowError

Message = tuple[dict[str, Any], dict[str, Any]]


class Line:
    """The way to the process that started this one."""

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._source = source
        self._target = target
        self.first = self._next()[0]

    def listen(self, hear: Callable[[Message], None]) -> None:
        """Have every further message taken, on a thread."""
        threading.Thread(target=self._listen, args=(hear,), daemon=True).start()

    def send(self, header: dict[str, Any], arrays: dict[str, Any] | None = None) -> None:
        """Say something."""
        try:
            frames.write(self._target, header, arrays)
        except OSError:
            _leave()

    def refuse(self, error: FlowError) -> None:
        """Say why the model is not opened."""
        self.send({"error": error.message, "code": error.code, "hint": error.hint})

    def _listen(self, hear: Callable[[Message], None]) -> None:
        while True:
            hear(self._next())

    def _next(self) -> Message:
        try:
            return frames.read(self._source)
        except (OSError, frames.Ended):
            _leave()


def _leave() -> NoReturn:
    """End now: a thread inside of ONNX Runtime would be waited for."""
    os._exit(0)


def serve_session(line: Line) -> None:
    """Open the graph that the first message names, then answer runs."""
    try:
        device = parse_device(line.first["device"], "isolated")
        limit_memory(device, line.first["memory"])
        opened = open_session(Path(line.first["file"]), device)
    except FlowError as error:
        line.refuse(error)
        return
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    line.listen(inbox.put)
    line.send({"provider": opened.provider, "inputs": opened.inputs, "outputs": opened.outputs})
    while True:
        header, feeds = inbox.get()
        names = tuple(header["outputs"])
        try:
            found = opened.run(feeds, names)
        except Exception as error:  # noqa: BLE001  the classes of ONNX Runtime have no common one
            line.send({"error": str(error)[:300]})
        else:
            line.send({}, dict(zip(names, found, strict=True)))


def main() -> None:
    """Be the process: answers go to what was stdout, which libraries may print to."""
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(sys.stdin.buffer, target)
    if line.first["task"] == "writer":
        from flowllm.backends.local.generation.serving import serve_writer

        serve_writer(line)
    else:
        serve_session(line)


if __name__ == "__main__":
    main()
