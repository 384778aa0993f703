"""What an importer gives: models by provider and id, what was left out and why, and what is doubtful."""

from dataclasses import field

from flowllm.catalog.registry_rows import Head
from flowllm.core.card import ModelCard
from flowllm.core.prices import is_plain
from flowllm.core.record import record

FAULTS = {
    "no_input_price": "a chat model without a price of input",
    "no_window": "a chat model without a window",
    "free": "a chat model that costs 0 for input and output",
    "caching_unpriced": "caches prompts, and no price of what is read from the cache",
    "past_deprecation": "past the day of its deprecation",
    "no_source": "no page that tells its facts",
    "no_mode": "nothing says what it does",
    "unknown_key": "a key that nothing reads",
    "unpriced_unit": "a price for what no request counts",
    "bad_number": "a number that is negative, absurd or none",
    "dear_input": "input is dearer than output",
    "told_twice": "two entries of one model differ; the first one counts, with what else the other prices",
}
"""What is counted and listed of a table that is read, and what each word means."""


@record
class Table:
    """A table that was read. ``models`` by provider and id; ``skipped`` and ``faults`` by reason, with entry names.

    ``rows`` counts the entries that the table has, the skipped ones too. ``whole``: the table is about all providers.
    """

    head: Head
    rows: int = 0
    whole: bool = True
    models: dict[str, dict[str, ModelCard]] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        """Leave an entry out."""
        self.skipped.setdefault(reason, []).append(name)

    def doubt(self, fault: str, name: str) -> None:
        """Note a fault of `FAULTS`."""
        self.faults.setdefault(fault, []).append(name)


def doubts(card: ModelCard, today: str) -> list[str]:
    """The faults of a model that can be seen in what is known of it."""
    rates = {rate.item: rate.amount for rate in reversed(card.prices.rates if card.prices else ()) if is_plain(rate)}
    chat = card.mode == "chat"
    paid, earned = rates.get("input"), rates.get("output")
    found = {
        "no_input_price": chat and paid is None,
        "no_window": chat and card.window is None,
        "free": chat and paid == 0 and earned == 0,
        "caching_unpriced": "caching" in (card.supports or ()) and "cached_input" not in rates,
        "past_deprecation": bool(card.deprecated) and card.deprecated < today,
        "no_source": not card.source,
        "no_mode": not card.mode,
        "dear_input": chat and paid is not None and earned is not None and earned > 0 and paid > earned,
    }
    return [fault for fault, seen in found.items() if seen]
