"""onnxruntime-genai behind one file: its generators as the rows of a cache, for the engine that writes by any other.

It is taken where it is worth it: a folder that its builder wrote, on the first CUDA device, with the package
installed; there it brings kernels and recorded graphs that a session alone has not. Its own memory is on that device
whatever the options say, so the others are left to sessions. Rows run one by one. Drawing, stop strings, grammars and
prompts stay those of this house. Imported at first use.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowllm.backends.local import devices
from flowllm.backends.local.devices import Device
from flowllm.backends.local.generation.graph import unfit
from flowllm.backends.local.generation.kv import Stepped
from flowllm.backends.local.layout import Description
from flowllm.core.errors import SetupError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODULE = "onnxruntime_genai"
_PARTS = frozenset({"encoder", "vision", "speech", "embedding", "pipeline"})
_NATIVE = "custom_ops"
_GROWS, _LIMIT = "arena_extend_strategy", "gpu_mem_limit"
_STRATEGIES = {"kNextPowerOfTwo": "0", "kSameAsRequested": "1"}
"""How an arena grows: ONNX Runtime has words for it, genai reads their numbers."""


def serves(description: Description, device: Device) -> bool:
    """Whether a model is better written with by genai on a device that was settled on, and it can be."""
    installed = importlib.util.find_spec(MODULE) is not None
    return description.layout == "genai" and (device.provider, device.index) == ("cuda", 0) and installed


def open_genai(description: Description, device: Device) -> Any:
    """The model on the processor or CUDA, by the options of the device's file.

    `SetupError` for what is not installed, not safe to open, or does not run on that device.
    """
    library = _library()
    _check(description.genai)
    word = device.provider
    try:
        config = library.Config(str(description.folder))
        config.clear_providers()
        if word != "cpu":
            config.append_provider(word)
        for option, value in _options(device).items():
            config.set_provider_option(word, option, value)
        model = library.Model(config)
    except Exception as error:  # noqa: BLE001  the library raises RuntimeError and its own alike
        told = str(error).strip()[:300]
        raise SetupError("bad_model_file", f"onnxruntime-genai cannot open {description.folder}: {told}") from None
    if str(model.device_type).lower() != word:
        raise devices.unavailable(word, f"onnxruntime-genai runs the model on {model.device_type} instead")
    return model


class GenaiCache:
    """A generator for each row."""

    def __init__(self, model: Any) -> None:
        self._library = _library()
        self._model = model
        self._rows: dict[int, Any] = {}

    def begin(self, row: int, most: int) -> None:
        """As `Cache`; its buffers are as long as the answer may get."""
        params = self._library.GeneratorParams(self._model)
        params.set_search_options(max_length=most, batch_size=1)
        self._rows[row] = self._library.Generator(self._model, params)

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        """As `Cache`: nothing is kept."""
        return 0

    def read(self, tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        """As `Cache`."""
        return {row: self._read(row, text) for row, text in tokens.items()}

    def _read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        import numpy as np

        generator = self._rows[row]
        generator.append_tokens(np.array(tokens, np.int32))
        logits: NDArray[Any] = generator.get_logits()[0, -1]
        return logits

    def step(self, tokens: dict[int, int]) -> Stepped:
        """As `Cache`."""
        import numpy as np

        logits = np.stack([self._read(row, [token]) for row, token in tokens.items()])
        return Stepped(logits, {row: place for place, row in enumerate(tokens)})

    def drop(self, row: int) -> None:
        """As `Cache`."""
        self._rows.pop(row, None)


def vocabulary(description: Description) -> int:
    """The length of a row of logits; `SetupError` where genai_config.json does not say it."""
    model = description.genai.get("model")
    found = model.get("vocab_size") if isinstance(model, Mapping) else None
    if not isinstance(found, int) or found < 1:
        raise unfit("its genai_config.json does not say how large its vocabulary is")
    return found


def _options(device: Device) -> dict[str, str]:
    """Those of its provider. An arena that is told how to grow takes its limit under another name."""
    options = devices.provider_options(device)
    grows = options.get(_GROWS)
    if grows is not None:
        options[_GROWS] = _STRATEGIES.get(grows, grows)
        if _LIMIT in options:
            options["max_mem"] = options.pop(_LIMIT)
    return options


def _check(value: Any) -> None:
    """Refuse native code and further models that a file names: only the decoder was looked at."""
    for key, held in value.items() if isinstance(value, Mapping) else ():
        if _NATIVE in str(key):
            raise SetupError("bad_model_file", f"its genai_config.json names native code to load (`{key}`)")
        if key in _PARTS:
            raise unfit(f"its genai_config.json names further models (`{key}`)")
        _check(held)
    for held in value if isinstance(value, list) else ():
        _check(held)


def _library() -> Any:
    try:
        import onnxruntime_genai
    except ImportError:
        message = "onnxruntime-genai was asked for, and it is not installed"
        raise SetupError("missing_extra", message, hint="pip install 'flowllm-pipelines[genai]'") from None
    return onnxruntime_genai
