"""Entries of a table that are the same model, put together as they are read, each looked at once.

The first entry of a model counts, with the prices that only another one tells; entries about sizes and qualities add
their prices. A table is untrusted: the work grows with its length, however many entries are one model.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

from flowllm.catalog.importing.entry import Table, doubts
from flowllm.core.card import ModelCard
from flowllm.core.prices import Prices, Rate

_Key = tuple[str, int, str, str, str]


class Gathered:
    """The models of a table so far; `finish` gives them to it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._models: dict[tuple[str, str], _Model] = {}

    def add(self, provider: str, card: ModelCard, name: str) -> None:
        """Take an entry named ``name``: a new model, or more about one that is there."""
        before = self._models.get((provider, card.id))
        if before is None:
            self._models[provider, card.id] = _Model(card)
            for fault in doubts(card, self._table.head.as_of or f"{date.max}"):
                self._table.doubt(fault, name)
            return
        self._table.skip("another entry is the same model", name)
        if before.differs(card):
            self._table.doubt("told_twice", name)
            before.take_further(card)

    def add_variant(self, provider: str, card: ModelCard) -> None:
        """Give prices of a size or quality to the model that they are of; after the other entries."""
        before = self._models.get((provider, card.id))
        if before is None:
            self._models[provider, card.id] = _Model(card)
        elif card.prices is not None:
            before.take_all(card.prices)

    def finish(self) -> None:
        """Put the models into the table."""
        for (provider, id_), model in self._models.items():
            self._table.models.setdefault(provider, {})[id_] = model.card()


class _Model:
    """One model and the rates that entries tell of it."""

    def __init__(self, card: ModelCard) -> None:
        self._card, self._prices = card, card.prices
        self._rates = dict.fromkeys(card.prices.rates if card.prices else ())
        self._amounts = {key_of(rate): rate.amount for rate in self._rates}

    def differs(self, other: ModelCard) -> bool:
        rates = other.prices.rates if other.prices else ()
        same = len(rates) == len(self._rates) and all(rate in self._rates for rate in rates)
        return not same or self._card.longest_prompt != other.longest_prompt

    def take_further(self, other: ModelCard) -> None:
        """The prices that only the other entry tells, where the two tell no price differently."""
        if self._prices is None or other.prices is None:
            return
        rates, known = other.prices.rates, self._amounts
        if all(known.get(key_of(rate), rate.amount) == rate.amount for rate in rates):
            self._keep(rate for rate in rates if key_of(rate) not in known)

    def take_all(self, prices: Prices) -> None:
        """Prices under conditions of their own."""
        self._prices = self._prices or replace(prices, rates=())
        self._keep(prices.rates)

    def _keep(self, rates: Iterable[Rate]) -> None:
        for rate in tuple(rates):
            self._rates.setdefault(rate)
            self._amounts.setdefault(key_of(rate), rate.amount)

    def card(self) -> ModelCard:
        """The model with all of its rates."""
        if self._prices is None or len(self._prices.rates) == len(self._rates):
            return self._card
        return replace(self._card, prices=replace(self._prices, rates=tuple(self._rates)))


def key_of(rate: Rate) -> _Key:
    """What a rate is of: two of one entry with the same key are one price."""
    return rate.item, rate.above, rate.service, rate.lifetime, rate.variant
