"""The Python API: load a pipeline, check it, run it, stream it. The only package that sees every layer.

Its names are imported at first use: who checks a pipeline need not wait for what runs one.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowllm.api.engine import RunOptions
    from flowllm.api.environment import Environment
    from flowllm.api.flow import Flow
    from flowllm.api.result import FlowResult
    from flowllm.core.node import node_from_function as node
    from flowllm.runtime.budget import Budget

__all__ = ["Budget", "Environment", "Flow", "FlowResult", "RunOptions", "node"]

_HOMES = {
    "Budget": ("flowllm.runtime.budget", "Budget"),
    "Environment": ("flowllm.api.environment", "Environment"),
    "Flow": ("flowllm.api.flow", "Flow"),
    "FlowResult": ("flowllm.api.result", "FlowResult"),
    "RunOptions": ("flowllm.api.engine", "RunOptions"),
    "node": ("flowllm.core.node", "node_from_function"),
}


def __getattr__(name: str) -> object:
    """Import a public name from its home at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flowllm.api' has no attribute '{name}'")
    module, there = _HOMES[name]
    return getattr(import_module(module), there)


def __dir__() -> list[str]:
    """Names that completion offers."""
    return sorted(__all__)
