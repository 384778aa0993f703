"""What the conformance table leaves open about regions: failures seen from outside, keys, refresh, types."""

import asyncio
from contextlib import aclosing
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pytest

from flowllm.api import Environment, Flow
from flowllm.core.delta import Finish, Text, Usage
from flowllm.core.errors import BadOutput, BudgetExceeded, FlowError, NodeFailure, UsageError
from flowllm.core.event import CacheHit, CacheMiss, Cost, StepStarted, Warned
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node
from flowllm.core.policy import Services
from flowllm.core.store import MemoryStore
from flowllm.runtime import Engine, Options, bind


class Pass(Node):
    """Gives its ports on."""

    open_inputs: ClassVar[bool] = True

    def output_ports(self, inputs, schemas):
        return {**{name: {} for name in inputs}, "value": {}}

    def run(self, **given):
        return {**given, "value": given}


class Break(Node):
    """Fails as it is told."""

    def run(self, how: Any = None) -> dict[str, Any]:
        if how == "bad":
            raise BadOutput("bad words")
        if how == "budget":
            raise BudgetExceeded("over_budget", "no money")
        if how == "fail":
            raise NodeFailure("node_failed", "boom")
        return {"value": how}


class Hang(Node):
    """Never ends."""

    async def run(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}


KINDS = {"pass": Pass, "break": Break, "hang": Hang}


async def echo(request, scope):
    yield Text(request.messages[-1].text)
    yield Usage(1, 1)
    yield Finish("stop")


def made(nodes, outputs, *, inputs=None, pipelines=None, store=None, read_cache=True):
    mapping = {"nodes": nodes, "outputs": outputs, "inputs": inputs or {}}
    plan = Flow.of(mapping, pipelines=pipelines, environment=Environment(registered=KINDS)).plan
    services = Services(
        store=store or MemoryStore(), price=lambda model, usage: Cost(Decimal("0.5")), read_cache=read_cache
    )
    return bind(plan, Engine(Kinds(KINDS), echo, services))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no", '`until` gives "no", which is neither true nor false'),
        (1, "`until` gives 1, which is neither true nor false"),
        (False, "`until` is false"),
        ("", "`until` is false"),
    ],
)
async def test_what_is_neither_true_nor_false_is_not_good(value, problem):
    """A kind whose ports have no type can put anything into a condition."""
    nodes = {
        "again": {"kind": "retry", "around": ["a"], "of": "a.value", "until": "a.value.it", "attempts": 1},
        "a": {"kind": "pass", "in": {"it": {"const": value}}},
    }
    with pytest.raises(BadOutput) as caught:
        await made(nodes, {"o": "again.value"}).run({})
    assert problem in caught.value.errors


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ({"kind": "break", "in": {"how": {"const": "bad"}}}, ["bad words", 2, "bad_words"]),
        ({"kind": "break", "in": {"how": {"const": "fail"}}}, [None, 1, "boom"]),
        ({"kind": "prompt", "text": "{{ 1 // 0 }}"}, [None, 1, "zero"]),
    ],
)
async def test_a_rescue_of_a_retry_reads_what_it_knows_whatever_the_failure(inner, expected):
    rescue = {"value": ["s.problem", "s.attempts", "s.error", "s.last"]}
    region = {"kind": "retry", "around": ["b"], "of": "b", "attempts": 2, "when_failed": rescue}
    problem, attempts, error, last = (await made({"b": inner, "s": region}, {"o": "s.value"}).run({})).outputs["o"]
    assert [problem, attempts] == expected[:2]
    assert expected[2].split("_")[0] in error
    assert last is None


async def test_a_rescue_of_a_retry_that_ran_out_of_time_reads_its_attempts():
    region = {"kind": "retry", "around": ["h"], "of": "h", "timeout": 0.01, "when_failed": {"value": "s.attempts"}}
    assert (await made({"h": {"kind": "hang"}, "s": region}, {"o": "s.value"}).run({})).outputs == {"o": 1}


@pytest.mark.parametrize("wrap", ["when_failed", "keep_going"])
async def test_a_spent_budget_is_hidden_by_nothing(wrap):
    inner = {"kind": "break", "in": {"how": "item"}, "each": "inputs.xs"}
    inner |= {"keep_going": True} if wrap == "keep_going" else {}
    region = {"kind": "retry", "around": ["b"], "of": "b.items", "attempts": 1}
    region |= {"when_failed": {"value": {"const": "hidden"}}} if wrap == "when_failed" else {}
    flow = made({"b": inner, "s": region}, {"o": "s.value"}, inputs={"xs": "array"})
    with pytest.raises(BudgetExceeded, match="no money"):
        await flow.run({"xs": ["ok", "budget"]})


@pytest.mark.parametrize(
    ("items", "kind", "exit"),
    [(["bad", "bad"], BadOutput, 5), (["fail", "bad"], NodeFailure, 1), (["fail"], NodeFailure, 1)],
)
async def test_a_map_in_which_all_failed_is_bad_output_when_each_item_is(items, kind, exit):
    nodes = {"b": {"kind": "break", "in": {"how": "item"}, "each": "inputs.xs", "keep_going": True}}
    with pytest.raises(FlowError, match="every item failed; first") as raised:
        await made(nodes, {"o": "b.items"}, inputs={"xs": "array"}).run({"xs": items})
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.exit) == ("every_item_failed", exit)


async def test_a_wrong_input_of_a_sub_pipeline_is_its_nodes_failure():
    sub = {"inputs": {"n": {"type": "integer", "minimum": 3}}, "nodes": {}, "outputs": {"m": "inputs.n"}}
    nodes = {
        "d": {"kind": "pipeline", "use": "./sub.yaml", "each": "inputs.xs", "in": {"n": "item"}, "keep_going": True}
    }
    flow = made(
        nodes, {"o": "d.items[].m", "e": "d.errors[].code"}, inputs={"xs": "array"}, pipelines={"./sub.yaml": sub}
    )
    assert (await flow.run({"xs": [1, 5]})).outputs == {"o": [5], "e": ["bad_value"]}
    with pytest.raises(NodeFailure) as raised:
        await flow.run({"xs": [1]})
    assert raised.value.code == "every_item_failed"


async def test_a_cache_region_gives_the_same_types_on_a_miss_and_on_a_hit():
    nodes = {
        "a": {"kind": "call", "model": "mock/m", "prompt": "x"},
        "c": {"kind": "cache", "around": ["a"], "of": {"cost": "a.cost", "n": {"const": [1, 2.5, None]}}},
    }
    flow = made(nodes, {"o": "c.value", "hit": "c.hit"})
    first, second = (await flow.run({})).outputs, (await flow.run({})).outputs
    assert (first["hit"], second["hit"]) == (False, True)
    assert first["o"] == second["o"] == {"cost": "0.5", "n": [1, 2.5, None]}


async def test_a_value_of_a_model_that_was_replaced_meanwhile_is_not_kept():
    nodes = {
        "a": {"kind": "call", "model": "mock/m", "prompt": "x"},
        "c": {"kind": "cache", "around": ["a"], "of": "a.text"},
    }
    behind, asked = ["old"], []

    async def replaced_once(request, scope):
        behind[0] = "new"
        asked.append(request)
        async with aclosing(echo(request, scope)) as deltas:
            async for delta in deltas:
                yield delta

    plan = Flow.of({"nodes": nodes, "outputs": {"hit": "c.hit"}}).plan
    services = Services(store=MemoryStore(), local_identity=lambda model: behind[0])
    flow = bind(plan, Engine(Kinds(KINDS), replaced_once, services))
    assert [(await flow.run({})).outputs["hit"] for _ in range(3)] == [False, False, True]
    behind[0] = "old"
    assert (await flow.run({})).outputs["hit"] is False
    assert len(asked) == 3


def region(**more):
    return {
        "p": {"kind": "pass", "in": {"v": "inputs.x"}},
        "c": {"kind": "cache", "around": ["p"], "of": "p.v", **more},
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 2),
        (2**70, 2**70 + 1),
        ([1], [[1]]),
        ("1", 1),
        (None, "null"),
        (1, True),
        (1, 1.0),
        ({1: "a"}, {"1": "a"}),
        ({True: "a"}, {"true": "a"}),
        ({1: "a"}, {"": ["mapping", [[1, "a"]]]}),
        (Decimal("1.5"), "1.5"),
        (Decimal("1.5"), 1.5),
        ((1, 2), [1, 2]),
        (b"a", "b'a'"),
        (np.float32([1, 2]), [1.0, 2.0]),
        (np.float32([1, 2]), np.float64([1, 2])),
        (np.float32([[1, 2]]), np.float32([1, 2])),
        (np.float32([1, 2]), np.float32([1, 3])),
        (np.float64(1.5), 1.5),
    ],
)
async def test_what_differs_has_keys_that_differ(first, second):
    flow = made(region(), {"hit": "c.hit"}, inputs={"x": {}})
    assert [(await flow.run({"x": x})).outputs["hit"] for x in (first, second, first)] == [False, False, True]


class Thing:
    """Says of each of its kind the same."""

    def __repr__(self):
        return "Thing()"


@pytest.mark.parametrize("value", [Thing(), [Thing()], {"a": Thing()}, {Thing(): 1}, np.array([Thing()]), {1, 2}])
async def test_what_nobody_can_tell_apart_is_not_kept(value):
    flow = made(
        {**region(), "m": {"kind": "map", "around": ["c", "p"], "over": {"const": [1, 2]}, "of": "c.hit"}},
        {"o": "m.items"},
        inputs={"x": {}},
    )
    for _ in range(2):
        events = []
        assert (await flow.run({"x": value}, Options(readers=[events.append]))).outputs == {"o": [False, False]}
        (warning,) = [event for event in events if isinstance(event, Warned)]
        assert "give it a `key`" in warning.message


async def test_a_key_of_null_is_no_key():
    flow = made(region(key={"const": None}), {"o": "c.value"}, inputs={"x": {}})
    assert [(await flow.run({"x": x})).outputs["o"] for x in ("first", "second")] == ["first", "second"]


@pytest.mark.parametrize(("read_cache", "events"), [(True, [CacheMiss, CacheHit]), (False, [])])
async def test_a_cache_that_is_not_read_counts_nothing(read_cache, events):
    flow, seen = made(region(), {"o": "c.value"}, inputs={"x": {}}, read_cache=read_cache), []
    for _ in range(2):
        await flow.run(
            {"x": 1}, Options(readers=[lambda e: seen.append(type(e)) if "Cache" in type(e).__name__ else None])
        )
    assert seen == events


CACHED = {
    "q": {"kind": "call", "model": "mock/m", "prompt": "{{ item }}", "cache": {}},
    "sure": {"kind": "retry", "around": ["q"], "of": "q.text"},
    "docs": {"kind": "map", "over": "inputs.xs", "around": ["sure"], "of": "sure.value"},
    "other": {"kind": "call", "model": "mock/m", "prompt": "other", "cache": {}},
}


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("docs", {"docs[0]/sure#1/q", "docs[1]/sure#1/q"}),
        ("docs/", {"docs[0]/sure#1/q", "docs[1]/sure#1/q"}),
        ("docs/sure", {"docs[0]/sure#1/q", "docs[1]/sure#1/q"}),
        ("docs/sure/q", {"docs[0]/sure#1/q", "docs[1]/sure#1/q"}),
        ("docs[1]", {"docs[1]/sure#1/q"}),
        ("docs[1]/sure#1/q", {"docs[1]/sure#1/q"}),
        ("other", {"other"}),
    ],
)
async def test_refresh_takes_addresses_with_and_without_items_and_attempts(wanted, asked):
    flow = made(CACHED, {"o": "docs.items", "p": "other.text"}, inputs={"xs": "array"})
    await flow.run({"xs": ["a", "b"]})
    events = []
    await flow.run({"xs": ["a", "b"]}, Options(readers=[events.append], refresh=(wanted,)))
    hits = {event.address for event in events if isinstance(event, CacheHit)}
    calls = {event.address for event in events if isinstance(event, StepStarted) and event.kind == "call"}
    assert calls - hits == asked


@pytest.mark.parametrize("wanted", ["nothing", "docs/nothing", "docs/sure/q/x", "q"])
async def test_refresh_of_what_is_no_step_is_refused(wanted):
    flow = made(CACHED, {"o": "docs.items"}, inputs={"xs": "array"})
    with pytest.raises(UsageError, match=f"`{wanted}` names no step"):
        await flow.run({"xs": []}, Options(refresh=(wanted,)))


async def test_nothing_starts_after_a_run_was_cancelled():
    chain = {f"s{i:04}": {"kind": "pass", "in": {"v": f"s{i - 1:04}.v" if i else "inputs.x"}} for i in range(1_200)}
    started = []
    flow = made({**chain, "w": {"kind": "pass", "in": {"v": "s1199.v"}}}, {"o": "w.v"}, inputs={"x": {}})
    run = asyncio.create_task(flow.run({"x": 1}, Options(readers=[started.append])))
    for _ in range(3):
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    before = len(started)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(started) == before
    assert not any(isinstance(event, StepStarted) and event.address == "w" for event in started)


async def test_an_inner_timeout_does_not_speak_for_the_outer_one():
    nodes = {
        "h": {"kind": "hang", "timeout": "60s", "when_failed": {"value": {"const": "inner"}}},
        "t": {"kind": "cache", "around": ["h"], "of": "h.value", "timeout": 0.01, "when_failed": {"value": "t.error"}},
    }
    assert (await made(nodes, {"o": "t.value"}).run({})).outputs == {"o": "no result after 0.01 s"}
