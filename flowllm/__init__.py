"""Declarative LLM pipelines.

`Flow` loads, checks and runs a pipeline, `node` makes a kind from a function, `count_tokens` says how long a text
is for a model, `FlowError` is the root of every error. They are imported at first use, so that `import flowllm`
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowllm.api import Flow, models, node
    from flowllm.api.counting import count as count_tokens
    from flowllm.core.errors import FlowError

__version__ = "0.1.0"
__all__ = ["Flow", "FlowError", "__version__", "count_tokens", "models", "node"]

_HOMES = {
    "Flow": ("flowllm.api", "Flow"),
    "FlowError": ("flowllm.core.errors", "FlowError"),
    "count_tokens": ("flowllm.api.counting", "count"),
    "models": ("flowllm.api.models", ""),
    "node": ("flowllm.api", "node"),
}


def __getattr__(name: str) -> object:
    """Import a public name from its home at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flowllm' has no attribute '{name}'")
    home, there = _HOMES[name]
    module = import_module(home)
    return getattr(module, there) if there else module


def __dir__() -> list[str]:
    """Names that completion offers."""
    return sorted(__all__)
