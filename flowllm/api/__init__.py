"""The Python API: load a pipeline, check it, run it, stream it. The only package that sees every layer."""

from flowllm.api.engine import RunOptions
from flowllm.api.environment import Environment
from flowllm.api.flow import Flow
from flowllm.api.result import FlowResult
from flowllm.core.node import node_from_function as node
from flowllm.runtime.budget import Budget

__all__ = ["Budget", "Environment", "Flow", "FlowResult", "RunOptions", "node"]
