"""A session in a process of its own: a crash there is an error of the calls in flight, and the next starts anew.

For encoders that nobody vouches for (``isolation``). The process is handed the path of the graph and its device; what
goes between are arrays of numbers.
"""

import threading
from pathlib import Path
from typing import Any

from flowllm.backends.local.devices import Device
from flowllm.backends.local.frames import Unsendable
from flowllm.backends.local.process import Died, Process
from flowllm.core.errors import CODES, ProviderFacts, ProviderFailure, SetupError

NO_ANSWER = "sent what is no answer and was ended"
"""Last words of a process."""


class Isolated:
    """A session in another process; the same to its users as `sessions.Opened`.

    ``patience`` is how long one run, or opening the graph, may take in seconds; then the process is ended. ``memory``
    is what it may take for the model (`memory_limit`).
    """

    def __init__(self, file: Path, device: Device, patience: float, memory: int | None = None) -> None:
        self._file = file
        self._device = device
        self._patience = patience
        self._memory = memory
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._process, said = self._started()
        self.provider: str = said["provider"]
        self.inputs: dict[str, str] = said["inputs"]
        self.outputs: dict[str, str] = said["outputs"]

    @property
    def pid(self) -> int | None:
        """The number of the process, None where none runs."""
        return self._process.pid if self._process.alive else None

    def run(self, feeds: dict[str, Any], outputs: tuple[str, ...] | None = None) -> list[Any]:
        """Arrays in, arrays out. `ProviderFailure` ``worker_died`` where the process ends meanwhile."""
        with self._lock:
            process = self._running()
            process.send({"outputs": list(outputs or self.outputs)}, feeds)
            try:
                header, arrays = process.answer(self._patience)
            except Died as death:
                process.end()
                raise died(self._file.parent.name, death) from None
        if "error" in header:
            raise RuntimeError(header["error"])
        return list(arrays.values())

    def close(self) -> None:
        """End the process, and with it a run that is under way."""
        self._closed.set()
        self._process.end()

    def _running(self) -> Process:
        if not self._process.alive:
            if self._closed.is_set():
                raise RuntimeError("the model was unloaded")
            self._process, _ = self._started()
            if self._closed.is_set():
                self._process.end()
        return self._process

    def _started(self) -> tuple[Process, dict[str, Any]]:
        process = Process()
        header: dict[str, Any] = {"task": "session", "file": str(self._file), "device": self._device.model_dump()}
        header |= {"memory": self._memory}
        return process, opened(process, header, self._file, self._patience, ("inputs", "outputs"))


def opened(
    process: Process, header: dict[str, Any], file: Path, patience: float, ports: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Have a process open the model that ``header`` names; what it says of it. `SetupError` as it says.

    That is a ``provider``, and objects of the names ``ports``. `ProviderFailure` ``worker_died`` where it says
    neither, or ends meanwhile: for want of memory, or as it was killed.
    """
    try:
        process.send(header)
        said, _ = process.answer(patience)
    except Unsendable as error:
        process.end()
        raise SetupError("bad_value", f"what is set for the model in {file.parent.name} is no JSON: {error}") from None
    except Died as death:
        process.end()
        raise died(file.parent.name, death, "opened it") from None
    if "error" in said:
        process.end()
        code, message, hint = (str(said.get(word, "")) for word in ("code", "error", "hint"))
        raise SetupError(code if code in CODES else "bad_model_file", message, hint=hint)
    if not isinstance(said.get("provider"), str) or not all(isinstance(said.get(port), dict) for port in ports):
        process.stop(NO_ANSWER)
        raise died(file.parent.name, NO_ANSWER, "opened it")
    return said


def died(model: str, death: Died | str, doing: str = "worked") -> ProviderFailure:
    """The error of the calls that a process worked on, or opened a model for, when it ended."""
    message = f"the process of the model in {model} {death} while it {doing}"
    facts = ProviderFacts("local", model)
    return ProviderFailure("worker_died", message, facts=facts, hint="the next call starts it anew")
