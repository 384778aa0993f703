"""``kind: map``: the same work for every item of a list."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from flowllm.core.node import Control, Node, Slotted
from flowllm.core.spec import Schema

_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {"index": {"type": "integer"}, "code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["index", "code", "message"],
}


class Map(Node):
    """Carries out the nodes of `around` once for each item of `over`, several at once, results in order."""

    control: ClassVar[Control] = "map"
    inner_ports: ClassVar[tuple[str, ...]] = ("index",)
    must: ClassVar[tuple[str, ...]] = ("over", "of")
    summary: ClassVar[str] = "Do the same for every item of a list."

    over: Slotted = Field(default=None, description="The list.")
    of: Slotted = Field(default=None, description="The result of one item, read inside the region.")
    name: str = Field(default="item", alias="as", description="What an item is called inside the region.")
    at_once: int = Field(default=8, ge=1, le=10_000, description="Items at work together, at most.")
    keep_going: bool = Field(default=False, description="Leave failed items out instead of failing with the first.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``items`` hold the type of ``of``."""
        return {
            "items": {"type": "array", "items": dict(inputs.get("of", {}))},
            "errors": {"type": "array", "items": _ERROR},
            "indexes": {"type": "array", "items": {"type": "integer"}},
        }
