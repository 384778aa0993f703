"""``kind: retry``: work that is repeated until it is good enough."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from flowllm.core.node import Control, Node, Slotted
from flowllm.core.spec import Schema


class Retry(Node):
    """Repeats the nodes of `around` while `until` is false or something inside gave bad output."""

    control: ClassVar[Control] = "retry"
    inner_ports: ClassVar[tuple[str, ...]] = ("attempt", "last", "problem")
    must: ClassVar[tuple[str, ...]] = ("of",)
    conditions: ClassVar[frozenset[str]] = frozenset({"until"})
    summary: ClassVar[str] = "Repeat work until its result is good enough."

    of: Slotted = Field(default=None, description="The result of an attempt, read inside the region.")
    until: Slotted = Field(default=None, description="Whether an attempt is good; absent: when nothing failed.")
    problem: Slotted = Field(default=None, description="What was wrong, as text, for the next attempt to read.")
    attempts: int = Field(default=3, ge=1, le=100, description="Attempts at most, the first one included.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``value`` is of the type of ``of``."""
        return {
            "value": dict(inputs.get("of", {})),
            "attempts": {"type": "integer"},
            "problem": {"type": ["string", "null"]},
        }
