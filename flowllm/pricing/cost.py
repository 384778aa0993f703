"""Usage and prices to an itemised cost, in exact decimals of US dollars: pure.

The classes of tokens are made disjoint before they are multiplied (`pricing.classes`), so nothing is billed twice,
and the lines always sum exactly to the total. What is not known is None, never 0: one line without a price makes
the total unknown, and the known lines are shown.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from flowllm.core.card import PLACES, Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Usage
from flowllm.core.event import Cost, Line
from flowllm.core.prices import EXACT, TOKENS, UNITS, Prices
from flowllm.core.record import record
from flowllm.pricing.classes import Classes, disjoint
from flowllm.pricing.rates import COMMON, Sheet, Table, service_of

ZERO = Decimal(0)
FREE = Cost(ZERO, (), "free")
UNKNOWN = Cost(None)

_MOST_KEPT = 10_000
"""How many models' tables are kept: a pipeline may make names while it runs."""
_REGIONAL = "regional"
"""The region of a factor that holds in all places but the one that is everywhere."""
_EVERYWHERE = "global"

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


def priced(table: Table, usage: Usage, *, answers: bool = True, at: float | None = None, region: str = "") -> Cost:
    """The same by a table of prices. ``answers``: an answer whose tokens were not counted is not for nothing.

    ``region`` is where the model is asked, for answers that tell none that has a price.
    """
    if answers and table.common and (cost := _common(table, usage, region)) is not None:
        return cost
    classes, told, units = disjoint(usage), usage.region, usage.units
    where = region if region and (not told or told not in table.regions) else told
    moment = table.moment(at)
    sheet = table.sheet(usage.input or 0, service_of(usage.service), where, usage.speed, usage.variant, moment)
    instead = _instead(table, units, classes) if units else ()
    lines = [_line(sheet, key[0], count, key[1]) for key, count in classes.counts.items() if key[0] not in instead]
    if units or table.has("requests"):
        lines += _units(table, sheet, units, classes)
    total: Decimal | None = ZERO
    for line in lines:
        total = None if total is None or line.amount is None else EXACT.add(total, line.amount)
    if not _counted(table, usage, classes, answers=answers, billed=bool(lines)):
        total = None
    source = table.source
    if not sheet.usual or usage.estimated or classes.corrected:
        source = _source(sheet, usage, classes, source)
    return Cost(total, tuple(lines), source, table.version, usage.reported)


def _common(table: Table, usage: Usage, region: str) -> Cost | None:
    """The same, sooner, for what most answers tell: tokens of both sides at the usual terms; None for others."""
    read, written = usage.input, usage.output
    if read is None or written is None or usage.estimated or usage.classes or usage.written or usage.units:
        return None
    if usage.billed_input is not None or usage.billed_output is not None:
        return None
    cached, stored, thought = usage.cached_input or 0, usage.cache_write or 0, usage.reasoning or 0
    fresh, said = read - cached - stored, written - thought
    if cached < 0 or stored < 0 or thought < 0 or fresh < 0 or said < 0:
        return None
    sheet = table.sheet(read, usage.service, usage.region or region, usage.speed, usage.variant)
    if not sheet.usual:
        return None
    lines, total = [], None
    for count, item, found in zip((cached, stored, fresh, thought, said), COMMON, sheet.common, strict=True):
        if count:
            if found is None:
                return None
            price = found.price
            amount = EXACT.multiply(count, price)
            lines.append(Line(item, count, "token", price, amount, found.condition))
            total = amount if total is None else EXACT.add(total, amount)
    return Cost(total, tuple(lines), table.source, table.version, usage.reported) if lines else None


def _counted(table: Table, usage: Usage, classes: Classes, *, answers: bool, billed: bool) -> bool:
    """Whether all was counted that this model is paid for; tokens need not be where other units are paid alone."""
    if classes.strange or table.is_untold(usage):
        return False
    if not billed and table.plain("input") is None and not table.has("input_characters"):
        return False
    if classes.read and (classes.written or not answers):
        return True
    units = any(usage.units.values()) or table.has("requests")
    read = classes.read or (units and not table.plain("input"))
    written = classes.written or not answers or (units and not table.plain("output"))
    return read and written


def _instead(table: Table, units: Mapping[str, int | Decimal], classes: Classes) -> frozenset[str]:
    """Classes of tokens that are not billed, for a unit that measures the same is."""
    found: set[str] = set()
    for unit in units:
        if unit.endswith("_characters"):
            found |= set(_SAME[unit]) if table.has(unit) else set()
        elif units[unit] and unit in _SAME and (table.has(unit) or table.has(_TWINS.get(unit, ""))):
            found |= set() if _has_class(table, unit, classes) else set(_SAME[unit])
    return frozenset(found)


def _has_class(table: Table, unit: str, classes: Classes) -> bool:
    """Whether tokens of what a unit measures were counted that have a price of their own."""
    return any((name, "") in classes.counts and table.has(name) for name in _SAME.get(unit, ()))


def _units(table: Table, sheet: Sheet, units: Mapping[str, int | Decimal], classes: Classes) -> Iterator[Line]:
    """Lines of what is counted otherwise, and of the request itself where it has a price."""
    for item, count in units.items():
        if item not in UNITS or not _is_count(count):
            yield Line(item, count, UNITS.get(item, "unit"), None, None)
        elif count and item != "requests" and _is_billed(table, item, units, classes):
            name = item if table.has(item) or not table.has(_TWINS.get(item, "")) else _TWINS[item]
            yield _line(sheet, name, count)
    if table.has("requests"):
        yield _line(sheet, "requests", units.get("requests", 1))


def _is_count(count: int | Decimal) -> bool:
    """Whether it is a number from nought on: of others it is not known what they cost."""
    return (isinstance(count, int) or count.is_finite()) and count >= 0


def _is_billed(table: Table, item: str, units: Mapping[str, int | Decimal], classes: Classes) -> bool:
    """Whether a unit is paid for, rather than the tokens of the same thing or the same length told once more."""
    if item in _TOLD_ALONE or item.endswith("_characters"):
        return table.has(item) or item in _TOLD_ALONE or not classes.counts
    if _has_class(table, item, classes):
        return False
    twin = _TWINS.get(item, "")
    if units.get(twin) and table.has(twin) and _is_once(table, item, twin):
        return False
    return table.has(item) or table.has(twin) or not classes.counts


def _is_once(table: Table, item: str, twin: str) -> bool:
    """Whether a length that is told on both sides is paid on the other one: by the only price, or by the same."""
    return not table.has(item) or (item == "output_seconds" and table.plain(item) == table.plain(twin))


def _line(sheet: Sheet, item: str, quantity: int | Decimal, lifetime: str = "") -> Line:
    found, unit = sheet.find(item, lifetime), UNITS.get(item, "token")
    if found is None:
        return Line(item, quantity, unit, None, None, lifetime)
    amount = EXACT.multiply(Decimal(quantity), found.price)
    return Line(item, quantity, unit, found.price, amount, found.condition)


def _source(sheet: Sheet, usage: Usage, classes: Classes, source: str) -> str:
    found = [] if sheet.usual else [sheet.find(*key) for key in classes.counts]
    words = dict.fromkeys([source, *(one.remark for one in found if one and one.remark)])
    words |= {"estimated tokens": None} if usage.estimated else {}
    words |= {"corrected counts": None} if classes.corrected else {}
    return ", ".join(words)


def is_free(provider: ProviderCard | None, model: ModelCard | None, name: str) -> bool:
    """Whether a model costs nothing, whatever is counted: it is of this process, or of a provider without prices.

    ``name`` is the model's own: of what the provider's server asks of another place the price is not known.
    """
    if provider is None:
        return False
    free = provider.free and not provider.is_elsewhere(name)
    return provider.local or (free and not is_paid(model.prices if model else None))


def is_paid(prices: Prices | None) -> bool:
    """Whether any price is more than nothing."""
    rates = prices and (*prices.rates, *(rate for hours in prices.hours for rate in hours.rates))
    return any(rate.amount for rate in rates or ())


@record
class Known:
    """How a model is priced. ``region`` is where it is asked, ``before`` what can be said while nothing is counted."""

    table: Table | None = None
    answers: bool = True
    region: str = ""
    before: Cost = UNKNOWN
    free: bool = False


class Pricing:
    """Prices by ``provider/model``, each table made once."""

    def __init__(self, catalog: Catalog, wall: Callable[[], float] | None = None) -> None:
        self._catalog = catalog
        self._wall = wall
        self._known: dict[str, Known] = {}

    def __call__(self, model: str, usage: Usage | None) -> Cost:
        """What ``usage`` cost.

        Without a usage it is what is known before a request: a total of 0 where nothing of the model costs anything,
        and no source where it cannot be priced.
        """
        known = self._known.get(model) or self.known(model)
        if usage is None or known.free:
            return known.before
        table = known.table
        if table is None:
            return Cost(None, reported=usage.reported)
        at = self._wall() if self._wall and table.prices.hours else None
        return priced(table, usage, answers=known.answers, at=at, region=known.region)

    def known(self, model: str) -> Known:
        """How a model is priced."""
        found = self._known.get(model)
        if found is None:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            found = self._known[model] = _known(self._catalog, model)
        return found


def pricing_of(catalog: Catalog, wall: Callable[[], float] | None = None) -> Pricing:
    """Prices by ``provider/model``; free are providers of this process, and of those that say so each model
    without a price of its own, whatever was counted. ``wall`` tells the time (seconds since 1970 in UTC) when an
    answer is complete, for prices of a time of day; without it the usual ones hold.
    """
    return Pricing(catalog, wall)


def _known(catalog: Catalog, model: str) -> Known:
    card = catalog.providers.get(model.partition("/")[0])
    entry = catalog.model(model)
    if is_free(card, entry, model.partition("/")[2]):
        return Known(before=FREE, free=True)
    answers = entry is None or "chat" in entry.tasks
    if entry is None or entry.prices is None:
        return Known(answers=answers)
    table = Table(entry.prices)
    if not _is_whole(table, answers=answers):
        return Known(table, answers, _region(card, table))
    total = None if is_paid(entry.prices) else ZERO
    return Known(table, answers, _region(card, table), Cost(total, (), table.source, table.version))


def _is_whole(table: Table, *, answers: bool) -> bool:
    """Whether a request can be priced: each side that is counted has a price, or other units alone are paid."""
    if not any(rate.item in TOKENS for rate in table.prices.rates):
        return bool(table.prices.rates)
    sheet = table.sheet()
    sides = ("input", "output") if answers else ("input",)
    return all(sheet.find(side) is not None or table.has(f"{side}_characters") for side in sides)


def _region(card: ProviderCard | None, table: Table) -> str:
    """Where the provider is asked, in the words of the table's factors; empty where that changes no price."""
    if card is None:
        return ""
    place = next((card.settings[word] for word in PLACES if word in card.settings), "")
    if place and place != _EVERYWHERE and _REGIONAL in table.regions:
        return _REGIONAL
    host = (urlsplit(card.base_url).hostname or "").partition(".")[0]
    return next((word for word in (place, host) if word and word in table.regions), "")
