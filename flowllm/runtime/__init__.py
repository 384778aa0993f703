"""Runs plans: bind once, run as often as wanted."""

from flowllm.runtime.bind import Engine
from flowllm.runtime.run import Bound, Options, Result, RunStream, bind

__all__ = ["Bound", "Engine", "Options", "Result", "RunStream", "bind"]
