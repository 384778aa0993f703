"""Which requests a limit lets through, by the prices of the model that is asked."""

from decimal import Decimal

import pytest

from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Scores, Usage
from flowllm.core.errors import BudgetExceeded
from flowllm.core.policy import Services
from flowllm.core.prices import Prices, Rate
from flowllm.core.request import Rerank
from flowllm.policies.meter import Meter
from flowllm.pricing.cost import pricing_of
from flowllm.runtime.budget import Budget
from tests.unit.policies.world import World, collect


@pytest.fixture
def world():
    return World()


RANKED = [Scores([0], [1.0]), Usage(units={"queries": 1})]


def catalog(tasks, **amounts):
    prices = Prices(tuple(Rate(item, Decimal(amount)) for item, amount in amounts.items()))
    return Catalog(
        {"acme": ProviderCard("acme", models={"m": ModelCard("m", prices=prices, tasks=frozenset({tasks}))})}
    )


def metered(known, budget):
    return Services(price=pricing_of(known), may_spend=budget.may_spend, may_guess=budget.may_guess, spend=budget.spend)


async def sent(world, known, answer, limit, times=1):
    """How many of ``times`` requests were sent, and what was spent."""
    budget, script = Budget(Decimal(limit)), world.script(answer)
    call = Meter().wrap(script, metered(known, budget))
    for _ in range(times):
        try:
            await collect(call, Rerank("acme/m", "q", ("a",)), world.scope())
        except BudgetExceeded:
            break
    return len(script.requests), budget.spent


@pytest.mark.parametrize(
    ("queries", "limit", "asked"),
    [("0.002", "0.01", 5), ("0.002", "0", 0), ("0", "0", 20)],
)
async def test_tokens_for_nothing_are_not_free_where_each_query_is_paid(world, queries, limit, asked):
    known = catalog("rerank", input="0", output="0", queries=queries)
    count, spent = await sent(world, known, RANKED, limit, 20)
    assert (count, spent) == (asked, asked * Decimal(queries))


@pytest.mark.parametrize(
    ("task", "amounts", "asked"),
    [
        ("chat", {"output": "1"}, 0),
        ("chat", {"input": "1"}, 0),
        ("chat", {"output_audio": "1", "input_audio": "1"}, 0),
        ("chat", {"input": "1", "output": "1"}, 1),
        ("chat", {"input_characters": "1", "output": "1"}, 1),
        ("chat", {}, 0),
        ("rerank", {"input": "1"}, 1),
        ("rerank", {"queries": "1"}, 1),
        ("rerank", {"output": "1"}, 0),
    ],
)
async def test_a_model_without_a_price_of_one_side_is_not_asked_under_a_limit(world, task, amounts, asked):
    count, _ = await sent(world, catalog(task, **amounts), [Usage(1, 1)], "1")
    assert count == asked
