"""``kind: cache``: a result that is kept and not worked out again for the same values."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from flowllm.core.durations import Duration
from flowllm.core.node import Control, Node, Slotted
from flowllm.core.spec import Schema


class Cache(Node):
    """Keeps what `of` gives, under a key of all that its nodes are and read from outside."""

    control: ClassVar[Control] = "cache"
    must: ClassVar[tuple[str, ...]] = ("of",)
    summary: ClassVar[str] = "Keep a result for runs that read the same values."

    of: Slotted = Field(default=None, description="The result to keep, read inside the region.")
    key: Slotted = Field(default=None, description="What the result depends on; absent: all that is read from outside.")
    ttl: Duration | None = Field(default=None, description="How long the result may be used; absent: for good.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``value`` is of the type of ``of``."""
        return {"value": dict(inputs.get("of", {})), "hit": {"type": "boolean"}}
