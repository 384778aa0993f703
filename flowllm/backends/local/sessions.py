"""Opening a graph on a device, and making sure that it runs there.

ONNX Runtime gives a session on the processor where another device was asked for and failed: such a session is an
error here, unless the device's file says ``fallback: cpu``.
"""

import re
from pathlib import Path
from typing import Any, Protocol

from flowllm.backends.local import devices, libraries
from flowllm.backends.local.binding import Bound
from flowllm.backends.local.devices import PROVIDERS, Device
from flowllm.core.errors import SetupError
from flowllm.core.record import record

_SPACES = re.compile(r"\s+")
_SLOWER_FUSED = "SkipLayerNormFusion"
"""On a processor the fused operator takes longer than the two that it replaces, most in int8 (onnxruntime 1.32)."""
_NVIDIA = (PROVIDERS["cuda"], PROVIDERS["tensorrt"])
_QUIET = 4
"""Only what ends the process is logged: failures come as errors."""


class Session(Protocol):
    """What runs a graph: a session of this process, or one in a process of its own."""

    @property
    def provider(self) -> str:
        """The execution provider that really runs it."""
        ...

    @property
    def inputs(self) -> dict[str, str]:
        """Names of inputs with their element types (``tensor(int64)``)."""
        ...

    def run(self, feeds: dict[str, Any], outputs: tuple[str, ...] | None = None) -> list[Any]:
        """Arrays in, arrays out."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


@record
class Opened:
    """A session of ONNX Runtime. ``provider`` is what really runs it, ``device`` what was settled on.

    ``inputs`` and ``outputs`` are names with their element types (``tensor(int64)``), in the graph's order. ``bound``
    runs it with buffers on an NVIDIA GPU.
    """

    session: Any
    device: Device
    provider: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    bound: Bound | None = None

    @property
    def fell_back(self) -> bool:
        """Whether the processor took over from the device that was asked for."""
        return self.provider != self.device.execution_provider

    def run(self, feeds: dict[str, Any], outputs: tuple[str, ...] | None = None) -> list[Any]:
        """Arrays in, arrays out; the interpreter's lock is free meanwhile."""
        if self.bound is not None:
            return self.bound.run(feeds, outputs or tuple(self.outputs))
        found: list[Any] = self.session.run(list(outputs) if outputs else None, feeds)
        return found

    def close(self) -> None:
        """Nothing: the session's memory goes with whoever holds this."""


PROBE = bytes.fromhex(
    "080812003a3b0a100a017812017922084964656e74697479120570726f62655a0f0a0178120a0a08080112040a020801620f"
    "0a0179120a0a08080112040a02080142040a001011"
)
"""A graph that gives back what it is given."""


def open_session(file: Path, device: Device) -> Opened:
    """Open a graph. `SetupError`: the file is broken, or the device cannot be used."""
    return _opened(str(file), file.name, device)


def probe(device: Device) -> str:
    """The execution provider that really runs a graph on a device. `SetupError` as `open_session`."""
    return _opened(PROBE, "a graph", device).provider


def _opened(source: str | bytes, name: str, device: Device) -> Opened:
    runtime = libraries.onnxruntime()
    device = devices.settled(device)
    try:
        session = runtime.InferenceSession(source, sess_options=_options(runtime, device), providers=_providers(device))
    except Exception as error:  # noqa: BLE001  the classes of ONNX Runtime have no common one
        raise _failed(source, error) from None
    inputs, outputs = _types(session.get_inputs()), _types(session.get_outputs())
    provider = session.get_providers()[0]
    bound = Bound(session, device.index, graphs=device.graphs) if provider in _NVIDIA else None
    opened = Opened(session, device, provider, inputs, outputs, bound)
    if opened.fell_back and device.fallback != "cpu":
        word = next((word for word, name in PROVIDERS.items() if name == opened.provider), opened.provider)
        raise devices.unavailable(device.provider, f"onnxruntime runs {name} on {word} instead")
    return opened


def _providers(device: Device) -> list[Any]:
    """The device first, then what takes the operators that it cannot: a GPU of NVIDIA before the processor."""
    second = device.model_copy(update={"provider": "cuda", "options": {}, "graphs": False})
    behind = [(PROVIDERS["cuda"], devices.provider_options(second))] if device.provider == "tensorrt" else []
    last = [] if device.provider == "cpu" else [PROVIDERS["cpu"]]
    return [(device.execution_provider, devices.provider_options(device)), *behind, *last]


def _types(ports: Any) -> dict[str, str]:
    return {port.name: port.type for port in ports}


def _options(runtime: Any, device: Device) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    options.enable_cpu_mem_arena = device.arena != "off"
    spinning = "1" if device.spinning else "0"
    entries = {"session.intra_op.allow_spinning": spinning, "session.inter_op.allow_spinning": spinning}
    if device.provider == "cpu":
        entries["optimization.disable_specified_optimizers"] = _SLOWER_FUSED
    for word, value in {**entries, **device.session}.items():
        options.add_session_config_entry(word, devices.text_of(value))
    return options


def _failed(source: str | bytes, error: Exception) -> SetupError:
    told = _SPACES.sub(" ", str(error)).strip()[:300]
    file = source if isinstance(source, str) else "a graph"
    return SetupError("bad_model_file", f"{file} cannot be opened: {told}", hint="get the files of the model again")
