"""Streamed outputs: every delta is handed on, in order, however slowly it is read."""

import asyncio

import pytest

from flowllm.api import Flow
from flowllm.core.delta import Finish, Text
from flowllm.core.kinds import Kinds
from flowllm.runtime import Engine, bind

WORDS = [f"word{i} " for i in range(500)]
PLAN = Flow.of(
    {
        "nodes": {"ask": {"kind": "call", "model": "mock/m", "prompt": "hello"}},
        "outputs": {"text": "ask.text", "again": "ask.text"},
    }
).plan


def answering(burst):
    """A model whose words come ``burst`` at a time."""

    async def call(request, scope):
        for number, word in enumerate(WORDS):
            if not number % burst:
                await asyncio.sleep(0)
            yield Text(word)
        yield Finish("stop")

    return call


@pytest.mark.parametrize("outputs", [["text"], ["text", "again"]])
@pytest.mark.parametrize("burst", [1, 7, 100, 500])
@pytest.mark.parametrize("slowness", [0, 1, 3])
async def test_no_delta_is_lost(outputs, burst, slowness):
    seen = {name: [] for name in outputs}
    async with bind(PLAN, Engine(Kinds(), answering(burst))).stream({}, outputs) as stream:
        async for name, delta in stream:
            seen[name].append(delta.text)
            for _ in range(slowness):
                await asyncio.sleep(0)
        result = await stream.result()
    assert seen == dict.fromkeys(outputs, WORDS)
    assert result.outputs == {"text": "".join(WORDS), "again": "".join(WORDS)}
