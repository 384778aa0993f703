"""What a request can cost before it is sent: at the most, and beside its tokens. Pure."""

import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from flowllm.core.card import ModelCard
from flowllm.core.delta import Usage
from flowllm.core.prices import EXACT, TOKENS, UNITS, Rate
from flowllm.pricing.cost import ZERO, Pricing, priced
from flowllm.pricing.rates import Table

_READ: Final = ("input", "cached_input", "cached_image", "input_image", "cache_write")
_WRITTEN: Final = ("output", "reasoning")
_SEARCHING: Final = re.compile(r"search|\bsonar")
"""Models that search for every answer, as their makers name them; others search where they are asked to."""
_AT_LENGTH: Final = "deep-research"
"""What is in the name of models that search and read as long as they like."""


def most(pricing: Pricing, model: str, usage: Usage) -> Decimal | None:
    """The most that a request of so many tokens, or fewer, can cost; None where no bound is known.

    Each token costs as much as the dearest of its side, read or written to the cache, thought or said, at any step up
    to there and at any time of day. The words of ``usage.written`` are lifetimes that the cache is asked for. A class
    of service, a speed or a search that ``extra`` asks for is not in it.
    """
    known = pricing.known(model)
    if known.free:
        return ZERO
    table = known.table
    if table is None or table.is_untold(usage) or table.has("citations") or _AT_LENGTH in model:
        return None
    beside = _dearest_beside(table, usage, known.region)
    read = _dearest(table, _READ, ("", *usage.written), usage, known.region)
    written = _dearest(table, _WRITTEN, ("",), usage, known.region)
    sides = [_times(usage.input, read)]
    sides += [_times(usage.output, written)] if known.answers or usage.output else []
    return _sum([beside, *sides])


def _dearest_beside(table: Table, usage: Usage, region: str) -> Decimal | None:
    """What is paid beside tokens, at the dearest variant."""
    variants = {rate.variant for rate in table.prices.rates if rate.item in usage.units} | {usage.variant}
    zero = Usage(0, 0, units=usage.units)
    costs = [priced(table, replace(zero, variant=one), answers=False, region=region) for one in variants]
    totals = [_sum(line.amount for line in cost.items) for cost in costs]
    return max((total for total in totals if total is not None), default=None)


def _dearest(table: Table, items: Iterable[str], lifetimes: Iterable[str], usage: Usage, region: str) -> Decimal | None:
    """The dearest price of one side; None where one of its classes has none."""
    prompts = [usage.input or 0, *(step - 1 for step in table.steps if step <= (usage.input or 0))]
    sheets = [table.sheet(prompt, region=region, moment=moment) for prompt in prompts for moment in table.moments()]
    found = [sheet.find(item, lifetime) for sheet in sheets for item in items for lifetime in lifetimes]
    return None if None in found else max(one.price for one in found if one is not None)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total = EXACT.add(total, amount)
    return total


def _times(count: int | None, amount: Decimal | None) -> Decimal | None:
    if count == 0:
        return ZERO
    return None if count is None or amount is None else EXACT.multiply(Decimal(count), amount)


def asked_beside(model: ModelCard | None, usage: Usage, queries: int = 1) -> Usage:
    """The usage with what each request is paid for beside its tokens: queries that are ranked, a search of its own.

    Of searches at several prices it is the cheapest, which is made unless another is asked for.
    """
    paid = [rate for rate in paid_beside(model) if model and rate.item in _each(model)]
    for rate in paid:
        if rate.item == "queries":
            usage = replace(usage, units={**usage.units, "queries": queries})
        if rate.item == "searches":
            usage = replace(usage, units={**usage.units, "searches": 1}, variant=rate.variant)
    return usage


def paid_beside(model: ModelCard | None) -> tuple[Rate, ...]:
    """What each request is paid for beside its tokens, or instead of them where they cost nothing.

    Of each unit it is the cheapest price.
    """
    rates = model.prices.rates if model and model.prices else ()
    if model is None or not rates:
        return ()
    paid = sorted((rate for rate in rates if rate.item in UNITS and rate.amount), key=lambda rate: -rate.amount)
    cheapest = {rate.item: rate for rate in paid}
    by_token = any(rate.amount for rate in rates if rate.item in TOKENS)
    return tuple(rate for item, rate in cheapest.items() if not by_token or item in _each(model))


def _each(model: ModelCard) -> set[str]:
    """Units of which each request of a model has one or more, if they have a price."""
    units = {"requests"}
    units |= {"queries"} if "rerank" in model.tasks else set()
    return units | ({"searches"} if _SEARCHING.search(model.id) else set())
