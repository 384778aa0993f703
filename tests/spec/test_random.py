"""On random pipelines what runs is what the rules say, and the order in the file changes nothing."""

from collections import Counter
from random import Random

import pytest

from flowllm.compiler import compile_spec
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog
from flowllm.core.event import StepStarted
from flowllm.core.policy import Services
from flowllm.core.scope import no_call
from flowllm.runtime import Engine, bind
from flowllm.runtime.run import Options
from tests.spec.random_pipelines import KINDS, Reading, make, shuffled

SOME, ALL = range(200), range(200, 3000)


def plan_of(pipeline):
    return compile_spec(parse_mapping(pipeline, kinds=KINDS), kinds=KINDS, catalog=Catalog({})).plan


async def carried_out(plan, inputs):
    """The outputs and the addresses of plain steps in the order of their start."""
    started = []

    def read(event):
        if isinstance(event, StepStarted) and event.kind == "mix":
            started.append(event.address)

    engine = Engine(kinds=KINDS, backends=no_call, services=Services(read_cache=False), random=Random(0))
    result = await bind(plan, engine).run(inputs, Options(readers=[read]))
    return dict(result.outputs), started


async def check(seed):
    pipeline = make(seed)
    inputs = {"a": seed % 7, "b": seed % 5}
    reading = Reading(pipeline, inputs)
    wanted = reading.run()
    plan = plan_of(pipeline)
    outputs, started = await carried_out(plan, inputs)
    assert outputs == wanted
    assert Counter(started) == reading.ran
    other = plan_of(shuffled(pipeline, seed))
    assert (other, other.digest) == (plan, plan.digest)
    assert await carried_out(other, inputs) == (outputs, started)


@pytest.mark.parametrize("block", range(0, len(SOME), 20))
async def test_what_runs(block):
    for seed in SOME[block : block + 20]:
        await check(seed)


@pytest.mark.slow
async def test_what_runs_in_three_thousand():
    for seed in ALL:
        await check(seed)


def test_the_pipelines_are_of_all_shapes():
    kinds = Counter(node["kind"] for seed in SOME for node in make(seed)["nodes"].values())
    assert min(kinds[kind] for kind in ("mix", "route", "retry", "cache", "map")) > 50
    steps = [step for seed in SOME for step in plan_of(make(seed)).steps]
    assert sum(bool(step.early) for step in steps) > 10
    assert sum(bool(step.rescue) for step in steps) > 10
    assert sum(bool(step.folded) for step in steps) > 10
