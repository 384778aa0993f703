"""Which of a model's prices holds for a class of tokens or a unit: pure.

The rules are told in docs/explanation/prices.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from flowllm.core.delta import Usage
from flowllm.core.prices import EXACT, TOKENS, Hours, Multiplier, Prices, Rate, is_plain
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
COMMON = ("cached_input", "cache_write", "input", "reasoning", "output")
"""Classes that most answers tell, in the order of their lines."""
_TOKENS = frozenset(TOKENS)
_SERVICES: Mapping[str, str] = {"fast": "priority"}
"""Further words for a class of service: OpenAI sells one class by two names."""


@record
class Terms:
    """What of a request decides on its prices. ``prompt`` is all tokens that it read."""

    prompt: int = 0
    service: str = ""
    region: str = ""
    speed: str = ""
    variant: str = ""


@record
class Found:
    """A price for one unit, in words what it holds for, and what of the terms it is not the price for."""

    price: Decimal
    condition: str = ""
    remark: str = ""


_NOT_KEPT = Found(Decimal(0), "not kept")


class Table:
    """The prices of one model, looked up by item."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self._plain = _by_item(prices.rates)
        self._hours = [(hours, _by_item(_replaced(prices.rates, hours.rates))) for hours in prices.hours]
        at_hours = (rate for hours in prices.hours for rate in hours.rates)
        self.steps = tuple(sorted({rate.above for rate in (*prices.rates, *at_hours)} - {0}))
        self._sheets: dict[tuple[str | int, ...], Sheet] = {}
        self._speeds = {one.speed for one in prices.multipliers} | {""}
        self.regions = frozenset(one.region for one in prices.multipliers) | {""}
        self.source = f"prices of {prices.as_of}" if prices.as_of else "prices without a date"
        self.version = prices.version or prices.as_of
        paid = {rate.item for rate in prices.rates if rate.amount}
        self._otherwise = paid.isdisjoint(TOKENS) and not paid <= {"requests"}
        self.common = not (prices.hours or self._otherwise or self.has("requests"))
        """Whether tokens alone are billed, by the same prices at any time."""

    def is_untold(self, usage: Usage) -> bool:
        """Whether other units than tokens are paid, tokens cost nothing, and none of these units is told."""
        return self._otherwise and not any(usage.units.values())

    def has(self, item: str) -> bool:
        """Whether the item has any price of its own."""
        return item in self._plain

    def plain(self, item: str) -> Decimal | None:
        """The price of an item where no condition is told."""
        return next((rate.amount for rate in self._plain.get(item, ()) if is_plain(rate)), None)

    def _times(self) -> list[Mapping[str, tuple[Rate, ...]]]:
        return [self._plain, *(rates for _, rates in self._hours)]

    def moments(self) -> range:
        """The numbers of the times of day that have prices of their own; -1 is the usual time."""
        return range(-1, len(self._hours))

    def moment(self, at: float | None) -> int:
        """The number of the time of day at a second since 1970."""
        if at is None or not self._hours:
            return -1
        time = datetime.fromtimestamp(at, UTC)
        return next((number for number, (hours, _) in enumerate(self._hours) if _lasts(hours, time)), -1)

    def sheet(
        self, prompt: int = 0, service: str = "", region: str = "", speed: str = "", variant: str = "", moment: int = -1
    ) -> "Sheet":
        """What holds for a request, at one of the `moments`; ``prompt`` is all tokens that it read.

        It is kept for all prompts of the same step.
        """
        step = (bisect_right if self.prices.reached else bisect_left)(self.steps, prompt)
        key = step, moment, service, region, speed, variant
        found = self._sheets.get(key)
        if found is None:
            if len(self._sheets) >= _MOST_KEPT:
                self._sheets.clear()
            terms = Terms(prompt, service, region, speed, variant)
            found = self._sheets[key] = Sheet(self, terms, self._times()[moment + 1])
        return found

    def lacking(self, terms: Terms) -> tuple[str, ...]:
        """The speed and the region for which no price is known."""
        told = (terms.speed, self._speeds), (terms.region, self.regions)
        return (*(word for word, known in told if word not in known), *filter(None, [self.prices.unpriced_region]))


class Sheet:
    """The prices of a model that hold for one set of terms; what was found is kept.

    ``usual``: no price has a remark. ``common`` are the prices of `COMMON`.
    """

    __slots__ = ("_found", "_lacking", "_prices", "_rates", "_terms", "common", "usual")

    def __init__(self, table: Table, terms: Terms, rates: Mapping[str, tuple[Rate, ...]]) -> None:
        self._prices = table.prices
        self._terms = terms
        self._rates = rates
        self._lacking = table.lacking(terms)
        self.usual = not (terms.service or self._lacking)
        self._found: dict[tuple[str, str], Found | None] = {}
        self.common = tuple(map(self.find, COMMON))

    def find(self, item: str, lifetime: str = "") -> Found | None:
        """The price that holds; None where none is known."""
        key = item, lifetime
        found = self._found.get(key, _NOT_KEPT)
        if found is _NOT_KEPT:
            found = self._found[key] = self._find(item, lifetime)
        return found

    def _find(self, item: str, lifetime: str) -> Found | None:
        rates, terms = self._rates, self._terms
        if item not in _TOKENS:
            return self._own(rates.get(item, ()), lifetime)
        for name in (item, *_INSTEAD.get(item, ())):
            if name == "reasoning" and _is_output(rates, terms.service):
                continue
            found = self._own(rates.get(name, ()), lifetime if name == item else "")
            if found is not None:
                made = _multiplied(found, self._prices.multipliers, terms)
                remark = _remark((*filter(None, [found.remark]), *self._lacking))
                return Found(made.price, _joined(made.condition, remark), remark)
        return None

    def _own(self, rates: Iterable[Rate], lifetime: str) -> Found | None:
        """The item's own price: by lifetime, then by class of service, at the step that the prompt came to."""
        terms, reached = self._terms, self._prices.reached
        fitting = [rate for rate in _of_variant(rates, terms.variant) if self._reached(rate, terms.prompt)]
        for wanted in dict.fromkeys((lifetime, *_BASE_LIFETIMES)):
            living = [rate for rate in fitting if rate.lifetime == wanted]
            standard = _highest(living, "")
            own = _highest(living, terms.service) if terms.service else standard
            if own is not None and (standard is None or own.above >= standard.above):
                return Found(own.amount, _words(own, reached))
            if standard is not None:
                return _without_own(standard, terms.service, reached=reached)
        return None

    def _reached(self, rate: Rate, prompt: int) -> bool:
        return not rate.above or prompt > rate.above or (self._prices.reached and prompt == rate.above)


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
    if standard.item not in _TOKENS:
        return Found(standard.amount, said)
    if service != BATCH:
        return Found(standard.amount, said, service)
    return Found(EXACT.multiply(standard.amount, _HALF), _joined(said, "half for a batch"))


def _remark(words: tuple[str, ...]) -> str:
    return f"no price for {' and '.join(words)} is known; the standard one" if words else ""


def _multiplied(found: Found, multipliers: Iterable[Multiplier], terms: Terms) -> Found:
    """Factors of regions and speeds, last of all."""
    for one in multipliers:
        if one.region in ("", terms.region) and one.speed in ("", terms.speed) and (one.region or one.speed):
            said = f"x {one.factor:f} for {' and '.join(filter(None, (one.region, one.speed)))}"
            found = Found(EXACT.multiply(found.price, one.factor), _joined(found.condition, said), found.remark)
    return found


def _highest(rates: Iterable[Rate], service: str) -> Rate | None:
    return max((rate for rate in rates if rate.service == service), key=lambda rate: rate.above, default=None)


def _of_variant(rates: Iterable[Rate], variant: str) -> list[Rate]:
    """Those of the variant, else those of none; of units where none was told and all cost the same, any.

    A variant of tokens is another thing than the plain ones (what is written of sound, what was kept on request).
    """
    known = list(rates)
    for wanted in dict.fromkeys((variant, "")):
        if fitting := [rate for rate in known if rate.variant == wanted]:
            return fitting
    same = len({(rate.amount, rate.above, rate.service, rate.lifetime) for rate in known}) == 1
    return known[:1] if same and not variant and known[0].item not in _TOKENS else []


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
