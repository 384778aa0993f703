"""``kind: split``: a text in parts that a model can take."""

from functools import partial
from typing import ClassVar, Self, TypedDict, cast

from pydantic import Field, model_validator

from flowllm.core.scope import Scope
from flowllm.text.counting import Counting
from flowllm.text.split import By, sentences_of_prose, split
from flowllm.text.tokens import LARGE


class SplitPorts(TypedDict):
    """The parts and, for each, what stands between it and the next one; both of one length.

    Without overlap ``parts[0] + gaps[0] + parts[1] + ...`` is the text exactly; no part is empty, and
    blanks before the first unit belong to the first part. An empty text has no parts. With ``prose``
    what stands before the first sentence is in neither.
    """

    parts: list[str]
    gaps: list[str]


class Split(Counting):
    """Splits a text at sentences, paragraphs or words, and packs them up to a number of tokens."""

    summary: ClassVar[str] = "Split a text into parts."

    by: By = Field(
        default="paragraphs", description="The units that stay whole: sentences, paragraphs, or words (tokens)."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Units are packed into a part while they fit, longer ones are split; absent: a part is a unit.",
    )
    overlap: int = Field(default=0, ge=0, description="Tokens, in whole units, that a part repeats of the one before.")
    prose: bool = Field(
        default=False,
        description="With by: sentences: Markdown headings, rows of tables and fenced code are gaps, not parts.",
    )

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.by == "tokens" and self.max_tokens is None:
            raise ValueError("by: tokens needs max_tokens")
        if self.overlap and (self.max_tokens is None or self.overlap * 2 > self.max_tokens):
            raise ValueError("overlap is at most half of max_tokens")
        if self.prose and (self.by != "sentences" or self.max_tokens is not None):
            raise ValueError("prose goes with by: sentences, and without max_tokens")
        return self

    async def run(self, scope: Scope, text: str) -> SplitPorts:
        """Split the text."""
        work = partial(self._split, text)
        large = len(text) > LARGE or self._counts.exact
        return cast("SplitPorts", await scope.run_in_thread(work)) if large else work()

    def _split(self, text: str) -> SplitPorts:
        if self.prose:
            found = sentences_of_prose(text)
        else:
            found = split(text, self.by, self.max_tokens, self.overlap, self._counts)
        return {"parts": found.parts, "gaps": found.gaps}
