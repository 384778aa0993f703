"""What a request can cost before it is sent."""

from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.api import Environment
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Usage
from flowllm.core.prices import Hours, Multiplier, Prices, Rate
from flowllm.pricing.bounds import asked_beside, most
from flowllm.pricing.cost import pricing_of

SHIPPED = Environment().catalog
TEXT = (Rate("input", Decimal(2)), Rate("output", Decimal(8)))


def pricing(prices, name="m", task="chat", **card):
    model = ModelCard(name, prices=prices, tasks=frozenset({task}))
    return pricing_of(Catalog({"acme": ProviderCard("acme", models={name: model}, **card)}))


amounts = st.decimals(0, 100, allow_nan=False, places=6)
items = st.sampled_from(("cached_input", "cache_write", "reasoning", "input", "output", "input_image"))
rates = st.builds(
    Rate, items, amounts, st.sampled_from((0, 10, 20)), st.just(""), st.sampled_from(("", "5m", "1h")), st.just("")
)
hours = st.builds(Hours, st.just("16:30"), st.just("00:30"), st.lists(rates, max_size=3).map(tuple))
tables = st.builds(
    lambda more, fee, times, reached: Prices((*TEXT, *fee, *more), hours=tuple(times), reached=reached),
    st.lists(rates, max_size=8),
    st.lists(st.builds(Rate, st.just("requests"), amounts), max_size=1),
    st.lists(hours, max_size=1),
    st.booleans(),
)
few = st.integers(0, 30)


usages = st.builds(
    lambda counts, life: Usage(*counts, written={life: counts[3]}),
    st.tuples(*[few] * 5),
    st.sampled_from(("", "5m", "1h")),
)


@given(tables, usages, few, st.integers(0, 86_400))
def test_no_answer_within_the_bounds_costs_more(prices, usage, more, at):
    catalog = Catalog({"acme": ProviderCard("acme", models={"m": ModelCard("m", prices=prices)})})
    allowed = Usage(usage.input + more, usage.output + more, written=dict.fromkeys(usage.written, 0))
    bound = most(pricing_of(catalog), "acme/m", allowed)
    with localcontext(prec=100):
        assert pricing_of(catalog, lambda: at)("acme/m", usage).total <= bound


@pytest.mark.parametrize(
    ("rates", "usage", "bound"),
    [
        ((), Usage(10, 10), 100),
        ((Rate("reasoning", Decimal(9)),), Usage(10, 10), 110),
        ((Rate("reasoning", Decimal(1)),), Usage(10, 10), 100),
        ((Rate("cache_write", Decimal(3)),), Usage(10, 10), 110),
        ((Rate("cache_write", Decimal(4), lifetime="1h"),), Usage(10, 10), 100),
        ((Rate("cache_write", Decimal(4), lifetime="1h"),), Usage(10, 10, written={"1h": 0}), 120),
        ((Rate("cached_input", Decimal(3)),), Usage(10, 10), 110),
        ((Rate("cached_image", Decimal(3)),), Usage(10, 10), 110),
        ((Rate("requests", Decimal(5)),), Usage(10, 10), 105),
        ((Rate("input", Decimal(3), above=5),), Usage(10, 10), 110),
        ((Rate("input", Decimal(1), above=5),), Usage(10, 10), 100),
        ((Rate("citations", Decimal(1)),), Usage(10, 10), None),
        ((), Usage(10, None), None),
        ((), Usage(None, 10), None),
        ((), Usage(10, 10, units={"searches": 1}), None),
        (
            (Rate("searches", Decimal(3), variant="low"), Rate("searches", Decimal(5), variant="high")),
            Usage(10, 10, units={"searches": 1}, variant="low"),
            105,
        ),
    ],
)
def test_the_most_is_each_token_at_the_dearest_of_its_side(rates, usage, bound):
    assert most(pricing(Prices((*TEXT, *rates))), "acme/m", usage) == bound


def test_the_most_is_that_of_the_dearest_time_of_day():
    prices = Prices(TEXT, hours=(Hours("16:30", "00:30", (Rate("input", Decimal(3)),)),))
    assert most(pricing(prices), "acme/m", Usage(10, 10)) == 110


def test_the_most_is_that_of_a_step_that_only_a_time_of_day_has():
    night = (Rate("input", Decimal(3)), Rate("input", Decimal(1), above=5))
    prices = Prices(TEXT, hours=(Hours("16:30", "00:30", night),))
    assert most(pricing(prices), "acme/m", Usage(10, 10)) == 110


def test_the_most_of_what_is_paid_by_another_unit_is_not_known_before_that_is_told():
    sung = Prices((Rate("input", Decimal(0)), Rate("output", Decimal(0)), Rate("output_images", Decimal(4))))
    told = Usage(10, 10, units={"output_images": 2})
    assert [most(pricing(sung), "acme/m", usage) for usage in (Usage(10, 10), told)] == [None, 8]


def test_the_most_is_that_below_a_step_that_begins_at_its_number():
    prices = Prices((*TEXT, Rate("input", Decimal(1), above=5)), reached=True)
    assert most(pricing(prices), "acme/m", Usage(10, 10)) == 100


def test_the_most_is_that_of_the_place_that_is_asked():
    prices = Prices(TEXT, (Multiplier(Decimal("1.1"), region="regional"),))
    found = [pricing(prices, settings={"location": place}) for place in ("global", "us-east5")]
    assert [most(one, "acme/m", Usage(10, 10)) for one in found] == [100, 110]


@pytest.mark.parametrize(("card", "bound"), [({"local": True}, 0), ({"free": True}, 0), ({}, None)])
def test_the_most_of_what_is_free_or_not_known(card, bound):
    assert most(pricing(None, **card), "acme/m", Usage(10, 10)) == bound


@pytest.mark.parametrize(
    ("model", "task", "units"),
    [
        ("openai/gpt-5-mini", "chat", {}),
        ("openai/gpt-4o-search-preview", "chat", {"searches": 1}),
        ("perplexity/sonar", "chat", {"searches": 1}),
        ("cohere/rerank-v3.5", "rerank", {"queries": 3}),
        ("voyage/rerank-2.5", "rerank", {}),
        ("openai/of-tomorrow", "chat", {}),
    ],
)
def test_what_is_paid_beside_tokens(model, task, units):
    assert asked_beside(SHIPPED.model(model), Usage(1, 1), 3).units == units


def test_a_search_of_its_own_is_the_cheapest_expected_and_the_dearest_feared():
    usage = asked_beside(SHIPPED.model("perplexity/sonar"), Usage(1_000, 1_000))
    prices = pricing_of(SHIPPED)
    assert prices("perplexity/sonar", usage).total == Decimal("0.007")
    assert most(prices, "perplexity/sonar", usage) == Decimal("0.014")
    assert prices("perplexity/sonar", replace(usage, variant="high")).total == Decimal("0.014")
    assert most(prices, "perplexity/sonar-deep-research", usage) is None
