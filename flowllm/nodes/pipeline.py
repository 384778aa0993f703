"""``kind: pipeline``: another pipeline as one step, with a scope of its own."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from flowllm.core.node import Control, Node
from flowllm.core.spec import Schema


class Pipeline(Node):
    """Runs the pipeline that `use` names; its inputs are given with `in`, its outputs are the ports."""

    control: ClassVar[Control] = "pipeline"
    open_inputs: ClassVar[bool] = True
    summary: ClassVar[str] = "Use another pipeline as one step."

    use: str = Field(
        min_length=1, description="The pipeline: a file beside this one (`./rank.yaml`) or `library/name`."
    )

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """None are known here: the compiler reads them off the outputs of the pipeline that is used."""
        return {}
