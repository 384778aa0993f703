"""How much one rendering may do and write, and the meter that stops it.

A step is one pass of a loop, weighed by the size of its body, or a filter's work on 64 characters
or one item. Both counters are of one rendering; a stop has the code ``template_limit``.
"""

from collections.abc import Sized
from typing import Any, Final

from flowllm.core.errors import NodeFailure
from flowllm.core.record import record
from flowllm.text.writing import least_size


@record
class Limits:
    """``steps`` of one rendering, and ``output`` in characters written or built."""

    steps: int = 1_000_000
    output: int = 16 * 1024 * 1024


DEFAULT: Final = Limits()
_CHARACTERS_A_STEP: Final = 64


class Meter:
    """What one rendering has used so far."""

    __slots__ = ("limits", "steps", "written")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.steps = 0
        self.written = 0

    def step(self, steps: int) -> None:
        """Take ``steps``; raises `NodeFailure` past the limit."""
        self.steps += steps
        if self.steps > self.limits.steps:
            raise NodeFailure("template_limit", f"the template takes more than {self.limits.steps} steps")

    def write(self, length: int) -> None:
        """Take ``length`` characters of output; raises `NodeFailure` past the limit."""
        self.written += length
        self.build(self.written)

    def build(self, length: int) -> None:
        """Say that a text of ``length`` is about to be made; raises `NodeFailure` past the limit."""
        if length > self.limits.output:
            raise NodeFailure("template_limit", f"the template writes more than {self.limits.output} characters")

    def before(self, *values: Any) -> None:
        """Say that the texts of ``values`` are about to be made; raises `NodeFailure` past the limit, before any is."""
        self.build(sum(map(least_size, values)))

    def read(self, value: Any) -> None:
        """Take the steps of going once through ``value``."""
        self.step(cost(value))


def cost(value: Any) -> int:
    """The steps of going once through ``value``."""
    if isinstance(value, (str, bytes)):
        return 1 + len(value) // _CHARACTERS_A_STEP
    return 1 + len(value) if isinstance(value, Sized) else 1
