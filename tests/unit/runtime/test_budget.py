from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from time import sleep

import pytest

from flowllm.core.errors import BudgetExceeded, UsageError
from flowllm.runtime.budget import Budget


def test_without_a_limit_everything_is_counted_and_nothing_refused():
    budget = Budget()
    for cost in (Decimal("0.1"), None, Decimal("0.2")):
        budget.may_spend()
        budget.spend(cost)
    assert budget.spent == Decimal("0.3")


def test_a_request_is_refused_once_the_limit_is_reached():
    budget = Budget(Decimal("0.3"))
    budget.spend(Decimal("0.1"))
    budget.may_spend()
    budget.spend(Decimal("0.2"))
    with pytest.raises(BudgetExceeded, match=r"0\.3 USD are spent"):
        budget.may_spend()


def test_amounts_are_written_in_plain_decimals():
    budget = Budget(Decimal("1E-7"))
    budget.spend(Decimal("2E-7"))
    with pytest.raises(BudgetExceeded, match=r"limit of 0\.0000001 USD is reached: 0\.0000002 USD"):
        budget.may_spend()


def test_an_unknown_price_ends_a_run_with_a_limit():
    budget = Budget(Decimal(1))
    for further in (lambda: budget.spend(None), budget.may_spend):
        with pytest.raises(BudgetExceeded, match="not known"):
            further()


def test_a_model_without_a_known_price_is_refused_under_a_limit_alone():
    Budget().may_guess("acme/m")
    with pytest.raises(BudgetExceeded, match="the price of acme/m is not known") as caught:
        Budget(Decimal(1)).may_guess("acme/m")
    assert "--unknown-price warn" in caught.value.hint


@pytest.mark.parametrize(("rule", "said"), [("warn", 1), ("zero", 0)])
def test_unknown_prices_may_count_for_nothing(rule, said, caplog):
    budget = Budget(Decimal(1), rule)
    for _ in range(3):
        budget.may_guess("acme/m")
        budget.may_spend()
        budget.spend(None)
    assert budget.spent == 0
    assert [record.getMessage() for record in caplog.records] == said * [
        "a price is not known: the limit of 1 USD is kept without it"
    ]
    budget.spend(Decimal(1))
    with pytest.raises(BudgetExceeded, match="is reached"):
        budget.may_spend()


def test_another_rule_is_refused():
    with pytest.raises(UsageError, match="one of fail, warn, zero, not `maybe`"):
        Budget(Decimal(1), "maybe")


class Handing(Decimal):
    """An amount that hands the word to another thread while it is added."""

    def __radd__(self, other: Decimal) -> Decimal:
        sleep(0)
        return other + Decimal(self)


def test_many_threads_spend_without_losing_anything():
    budget = Budget()

    def pay(_):
        for _ in range(200):
            budget.spend(Handing("0.1"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pay, range(8)))
    assert budget.spent == Decimal("160.0")
