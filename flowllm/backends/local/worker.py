"""A model in a process of its own: a crash there is an error of the calls in flight, and the next call starts anew.

For models that nobody vouches for (``isolation``). The process is started afresh, never forked, and is handed the
path of the graph and its device; what goes between are frames of numbers (`frames`). It ends with this one. Run as
a module this file is that process.
"""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from flowllm.backends.local import frames
from flowllm.backends.local.devices import Device, parse_device
from flowllm.backends.local.sessions import open_session
from flowllm.core.errors import FlowError, ProviderFailure, SetupError

_PATIENCE = 5.0
"""Seconds until a process that should end is made to."""


class Isolated:
    """A session in another process; the same to its users as `sessions.Opened`."""

    def __init__(self, file: Path, device: Device) -> None:
        self._file = file
        self._device = device
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        with self._lock:
            said = self._start()
        self.provider: str = said["provider"]
        self.inputs: dict[str, str] = said["inputs"]
        self.outputs: dict[str, str] = said["outputs"]

    @property
    def pid(self) -> int | None:
        """The number of the process, None where none runs."""
        return self._process.pid if self._process else None

    def run(self, feeds: dict[str, Any], outputs: tuple[str, ...] | None = None) -> list[Any]:
        """Arrays in, arrays out. `ProviderFailure` ``worker_died`` where the process ends meanwhile."""
        with self._lock:
            if self._process is None:
                self._start()
            header, arrays = self._asked({"outputs": list(outputs or self.outputs)}, feeds)
        if "error" in header:
            raise RuntimeError(header["error"])
        return list(arrays.values())

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _start(self) -> dict[str, Any]:
        """Start the process and have it open the graph; `SetupError` as it says."""
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(  # noqa: S603  this interpreter and this module
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            header, _ = self._asked({"file": str(self._file), "device": self._device.model_dump()})
        except ProviderFailure as failure:
            raise SetupError("bad_model_file", f"{self._file} ended the process that opened it") from failure
        if "error" in header:
            self._end()
            raise SetupError(header["code"], header["error"], hint=header["hint"])
        return header

    def _asked(self, header: dict[str, Any], arrays: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            frames.write(process.stdin, header, arrays)
            return frames.read(process.stdout)
        except (OSError, frames.Ended):
            status = self._end()
            message = f"the process of the model in {self._file.parent.name} ended ({status}) while it worked"
            raise ProviderFailure("worker_died", message, hint="the next call starts it anew") from None

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        try:
            return process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def serve(source: IO[bytes], target: IO[bytes]) -> None:
    """Open the graph that the first message names, then answer runs until the other side ends."""
    header, _ = frames.read(source)
    try:
        opened = open_session(Path(header["file"]), parse_device(header["device"], "isolated"))
    except FlowError as error:
        frames.write(target, {"error": error.message, "code": error.code, "hint": error.hint})
        return
    frames.write(target, {"provider": opened.provider, "inputs": opened.inputs, "outputs": opened.outputs})
    while True:
        header, feeds = frames.read(source)
        names = tuple(header["outputs"])
        try:
            found = opened.run(feeds, names)
        except Exception as error:  # noqa: BLE001  the classes of ONNX Runtime have no common one
            frames.write(target, {"error": str(error)[:300]})
        else:
            frames.write(target, {}, dict(zip(names, found, strict=True)))


def main() -> None:
    """Be the process: answers go to what was stdout, which libraries may print to."""
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(frames.Ended, BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, target)


if __name__ == "__main__":
    main()
