"""Streamed outputs: every delta is handed on, in order, however slowly it is read."""

import asyncio

import pytest

from flowllm.api import Flow
from flowllm.core.delta import Finish, Restart, Text
from flowllm.core.errors import ProviderFailure
from flowllm.core.event import DeltaReceived, StreamHeld
from flowllm.core.kinds import Kinds
from flowllm.runtime import Engine, Options, bind
from flowllm.runtime.streams import Follower

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


async def turns(number):
    """Let everybody else go on meanwhile."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("burst", [1, 7, 100, 500])
@pytest.mark.parametrize("slowness", [0, 1, 3])
async def test_no_delta_is_lost(burst, slowness):
    seen = []
    async with bind(PLAN, Engine(Kinds(), answering(burst))).stream({}, "again") as stream:
        async for delta in stream:
            seen.append(delta.text)
            await turns(slowness)
        result = await stream.result()
    assert seen == WORDS
    assert result.outputs == {"text": "".join(WORDS), "again": "".join(WORDS)}


@pytest.mark.parametrize(
    ("slot", "shown"),
    [
        ({"const": {"a": True, "b": None}}, '{"a": true, "b": null}'),
        ({"const": [1, "x"]}, '[1, "x"]'),
        ({"const": True}, "true"),
        ("ask.usage", ""),
    ],
)
async def test_what_is_no_text_streams_as_json(slot, shown):
    nodes = {"ask": {"kind": "call", "model": "mock/m", "prompt": "hello"}}
    plan = Flow.of({"nodes": nodes, "outputs": {"o": slot}}).plan
    async with bind(plan, Engine(Kinds(), answering(1))).stream({}, "o") as stream:
        assert "".join([delta.text async for delta in stream]) == shown
        assert [delta async for delta in stream] == []


HELD = {
    "ask": {"kind": "call", "model": "mock/m", "prompt": "hello"},
    "ok": {"kind": "validate", "in": {"text": "ask.text"}},
    "sure": {"kind": "retry", "around": ["ask", "ok"], "of": "ok.value", "attempts": 2},
    "kept": {"kind": "cache", "around": ["other"], "of": "other.text"},
    "other": {"kind": "call", "model": "mock/m", "prompt": "hello"},
    "once": {"kind": "retry", "around": ["last"], "of": "last.text", "attempts": 1},
    "last": {"kind": "call", "model": "mock/m", "prompt": "hello"},
}


RESCUE = {"when_failed": {"value": {"const": "whole"}}}


@pytest.mark.parametrize(
    ("nodes", "output", "holder"),
    [
        (["ask", "ok"], "ok.value", "ok"),
        (["ask", "ok", "sure"], "sure.value", "sure"),
        (["other", "kept"], "kept.value", "kept"),
        (["last", "once"], "once.value", None),
    ],
)
async def test_what_holds_a_stream_says_so_once(nodes, output, holder):
    plan = Flow.of({"nodes": {name: HELD[name] for name in nodes}, "outputs": {"o": output}}).plan
    events = []
    bound = bind(plan, Engine(Kinds(), answering(1)))
    async with bound.stream({}, "o", Options(readers=[events.append])) as stream:
        assert "".join([delta.text async for delta in stream]) == "".join(WORDS)
    assert [event.address for event in events if isinstance(event, StreamHeld)] == ([holder] if holder else [])


async def test_a_cache_hit_holds_nothing():
    plan = Flow.of({"nodes": {name: HELD[name] for name in ("other", "kept")}, "outputs": {"o": "kept.value"}}).plan
    bound, events = bind(plan, Engine(Kinds(), answering(1))), []
    await bound.run({})
    async with bound.stream({}, "o", Options(readers=[events.append])) as stream:
        assert "".join([delta.text async for delta in stream]) == "".join(WORDS)
    assert not any(isinstance(event, StreamHeld) for event in events)


async def test_who_comes_late_or_again_reads_each_delta_once():
    async with bind(PLAN, Engine(Kinds(), answering(1))).stream({}, "text") as stream:
        await stream.result()
        seen = []
        async for delta in stream:
            seen.append(delta.text)
            if len(seen) == 3:
                break
        seen += [delta.text async for delta in stream]
        assert seen == WORDS
        assert [delta async for delta in stream] == []


BATCH = {
    "many": {"kind": "map", "around": ["each"], "over": {"const": [1, 2, 3]}, "of": "each.text"},
    "each": {"kind": "call", "model": "mock/m", "prompt": "hello"},
    "sure": {"kind": "retry", "around": ["ask", "ok"], "of": "ask.text", "until": "ok.ok", "attempts": 3},
    "ask": {"kind": "call", "model": "mock/m", "prompt": "{{ sure.attempt }}{{ many.items | length }}"},
    "ok": {"kind": "validate", "in": {"text": "ask.text"}, "rules": {"x": "{{ sure.attempt == 2 }}"}},
}


async def test_only_deltas_that_will_be_shown_are_kept():
    plan = Flow.of({"nodes": BATCH, "outputs": {"o": "sure.value", "all": "many.items"}}).plan
    bound = bind(plan, Engine(Kinds(), answering(100)))
    follower = Follower(bound.frame, "o")
    result = await bound.run({}, Options(readers=[follower]))
    kept = {address: len(deltas) for address, deltas in follower._deltas.items() if deltas}
    assert result.outputs["o"] == "".join(WORDS)
    assert kept == {"sure#2/ask": len(WORDS)}


async def breaking(request, scope):
    await turns(10)
    yield Text("half a ")
    await turns(10)
    raise ProviderFailure("stream_interrupted", "it broke off")


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ({"ask": {**HELD["ask"], "when_failed": {"text": {"const": "whole"}}}}, "ask.text"),
        ({"ask": HELD["ask"], "once": {**HELD["once"], "around": ["ask"], "of": "ask.text"} | RESCUE}, "once.value"),
    ],
)
@pytest.mark.parametrize("slowness", [0, 1, 100])
@pytest.mark.parametrize(("late", "parts"), [(False, 1), (False, 2), (True, 1), (True, 2), (True, 3)])
async def test_what_came_of_a_failed_step_is_taken_back(nodes, output, slowness, late, parts):
    plan = Flow.of({"nodes": nodes, "outputs": {"o": output}}).plan
    shown = []
    async with bind(plan, Engine(Kinds(), breaking)).stream({}, "o") as stream:
        if late:
            await stream.result()
        for part in range(parts):
            async for delta in stream:
                shown.append(delta)
                await turns(slowness)
                if part + 1 < parts:
                    break
    assert shown == [Text("half a "), Restart("when_failed"), Text("whole")]


@pytest.mark.parametrize("slowness", [0, 1, 100])
async def test_a_text_ends_with_its_call_however_slowly_it_is_read(slowness):
    outputs = {"o": "ask.text", "p": "last.text"}
    plan = Flow.of({"nodes": {"ask": HELD["ask"], "last": HELD["last"]}, "outputs": outputs}).plan
    calls = iter([answering(1)])

    async def call(request, scope):
        answer = next(calls, None)
        if answer is None:
            await asyncio.Event().wait()
        async for delta in answer(request, scope):
            yield delta

    seen = []
    async with asyncio.timeout(20), bind(plan, Engine(Kinds(), call)).stream({}, "o") as stream:
        async for delta in stream:
            seen.append(delta.text)
            await turns(slowness)
    assert seen == WORDS


@pytest.mark.parametrize(("reads", "times"), [({StreamHeld}, 0), ({DeltaReceived}, len(WORDS) + 1)])
async def test_deltas_become_events_only_where_somebody_reads_them(monkeypatch, reads, times):
    class Reader(list):
        __call__ = list.append

    made, reader = [], Reader()
    reader.reads = reads
    monkeypatch.setattr("flowllm.nodes.call.DeltaReceived", lambda *given: made.append(given) or DeltaReceived(*given))
    await bind(PLAN, Engine(Kinds(), answering(100))).run({}, Options(readers=[reader]))
    assert (len(made), len(reader)) == (times, times)


async def read_all(stream, read):
    async for delta in stream:
        read.append(delta)


@pytest.mark.parametrize(
    ("outputs", "shown", "before"),
    [
        ({"o": "ask.text"}, "o", [Text("half a ")]),
        ({"o": "ask.messages"}, "o", []),
        ({"o": "ask.text", "p": "ask.usage"}, None, []),
    ],
)
async def test_a_run_that_fails_does_not_end_as_if_all_was_read(outputs, shown, before):
    plan = Flow.of({"nodes": {"ask": HELD["ask"] | {"retry": False}}, "outputs": outputs}).plan
    read = []
    async with bind(plan, Engine(Kinds(), breaking)).stream({}, shown) as stream:
        for _ in range(2):
            with pytest.raises(ProviderFailure, match="it broke off"):
                await read_all(stream, read)
        with pytest.raises(ProviderFailure, match="it broke off"):
            await stream.result()
    assert read == before


async def test_a_run_that_shows_nothing_streams_nothing():
    async with bind(PLAN, Engine(Kinds(), answering(1))).stream({}, None) as stream:
        assert [delta async for delta in stream] == []
        assert (await stream.result()).outputs["text"] == "".join(WORDS)


@pytest.mark.parametrize("read", [0, 1, 3])
async def test_who_leaves_early_ends_the_run(read):
    before = asyncio.all_tasks()
    async with asyncio.timeout(20):
        async with bind(PLAN, Engine(Kinds(), answering(1))).stream({}, "text") as stream:
            deltas = aiter(stream)
            for _ in range(read):
                await anext(deltas)
            await asyncio.sleep(0)
        await deltas.aclose()
    assert asyncio.all_tasks() == before
