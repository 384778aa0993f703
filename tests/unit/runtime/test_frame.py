"""Frames at work: order, demand, failure, cancellation. The rules themselves are in tests/spec."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any, TypedDict

import pytest

from flowllm.core.errors import FlowError, NodeFailure
from flowllm.core.event import RunFinished, StepCancelled, StepFailed, StepFinished, StepStarted
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node
from flowllm.core.plan import Plan, Step
from flowllm.core.scope import Scope
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


class Say(Node):
    """Raises what it is given, at once."""

    def run(self, v: Any = None) -> Value:
        raise v


class Cancel(Node):
    """Is cancelled, though nobody cancelled its run."""

    async def run(self, how: str) -> Value:
        if how == "itself":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        if how == "work of its own":
            work = asyncio.ensure_future(asyncio.sleep(60))
            work.cancel()
            await work
        raise asyncio.CancelledError


class Panic(BaseException):
    """What is no `Exception`."""


class Break(Node):
    """Raises what no step can fail with, after one turn of the loop."""

    async def run(self, v: Any = None) -> Value:
        await asyncio.sleep(0)
        raise Panic


class Linger(Node):
    """Needs its time to end."""

    async def run(self, log: list[str]) -> Value:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ending")
            await asyncio.Event().wait()
        return {"value": None}


KINDS = Kinds(
    {
        "give": Give, "wait": Wait, "fail": Fail, "crash": Crash, "say": Say, "cancel": Cancel, "break": Break,
        "linger": Linger,
    }
)  # fmt: skip


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


@pytest.mark.parametrize(
    "step",
    [
        *(Step("a", "cancel", {"how": Literal(how)}) for how in ("raised", "itself", "work of its own")),
        Step("a", "say", {"v": Literal(asyncio.CancelledError())}),
    ],
)
@pytest.mark.parametrize("policies", [{}, {"timeout": 60}])
async def test_a_kind_that_is_cancelled_from_within_has_failed(step, policies):
    made = plan(replace(step, policies=policies), outputs={"o": Path("a", ("value",))}, roots=(0,))
    async with asyncio.timeout(20):
        with pytest.raises(NodeFailure, match="was cancelled from within") as raised:
            await bound(made).run({})
    assert raised.value.address == "a"


async def test_an_item_that_is_cancelled_from_within_is_not_lost():
    body = plan(Step("a", "cancel", {"how": Literal("raised")}), outputs={"of": Path("a", ("value",))}, roots=(0,))
    region = Step("m", "map", {"over": Literal([1, 2])}, body=body)
    made = plan(region, outputs={"o": Path("m", ("items",))}, roots=(0,))
    async with asyncio.timeout(20):
        with pytest.raises(NodeFailure, match="was cancelled from within"):
            await bound(made).run({})


async def test_what_no_step_can_fail_with_ends_the_run():
    log: list[str] = []
    outputs = {"o": Path("a", ("value",)), "p": Path("b", ("value",))}
    made = plan(Step("a", "wait", {"log": Literal(log)}), Step("b", "break"), outputs=outputs, roots=(0, 1))
    async with asyncio.timeout(20):
        with pytest.raises(Panic):
            await bound(made).run({})
    assert log == ["started", "cancelled"]


ENDS = (StepFinished, StepFailed, StepCancelled)


@pytest.mark.parametrize(
    ("kind", "turns", "end", "code"),
    [
        ("fail", 100, StepFailed, "node_failed"),
        ("fail", 5, StepFailed, "interrupted"),
        ("give", 5, StepFinished, "interrupted"),
    ],
)
async def test_every_step_that_started_ends_and_so_does_the_run(kind, turns, end, code):
    """Also where the run is stopped from outside after some turns of the loop, be it while it ends."""
    events = []
    waiting = Step("a", "wait", {"log": Literal([])})
    route = Step("r", "route", {"switch": Literal("x")}, lazy={"x": (0,)}, cases={"x": Path("a", ("value",))})
    steps = (waiting, Step("b", kind), route, Step("z", "give", {"v": Path("a", ("value",))}, needs=(0,)))
    made = plan(*steps, outputs={s.id: Path(s.id, ("value",)) for s in steps}, roots=(0, 1, 2, 3))
    run = asyncio.ensure_future(bound(made).run({}, Options(readers=[events.append])))
    for _ in range(turns):
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises((NodeFailure, asyncio.CancelledError)):
        await run
    ended = [(event.address, type(event)) for event in events if isinstance(event, ENDS)]
    assert sorted(ended, key=itemgetter(0)) == [("a", StepCancelled), ("b", end), ("r", StepCancelled)]
    assert {event.address for event in events if isinstance(event, StepStarted)} == {"a", "b", "r"}
    assert (type(events[-1]), events[-1].code) == (RunFinished, code)


async def test_who_stops_a_run_twice_does_not_wait_for_steps_that_linger_and_leaves_no_task():
    log: list[str] = []
    made = plan(Step("a", "linger", {"log": Literal(log)}), outputs={"o": Path("a", ("value",))}, roots=(0,))
    before = asyncio.all_tasks()
    run = asyncio.ensure_future(bound(made).run({}))
    await asyncio.sleep(0)
    for _ in range(2):
        await asyncio.sleep(0)
        run.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["ending"]
    assert asyncio.all_tasks() == before


class Tell(Node):
    """Gives its deadline."""

    async def run(self, scope: Scope) -> Value:
        return {"value": scope.deadline - scope.clock.now()}


@pytest.mark.parametrize(("whole", "own"), [(1_000, 2_000), (2_000, 1_000), (None, 1_000), (1_000, None)])
async def test_a_step_has_its_own_time_and_no_more_than_the_run(whole, own):
    step = Step("a", "tell", policies={} if own is None else {"timeout": own})
    made = plan(step, outputs={"o": Path("a", ("value",))}, roots=(0,))
    engine = Engine(Kinds({"tell": Tell}), backends=lambda request, scope: None)
    left = (await bind(made, engine).run({}, Options(timeout=whole))).outputs["o"]
    assert 900 < left <= 1_000
