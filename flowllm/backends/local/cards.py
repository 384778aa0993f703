"""What a shelf's models are, as cards of a catalog: read from their files when one is asked for.

So a pipeline that asks a cross-encoder for vectors, or writes more than a model reads, is told before it runs, and
tokens are counted by the model's own tokenizer. A model that is not there or is broken has no card: running tells why.
"""

from collections.abc import Callable, Iterator, Mapping

from flowllm.backends.local.foresight import LocalForesight
from flowllm.backends.local.layout import Description
from flowllm.backends.local.shelf import Shelf
from flowllm.core.card import ModelCard
from flowllm.core.errors import FlowError

_TASKS = {"classify": "chat"}
"""What is asked of a model that does a task, where the words differ."""


class LocalCards(Mapping[str, ModelCard]):
    """Cards by the names of models. ``own`` are those that a provider file wrote; what they say wins."""

    def __init__(self, shelf: Callable[[], Shelf], own: Mapping[str, ModelCard]) -> None:
        self._shelf = shelf
        self._own = own
        self._read: dict[str, ModelCard | None] = {}

    def __getitem__(self, name: str) -> ModelCard:
        if name not in self._read:
            self._read[name] = self._card(name)
        found = self._read[name]
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._names() if self.get(name) is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _names(self) -> list[str]:
        try:
            listed = [name for name, _ in self._shelf().places.listed()]
        except (FlowError, OSError):
            listed = []
        return list(dict.fromkeys((*self._own, *listed)))

    def _card(self, name: str) -> ModelCard | None:
        own = self._own.get(name)
        try:
            found = card_of(name, self._shelf().describe(name))
        except (FlowError, OSError):
            return own
        return own.over(found) if own else found


def card_of(name: str, found: Description) -> ModelCard:
    """A description as a card of the catalog."""
    task = _TASKS.get(found.task, found.task)
    tokenizer = found.folder / "tokenizer.json"
    writes = found.task == "chat"
    return ModelCard(
        name,
        # What a classifier reads is cut at its window, which bounds no prompt.
        context=None if found.task == "classify" else found.window,
        max_input=found.window - 1 if writes and found.window else None,
        lacks=frozenset({"images"}) if writes else None,
        tasks=frozenset({task}),
        mode=task,
        tokenizer=str(tokenizer) if tokenizer.is_file() else "",
        foresight=LocalForesight(found),
    )
