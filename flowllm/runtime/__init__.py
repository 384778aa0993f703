"""Runs plans: bind once, run as often as wanted."""

from flowllm.runtime.bind import BoundFrame, Engine, bind_frame
from flowllm.runtime.run import Bound, Options, Result, RunStream, bind

__all__ = ["Bound", "BoundFrame", "Engine", "Options", "Result", "RunStream", "bind", "bind_frame"]
