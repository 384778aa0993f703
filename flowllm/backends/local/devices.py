"""Where a local model runs: ``conf/device/NAME.yaml`` or a word, to the words of ONNX Runtime.

A device that is asked for and cannot be used is an error, unless ``fallback: cpu`` is written. What can be used
is found by asking for the device's libraries, never by what a wheel was compiled with.
"""

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flowllm.backends.local import libraries
from flowllm.core.errors import PipelineInvalid, Problem, SetupError
from flowllm.core.nearest import did_you_mean
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.text.misfits import Part, Steps, misfits

Kind = Literal["auto", "cpu", "cuda", "tensorrt", "migraphx", "rocm", "coreml", "directml"]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "rocm": "MIGraphXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""Words and the execution providers that they mean."""

_LIBRARIES = {
    "cuda": ("libcuda.so.1", "libcublasLt.so.{cuda}", "libcudnn.so.9"),
    "tensorrt": ("libcuda.so.1", "libnvinfer.so.10", "libnvonnxparser.so.10"),
    "migraphx": ("libmigraphx_c.so.3",),
}
_CUDA = "13"
_SYSTEMS = {"coreml": "darwin", "directml": "win32"}
_BEST = ("cuda", "migraphx", "coreml", "directml")
"""What ``auto`` tries before the processor, in this order."""

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,3})?) ?([kmg]?i?b)?", re.ASCII | re.IGNORECASE)


def size(value: object) -> int:
    """Bytes: a number, or text as ``8GB`` and ``512MiB``; ValueError otherwise."""
    found = _SIZE.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if found is None or (found[2] or "").lower() not in _UNITS:
        message = f"`{value}` is no size such as 8GB or 512MiB"
        raise ValueError(message)
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


Bytes = Annotated[int, BeforeValidator(size), Field(ge=0)]


class Device(BaseModel):
    """A device file. ``options`` go to the execution provider and ``session`` to the session as they are.

    ``memory`` limits the device's arena (bytes); ``arena`` says how it grows. ``graphs`` records CUDA graphs,
    ``engines`` is a folder where TensorRT keeps what it built. ``streams`` above 1 lets copies run beside the
    work. ``threads`` 0 takes every core; ``spinning`` lets threads wait busily. ``precision`` chooses among the
    files of a model. ``fallback: cpu`` lets the processor take over where the device cannot be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Kind = "auto"
    index: int = Field(default=0, ge=0, le=255)
    memory: Bytes | None = None
    arena: Literal["double", "as_needed", "off"] | None = None
    streams: int = Field(default=1, ge=1, le=16)
    graphs: bool = False
    engines: str = ""
    threads: int = Field(default=0, ge=0, le=1024)
    spinning: bool = False
    precision: str = ""
    fallback: Literal["", "cpu"] = ""
    options: Mapping[str, str | int | float | bool] = {}
    session: Mapping[str, str | int | float | bool] = {}

    @property
    def execution_provider(self) -> str:
        """The word of ONNX Runtime; that of the processor for ``auto``."""
        return PROVIDERS.get(self.provider, PROVIDERS["cpu"])


Place = Callable[[Steps, Part], Origin]
"""Where the key or the value stands that steps lead to."""


def parse_device(data: Any, name: str, place: Place = lambda steps, part: UNKNOWN) -> Device:
    """A device file to a `Device`; `PipelineInvalid` with every mistake in it."""
    value = {} if data is None else data
    try:
        return Device.model_validate(value)
    except ValidationError as error:
        found = misfits(error, value, Device, "a device file", {"provider": "cuda", "memory": "8GB"})
        where = f"device/{name}"
        raise PipelineInvalid(
            Problem(
                one.code,
                one.message,
                ".".join((where, *map(str, one.steps))),
                place(one.steps, one.part),
                one.hint,
            )
            for one in found
        ) from None


def no_device(name: str, known: tuple[str, ...]) -> SetupError:
    """There is no file of that name, and it is no word."""
    hint = did_you_mean(name, known) or f"known are {', '.join(known)}"
    return SetupError("device_unavailable", f"there is no device `{name}`", hint=hint)


Loads = Callable[[str], bool]
"""Whether a shared library can be loaded."""


def loads(library: str) -> bool:
    """Load a shared library, as ONNX Runtime would."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def lacking(word: str, compiled: frozenset[str] | None = None, can_load: Loads = loads) -> str:
    """Why a kind of device cannot be used here, in words; empty where nothing speaks against it.

    ``compiled`` are the execution providers of the installed wheel: having one is needed and proves nothing.
    """
    word = "migraphx" if word == "rocm" else word
    if word in ("cpu", "auto"):
        return ""
    known = _compiled(can_load) if compiled is None else compiled
    if PROVIDERS[word] not in known:
        return f"the installed onnxruntime has no {PROVIDERS[word]}"
    if word in _SYSTEMS and sys.platform != _SYSTEMS[word]:
        return f"{word} needs {_SYSTEMS[word]}"
    needed = [library.format(cuda=_cuda()) for library in _LIBRARIES.get(word, ())]
    absent = [library for library in needed if not can_load(library)]
    return f"{', '.join(absent)} cannot be loaded" if absent else ""


def _compiled(can_load: Loads) -> frozenset[str]:
    """What the installed wheel was compiled with; libraries that NVIDIA's own packages brought are loaded."""
    runtime = libraries.onnxruntime()
    known = frozenset(runtime.get_available_providers())
    if PROVIDERS["cuda"] in known and can_load("libcuda.so.1"):
        # It prints what it does not find.
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()
    return known


def _cuda() -> str:
    """The major version of CUDA that the installed wheel was built for; 13 where it does not say."""
    version = str(getattr(libraries.onnxruntime(), "cuda_version", None) or _CUDA)
    return version.partition(".")[0]


def settled(device: Device, why_not: Callable[[str], str] = lacking) -> Device:
    """The device that is really to be used: ``auto`` becomes one that works, ``fallback`` takes over where it may.

    `SetupError` ``device_unavailable`` where the device asked for cannot be used.
    """
    if device.provider == "auto":
        found = next((word for word in _BEST if not why_not(word)), "cpu")
        return device.model_copy(update={"provider": found})
    why = why_not(device.provider)
    if not why:
        return device
    if device.fallback == "cpu":
        return _on_cpu(device)
    raise unavailable(device.provider, why)


def unavailable(word: str, why: str) -> SetupError:
    """A device that was asked for cannot be used."""
    extra = {"cuda": "gpu", "tensorrt": "gpu"}.get(word, "")
    install = f"pip install 'flowllm-pipelines[{extra}]', or " if extra else ""
    hint = f"{install}FLOWLLM_DEVICE=auto, or write `fallback: cpu` into the device's file"
    return SetupError("device_unavailable", f"models cannot run on {word} here: {why}", hint=hint)


def _on_cpu(device: Device) -> Device:
    """The same with the processor; options of the other device mean nothing to it."""
    return device.model_copy(update={"provider": "cpu", "options": {}, "memory": None})


def provider_options(device: Device) -> dict[str, str]:
    """The options of the execution provider, in its words; what is written in ``options`` wins."""
    made = {"cuda": _options_of_cuda, "tensorrt": _tensorrt, "coreml": _none, "cpu": _none, "auto": _none}
    options = made.get(device.provider, _indexed)(device)
    return {word: text_of(value) for word, value in {**options, **device.options}.items()}


def _none(device: Device) -> dict[str, Any]:
    return {}


def _indexed(device: Device) -> dict[str, Any]:
    return {"device_id": device.index}


def _options_of_cuda(device: Device) -> dict[str, Any]:
    options: dict[str, Any] = {"device_id": device.index, "do_copy_in_default_stream": device.streams == 1}
    if device.memory is not None:
        options["gpu_mem_limit"] = device.memory
    if device.arena in ("double", "as_needed"):
        strategy = {"double": "kNextPowerOfTwo", "as_needed": "kSameAsRequested"}[device.arena]
        options["arena_extend_strategy"] = strategy
    return options | ({"enable_cuda_graph": True} if device.graphs else {})


def _tensorrt(device: Device) -> dict[str, Any]:
    options: dict[str, Any] = {"device_id": device.index, "trt_fp16_enable": device.precision == "fp16"}
    if device.memory is not None:
        options["trt_max_workspace_size"] = device.memory
    if device.engines:
        kept = {"trt_engine_cache_enable": True, "trt_engine_cache_path": device.engines}
        options |= {**kept, "trt_timing_cache_enable": True, "trt_timing_cache_path": device.engines}
    if device.streams > 1:
        options["trt_auxiliary_streams"] = device.streams
    return options | ({"trt_cuda_graph_enable": True} if device.graphs else {})


def text_of(value: object) -> str:
    """A value as ONNX Runtime takes it: 1 and 0 for yes and no."""
    return str(int(value)) if isinstance(value, bool) else str(value)
