"""What a usage of a model costs, line by line, with the rules that were applied.

A usage is told in the house's words, as a mapping or as words of a command line (``input=300000``); what a
provider sent is read by `model_sent`. Unknown prices stay unknown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from flowllm.api.amounts import number_of, shown
from flowllm.api.environment import Environment
from flowllm.api.model_facts import Model, model_named, near_model
from flowllm.core.delta import Usage
from flowllm.core.errors import UsageError
from flowllm.core.event import Cost, Line
from flowllm.core.nearest import did_you_mean
from flowllm.core.prices import TOKENS, UNITS, Prices
from flowllm.core.record import record
from flowllm.pricing.cost import pricing_of

_COUNTS = ("input", "output", "cached_input", "cache_write", "reasoning")
_TERMS = ("service", "region", "speed", "variant")
_CLASSES = tuple(word for word in TOKENS if word not in _COUNTS)
WRITTEN = re.compile(r"cache_write[._](\d+[mh])")
WORDS = (*_COUNTS, "cache_write.5m", "cache_write.1h", *_CLASSES, *UNITS, *_TERMS, "at")
"""What a usage is told with. ``input`` is the whole prompt, ``output`` the whole answer."""

_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_MONDAY = date(2026, 11, 23)
"""A Monday, from which days are told by example."""
MOST = 10**15
"""No count of anything is larger."""


@record
class Bill:
    """What a usage costs. ``rules`` say in words why prices are what they are, and what is not known."""

    model: Model
    usage: Usage
    cost: Cost
    rules: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """As JSON, money as text; null is unknown."""
        cost, card = self.cost, self.model.card
        return {
            "model": self.model.name,
            "total": None if cost.total is None else f"{cost.total:f}",
            "lines": [_line(line) for line in cost.items],
            "rules": list(self.rules),
            "reported": None if cost.reported is None else f"{cost.reported:f}",
            "said_of": cost.source,
            "version": cost.version,
            "source": ((card.prices.source if card.prices else "") or card.source) if card else "",
        }


def _line(line: Line) -> dict[str, Any]:
    return {
        "item": line.item,
        "quantity": str(line.quantity) if isinstance(line.quantity, Decimal) else line.quantity,
        "unit": line.unit,
        "price": None if line.price is None else f"{line.price:f}",
        "amount": None if line.amount is None else f"{line.amount:f}",
        "condition": line.condition,
    }


def bill(environment: Environment, name: str, usage: Usage, at: float | None = None) -> Bill:
    """What ``usage`` of ``provider/model`` costs; ``at`` (seconds since 1970) for prices of a time of day."""
    model = model_named(environment, name)
    wall = (lambda: at) if at is not None else None
    cost = pricing_of(environment.catalog, wall)(name, usage)
    near = "" if model.card else near_model(environment.catalog, name)
    longest = model.card.longest_prompt if model.card else None
    rules = [*_rules(model, cost, f"; did you mean `{near}`?" if near else ""), *_untold(model, usage, cost)]
    if longest is not None and (usage.input or 0) > longest:
        rules.append(f"the prompt is longer than the longest that it reads, {longest:,} tokens")
    return Bill(model, usage, cost, tuple(rules))


def _rules(model: Model, cost: Cost, near: str = "") -> Iterator[str]:
    """``near`` is a model that may have been meant, in words."""
    prices = model.card.prices if model.card else None
    if model.free or cost.source == "free":
        yield "it costs nothing, whatever is asked"
        return
    if prices is None:
        yield "no price of this model is known" if model.card else f"nothing is known of this model{near}"
        return
    own = {rate.item for rate in prices.rates}
    for line in cost.items:
        if line.price is None:
            yield f"no price is known for `{line.item}`"
        elif line.item not in own:
            yield f"`{line.item}` has no price of its own and is paid as what it is part of"
    if any("tokens" in line.condition for line in cost.items):
        yield "the price of a long prompt holds for the whole request"
    if "corrected" in cost.source:
        yield "classes that are larger than what holds them were cut"
    yield from _other_times(prices)


def _untold(model: Model, usage: Usage, cost: Cost) -> Iterator[str]:
    """What is paid and was not told."""
    beside = [rate for rate in model.beside() if rate.item != "requests"]
    if beside and not any(rate.item in usage.units for rate in beside):
        units = " or ".join(dict.fromkeys(UNITS[rate.item] for rate in beside))
        variant = f" variant={beside[0].variant}" if beside[0].variant else ""
        yield f"each {units} is paid and none is told, as in: {beside[0].item}=1{variant}"
    if cost.total is None and cost.source:
        sides = ("input", usage.input), ("output", usage.output)
        yield from (f"`{side}` is not told" for side, count in sides if count is None)


def _other_times(prices: Prices) -> Iterator[str]:
    for hours in prices.hours:
        days = "" if len(hours.weekdays) == len(_DAYS) else f" on {', '.join(_DAYS[day] for day in hours.weekdays)}"
        first = _MONDAY + timedelta(min(hours.weekdays, default=0))
        yield f"other prices hold from {hours.start} to {hours.end} UTC{days}; at={first}T{hours.start} tells the time"


def usage_of_words(words: Iterable[str]) -> tuple[Usage, float | None]:
    """A usage from ``name=value`` words, and when it was (seconds since 1970); `UsageError` for others."""
    told: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise UsageError("bad_usage", f"`{word}` is not `name=value`", hint="input=300000 output=1000")
        key = _spelt(name.strip().replace("-", "_"))
        if key in told:
            hint = f"{key}={told[key]}"
            raise UsageError("bad_usage", f"`{key}` is told twice", hint=hint)
        told[key] = value.strip()
    return usage_of_mapping(told)


def _spelt(name: str) -> str:
    lifetime = WRITTEN.fullmatch(name)
    return f"cache_write.{lifetime[1]}" if lifetime else name


def usage_of_mapping(told: Mapping[str, Any]) -> tuple[Usage, float | None]:
    """A usage from the house's words, and when it was. What is not told of prompt and answer is 0."""
    counts: dict[str, Any] = {"input": 0, "output": 0}
    classes: dict[str, int] = {}
    written: dict[str, int] = {}
    units: dict[str, int | Decimal] = {}
    at = None
    for name, value in _flat(told):
        lifetime = WRITTEN.fullmatch(name)
        if name in _COUNTS:
            counts[name] = _count(name, value)
        elif lifetime:
            written[lifetime[1]] = _count(name, value)
        elif name in _CLASSES:
            classes[name] = _count(name, value)
        elif name in UNITS:
            units[name] = _amount(name, value)
        elif name in _TERMS:
            counts[name] = str(value).strip() if name == "variant" else _term(str(value))
        elif name == "at":
            at = _moment(str(value))
        else:
            hint = did_you_mean(name, WORDS, f"known: {', '.join(WORDS)}")
            raise UsageError("bad_usage", f"nothing is counted as `{name}`", hint=hint)
    return Usage(**counts, classes=classes, written=written, units=units), at


def _flat(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Words and values; those of inner mappings as if they stood outside."""
    for name, value in told.items():
        if name == "written" and isinstance(value, Mapping):
            yield from ((f"cache_write.{lifetime}", count) for lifetime, count in value.items())
        elif name in ("classes", "units") and isinstance(value, Mapping):
            yield from value.items()
        elif value is not None:
            yield name, value


def _term(word: str) -> str:
    """A class of service, a region or a speed as tables write it; empty for the usual one."""
    from flowllm.backends.billing import word_of

    return word_of(word.strip())


def _amount(name: str, value: Any) -> int | Decimal:
    amount = number_of(value)
    if amount is None or amount > MOST:
        message = f"`{name}` is a number from 0 to {MOST:,}, not `{shown(value)}`"
        raise UsageError("bad_usage", message, hint=f"{name}=1000")
    if not amount:
        return 0
    return int(amount) if amount == amount.to_integral_value() else amount


def _count(name: str, value: Any) -> int:
    amount = _amount(name, value)
    if isinstance(amount, Decimal):
        raise UsageError("bad_usage", f"`{name}` is a whole number of tokens, not `{amount}`", hint=f"{name}=1000")
    return amount


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise UsageError("bad_usage", f"`{text}` is no time", hint="at=2026-11-22T16:30") from None
