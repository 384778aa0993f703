"""The packages of local models, imported at first use; `SetupError` says which extra brings an absent one."""

import importlib
import importlib.util
from typing import Any

from flowllm.core.errors import SetupError

_NEEDED = {"onnxruntime": "InferenceSession", "tokenizers": "Tokenizer"}
"""A module, and what it has where its files are its own."""


def repair(name: str = "onnxruntime") -> str:
    """Mends an installation in which wheels of onnxruntime wrote over each other, keeping the one of that name."""
    others = "onnxruntime onnxruntime-gpu onnxruntime-directml"
    return f"pip uninstall -y {others}; pip install --no-deps --force-reinstall {name}"


def onnxruntime() -> Any:
    """The module onnxruntime, of whichever distribution."""
    return _imported("onnxruntime")


def tokenizers() -> Any:
    """The module tokenizers."""
    return _imported("tokenizers")


def require() -> None:
    """`SetupError` where a package of local models is absent; nothing is imported."""
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise _absent(name)


def _imported(name: str) -> Any:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        raise _absent(name) from None
    except ImportError as error:
        raise _broken(name, str(error)) from None
    if not hasattr(module, _NEEDED[name]):
        raise _broken(name, f"it has no {_NEEDED[name]}")
    return module


def _absent(name: str) -> SetupError:
    message = f"local models need {name}, and it is not installed"
    hint = "pip install 'flowllm-pipelines[local]', or in a checkout FLOWLLM_EXTRAS=local bin/flowllm ..."
    return SetupError("missing_extra", message, hint=hint)


def _broken(name: str, why: str) -> SetupError:
    hint = repair() if name == "onnxruntime" else f"pip install --force-reinstall {name}"
    return SetupError("missing_extra", f"the installation of {name} is broken: {why}", hint=hint)
