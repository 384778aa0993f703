"""What kinds of nodes share that count the tokens of a model."""

from pydantic import Field, PrivateAttr

from flowllm.core.node import Node
from flowllm.text.tokens import Counter, counter_for


class Counting(Node):
    """A kind with the field ``for``: an estimate for its model, or the tokenizer that was given to it."""

    counted_for: str | None = Field(
        default=None, alias="for", description="The model whose tokens are counted; unknown ones are estimated."
    )

    _counter: Counter | None = PrivateAttr(default=None)

    def count_with(self, counter: Counter) -> None:
        """Count by the tokenizer of the model ``for`` which is counted, and not by an estimate."""
        self._counter = counter

    @property
    def _counts(self) -> Counter:
        return self._counter or counter_for(self.counted_for)
