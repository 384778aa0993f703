"""Decoders in processes of their own: real processes, which are killed and stopped while they write."""

import asyncio
import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace

import orjson
import pytest

from flowllm.api import Environment, Flow
from flowllm.api import local as api
from flowllm.backends.local import frames
from flowllm.backends.local.devices import Device
from flowllm.backends.local.generation import open_writer
from flowllm.backends.local.generation.engine import SLOTS
from flowllm.backends.local.generation.isolated import IsolatedWriter
from flowllm.backends.local.generation.prefixes import KEPT, Prefixes
from flowllm.backends.local.generation.serving import Runs, Serving
from flowllm.backends.local.generation.told import told_failure
from flowllm.backends.local.layout import describe
from flowllm.backends.local.places import Places
from flowllm.backends.local.process import Process
from flowllm.backends.local.shelf import Shelf
from flowllm.core.delta import Text, fold
from flowllm.core.errors import NodeFailure, ProviderFailure, SetupError
from flowllm.core.request import Chat, Message, Sampling, Tool
from flowllm.core.request import Text as Words
from flowllm.core.scope import Scope
from tests.unit.backends.local.generation.folders_made import SHAPE, folder

CPU = Device(provider="cpu", threads=1)
LONG = replace(SHAPE, layers=1, window=4096)
"""An answer that fills this window takes a while."""
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def asked(text="hello world", count=12, **more):
    return Chat("local/m", (Message("user", (Words(text),)),), Sampling(max_output_tokens=count), **more)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("apart") / "m", LONG)


@pytest.fixture(scope="module")
def started(model):
    made = IsolatedWriter(describe(model), CPU, 60.0)
    yield made
    made.close()


@pytest.fixture
def writer(started):
    """One process for all tests; those that end it leave a new one."""
    assert not started._calls
    yield started
    started._patience = 60.0


async def reply_of(writer, request, scope=None):
    async with aclosing(writer.generate(request, scope or Scope())) as deltas:
        return fold([delta async for delta in deltas])


async def begun(writer, request):
    """An answer in work: its generator, after the first text."""
    deltas = writer.generate(request, Scope())
    async for delta in deltas:
        if isinstance(delta, Text) and delta.text:
            return deltas
    raise AssertionError("no text came")


REQUESTS = {
    "text": asked(),
    "a schema": asked(schema=SCHEMA, count=40),
    "choices": asked(choices=("yes", "no")),
    "sampled": replace(asked(), sampling=Sampling(1.0, seed=3, max_output_tokens=20)),
}


async def test_answers_are_those_of_this_process(writer, model):
    here = open_writer(describe(model), CPU)
    assert writer.pid not in (None, os.getpid())
    assert (writer.provider, writer.kept) == (here.provider, 0)  # a graph whose past grows by copies keeps nothing
    found = dict(
        zip(REQUESTS, await asyncio.gather(*(reply_of(writer, one) for one in REQUESTS.values())), strict=True)
    )
    expected = {name: await reply_of(here, one) for name, one in REQUESTS.items()}
    here.close()
    assert found == expected
    assert found["text"].model == "m"
    assert writer._process.silence == 0


@pytest.mark.parametrize(
    ("request_", "code"),
    [(asked("a b" * 4096), "context_too_long"), (asked(extra={"beams": 2}), "unknown_field")],
)
async def test_failures_are_those_of_this_process(writer, request_, code):
    before = writer.pid
    with pytest.raises(ProviderFailure) as caught:
        await reply_of(writer, request_)
    assert (caught.value.code, caught.value.facts.provider, writer.pid) == (code, "local", before)
    assert caught.value.hint


async def test_a_killed_process_fails_all_that_it_wrote(writer):
    expected, before = await reply_of(writer, asked()), writer.pid
    answers = [await begun(writer, asked(word, 4000)) for word in ("hello", "world")]
    os.kill(before, signal.SIGKILL)
    for answer in answers:
        with pytest.raises(ProviderFailure) as caught:
            async for _ in answer:
                pass
        assert (caught.value.code, caught.value.retryable) == ("worker_died", True)
        assert "the process of the model in m ended (-9) while it worked" in caught.value.message
    assert await reply_of(writer, asked()) == expected
    assert writer.pid not in (None, before)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (asked(schema={"type": "integer", "maximum": 10**30}), "Integer exceeds 64-bit range"),
        (asked(tools=(Tool("f", parameters={1: {}}),)), "Dict key must be str"),
        (asked("\ud800"), "str is not valid UTF-8: surrogates not allowed"),
    ],
)
async def test_a_request_that_cannot_be_told_harms_no_other(writer, request_, why):
    before = writer.pid
    answer = await begun(writer, asked("hello", 4000))
    with pytest.raises(ProviderFailure) as caught:
        await reply_of(writer, request_)
    assert (caught.value.code, len(writer._calls)) == ("bad_request", 1)
    assert caught.value.message == f"what is asked of `local/m` cannot be told to its process: {why}"
    await answer.aclose()
    assert (await reply_of(writer, asked())).usage.output == 12
    assert (writer._process.silence, writer.pid, writer._calls) == (0, before, {})


async def test_a_request_longer_than_a_message_is_refused_before_it_is_sent(writer, monkeypatch):
    before = writer.pid
    monkeypatch.setattr(frames, "_MOST", 2**20)
    with pytest.raises(ProviderFailure, match=r"it has 1\.5 MiB, and 1 MiB are told at most") as caught:
        await reply_of(writer, asked("hello " * 2**18))
    assert (caught.value.code, "`truncate`" in caught.value.hint) == ("context_too_long", True)
    assert (writer._process.silence, writer.pid, writer._calls) == (0, before, {})
    assert (await reply_of(writer, asked())).usage.output == 12


@pytest.fixture
def gone(writer):
    """A writer whose process was killed, and a gate before the next one is started."""
    os.kill(writer.pid, signal.SIGKILL)
    writer._process._child.wait()
    started, gate, begun_ = writer._started, threading.Event(), threading.Event()

    def slowly():
        begun_.set()
        assert gate.wait(60)
        return started()

    writer._started = slowly
    yield writer, begun_, gate
    gate.set()
    del writer._started


async def test_those_who_wait_for_a_process_take_no_thread_from_others(gone):
    writer, begun_, gate = gone
    before = writer.pid
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    tasks = [asyncio.ensure_future(reply_of(writer, asked(count=2))) for _ in range(64)]
    async with asyncio.timeout(30):
        await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), begun_.wait)
        assert await asyncio.to_thread(lambda: "a thread") == "a thread"
        gate.set()
        replies = await asyncio.gather(*tasks)
    assert [reply.usage.output for reply in replies] == [2] * 64
    assert (before, writer._calls) == (None, {})


async def test_who_closes_it_while_a_process_starts_ends_that_one_too(model):
    made = IsolatedWriter(describe(model), CPU, 60.0)
    os.kill(made.pid, signal.SIGKILL)
    made._process._child.wait()
    started = made._started

    def closing():
        found = started()
        made._closed.set()
        return found

    made._started = closing
    with pytest.raises(ProviderFailure) as caught:
        await reply_of(made, asked())
    assert (caught.value.code, made.pid) == ("worker_died", None)
    assert made._process._child.poll() is not None


async def test_settings_that_cannot_be_told_leave_no_process(model, monkeypatch):
    ended = []
    monkeypatch.setattr(Process, "end", lambda self: ended.append(self._child) or self._child.kill())
    with pytest.raises(SetupError, match="what is set for the model in m is no JSON") as caught:
        IsolatedWriter(describe(model), CPU.model_copy(update={"options": {"most": 10**30}}), 60.0)
    assert (caught.value.code, len(ended)) == ("bad_value", 1)
    ended[0].wait()


async def test_who_goes_frees_the_slot_in_the_process_at_once(writer, monkeypatch):
    before, heard, hear = writer.pid, [], writer._hear
    monkeypatch.setattr(writer._process, "_hear", lambda *said: (heard.append(said[1]), hear(*said)))
    crowd = [await begun(writer, asked("hello", 4000)) for _ in range(SLOTS)]
    for answer in crowd:
        await answer.aclose()
    others = await asyncio.gather(*(reply_of(writer, asked("hello", 3)) for _ in range(SLOTS)))
    assert [reply.usage.output for reply in others] == [3] * SLOTS
    assert (writer.pid, writer._calls) == (before, {})
    # All rows were taken: had they not been given back, one of the crowd would have ended first.
    assert sum(said.get("delta", [""])[0] == "Finish" for said in heard) == SLOTS


async def test_who_goes_before_the_process_heard_of_it_leaves_nothing(writer):
    works = []

    async def later(work):
        works.append(work)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(reply_of(writer, asked(), replace(Scope(), run_in_thread=later)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    works[0]()  # the thread comes late
    assert writer._calls == {}


async def test_a_process_that_hangs_is_ended_and_told_apart_from_one_that_works(writer):
    before = writer.pid
    answer = await begun(writer, asked("hello", 4000))
    os.kill(before, signal.SIGSTOP)
    writer._patience = 0.5
    async with asyncio.timeout(60):
        with pytest.raises(ProviderFailure, match=r"said nothing for 0.5 s and was ended while it worked"):
            async for _ in answer:
                pass
    writer._patience = 60.0
    assert (await reply_of(writer, asked())).usage.output == 12
    assert writer.pid != before


class Sent:
    """What a process says."""

    def __init__(self):
        self.said = []

    def listen(self, hear):
        self.hear = hear

    def send(self, header):
        self.said.append(header)


class Slow:
    """A cache whose runs last as long as the test likes, and a writer of nothing."""

    provider = "CPUExecutionProvider"
    prefixes = Prefixes(7)

    def __init__(self):
        self.gate = threading.Event()

    def read(self, tokens):
        assert self.gate.wait(10)
        return tokens

    step = read

    begin = drop = reuse = read


OF_A_TOKEN = 2 * LONG.layers * LONG.kv_heads * LONG.head * 4
"""Bytes of its past, in single precision."""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory):
    made = IsolatedWriter(describe(folder(tmp_path_factory.mktemp("keeps") / "m", LONG, layout="genai")), CPU, 60.0)
    yield made
    made.close()


def past_of(reply):
    """Bytes of what an answer leaves behind: its last token is never read."""
    return (reply.usage.input + reply.usage.output - 1) * OF_A_TOKEN


async def test_what_a_process_keeps_is_known_with_the_end_of_an_answer_and_let_go_of(keeping):
    keeping.forget()
    first = await reply_of(keeping, asked("hello world " * 4))
    assert (keeping.kept, first.usage.cached_input) == (past_of(first), None)
    assert (await reply_of(keeping, asked("hello world " * 4))).usage.cached_input == first.usage.input - 1
    keeping.forget()
    assert keeping.kept == 0
    again = await reply_of(keeping, asked("hello world " * 4))
    assert (keeping.kept, again.usage.cached_input) == (past_of(first), None)
    assert keeping._process.silence == 0


async def test_a_process_that_ended_keeps_nothing_and_so_does_the_next(keeping):
    first, before = await reply_of(keeping, asked("hello world " * 4)), keeping._process
    assert keeping.kept > 0
    os.kill(keeping.pid, signal.SIGKILL)
    before._child.wait()
    assert keeping.kept == 0
    keeping.forget()
    await keeping._awake()
    assert (keeping.kept, keeping._process is before) == (0, False)
    again = await reply_of(keeping, asked("hello world " * 4))
    keeping._hear(before, {"keeps": 1})  # its last words may come late
    assert (keeping.kept, again.usage.cached_input) == (past_of(first), None)


@pytest.mark.parametrize("told", [-1, KEPT + 1, 1.5, "much", None])
async def test_a_process_that_says_nonsense_of_what_it_keeps_is_ended(keeping, told):
    before = keeping._process
    keeping._hear(before, {"keeps": told})
    assert (before._child.wait(30), before.last_words) == (-9, "sent what is no answer and was ended")
    await reply_of(keeping, asked(count=2))


@pytest.mark.parametrize("pasts", [1.5, 2.5])
async def test_decoders_apart_stay_side_by_side_whatever_they_may_keep(tmp_path, keeping, pasts):
    for name in "ab":
        folder(tmp_path / name, LONG, layout="genai")
    past, size, loads = past_of(await reply_of(keeping, asked())), describe(tmp_path / "a").size, []
    memory = 2 * size + int(pasts * past)

    class Load:
        def __call__(self, found):
            loads.append(found.folder.name)
            return IsolatedWriter(found, CPU, 60.0, memory - found.size)

        def check(self):
            """There is always something to load with."""

    shelf = Shelf(Places(tmp_path, (tmp_path,)), Load(), memory)
    for name in "abababab":
        async with shelf.held(name) as model:
            assert past_of(await reply_of(model, asked())) == past
    assert loads == ["a", "b"]
    assert [(held.name, held.size - size) for held in shelf.loaded()] == [("a", past * int(pasts - 1)), ("b", past)]
    shelf.unload()


@pytest.mark.parametrize("run", [lambda cache: cache.read({1: [2]}), lambda cache: cache.step({1: 2})])
async def test_a_run_without_an_end_is_told(run):
    line, runs, slow = Sent(), Runs(), Slow()
    task = asyncio.ensure_future(Serving(slow, line, runs).run(0))
    await turns()
    assert line.said == [{"provider": "CPUExecutionProvider"}]
    running = asyncio.ensure_future(asyncio.to_thread(run, runs.watched(slow)))
    try:
        async with asyncio.timeout(60):
            while {"hangs": True} not in line.said:
                await turns()
    finally:
        slow.gate.set()
    await running
    count = len(line.said)
    await turns()
    task.cancel()
    assert len(line.said) <= count + 1


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_message_is_said_to_be_taken():
    line = Sent()
    task = asyncio.ensure_future(Serving(Slow(), line, Runs()).run(60))
    await turns()
    for header in ({}, {"call": 1}, {}):
        line.hear((header, {}))
    await turns()
    task.cancel()
    assert line.said[1:] == [{"taken": True}] * 3


class Panic(BaseException):
    """As libraries in Rust raise it."""


class Panicking(Slow):
    """A writer of panics."""

    async def generate(self, request, scope):
        yield Text("a")
        raise Panic("slice index")


async def test_an_answer_that_panics_is_told_to_have_ended():
    line = Sent()
    request = orjson.loads(orjson.dumps(asked()))
    await Serving(Panicking(), line, Runs())._answer(7, {"wall": 0.0, "request": request})
    assert line.said[-1] == {"call": 7, "ended": True, **told_failure(NodeFailure("internal", "Panic: slice index"))}


async def test_a_process_whose_model_hangs_is_ended(writer):
    answer, before = await begun(writer, asked("hello", 4000)), writer.pid
    writer._hear(writer._process, {"hangs": True})
    async with asyncio.timeout(60):
        with pytest.raises(ProviderFailure, match="ran the model for 60 s without an end and was ended while it"):
            async for _ in answer:
                pass
    assert (await reply_of(writer, asked())).usage.output == 12
    assert writer.pid != before


async def test_a_process_that_hangs_is_ended_also_where_each_caller_waits_shorter(writer):
    before = writer.pid
    os.kill(before, signal.SIGSTOP)
    writer._patience = 0.5

    async def impatient():
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await reply_of(writer, asked())

    with pytest.raises(ProviderFailure, match=r"said nothing for 0.5 s"):
        await impatient()
    writer._patience = 60.0
    assert (await reply_of(writer, asked())).usage.output == 12
    assert writer.pid != before


async def test_nonsense_ends_it(writer):
    answer, before = await begun(writer, asked("hello", 4000)), writer.pid
    writer._hear(writer._process, {"call": max(writer._calls), "delta": ["Process", {}]})
    with pytest.raises(ProviderFailure, match="sent what is no answer and was ended"):
        async for _ in answer:
            pass
    assert (await reply_of(writer, asked())).usage.output == 12
    assert writer.pid != before


async def test_closing_ends_the_process_and_what_it_writes(model):
    made = IsolatedWriter(describe(model), CPU, 60.0)
    answer, child = await begun(made, asked("hello", 4000)), made._process._child
    await asyncio.to_thread(made.close)
    assert (made.pid, child.poll()) == (None, 0)
    with pytest.raises(ProviderFailure):
        async for _ in answer:
            pass
    with pytest.raises(ProviderFailure):
        await reply_of(made, asked())
    assert made.pid is None


def test_what_cannot_be_opened_is_told_as_it_is_in_this_process(tmp_path):
    broken = folder(tmp_path / "m", config={"model_type": "llama"})
    with pytest.raises(SetupError) as here:
        open_writer(describe(broken), CPU)
    with pytest.raises(SetupError) as apart:
        IsolatedWriter(describe(broken), CPU, 60.0)
    assert (apart.value.code, apart.value.message, apart.value.hint) == (
        here.value.code,
        here.value.message,
        here.value.hint,
    )


PIPELINE = {
    "inputs": {"words": {"type": "array", "items": {"type": "string"}}},
    "model": "local/m",
    "nodes": {
        "say": {"kind": "call", "prompt": "{{ word }}", "max_output_tokens": 6},
        "all": {"kind": "map", "over": "inputs.words", "as": "word", "around": ["say"], "of": "say.text"},
    },
    "outputs": {"texts": "all.items", "failed": "all.errors"},
}


def with_killed(environment, words, **policies):
    """Run the pipeline; the process is killed as soon as it began to write for the second time."""
    nodes = {**PIPELINE["nodes"], "all": {**PIPELINE["nodes"]["all"], "keep_going": True, "at_once": 1}}
    nodes["say"] = nodes["say"] | policies
    with api.shelf_of(environment).in_use("m") as loaded:
        writer = loaded
    send, count = writer._send, iter(range(99))

    def killing(call, header):
        if next(count) == 1:
            os.kill(writer.pid, signal.SIGSTOP)
            send(call, header)
            os.kill(writer.pid, signal.SIGKILL)
        else:
            send(call, header)

    writer._send = killing
    flow = Flow.of({**PIPELINE, "nodes": nodes}, environment=environment)
    return flow.run({"words": words}).outputs


@pytest.fixture
def environment(tmp_path):
    folder(tmp_path / "models" / "m")
    providers = {"local": {"settings": {"isolation": "process"}}}
    made = Environment(project=tmp_path, cache_folder=tmp_path / "cache", providers=providers)
    yield made
    api.unload(made)


def test_a_run_goes_on_where_the_process_was_killed(environment):
    outputs = with_killed(environment, ["a", "b", "c"], retry={"attempts": 1})
    assert len(outputs["texts"]) == 2
    assert [(failed["index"], failed["code"]) for failed in outputs["failed"]] == [(1, "worker_died")]


def test_the_policy_retry_repeats_what_was_lost(environment):
    outputs = with_killed(environment, ["a", "b", "c"], retry={"attempts": 2, "base": 0})
    assert (len(outputs["texts"]), outputs["failed"]) == (3, [])


def test_it_ends_with_the_run_that_unloads_it(environment):
    with_killed(environment, ["a"])
    with api.shelf_of(environment).in_use("m") as writer:
        assert isinstance(writer, IsolatedWriter)
        assert writer.pid is not None
    assert api.unload(environment) == ["m"]
    assert writer.pid is None
