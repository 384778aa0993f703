"""Frames at work: order, demand, failure, cancellation. The rules themselves are in tests/spec."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypedDict

import pytest

from flowllm.core.errors import FlowError, NodeFailure
from flowllm.core.event import StepStarted
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node
from flowllm.core.plan import Plan, Step
from flowllm.core.slot import Literal, Path
from flowllm.runtime import Engine, Options, bind


class Value(TypedDict):
    value: Any


class Give(Node):
    """Gives what it gets, at once."""

    def run(self, v: Any = None) -> Value:
        return {"value": v}


class Wait(Node):
    """Waits until it is cancelled, and remembers that it was."""

    async def run(self, log: list[str]) -> Value:
        log.append("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        return {"value": None}


class Fail(Node):
    """Fails after one turn of the loop."""

    async def run(self, v: Any = None) -> Value:
        await asyncio.sleep(0)
        raise NodeFailure("node_failed", "boom")


class Crash(Node):
    """Raises what no kind should."""

    def run(self, v: Any = None) -> Value:
        raise ZeroDivisionError("division by zero")


KINDS = Kinds({"give": Give, "wait": Wait, "fail": Fail, "crash": Crash})


def plan(*steps: Step, outputs: Mapping[str, Any], roots: tuple[int, ...]) -> Plan:
    return Plan("p", steps, roots, outputs, digest="d")


def bound(made: Plan):
    return bind(made, Engine(KINDS, backends=lambda request, scope: None))


async def test_what_no_output_needs_does_not_run():
    made = plan(Step("a", "give"), Step("b", "crash"), outputs={"o": Path("a", ("value",))}, roots=(0,))
    assert (await bound(made).run({})).outputs == {"o": None}


@pytest.mark.parametrize("size", [1, 300, 5_000])
async def test_a_long_chain_runs_without_recursion_and_gives_the_loop_its_turns(size):
    steps = [
        Step(
            f"s{i:06d}",
            "give",
            {"v": Path(f"s{i - 1:06d}", ("value",)) if i else Literal(7)},
            needs=(i - 1,) if i else (),
        )
        for i in range(size)
    ]
    made = plan(*steps, outputs={"o": Path(steps[-1].id, ("value",))}, roots=(size - 1,))
    turns = 0

    async def tick():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    result = await bound(made).run({})
    ticker.cancel()
    assert result.outputs == {"o": 7}
    assert turns >= size // 256


async def test_the_first_failure_cancels_the_rest_and_leaves_no_task():
    log: list[str] = []
    made = plan(
        Step("a", "wait", {"log": Literal(log)}),
        Step("b", "fail"),
        outputs={"o": Path("a", ("value",)), "p": Path("b", ("value",))},
        roots=(0, 1),
    )
    before = asyncio.all_tasks()
    with pytest.raises(NodeFailure, match="boom") as raised:
        await bound(made).run({})
    assert raised.value.address == "b"
    assert log == ["started", "cancelled"]
    assert asyncio.all_tasks() == before


async def test_cancelling_a_run_cancels_its_steps_before_it_returns():
    log: list[str] = []
    made = plan(Step("a", "wait", {"log": Literal(log)}), outputs={"o": Path("a", ("value",))}, roots=(0,))
    run = asyncio.create_task(bound(made).run({}))
    while not log:  # noqa: ASYNC110  the step has no event to wait for
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["started", "cancelled"]


async def test_what_a_kind_raises_becomes_a_failure_with_a_place():
    made = plan(Step("a", "crash"), outputs={"o": Path("a", ("value",))}, roots=(0,))
    with pytest.raises(FlowError, match="ZeroDivisionError: division by zero") as raised:
        await bound(made).run({})
    assert (raised.value.code, raised.value.address) == ("node_failed", "a")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_ready_steps_start_in_the_order_of_their_ids_not_of_the_plan():
    started = []
    steps = [Step(name, "give") for name in ("c", "a", "b")]
    made = plan(*steps, outputs={s.id: Path(s.id, ("value",)) for s in steps}, roots=(0, 1, 2))
    await bound(made).run({}, Options(readers=[lambda e: started.append(e) if isinstance(e, StepStarted) else None]))
    assert [event.address for event in started] == ["a", "b", "c"]


async def test_a_run_stops_at_its_own_time():
    log: list[str] = []
    made = plan(Step("a", "wait", {"log": Literal(log)}), outputs={"o": Path("a", ("value",))}, roots=(0,))
    with pytest.raises(NodeFailure, match=r"no result after 0.01 s") as raised:
        await bound(made).run({}, Options(timeout=0.01))
    assert raised.value.code == "timeout"
    assert log == ["started", "cancelled"]
