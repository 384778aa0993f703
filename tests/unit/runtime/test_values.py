"""How a step gets its ports: what its answers cost, its time."""

import contextvars
import threading
from decimal import Decimal
from typing import TypedDict

import pytest

from flowllm.api import Environment, Flow
from flowllm.core.delta import Usage
from flowllm.core.errors import NodeFailure
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


class Value(TypedDict):
    """One port."""

    value: str


NAME = contextvars.ContextVar("name", default="nobody")


def thread() -> Value:
    return {"value": f"{threading.current_thread().daemon} {NAME.get()}"}


def no_more() -> Value:
    raise StopIteration


def flow(**kinds):
    (name,) = kinds
    nodes = {"a": {"kind": name, "timeout": 60}}
    mapping = {"nodes": nodes, "outputs": {"o": "a.value"}}
    return lambda **more: Flow.of(
        {**mapping, "nodes": {"a": nodes["a"] | more}}, environment=Environment(registered=kinds)
    )


def test_a_timeout_ends_a_step_that_blocks_its_thread():
    end = threading.Event()

    def block() -> Value:
        end.wait(20)
        return {"value": "late"}

    try:
        with pytest.raises(NodeFailure, match=r"no result after 0\.01 s") as raised:
            flow(block=block)(timeout=0.01).run()
    finally:
        end.set()
    assert raised.value.code == "timeout"


@pytest.mark.parametrize(("more", "own"), [({}, True), ({"timeout": None}, False)])
async def test_a_step_with_a_timeout_has_a_thread_of_its_own_in_the_same_context(more, own):
    """One that keeps no program from ending."""
    NAME.set("me")
    assert (await flow(thread=thread)(**more).arun()).text == f"{own} me"


def test_what_a_step_raises_in_its_thread_is_its_failure():
    with pytest.raises(NodeFailure, match="StopIteration"):
        flow(no_more=no_more)().run()
