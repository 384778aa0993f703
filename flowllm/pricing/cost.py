"""Usage and prices to an itemised cost, in exact decimals of US dollars.

Prices are per million tokens. The classes of tokens are made disjoint before they are multiplied:
input without what was read from or written to the provider's cache, output with its reasoning. So
nothing is billed twice, and the items always sum to the total. What is not known is None, never 0.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from flowllm.core.card import Catalog, ModelCard
from flowllm.core.delta import Usage
from flowllm.core.event import Cost

ZERO = Decimal(0)
FREE = Cost(ZERO, {}, "free")
UNKNOWN = Cost(None)


def price(model: ModelCard | None, usage: Usage | None) -> Cost:
    """What ``usage`` of ``model`` costs; ``total`` is None when a price or a count is not known.

    ``source`` names the day of the prices and says when counts were estimated or corrected.
    """
    if model is None or model.price is None or usage is None:
        return UNKNOWN
    tokens = _classes(model, usage)
    if tokens is None:
        return Cost(None, {}, _source(model, usage, corrected=False))
    counts, corrected = tokens
    source = _source(model, usage, corrected=corrected)
    items = _items(counts, model.price)
    return Cost(None if items is None else sum(items.values(), ZERO), items or {}, source)


def _classes(model: ModelCard, usage: Usage) -> tuple[dict[str, int], bool] | None:
    """Tokens by disjoint class, and whether the provider's counts had to be corrected."""
    output = usage.output if usage.output is not None or "chat" in model.tasks else 0
    if usage.input is None or output is None:
        return None
    cached, written = usage.cached_input or 0, usage.cache_write or 0
    whole = max(0, usage.input)
    counts = {"cached_input": min(max(0, cached), whole)}
    counts["cache_write"] = min(max(0, written), whole - counts["cached_input"])
    counts["input"] = whole - counts["cached_input"] - counts["cache_write"]
    counts["output"] = max(0, output)
    given = (usage.input, cached, written, output)
    return counts, given != (whole, counts["cached_input"], counts["cache_write"], counts["output"])


def _items(counts: Mapping[str, int], prices: Mapping[str, Decimal]) -> dict[str, Decimal] | None:
    """Dollars by class, those without tokens left out; None when a price is missing.

    Where the provider's cache has no price of its own, its tokens cost as much as other input.
    """
    items = {}
    for name, count in counts.items():
        rate = prices.get(name, prices.get("input") if name.startswith("cache") else None)
        if count and rate is None:
            return None
        if count and rate is not None:
            items[name] = (count * rate).scaleb(-6)
    return items


def _source(model: ModelCard, usage: Usage, *, corrected: bool) -> str:
    words = [f"prices of {model.checked}" if model.checked else "prices without a date"]
    words += ["estimated tokens"] if usage.estimated else []
    words += ["corrected counts"] if corrected else []
    return ", ".join(words)


def pricing_of(catalog: Catalog) -> Callable[[str, Usage | None], Cost]:
    """Prices by ``provider/model``; free are providers of this process, and of those that say so each model
    without a price of its own, whatever was counted.
    """

    def priced(model: str, usage: Usage | None) -> Cost:
        provider, _, name = model.partition("/")
        card = catalog.providers.get(provider)
        if card is None:
            return UNKNOWN
        entry = card.models.get(name)
        priced = entry is not None and any((entry.price or {}).values())
        return FREE if card.local or (card.free and not priced) else price(entry, usage)

    return priced
