"""What a model of this machine says of a request before it is sent: by its small files, without being loaded."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flowllm.backends.local.layout import Description
from flowllm.backends.local.refusals import ASKS, refusals
from flowllm.core.card import Refusal
from flowllm.core.errors import FlowError
from flowllm.core.request import Chat, Request, Sampling
from flowllm.text.tokens import most_tokens

if TYPE_CHECKING:
    from flowllm.backends.local.generation.fencing import Fence
    from flowllm.backends.local.generation.prompting import Prompting
    from flowllm.backends.local.tokenizing import Tokenizer

_A_DAY = 1_800_000_000.0
"""A time for templates that write the date, which is as long on one day as on another."""


class LocalForesight:
    """The `core.card.Foresight` of one model."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._endless = False
        """Whether the template once ran into its limits: nobody waits for that again."""

    def refusals(self, request: Request) -> Iterator[Refusal]:
        """What it would refuse; nothing of a request for another task, which its card tells."""
        task = self._description.task
        if not isinstance(request, ASKS[task]):
            return
        if task == "chat" and isinstance(request, Chat):
            yield from self._of_writing(request)
        else:
            yield from refusals(request, self._description)

    def tokens(self, request: Request) -> int | None:
        """As a writer counts them; None for an encoder, and where the template or the tokenizer fails."""
        return self._counted(
            request, lambda chat: len(self._prompting.prompt(chat, _A_DAY, self._fence, self._tokenizer).tokens)
        )

    def most_tokens(self, request: Request) -> int | None:
        """By the text alone, so that no tokenizer is read for a short one."""
        return self._counted(request, lambda chat: most_tokens(self._prompting.text(chat, _A_DAY)))

    def _counted(self, request: Request, count: Callable[[Chat], int]) -> int | None:
        if self._description.task != "chat" or not isinstance(request, Chat) or self._endless:
            return None
        try:
            return count(request)
        except FlowError as error:
            self._endless = error.code == "template_limit"
            return None

    def _of_writing(self, request: Chat) -> Iterator[Refusal]:
        from flowllm.backends.local.generation.prompting import sampled_by
        from flowllm.backends.local.generation.sampling import drawing

        own = sampled_by(self._description)
        for word, value in request.extra.items():
            alone = replace(request, extra={word: value}, sampling=Sampling())
            yield from _told(lambda one=alone: drawing(one, own), "extra", word)  # type: ignore[misc]
        yield from _told(lambda: drawing(replace(request, extra={}), own))
        yield from self._prompting.refusals(request)

    @cached_property
    def _prompting(self) -> "Prompting":
        from flowllm.backends.local.generation.prompting import Prompting

        return Prompting(self._description)

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from flowllm.backends.local.tokenizing import Tokenizer

        return Tokenizer(self._description.folder)

    @cached_property
    def _fence(self) -> "Fence":
        from flowllm.backends.local.generation.fencing import Fence
        from flowllm.backends.local.generation.prompting import special_tokens

        return Fence(special_tokens(self._tokenizer))


def _told(work: Callable[[], Any], *steps: str) -> Iterator[Refusal]:
    try:
        work()
    except FlowError as error:
        yield Refusal(error.code, error.message, error.hint, steps, is_key=error.code == "unknown_field")
