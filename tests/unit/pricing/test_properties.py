"""What holds of every cost, whatever is counted and priced."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.delta import Usage
from flowllm.core.event import Cost, Line
from flowllm.core.prices import TOKENS, UNITS, Hours, Multiplier, Prices, Rate
from flowllm.pricing.classes import _taken, disjoint
from flowllm.pricing.cost import priced
from flowllm.pricing.rates import Table

SERVICES = ("", "batch", "flex")
LIFETIMES = ("", "5m", "1h")
counts = st.integers(0, 10**12)
amounts = st.decimals(0, 10**6, allow_nan=False, places=14)
rates = st.builds(
    Rate,
    st.sampled_from((*TOKENS, *UNITS)),
    amounts,
    st.sampled_from((0, 1_000, 200_000)),
    st.sampled_from(SERVICES),
    st.sampled_from(LIFETIMES),
    st.sampled_from(("", "low", "high")),
)
multipliers = st.builds(Multiplier, amounts, st.sampled_from(("us", "eu")), st.sampled_from(("", "fast")))
all_rates = st.lists(rates, max_size=30).map(tuple)
hours = st.builds(Hours, st.just("16:30"), st.just("00:30"), all_rates)
prices = st.builds(
    Prices, all_rates, st.lists(multipliers, max_size=2).map(tuple), st.lists(hours, max_size=1).map(tuple)
)
usages = st.builds(
    Usage,
    *[st.none() | st.integers(-5, 10**12)] * 5,
    classes=st.dictionaries(st.sampled_from([word for word in TOKENS if "_" in word or word == "citations"]), counts),
    written=st.dictionaries(st.sampled_from(LIFETIMES), counts),
    units=st.dictionaries(st.sampled_from(sorted(UNITS)), counts | st.decimals(0, 10**6, places=3)),
    service=st.sampled_from((*SERVICES, "odd")),
    region=st.sampled_from(("", "us")),
    speed=st.sampled_from(("", "fast")),
    variant=st.sampled_from(("", "low")),
)
moments = st.none() | st.integers(0, 2 * 10**9)


@given(usages)
def test_classes_sum_to_what_was_counted(usage):
    found = disjoint(usage)
    whole = max(0, usage.input or 0) + max(0, usage.output or 0) + usage.classes.get("citations", 0)
    assert sum(found.counts.values()) == whole
    assert all(count > 0 for count in found.counts.values())


@given(usages)
def test_the_short_way_of_plain_counts_finds_what_the_long_one_does(usage):
    plain = replace(usage, classes={}, written={})
    assert disjoint(plain) == _taken(plain)


plain_usages = st.builds(
    Usage,
    *[st.sampled_from((0, 1_000, 1_001, 200_001))] * 2,
    *[st.sampled_from((None, -1, 0, 7, 400))] * 3,
    service=st.sampled_from(("", "", "batch", "odd")),
    region=st.sampled_from(("", "", "us")),
    reported=st.none() | amounts,
)


@given(prices, st.lists(amounts, min_size=2, max_size=2), plain_usages, st.booleans(), st.sampled_from(("", "us")))
def test_the_short_way_to_a_cost_finds_what_the_long_one_does(prices, sides, usage, answers, region):
    plain = tuple(map(Rate, ("input", "output"), sides))
    prices = replace(prices, rates=(*plain, *(rate for rate in prices.rates if rate.item in TOKENS)), hours=())
    short, long = Table(prices), Table(prices)
    assert short.common
    long.common = False
    assert priced(short, usage, answers=answers, region=region) == priced(long, usage, answers=answers, region=region)


@given(prices, usages, moments)
def test_lines_sum_exactly_to_the_total(prices, usage, at):
    cost = priced(Table(prices), usage, at=at)
    with localcontext(prec=500):
        for line in cost.items:
            assert (line.amount is None) == (line.price is None)
            assert line.amount is None or line.amount == line.price * line.quantity
        if cost.total is not None:
            assert cost.total == sum(line.amount for line in cost.items)


@given(prices, usages, moments)
def test_a_copy_of_an_entry_prices_identically(prices, usage, at):
    copy = replace(prices, rates=tuple(map(replace, prices.rates)), multipliers=tuple(map(replace, prices.multipliers)))
    assert priced(Table(copy), usage, at=at) == priced(Table(prices), usage, at=at)


def parts(value):
    """Everything that a value holds."""
    yield value
    if is_dataclass(value):
        inner = [getattr(value, field.name) for field in fields(value)]
    else:
        inner = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    for one in inner:
        yield from parts(one)


@given(prices, usages, moments)
def test_there_is_no_float_in_a_cost(prices, usage, at):
    kinds = {type(part) for part in parts(priced(Table(prices), usage, at=at))}
    assert kinds <= {Cost, Line, tuple, str, int, Decimal, type(None)}


@given(prices, usages, st.integers(1, 9))
def test_prices_times_n_cost_n_times(prices, usage, times):
    with localcontext(prec=500):
        dearer = tuple(replace(rate, amount=rate.amount * times) for rate in prices.rates)
        one, more = (priced(Table(replace(prices, rates=rates)), usage).total for rates in (prices.rates, dearer))
        assert more == (None if one is None else one * times)


STEPPED = Table(Prices((Rate("input", Decimal(2)), Rate("input", Decimal(3), above=1_000), Rate("output", Decimal(5)))))


@given(st.integers(0, 10_000), st.integers(0, 10_000), counts)
def test_within_a_step_more_tokens_never_cost_less(few, many, output):
    few, many = sorted((few, many))
    if (few > 1_000) == (many > 1_000):
        less, more = (priced(STEPPED, Usage(count, output)).total for count in (few, many))
        assert less <= more


@given(counts, counts)
def test_a_step_is_never_for_the_excess_alone(count, output):
    rate = 3 if count > 1_000 else 2
    assert priced(STEPPED, Usage(count, output)).total == count * rate + output * 5


@given(usages.filter(lambda usage: (usage.input or 0) > 0 and usage.output is not None and usage.output >= 0))
def test_an_explicit_zero_is_a_price(usage):
    free = Table(Prices(tuple(Rate(item, Decimal(0)) for item in (*TOKENS, *UNITS))))
    assert priced(free, usage).total == 0
    paid = priced(
        Table(Prices((Rate("input", Decimal(1)), Rate("output", Decimal(1))))), replace(usage, units={}, classes={})
    )
    share = Decimal("0.5") if usage.service == "batch" else 1
    assert paid.total == share * (usage.input + usage.output)
