"""How a step gets its ports: what its answers cost, its time."""

from decimal import Decimal

import pytest

from flowllm.core.delta import Usage
from flowllm.core.event import CallFailed, CallFinished, Cost, StepStarted
from flowllm.runtime.values import CostWatch


def finished(amount):
    return CallFinished("a", 0.0, "acme/m", Usage(1, 1), Cost(amount and Decimal(amount)), 1.0)


def broken(amount):
    return CallFailed("a", 0.0, "acme/m", "timeout", "late", Usage(1, 1), Cost(amount and Decimal(amount)))


@pytest.mark.parametrize(
    ("events", "total"),
    [
        ([], "0"),
        ([finished("0.1"), finished("0.2")], "0.3"),
        ([broken("0.1"), finished("0.2")], "0.3"),
        ([CallFailed("a", 0.0, "acme/m", "overloaded", "no"), finished("0.2")], "0.2"),
        ([finished("0.1"), finished(None), finished("0.2")], None),
        ([broken(None), finished("0.2")], None),
    ],
)
def test_a_step_costs_what_all_its_answers_cost(events, total):
    told = []
    watch = CostWatch(told.append)
    for event in (StepStarted("a", 0.0, "call"), *events):
        watch.emit(event)
    assert watch.total == (total and Decimal(total))
    assert told[1:] == events
