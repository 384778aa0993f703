import asyncio
import threading
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np
import pytest

from flowllm.backends.local.generation.detokenizing import Detokenizer
from flowllm.backends.local.generation.engine import Engine
from flowllm.backends.local.generation.sampling import Drawing
from flowllm.backends.local.generation.shared_kv import Resident, SharedCache, cache_of
from flowllm.core.errors import ProviderFailure
from tests.unit.backends.local.generation.decoders_made import LLAMA, SHAPES, greedy, reference
from tests.unit.backends.local.generation.engine_made import (
    WAYS,
    Watched,
    decoder,
    engine,
    pieces_of,
    writing,
    written,
)

PROMPT = [1, 5, 9, 3, 7, 7, 2]


@pytest.fixture(params=WAYS)
def start(request, tmp_path):
    """Starts an engine, in each of the ways."""
    return partial(engine, decoder(tmp_path, LLAMA, request.param), request.param)


@pytest.fixture
def shared(tmp_path):
    return decoder(tmp_path, LLAMA, "shared")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SHAPES)
async def test_greedy_tokens_are_those_of_the_reference(tmp_path, name, way):
    running, _ = engine(decoder(tmp_path, SHAPES[name], way), way)
    assert await written(running, writing(PROMPT, 24)) == greedy(SHAPES[name], PROMPT, 24)


@pytest.mark.parametrize("chunk", [1, 3, 7, 8])
async def test_a_prompt_in_chunks_is_the_same_prompt(start, chunk):
    running, watched = start(chunk=chunk)
    assert await written(running, writing(PROMPT, 6)) == greedy(LLAMA, PROMPT, 6)
    assert [kind for kind, _ in watched.runs].count("read") == -(-len(PROMPT) // chunk)


PROMPTS = [[1, 5, 9, 3, 7, 7, 2], [4], [8, 8, 1, 60, 2], list(range(30)), [63, 0]]
COUNTS = [20, 30, 8, 12, 25]


@pytest.mark.parametrize("way", ["shared", "concat"])
async def test_a_text_fills_a_window_to_its_last_token(tmp_path, way):
    shape = replace(LLAMA, window=41)
    running, _ = engine(decoder(tmp_path, shape, way), way)
    first, second = writing(list(range(30)), 11), writing([63, 0], 39)
    assert await asyncio.gather(written(running, first), written(running, second)) == [
        greedy(shape, list(range(30)), 11),
        greedy(shape, [63, 0], 39),
    ]


@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_many_at_once_write_what_each_writes_alone(start, slots):
    running, _ = start(slots=slots, chunk=8)
    every = [writing(prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)]
    found = await asyncio.gather(*(written(running, made) for made in every))
    assert found == [greedy(LLAMA, prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)]


async def test_joins_in_mid_flight_write_what_each_writes_alone(start):
    running, watched = start(chunk=4)
    every = [writing(prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)]
    later = iter(every[1:])

    def join(cache):
        if len([kind for kind, _ in cache.runs if kind == "step"]) in (3, 6, 9, 12) and cache.runs[-1][0] == "step":
            running.submit(next(later))

    watched.before.append(join)
    running.submit(every[0])
    found = [[piece.drawn.token async for piece in pieces_of(made)] for made in every]
    assert found == [greedy(LLAMA, prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)]
    assert max(len(rows) for kind, rows in watched.runs if kind == "step") >= 3  # they did write side by side


@pytest.mark.parametrize("seed", range(3))
async def test_any_crowd_writes_what_each_writes_alone(start, seed):
    random, lock = Random(seed), threading.Lock()
    running, watched = start(slots=random.choice([2, 3, 5]), chunk=random.choice([2, 5, 16]))
    every = [writing(random.choices(range(64), k=random.randint(1, 25)), random.randint(1, 12)) for _ in range(16)]
    gone, waiting = random.sample(every, 5), list(every)

    def submit(made):
        with lock:
            if made in waiting:
                waiting.remove(made)
                running.submit(made)

    def happen(cache):
        if random.random() < 0.4:
            submit(next(iter(waiting), None))
        if random.random() < 0.2:
            random.choice(gone).cancelled = True

    watched.before.append(happen)
    for made in every:
        submit(made)
        if made not in gone:
            assert [piece.drawn.token async for piece in pieces_of(made)] == greedy(LLAMA, made.prompt, made.most)
    for made in gone:
        made.cancelled = True
    assert len({rows for kind, rows in watched.runs if kind == "step"}) > 1


async def test_draws_of_one_seed_do_not_depend_on_the_others(start):
    how = Drawing(1.0, top_k=8, seed=11)
    running, _ = start()
    alone = await written(running, writing(PROMPT, 20, how))
    others = [writing([number], 15, Drawing(1.0, seed=number)) for number in range(4)]
    together = await asyncio.gather(written(running, writing(PROMPT, 20, how)), *(written(running, o) for o in others))
    assert together[0] == alone != greedy(LLAMA, PROMPT, 20)


async def test_a_prompt_that_is_read_holds_nobody_up(shared):
    running, watched = engine(shared, chunk=4)
    first, second = writing([1], 30), writing(list(range(40)), 3)
    watched.before.append(lambda cache: len(cache.runs) == 4 and running.submit(second))
    assert await written(running, first) == greedy(LLAMA, [1], 30)
    assert [piece.drawn.token async for piece in pieces_of(second)] == greedy(LLAMA, list(range(40)), 3)
    kinds = [kind for kind, _ in watched.runs]
    begun = kinds.index("read", 1)
    assert kinds[begun : begun + 8] == ["read", "step"] * 4


async def test_short_prompts_are_read_together_as_far_as_a_chunk_goes(shared):
    running, watched = engine(shared, chunk=8)
    every = [writing([number] * 3, 2) for number in range(4)]
    watched.before.append(lambda cache: len(cache.runs) == 1 and [running.submit(made) for made in every[1:]])
    steps: list[int] = []
    watched.before.append(lambda cache: cache.runs[-1][0] == "step" and steps.append(cache.read_tokens))
    running.submit(every[0])
    for made in every:
        assert [piece.drawn.token async for piece in pieces_of(made)] == greedy(LLAMA, made.prompt, 2)
    kinds = [(kind, rows) for kind, rows in watched.runs if kind != "drop"]
    assert kinds[:3] == [("read", (0,)), ("read", (1, 2, 3)), ("step", (0,))]
    assert steps[:2] == [3 + 8, 3 + 8 + 1]  # the last of them waits for the rest of its prompt


def texts(*counts: int) -> dict[int, list[int]]:
    return {row: [(row * 7 + at * 5) % 64 for at in range(count)] for row, count in enumerate(counts)}


@pytest.mark.parametrize("way", ["shared", "shared with positions", "shared in halves", "shared on a device"])
@pytest.mark.parametrize(
    ("given", "runs"),
    [
        (texts(7), [(1, 7)]),
        (texts(7, 7, 7), [(3, 7)]),
        (texts(7, 3, 12, 9), [(4, 12)]),
        (texts(20, 3, 2), [(1, 20), (2, 3)]),  # too many padded tokens
        (texts(20, 12, 3), [(2, 20), (1, 3)]),
        (texts(1, 1), [(2, 1)]),
    ],
)
def test_prompts_that_begin_side_by_side_are_read_in_one_run(tmp_path, way, given, runs):
    found = decoder(tmp_path, LLAMA, way)
    alone, shapes = {}, []
    for row, text in given.items():
        cache = cache_of(found)
        cache.begin(row, 40)
        alone[row] = cache.read({row: text})[row]
    cache = SharedCache(found, Resident if "device" in way else None)
    bind = cache._bind
    cache._bind = lambda feeds, mask: [shapes.append(feeds["input_ids"].shape), bind(feeds, mask)]
    for row in given:
        cache.begin(row, 40)
    for row, logits in cache.read(given).items():
        assert logits == pytest.approx(alone[row], abs=1e-3)
    assert shapes == runs
    stepped, places = cache.step(dict.fromkeys(given, 9))
    for row, text in given.items():
        exactly = 5e-2 if "halves" in way else 1e-3
        assert stepped[places[row]] == pytest.approx(reference(LLAMA, [*text, 9])[-1], abs=exactly)


@pytest.mark.parametrize(("given", "runs"), [(texts(7, 7), [(2, 7)]), (texts(7, 6), [(1, 7), (1, 6)])])
def test_where_last_logits_come_alone_only_prompts_of_one_length_are_read_in_one_run(tmp_path, given, runs):
    cache, shapes = SharedCache(decoder(tmp_path, LLAMA, "shared, last logits")), []
    bind = cache._bind
    cache._bind = lambda feeds, mask: [shapes.append(feeds["input_ids"].shape), bind(feeds, mask)]
    for row in given:
        cache.begin(row, 40)
    for row, logits in cache.read(given).items():
        assert logits == pytest.approx(reference(LLAMA, given[row])[-1], abs=1e-3)
    assert shapes == runs


@pytest.mark.parametrize("given", [texts(8, 16), texts(16, 8)])
def test_there_is_room_for_the_longest_of_those_read_in_one_run(shared, monkeypatch, given):
    monkeypatch.setattr("flowllm.backends.local.generation.shared_kv._ROOM", 8)
    cache = SharedCache(shared)
    run, rooms = cache._run, []

    def checked():
        rooms.append(cache._room)
        assert min(rooms) >= 16  # the graph would write behind the buffers
        return run()

    cache._run = checked
    for row in given:
        cache.begin(row, 40)
    for row, logits in cache.read(given).items():
        assert logits == pytest.approx(reference(LLAMA, given[row])[-1], abs=1e-3)
    assert len(rooms) == 1


def test_steps_are_bound_anew_only_where_the_mask_has_no_room_left(shared):
    cache, bound = SharedCache(shared), []
    bind = cache._bind_step
    cache._bind_step = lambda rows, wide: [bound.append(wide), bind(rows, wide)]
    cache.begin(0, 60)
    cache.read({0: [1, 2, 3]})
    for _ in range(40):
        cache.step({0: 9})
    assert bound == [4, 17, 33]


def test_rows_that_lie_apart_are_read_alone(shared):
    cache, given = SharedCache(shared), texts(5, 6, 7)
    for row in given:
        cache.begin(row, 40)
    found = cache.read({0: given[0], 2: given[2]}) | cache.read({1: given[1]})
    stepped, places = cache.step(dict.fromkeys(given, 9))
    for row, text in given.items():
        assert found[row] == pytest.approx(reference(LLAMA, text)[-1], abs=1e-3)
        assert stepped[places[row]] == pytest.approx(reference(LLAMA, [*text, 9])[-1], abs=1e-3)


def test_who_has_begun_reads_on_alone(shared):
    cache = SharedCache(shared)
    for row in range(2):
        cache.begin(row, 40)
    cache.read({0: [1, 2, 3]})
    found = cache.read({0: [4, 5], 1: [6, 7]})
    assert found[0] == pytest.approx(reference(LLAMA, [1, 2, 3, 4, 5])[-1], abs=1e-3)
    assert found[1] == pytest.approx(reference(LLAMA, [6, 7])[-1], abs=1e-3)


async def test_a_buffer_that_grows_forgets_nothing(start, monkeypatch):
    monkeypatch.setattr("flowllm.backends.local.generation.shared_kv._ROOM", 4)
    running, _ = start()
    every = [writing(prompt, 20) for prompt in PROMPTS]
    found = await asyncio.gather(*(written(running, made) for made in every))
    assert found == [greedy(LLAMA, prompt, 20) for prompt in PROMPTS]


async def test_rows_are_used_again_and_the_last_one_moves_up(start):
    running, watched = start(slots=3)
    every = [writing([number, 3, 5], count) for number, count in enumerate([4, 18, 9, 12, 3, 7])]
    found = await asyncio.gather(*(written(running, made) for made in every))
    assert found == [greedy(LLAMA, made.prompt, made.most) for made in every]
    assert {row for kind, rows in watched.runs for row in rows} == {0, 1, 2}


@pytest.mark.parametrize(("gone", "rows"), [((0,), 2), ((2,), 2), ((0, 1), 1), ((1, 2), 1)])
def test_those_who_are_left_are_written_with_less(shared, gone, rows):
    cache = SharedCache(shared)
    for row in range(3):
        cache.begin(row, 9)
        cache.read({row: [row, 5]})
    for row in gone:
        cache.drop(row)
    left = [row for row in range(3) if row not in gone]
    logits, places = cache.step(dict.fromkeys(left, 7))
    assert logits.shape == (rows, LLAMA.vocabulary)
    for row in left:
        assert logits[places[row]] == pytest.approx(reference(LLAMA, [row, 5, 7])[-1], abs=1e-3)


@pytest.mark.parametrize(
    ("more", "ended", "text", "count"),
    [
        ({}, "length", "<58><16><56><2><28>", 5),
        ({"ends": frozenset({56})}, "stop", "<58><16>", 3),
        ({"stops": ("<56>",)}, "stop", "<58><16>", 3),
        ({"stops": ("><5",)}, "stop", "<58><16", 3),
        ({"stops": ("6><2><9",)}, "length", "<58><16><56><2><28>", 5),  # held back, then let go
        ({"stops": ("28>x",)}, "length", "<58><16><56><2><28>", 5),  # and at the end
        ({"stops": ("28>",)}, "stop", "<58><16><56><2><", 5),
        ({"ends": frozenset({58})}, "stop", "", 1),
    ],
)
async def test_how_an_answer_ends(shared, more, ended, text, count):
    running, _ = engine(shared)
    made = writing(PROMPT, 5, **more)
    running.submit(made)
    found = [piece async for piece in pieces_of(made)]
    assert found[-1].ended == ended
    assert "".join(piece.text for piece in found) == text
    assert made.count == len([piece for piece in found if piece.drawn]) == count


async def test_who_is_cancelled_leaves_before_the_next_run(shared):
    running, watched = engine(shared, slots=1)
    first, second = writing(PROMPT, 10_000), writing([4], 5)

    def cancel(cache):
        if len(cache.runs) == 5:
            first.cancelled = True

    watched.before.append(cancel)
    running.submit(first)
    assert await written(running, second) == greedy(LLAMA, [4], 5)
    assert [kind for kind, _ in watched.runs[:7]] == ["read", "step", "step", "step", "step", "drop", "read"]


async def test_who_is_cancelled_while_it_waits_is_never_read(shared):
    running, watched = engine(shared, slots=1)
    first, second, third = writing(PROMPT, 8), writing([4], 5), writing([9], 2)
    second.cancelled = True
    await asyncio.gather(written(running, first), _submitted(running, second), written(running, third))
    assert [kind for kind, _ in watched.runs].count("read") == 2


async def _submitted(running, made):
    running.submit(made)


async def test_a_run_that_fails_fails_all_in_work_and_none_after(shared):
    made: list[Watched] = []

    def make():
        made.append(Watched(cache_of(shared)))
        made[0].before = [fail]
        return made[-1]

    def fail(cache):
        if len(cache.runs) == 6:
            raise RuntimeError("out of memory")

    running = Engine(make)
    both = await asyncio.gather(*(written(running, writing([n], 30)) for n in (1, 2)), return_exceptions=True)
    assert [(type(one), one.code) for one in both] == [(ProviderFailure, "server_error")] * 2
    assert "out of memory" in str(both[0])
    assert await written(running, writing(PROMPT, 5)) == greedy(LLAMA, PROMPT, 5)
    assert len(made) == 2  # what a failed run left in the buffers is not gone on with


class Panic(BaseException):
    """As libraries in Rust raise it."""


async def test_a_run_that_panics_leaves_nobody_waiting(shared):
    running, watched = engine(shared)
    both, submitted = [writing([n], 9) for n in (1, 2)], threading.Event()

    def panic_with_both(cache):
        assert submitted.wait(20)
        if {row for _, rows in cache.runs for row in rows} == {0, 1}:
            watched.before.clear()
            panic()

    watched.before.append(panic_with_both)
    for made in both:
        running.submit(made)
    submitted.set()
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(_ended(made) for made in both), return_exceptions=True)
        assert [str(one) for one in found] == ["ONNX Runtime failed: slice index"] * 2
        assert await written(running, writing(PROMPT, 5)) == greedy(LLAMA, PROMPT, 5)


async def _ended(made):
    return [piece async for piece in pieces_of(made)]


def panic(*_):
    raise Panic("slice index")


async def test_an_answer_that_panics_takes_no_other_with_it(shared):
    running, _ = engine(shared)
    bad, good = writing([1], 9), writing(PROMPT, 9)
    bad.text = Detokenizer(panic)
    async with asyncio.timeout(20):
        found = await asyncio.gather(written(running, bad), written(running, good), return_exceptions=True)
    assert isinstance(found[0], ProviderFailure)
    assert "Panic: slice index" in str(found[0])
    assert found[1] == greedy(LLAMA, PROMPT, 9)


async def test_rows_that_cannot_be_freed_end_those_in_work_and_nothing_hangs(shared):
    made: list[Watched] = []

    def make():
        made.append(Watched(cache_of(shared)))
        if len(made) == 1:
            made[0].drop = lambda row: 1 / 0
        return made[-1]

    running = Engine(make)
    first, second = writing([1], 2), writing([2], 30)
    found = await asyncio.gather(written(running, first), written(running, second), return_exceptions=True)
    assert isinstance(found[1], ProviderFailure)
    assert await written(running, writing(PROMPT, 5)) == greedy(LLAMA, PROMPT, 5)


class Broken:
    def allowed(self):
        raise ZeroDivisionError("grammar")

    def take(self, token):
        return False


async def test_an_answer_that_fails_takes_no_other_with_it(shared):
    running, _ = engine(shared)
    bad, good = writing([1], 9, grammar=Broken()), writing(PROMPT, 9)
    found = await asyncio.gather(written(running, bad), written(running, good), return_exceptions=True)
    assert isinstance(found[0], ProviderFailure)
    assert "ZeroDivisionError" in str(found[0])
    assert found[1] == greedy(LLAMA, PROMPT, 9)


class Only:
    """Lets one token come, for a while."""

    def __init__(self, token: int, count: int) -> None:
        self.token, self.left = token, count

    def allowed(self):
        return np.arange(LLAMA.vocabulary) == self.token

    def take(self, token):
        self.left -= 1
        return self.left == 0


async def test_a_grammar_says_what_comes_and_when_it_is_whole(shared):
    running, _ = engine(shared)
    made = writing(PROMPT, 50, grammar=Only(42, 3))
    assert await written(running, made) == [42, 42, 42]


async def test_one_worker_while_there_is_work_and_none_after(shared):
    running, watched = engine(shared)
    seen: set[str] = set()
    watched.before.append(lambda cache: seen.add(threading.current_thread().name))
    await asyncio.gather(*(written(running, writing([n], 5)) for n in range(3)))
    worker = running._thread
    if worker is not None:
        worker.join(10)
    assert running._thread is None
    assert len(seen) == 1
    assert not running._rows


async def test_a_closed_engine_ends_what_is_in_work(shared):
    running, watched = engine(shared, slots=1)
    begun = threading.Event()
    watched.before.append(lambda cache: begun.set())
    first, waiting = writing(PROMPT, 100_000), writing([4], 5)
    running.submit(first)
    running.submit(waiting)
    await asyncio.to_thread(begun.wait, 10)
    await asyncio.to_thread(running.close)
    for made in (first, waiting):
        with pytest.raises(ProviderFailure, match="unloaded"):
            [piece async for piece in pieces_of(made)]
    with pytest.raises(ProviderFailure, match="unloaded"):
        running.submit(writing([1], 1))


async def test_a_closed_engine_ends_an_answer_also_where_nobody_waits(shared):
    running, watched = engine(shared)
    watched.before.append(lambda cache: len(cache.runs) == 3 and running.close())
    made, tokens = writing(PROMPT, 20), []
    running.submit(made)
    with pytest.raises(ProviderFailure, match="unloaded"):
        tokens += [piece.drawn.token async for piece in pieces_of(made)]
    assert [kind for kind, _ in watched.runs] == ["read", "step", "step"]


def test_a_reader_whose_loop_is_gone_gives_its_row_back(shared):
    running, watched = engine(shared)
    begun, closed = threading.Event(), threading.Event()
    watched.before.append(lambda cache: (begun.set(), closed.wait(10)))

    async def leave():
        running.submit(writing(PROMPT, 1_000_000))
        await asyncio.to_thread(begun.wait, 10)

    asyncio.run(leave())
    closed.set()
    worker = running._thread
    if worker is not None:
        worker.join(10)
    assert not running._rows
    assert len(watched.runs) < 10
