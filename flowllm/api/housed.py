"""The providers of an environment, among them this machine, whose models are read from their folders when asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flowllm.core.card import ProviderCard

if TYPE_CHECKING:
    from flowllm.api.environment import Environment
    from flowllm.backends.local.cards import LocalCards
    from flowllm.backends.local.shelf import Shelf

PROVIDER = "local"
"""The provider whose models are folders of this machine."""


class Housed(Mapping[str, ProviderCard]):
    """Cards by name; that of this machine has the models that are there."""

    def __init__(self, environment: "Environment", known: Mapping[str, ProviderCard]) -> None:
        self._environment = environment
        self._known = known
        self._made: dict[str, ProviderCard] = {}

    def __getitem__(self, name: str) -> ProviderCard:
        card = self._known[name]
        if name != PROVIDER or not card.local:
            return card
        if name not in self._made:
            self._made[name] = replace(card, models=self._models(card))
        return self._made[name]

    def _models(self, card: ProviderCard) -> "LocalCards":
        from flowllm.backends.local.cards import LocalCards

        def shelf() -> "Shelf":
            from flowllm.api.local import shelf_of

            return shelf_of(self._environment, card)

        return LocalCards(shelf, card.models)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
