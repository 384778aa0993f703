"""P4: what a node that does nothing costs in a chain and in a fan, against a task of a TaskGroup."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypedDict

from flowllm.api import Environment, Flow
from flowllm.api.engine import RunOptions, build_engine
from flowllm.core.node import Node
from flowllm.runtime import bind
from tests.bench.row import Row, Size, Target, cpu, in_turns, row

TARGET = Target(2.5)
Needs = list[list[int]]


class Value(TypedDict):
    value: Any


class Quick(Node):
    """Does nothing, in the frame itself."""

    open_inputs: ClassVar[bool] = True

    def run(self, **given: Any) -> Value:
        return {"value": 1}


class Slow(Node):
    """Does nothing, in a task of its own."""

    open_inputs: ClassVar[bool] = True

    async def run(self, **given: Any) -> Value:
        return {"value": 1}


ENVIRONMENT = Environment(registered={"quick": Quick, "slow": Slow})


def chain(count: int) -> Needs:
    """Each node needs the one before."""
    return [[i - 1] if i else [] for i in range(count)]


def fan(count: int) -> Needs:
    """All need the first, the last needs all."""
    return [[], *([0] for _ in range(count - 2)), list(range(1, count - 1))]


def mapping(needs: Needs, kind: str) -> dict[str, Any]:
    """The graph as a pipeline."""
    nodes = {
        f"n{i}": {"kind": kind, "in": {f"v{j}": f"n{j}.value" for j in some} or {"v": "inputs.x"}}
        for i, some in enumerate(needs)
    }
    return {"inputs": {"x": "integer"}, "nodes": nodes, "outputs": {"o": f"n{len(needs) - 1}.value"}}


def ours(needs: Needs, kind: str) -> Callable[[], Awaitable[object]]:
    """Runs of the graph, compiled and bound once."""
    engine = build_engine(ENVIRONMENT, ENVIRONMENT.connect(), RunOptions())
    bound = bind(Flow.of(mapping(needs, kind), environment=ENVIRONMENT).plan, engine)
    return lambda: bound.run({"x": 1})


def task_group(needs: Needs) -> Callable[[], Awaitable[object]]:
    """A task for each node, started when the last of its needs is done."""
    waiters: list[list[int]] = [[] for _ in needs]
    for index, some in enumerate(needs):
        for need in some:
            waiters[need].append(index)

    async def node(**given: Any) -> Value:
        return {"value": 1}

    async def run() -> object:
        missing, results = [len(some) for some in needs], [Value(value=None)] * len(needs)
        async with asyncio.TaskGroup() as group:

            async def go(index: int) -> None:
                results[index] = await node(**{f"v{j}": results[j]["value"] for j in needs[index]})
                for waiter in waiters[index]:
                    missing[waiter] -= 1
                    if not missing[waiter]:
                        group.create_task(go(waiter))

            group.create_task(go(0))
        return results[-1]

    return run


def _cost(run: Callable[[], Awaitable[object]], count: int, times: int) -> Callable[[], float]:
    async def repeat() -> None:
        for _ in range(times):
            await run()

    return lambda: cpu(lambda: asyncio.run(repeat())) / times / count * 1e6


def measure(size: Size) -> list[Row]:
    """Sync and async nodes, 10 to 10,000 of them."""
    rows = []
    for shape in (chain, fan):
        for count in (10, 100, 1000, 10_000):
            needs = shape(size.of(count, 10))
            times = max(1, size.of(20_000) // len(needs))
            ways = [ours(needs, "slow"), ours(needs, "quick"), task_group(needs)]
            slow, quick, floor = in_turns(size.rounds, *(_cost(way, len(needs), times) for way in ways))
            for name, costs in (("async", slow), ("sync", quick)):
                title = f"P4 {shape.__name__} of {count:,}, {name} nodes"
                rows.append(row(title, costs, floor, TARGET, "us/node", "TaskGroup"))
    return rows
