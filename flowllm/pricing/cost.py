"""Usage and prices to an itemised cost, in exact decimals of US dollars: pure.

The classes of tokens are made disjoint before they are multiplied (`pricing.classes`), so nothing is billed twice,
and the lines always sum exactly to the total. What is not known is None, never 0: one line without a price makes
the total unknown, and the known lines are shown.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from flowllm.core.card import Catalog, ModelCard
from flowllm.core.delta import Usage
from flowllm.core.event import Cost, Line
from flowllm.core.prices import EXACT, UNITS
from flowllm.pricing.classes import Classes, disjoint
from flowllm.pricing.rates import Table, Terms, service_of

ZERO = Decimal(0)
FREE = Cost(ZERO, (), "free")
UNKNOWN = Cost(None)

_MOST_KEPT = 10_000
"""How many models' tables are kept: a pipeline may make names while it runs."""
_TWINS = {"input_seconds": "output_seconds", "output_seconds": "input_seconds"}
"""Length of sound; some tables list one charge on both sides."""
_TOLD_ALONE = frozenset({"requests", "queries", "searches", "maps_searches", "pages", "sessions"})
"""Units that are paid beside tokens; the others measure what tokens may measure as well."""
_SAME = {
    "input_characters": ("input", "cached_input", "cache_write"),
    "output_characters": ("output", "reasoning"),
    "input_seconds": ("input_audio", "cached_audio"),
    "output_seconds": ("output_audio",),
    "input_images": ("input_image", "cached_image"),
    "output_images": ("output_image",),
    "input_pixels": ("input_image", "cached_image"),
    "output_pixels": ("output_image",),
    "input_video_seconds": ("input_video",),
    "output_video_seconds": ("output_video",),
}
"""Classes of tokens that are the same thing as what a unit measures: one of the two is billed."""


def price(model: ModelCard | None, usage: Usage | None, at: float | None = None) -> Cost:
    """What ``usage`` of ``model`` costs; ``total`` is None when a price or a count is not known.

    ``source`` names the day of the prices and says when counts were estimated or corrected, and when the standard
    prices hold because none is known for the class of service, the speed or the region. ``at`` is when the answer
    was complete, in seconds since 1970 in UTC, for prices of a time of day.
    """
    if usage is None:
        return UNKNOWN
    if model is None or model.prices is None:
        return Cost(None, reported=usage.reported)
    return priced(Table(model.prices), usage, answers="chat" in model.tasks, at=at)


def priced(table: Table, usage: Usage, *, answers: bool = True, at: float | None = None) -> Cost:
    """The same by a table of prices. ``answers``: an answer whose tokens were not counted is not for nothing."""
    classes = disjoint(usage)
    terms = Terms(usage.input or 0, service_of(usage.service), usage.region, usage.speed, usage.variant, at)
    lines = (*_tokens(table, usage, classes, terms), *_units(table, usage, classes, terms))
    source = _source(table, usage, terms, corrected=classes.corrected)
    known = _counted(table, usage, classes, answers=answers) and all(line.amount is not None for line in lines)
    total = ZERO
    for line in lines:
        total = EXACT.add(total, line.amount or ZERO)
    return Cost(total if known else None, lines, source, table.prices.version or table.prices.as_of, usage.reported)


def _counted(table: Table, usage: Usage, classes: Classes, *, answers: bool) -> bool:
    """Whether all was counted that this model is paid for; tokens need not be where other units are paid alone."""
    units = any(usage.units.values()) or table.has("requests")
    read = classes.read or (units and not table.plain("input"))
    written = classes.written or not answers or (units and not table.plain("output"))
    return read and written


def _tokens(table: Table, usage: Usage, classes: Classes, terms: Terms) -> Iterator[Line]:
    """Lines of all classes but those that are billed by characters."""
    lengths = [unit for unit in usage.units if unit.endswith("_characters") and table.has(unit)]
    by_length = {name for unit in lengths for name in _SAME[unit]}
    for (item, lifetime), count in classes.counts.items():
        if item not in by_length:
            yield _line(table, item, count, terms, lifetime)


def _units(table: Table, usage: Usage, classes: Classes, terms: Terms) -> Iterator[Line]:
    """Lines of what is counted otherwise, and of the request itself where it has a price."""
    for item, count in usage.units.items():
        if count and item != "requests" and _is_billed(table, item, usage.units, classes):
            name = item if table.has(item) or not table.has(_TWINS.get(item, "")) else _TWINS[item]
            yield _line(table, name, count, terms)
    if table.has("requests"):
        yield _line(table, "requests", usage.units.get("requests", 1), terms)


def _is_billed(table: Table, item: str, units: Mapping[str, int | Decimal], classes: Classes) -> bool:
    """Whether a unit is paid for, rather than the tokens of the same thing or the same length told once more."""
    if item in _TOLD_ALONE or item.endswith("_characters"):
        return table.has(item) or item in _TOLD_ALONE or not classes.counts
    if any((name, "") in classes.counts and table.has(name) for name in _SAME[item]):
        return False
    if item == "output_seconds" and units.get("input_seconds") and table.plain(item) == table.plain("input_seconds"):
        return False
    return table.has(item) or table.has(_TWINS.get(item, "")) or not classes.counts


def _line(table: Table, item: str, quantity: int | Decimal, terms: Terms, lifetime: str = "") -> Line:
    found, unit = table.find(item, lifetime, terms), UNITS.get(item, "token")
    if found is None:
        return Line(item, quantity, unit, None, None, lifetime)
    amount = EXACT.multiply(Decimal(quantity), found.price)
    return Line(item, quantity, unit, found.price, amount, found.condition)


def _source(table: Table, usage: Usage, terms: Terms, *, corrected: bool) -> str:
    words = [f"prices of {table.prices.as_of}" if table.prices.as_of else "prices without a date"]
    if remark := table.remark(terms):
        words.append(remark)
    words += ["estimated tokens"] if usage.estimated else []
    words += ["corrected counts"] if corrected else []
    return ", ".join(words)


def pricing_of(catalog: Catalog, wall: Callable[[], float] | None = None) -> Callable[[str, Usage | None], Cost]:
    """Prices by ``provider/model``; free are providers of this process, and of those that say so each model
    without a price of its own, whatever was counted. ``wall`` tells the time (seconds since 1970 in UTC) when an
    answer is complete, for prices of a time of day; without it the usual ones hold.
    """
    known: dict[str, tuple[Table | None, bool] | Cost] = {}

    def priced_by(model: str, usage: Usage | None) -> Cost:
        found = known.get(model)
        if found is None:
            if len(known) >= _MOST_KEPT:
                known.clear()
            found = known[model] = _priced_by(catalog, model)
        if isinstance(found, Cost):
            return found
        table, answers = found
        if usage is None:
            return UNKNOWN
        if table is None:
            return Cost(None, reported=usage.reported)
        return priced(table, usage, answers=answers, at=wall() if wall and table.prices.hours else None)

    return priced_by


def _priced_by(catalog: Catalog, model: str) -> tuple[Table | None, bool] | Cost:
    """The table of a model, and whether it answers in tokens; a cost where it is the same whatever is counted."""
    card = catalog.providers.get(model.partition("/")[0])
    if card is None:
        return None, True
    entry = catalog.model(model)
    prices = entry.prices if entry else None
    if card.local or (card.free and not (prices and any(rate.amount for rate in prices.rates))):
        return FREE
    return (Table(prices) if prices else None), entry is None or "chat" in entry.tasks
