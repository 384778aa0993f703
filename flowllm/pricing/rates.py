"""Which of a model's prices holds for a class of tokens or a unit: pure.

The rules are told in docs/explanation/prices.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from flowllm.core.prices import EXACT, TOKENS, Hours, Multiplier, Prices, Rate
from flowllm.core.record import record

BATCH = "batch"
_HALF = Decimal("0.5")
_MOST_KEPT = 1_000
_BASE_LIFETIMES = ("", "5m")
_INSTEAD: Mapping[str, tuple[str, ...]] = {
    "cached_input": ("input",),
    "cache_write": ("input",),
    "cached_audio": ("cached_input", "input_audio", "input"),
    "cached_image": ("cached_input", "input_image", "input"),
    "input_audio": ("input",),
    "input_image": ("input",),
    "input_video": ("input",),
    "reasoning": ("output",),
    "output_audio": ("output",),
    "output_image": ("output",),
    "output_video": ("output",),
}
"""What a class without a price of its own costs as much as, best first."""
_TOKENS = frozenset(TOKENS)
_SERVICES: Mapping[str, str] = {"fast": "priority"}
"""Further words for a class of service: OpenAI sells one class by two names."""


@record
class Terms:
    """What of a request decides on its prices. ``prompt`` is all tokens that it read; ``at`` seconds since 1970 in UTC.

    Without ``at`` no prices of a time of day hold.
    """

    prompt: int = 0
    service: str = ""
    region: str = ""
    speed: str = ""
    variant: str = ""
    at: float | None = None


@record
class Found:
    """A price for one unit, and in words what it holds for."""

    price: Decimal
    condition: str = ""


_NOT_KEPT = Found(Decimal(0), "not kept")


class Table:
    """The prices of one model, looked up by item."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self._plain = _by_item(prices.rates)
        self._hours = [(hours, _by_item(_replaced(prices.rates, hours.rates))) for hours in prices.hours]
        self._steps = sorted({rate.above for rate in prices.rates} - {0})
        self._found: dict[tuple[str | int, ...], Found | None] = {}
        self._services = {rate.service for rate in prices.rates} | {"", BATCH}
        self._speeds = {one.speed for one in prices.multipliers} | {""}
        self._regions = {one.region for one in prices.multipliers} | {""}

    def has(self, item: str) -> bool:
        """Whether the item has any price of its own."""
        return item in self._plain

    def plain(self, item: str) -> Decimal | None:
        """The price of an item where no condition is told."""
        return next((rate.amount for rate in self._plain.get(item, ()) if _is_plain(rate)), None)

    def remark(self, terms: Terms) -> str:
        """What of the terms no price is known for, so that the standard one holds; empty where all is known."""
        told = ((terms.service, self._services), (terms.speed, self._speeds), (terms.region, self._regions))
        unknown = " and ".join(word for word, known in told if word not in known)
        return f"no price for {unknown} is known; the standard one" if unknown else ""

    def find(self, item: str, lifetime: str, terms: Terms) -> Found | None:
        """The price that holds; None where none is known. What was found for the same terms is kept."""
        if terms.at is not None and self._hours:
            return self._find(item, lifetime, terms)
        step = (bisect_right if self.prices.reached else bisect_left)(self._steps, terms.prompt)
        key = item, lifetime, step, terms.service, terms.region, terms.speed, terms.variant
        found = self._found.get(key, _NOT_KEPT)
        if found is _NOT_KEPT:
            if len(self._found) >= _MOST_KEPT:
                self._found.clear()
            found = self._found[key] = self._find(item, lifetime, terms)
        return found

    def _find(self, item: str, lifetime: str, terms: Terms) -> Found | None:
        rates = self._at(terms.at)
        if item not in _TOKENS:
            return self._own(rates.get(item, ()), lifetime, terms)
        for name in (item, *_INSTEAD.get(item, ())):
            if name == "reasoning" and _is_output(rates, terms.service):
                continue
            found = self._own(rates.get(name, ()), lifetime if name == item else "", terms)
            if found is not None:
                made = _multiplied(found, self.prices.multipliers, terms)
                return Found(made.price, _joined(made.condition, self.remark(terms)))
        return None

    def _at(self, at: float | None) -> Mapping[str, tuple[Rate, ...]]:
        if at is None or not self._hours:
            return self._plain
        time = datetime.fromtimestamp(at, UTC)
        return next((rates for hours, rates in self._hours if _lasts(hours, time)), self._plain)

    def _own(self, rates: Iterable[Rate], lifetime: str, terms: Terms) -> Found | None:
        """The item's own price: by lifetime, then by class of service, at the step that the prompt came to."""
        fitting = [rate for rate in _of_variant(rates, terms.variant) if self._reached(rate, terms.prompt)]
        for wanted in dict.fromkeys((lifetime, *_BASE_LIFETIMES)):
            living = [rate for rate in fitting if rate.lifetime == wanted]
            standard = _highest(living, "")
            own = _highest(living, terms.service) if terms.service else standard
            if own is not None and (standard is None or own.above >= standard.above):
                return Found(own.amount, _words(own, self.prices.reached))
            if standard is not None:
                return _without_own(standard, terms.service, reached=self.prices.reached)
        return None

    def _reached(self, rate: Rate, prompt: int) -> bool:
        return not rate.above or prompt > rate.above or (self.prices.reached and prompt == rate.above)


def service_of(word: str) -> str:
    """A class of service by the word that tables know it by."""
    return _SERVICES.get(word, word)


def _is_output(rates: Mapping[str, tuple[Rate, ...]], service: str) -> bool:
    """Whether the class of service prices all that is written, and not thinking apart."""
    own, output = ({rate.service for rate in rates.get(name, ())} for name in ("reasoning", "output"))
    return bool(service) and service in output and service not in own


def _without_own(standard: Rate, service: str, *, reached: bool) -> Found:
    """The standard price where the class of service has none at this step: half of it for tokens of a batch."""
    said = _words(standard, reached)
    if service != BATCH or standard.item not in _TOKENS:
        return Found(standard.amount, said)
    return Found(EXACT.multiply(standard.amount, _HALF), _joined(said, "half for a batch"))


def _multiplied(found: Found, multipliers: Iterable[Multiplier], terms: Terms) -> Found:
    """Factors of regions and speeds, last of all."""
    for one in multipliers:
        if one.region in ("", terms.region) and one.speed in ("", terms.speed) and (one.region or one.speed):
            said = f"x {one.factor:f} for {' and '.join(filter(None, (one.region, one.speed)))}"
            found = Found(EXACT.multiply(found.price, one.factor), _joined(found.condition, said))
    return found


def _highest(rates: Iterable[Rate], service: str) -> Rate | None:
    return max((rate for rate in rates if rate.service == service), key=lambda rate: rate.above, default=None)


def _of_variant(rates: Iterable[Rate], variant: str) -> list[Rate]:
    """Those of the variant, else those of none; where none was told and all cost the same, any."""
    known = list(rates)
    for wanted in dict.fromkeys((variant, "")):
        if fitting := [rate for rate in known if rate.variant == wanted]:
            return fitting
    same = len({(rate.amount, rate.above, rate.service, rate.lifetime) for rate in known}) == 1
    return known[:1] if same and not variant else []


def _by_item(rates: Iterable[Rate]) -> dict[str, tuple[Rate, ...]]:
    found: dict[str, tuple[Rate, ...]] = {}
    for rate in rates:
        found[rate.item] = (*found.get(rate.item, ()), rate)
    return found


def _replaced(rates: Iterable[Rate], over: Iterable[Rate]) -> list[Rate]:
    """The rates with others for the same item and conditions."""
    named = {_conditions(rate): rate for rate in rates} | {_conditions(rate): rate for rate in over}
    return list(named.values())


def _conditions(rate: Rate) -> tuple[str | int, ...]:
    return rate.item, rate.above, rate.service, rate.lifetime, rate.variant


def _is_plain(rate: Rate) -> bool:
    return not (rate.above or rate.service or rate.lifetime or rate.variant)


def _lasts(hours: Hours, time: datetime) -> bool:
    """Whether it is that time of day; hours past midnight belong to the day on which they began."""
    now, day = f"{time:%H:%M}", time.weekday()
    if hours.start < hours.end:
        return hours.start <= now < hours.end and day in hours.weekdays
    begun_today = now >= hours.start and day in hours.weekdays
    return begun_today or (now < hours.end and (day - 1) % 7 in hours.weekdays)


def _words(rate: Rate, reached: bool) -> str:  # noqa: FBT001  a word of the table, not of a caller
    above = f"{'from' if reached else 'above'} {rate.above:,} tokens" if rate.above else ""
    return _joined(above, rate.service, rate.lifetime, rate.variant)


def _joined(*words: str) -> str:
    return ", ".join(filter(None, words))
