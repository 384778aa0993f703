"""``kind: route``: one of several values, of which only the chosen one is worked out."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from flowllm.core.node import Control, Lately, Node, Slotted
from flowllm.core.spec import Schema


class Route(Node):
    """Gives the value of the case that `switch` names; what only other cases need does not run."""

    control: ClassVar[Control] = "route"
    must: ClassVar[tuple[str, ...]] = ("switch", "cases|default")
    summary: ClassVar[str] = "Choose one of several values; only the chosen one is worked out."

    switch: Slotted = Field(default=None, description="What is compared, as text, with the names of the cases.")
    cases: Lately = Field(default=None, description="A slot for each value that `switch` can have.")
    default: Slotted = Field(default=None, description="The slot for every other value; without it they fail.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``value`` has a type where all cases (``inputs`` as ``cases.NAME``, ``default``) have the same."""
        types = [schema for name, schema in inputs.items() if name == "default" or name.startswith("cases.")]
        same = bool(types) and all(schema == types[0] for schema in types)
        return {"value": dict(types[0]) if same else {}, "case": {"type": "string"}}
