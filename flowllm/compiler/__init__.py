"""Check, link and lower: a `PipelineSpec` to a `Plan`, or to all that is wrong with it."""

from flowllm.compiler.compiling import Compiled, compile_spec

__all__ = ["Compiled", "compile_spec"]
