"""Usage and prices to itemised cost."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Usage
from flowllm.core.prices import per_million
from flowllm.pricing.cost import price, pricing_of

PRICES = {"input": "1.20", "output": "4.80", "cached_input": "0.30", "cache_write": "1.50"}


def card(prices=PRICES, **rest):
    known = None if prices is None else {name: Decimal(value) for name, value in prices.items()}
    return ModelCard("m", prices=known and per_million(known, as_of="2026-11-20"), **rest)


@pytest.mark.parametrize(
    ("prices", "usage", "total", "items"),
    [
        (PRICES, Usage(1_000_000, 0), "1.20", {"input": "1.20"}),
        (PRICES, Usage(1000, 500), "0.0036", {"input": "0.0012", "output": "0.0024"}),
        (PRICES, Usage(1000, 0, cached_input=400), "0.00084", {"input": "0.00072", "cached_input": "0.00012"}),
        (
            PRICES,
            Usage(1000, 10, cached_input=400, cache_write=100),
            "0.000918",
            {"input": "0.0006", "cached_input": "0.00012", "cache_write": "0.00015", "output": "0.000048"},
        ),
        (
            PRICES,
            Usage(10, 100, reasoning=90),
            "0.000492",
            {"input": "0.000012", "output": "0.000048", "reasoning": "0.000432"},
        ),
        (
            {"input": "2", "output": "8"},
            Usage(100, 0, cached_input=60),
            "0.0002",
            {"input": "0.00008", "cached_input": "0.00012"},
        ),
        (PRICES, Usage(100, 0, cached_input=500), "0.00003", {"cached_input": "0.00003"}),
        (PRICES, Usage(0, 0), "0", {}),
        ({"input": "0", "output": "0"}, Usage(10, 10), "0", {"input": "0", "output": "0"}),
    ],
)
def test_cost(prices, usage, total, items):
    cost = price(card(prices), usage)
    assert cost.total == Decimal(total)
    assert {line.item: line.amount for line in cost.items} == {name: Decimal(value) for name, value in items.items()}


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        (None, Usage(1, 1)),
        (card(None), Usage(1, 1)),
        (card(), None),
        (card(), Usage(1, None)),
        (card(), Usage(None, 1)),
        (card({"input": "1"}), Usage(1, 1)),
        (card({"output": "1"}), Usage(1, 1)),
    ],
)
def test_what_is_not_known_is_none_and_never_zero(model, usage):
    assert price(model, usage).total is None


def test_an_embedding_has_no_output():
    assert price(card({"input": "1"}, tasks=frozenset({"embed"})), Usage(2_000_000)).total == Decimal(2)


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (Usage(1, 1), "prices of 2026-11-20"),
        (Usage(1, 1, estimated=True), "prices of 2026-11-20, estimated tokens"),
        (Usage(1, 1, cached_input=2), "prices of 2026-11-20, corrected counts"),
        (Usage(-1, 1), "prices of 2026-11-20, corrected counts"),
    ],
)
def test_source_says_what_was_done(usage, said):
    assert price(card(), usage).source == said


counts = st.none() | st.integers(-5, 10**9)


@given(st.builds(Usage, counts, counts, counts, counts, counts))
def test_items_sum_to_the_total_and_no_token_is_billed_twice(usage):
    cost = price(card(dict.fromkeys(PRICES, "1000000")), usage)
    if cost.total is None:
        assert any(count is None or count < 0 for count in (usage.input, usage.output))
    else:
        amounts = [line.amount for line in cost.items]
        assert sum(amounts) == cost.total == usage.input + usage.output
        assert all(amount >= 0 for amount in amounts)


def test_prices_of_a_catalog():
    providers = {
        "acme": ProviderCard("acme", models={"m": card()}),
        "mock": ProviderCard("mock", local=True),
        "here": ProviderCard("here", free=True, models={"m": card(), "listed": card(None)}),
    }
    priced = pricing_of(Catalog(providers))
    assert priced("acme/m", Usage(1_000_000, 0)).total == Decimal("1.2")
    assert priced("acme/other", Usage(1, 1)).total is None
    assert priced("gone/m", Usage(1, 1)).total is None
    assert priced("mock/echo", None).total == 0
    assert priced("here/unlisted", None).total == priced("here/listed", Usage(1, 1)).total == 0
    assert priced("here/m", Usage(1_000_000, 0)).total == Decimal("1.2")
