"""How much one rendering may do and write, and the meter that stops it.

A step is one pass of a loop, weighed by the size of its body, or a filter's work on 64 characters
or one item. All counters are of one rendering; a stop has the code ``template_limit``. What Python does
in one go (a comparison, a search, a join) is paid for before it is done, by all that it may look at.
"""

from collections.abc import Mapping, Sized
from time import monotonic, thread_time
from typing import Any, Final

from flowllm.core.errors import NodeFailure
from flowllm.core.record import record
from flowllm.text.writing import least_size


@record
class Limits:
    """``steps`` of one rendering, ``output`` in characters written or built, and ``seconds`` of a processor.

    Where ``seconds`` is None, steps alone bound the time.
    """

    steps: int = 1_000_000
    output: int = 16 * 1024 * 1024
    seconds: float | None = None


DEFAULT: Final = Limits()
_CHARACTERS_A_STEP: Final = 64
_COMPARED_A_STEP: Final = 4096


class Meter:
    """What one rendering has used so far."""

    __slots__ = ("_begun", "_due", "limits", "steps", "written")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.steps = 0
        self.written = 0
        self._begun = self._due = 0.0
        if limits.seconds is not None:
            self._begun, self._due = thread_time(), monotonic() + limits.seconds

    def step(self, steps: int) -> None:
        """Take ``steps``; raises `NodeFailure` past the limit."""
        self.steps += steps
        if self.steps > self.limits.steps:
            raise NodeFailure("template_limit", f"the template takes more than {self.limits.steps} steps")
        if self._due and monotonic() > self._due:
            self._look_at_the_clock()

    def write(self, length: int) -> None:
        """Take ``length`` characters of output; raises `NodeFailure` past the limit."""
        self.written += length
        self.fit(self.written)

    def fit(self, length: int) -> None:
        """Say that there is to be a text of ``length``; raises `NodeFailure` past the limit."""
        if length > self.limits.output:
            raise NodeFailure("template_limit", f"the template writes more than {self.limits.output} characters")

    def build(self, length: int) -> None:
        """Say that a text of ``length`` is about to be made, and take the steps of that."""
        self.fit(length)
        self.step(length // _CHARACTERS_A_STEP)

    def _look_at_the_clock(self) -> None:
        # What others made of the time meanwhile is not the template's.
        assert self.limits.seconds is not None
        left = self.limits.seconds - (thread_time() - self._begun)
        if left <= 0:
            raise NodeFailure("template_limit", f"the template takes more than {self.limits.seconds:g} s")
        self._due = monotonic() + left

    def before(self, *values: Any) -> None:
        """Say that the texts of ``values`` are about to be made; raises `NodeFailure` past the limit, before any is."""
        self.fit(sum(map(least_size, values)))
        for value in values:
            if not isinstance(value, str):
                self.step(least_size(value) // _CHARACTERS_A_STEP)

    def read(self, value: Any) -> None:
        """Take the steps of going once through ``value``."""
        self.step(cost(value))

    def compare(self, value: Any, times: int = 1) -> None:
        """Take the steps of comparing ``value`` with others: of all that it holds, as often as it holds it."""
        held = [value]
        while held:
            one = held.pop()
            if isinstance(one, (str, bytes)):
                self.step(times * (1 + len(one) // _COMPARED_A_STEP))
            else:
                self.step(times * cost(one))
                if isinstance(one, (Mapping, list, tuple)):
                    held.extend(one.values() if isinstance(one, Mapping) else one)


def cost(value: Any) -> int:
    """The steps of going once through ``value``."""
    if isinstance(value, (str, bytes)):
        return 1 + len(value) // _CHARACTERS_A_STEP
    return 1 + len(value) if isinstance(value, Sized) else 1
