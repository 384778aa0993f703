"""What was read once is not read again, and nobody's answer shows it."""

import asyncio
import gc
import weakref
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.local.devices import Device
from flowllm.backends.local.generation import open_writer, prefixes
from flowllm.backends.local.generation.engine import Engine
from flowllm.backends.local.generation.prefixes import Kept, Prefixes, common, longest
from flowllm.backends.local.generation.sampling import Drawing
from flowllm.backends.local.generation.shared_kv import cache_of
from flowllm.backends.local.layout import describe
from flowllm.core.delta import Usage
from flowllm.core.request import Chat, Message, Sampling, Text
from flowllm.core.scope import Scope
from tests.unit.backends.local.generation.decoders_made import LLAMA, greedy, reference
from tests.unit.backends.local.generation.engine_made import WAYS, Watched, decoder, engine, pieces_of, writing, written
from tests.unit.backends.local.generation.folders_made import folder

KEEPING = [way for way in WAYS if way.startswith("shared") and "device" not in way]
SYSTEM = [1, 5, 9, 3, 7, 7, 2, 60, 33, 12, 8, 41]


@pytest.fixture(autouse=True)
def _short_ones_count(monkeypatch):
    monkeypatch.setattr(prefixes, "LEAST", 3)


async def told(running, prompt, count=8, how=Drawing()):  # noqa: B008
    """The tokens of an answer, and how many of the prompt were not read."""
    made = writing(prompt, count, how)
    return await written(running, made), made.reused


@pytest.mark.parametrize("way", KEEPING)
@pytest.mark.parametrize(
    ("prompt", "reused"),
    [
        ([*SYSTEM, 20, 21], 12),
        ([*SYSTEM, 4], 12),
        (SYSTEM, 11),  # the last token is read for what comes after it
        (SYSTEM[:5], 4),
        ([*SYSTEM[:6], 50], 6),
        ([*SYSTEM[:2], 50, 51], 0),  # too few
        ([50, *SYSTEM], 0),
    ],
)
async def test_a_prompt_goes_on_from_what_was_read(tmp_path, way, prompt, reused):
    running, watched = engine(decoder(tmp_path, LLAMA, way), way)
    assert await told(running, [*SYSTEM, 4, 4]) == (greedy(LLAMA, [*SYSTEM, 4, 4], 8), 0)
    before = watched.read_tokens
    assert await told(running, prompt) == (greedy(LLAMA, prompt, 8), reused)
    assert watched.read_tokens - before == len(prompt) - reused


async def test_a_conversation_is_read_on_from_its_last_answer(tmp_path):
    running, watched = engine(decoder(tmp_path, LLAMA, "shared"))
    prompt, read = list(SYSTEM), []
    for turn in range(4):
        answer, _ = await told(running, prompt)
        assert answer == greedy(LLAMA, prompt, 8)
        read.append(watched.read_tokens)
        prompt = [*prompt, *answer, 40 + turn, 50]
    assert np.diff(read).tolist() == [3, 3, 3]  # the last token of the answer was drawn and never read


@pytest.mark.parametrize("way", [way for way in WAYS if way not in KEEPING])
async def test_other_caches_read_everything(tmp_path, way):
    running, watched = engine(decoder(tmp_path, LLAMA, way), way)
    for _ in range(2):
        assert await told(running, SYSTEM) == (greedy(LLAMA, SYSTEM, 8), 0)
    assert watched.read_tokens == 2 * len(SYSTEM)


async def test_those_in_work_share_what_they_have_read(tmp_path):
    running, watched = engine(decoder(tmp_path, LLAMA, "shared"), slots=5)
    prompts = [[*SYSTEM, number, 9] for number in range(20, 25)]
    found = await asyncio.gather(*(told(running, prompt, 12) for prompt in prompts))
    assert [tokens for tokens, _ in found] == [greedy(LLAMA, prompt, 12) for prompt in prompts]
    assert sum(reused for _, reused in found) == 4 * len(SYSTEM)
    assert watched.read_tokens == 5 * len(prompts[0]) - 4 * len(SYSTEM)


@pytest.mark.parametrize("way", KEEPING)
@pytest.mark.parametrize("seed", range(4))
async def test_any_crowd_with_shared_beginnings_writes_what_each_writes_alone(tmp_path, way, seed, monkeypatch):
    monkeypatch.setattr(prefixes, "LEAST", 1)
    monkeypatch.setattr("flowllm.backends.local.generation.shared_kv._ROOM", 8)
    random = Random(seed)
    running, watched = engine(decoder(tmp_path, LLAMA, way), way, slots=3, chunk=random.choice([2, 5, 64]))
    starts = [random.choices(range(64), k=random.randint(1, 20)) for _ in range(3)]
    every = [
        writing([*random.choice(starts), *random.choices(range(64), k=random.randint(1, 5))], random.randint(1, 10))
        for _ in range(14)
    ]
    every.append(writing(SYSTEM, 500))
    watched.before.append(lambda cache: setattr(every[-1], "cancelled", random.random() < 0.2))
    for made in reversed(every):
        running.submit(made)
    for made in every[:-1]:
        assert [piece.drawn.token async for piece in pieces_of(made)] == greedy(LLAMA, made.prompt, made.most)
    assert sum(made.reused for made in every) > 0
    assert watched.read_tokens <= sum(len(made.prompt) - made.reused for made in every)


async def test_who_begins_as_another_waits_for_what_that_one_reads(tmp_path):
    running, watched = engine(decoder(tmp_path, LLAMA, "shared"))
    every = [writing([*SYSTEM, number, 3], 4) for number in range(3)] + [writing([9, 9, *SYSTEM[:5]], 4)]
    first = writing([60, 1], 3)
    watched.before.append(lambda cache: len(cache.runs) == 1 and [running.submit(made) for made in every])
    running.submit(first)
    for made in every:
        assert [piece.drawn.token async for piece in pieces_of(made)] == greedy(LLAMA, made.prompt, 4)
    assert [made.reused for made in every] == [0, len(SYSTEM), len(SYSTEM), 0]
    assert [rows for kind, rows in watched.runs if kind == "read"] == [(0,), (1,), (2, 3, 4)]


@pytest.mark.parametrize("way", WAYS)
async def test_side_by_side_on_every_cache(tmp_path, way):
    running, _ = engine(decoder(tmp_path, LLAMA, way), way)
    found = await asyncio.gather(*(told(running, [*SYSTEM, number]) for number in (20, 21)))
    assert [tokens for tokens, _ in found] == [greedy(LLAMA, [*SYSTEM, number], 8) for number in (20, 21)]
    assert found[1][1] == (len(SYSTEM) if way in KEEPING else 0)


def test_a_row_that_moves_up_takes_its_tokens_along(tmp_path):
    cache = cache_of(decoder(tmp_path, LLAMA, "shared"))
    for row, prompt in enumerate(([40, 41], SYSTEM)):
        cache.begin(row, 20)
        cache.read({row: prompt})
    cache.drop(0)
    cache.step({1: 9})
    cache.begin(2, 20)
    assert cache.reuse(2, [*SYSTEM, 9, 8]) == len(SYSTEM) + 1
    last = cache.read({2: [8]})[2]
    assert last == pytest.approx(reference(LLAMA, [*SYSTEM, 9, 8])[-1], abs=1e-3)


def test_prompts_that_are_read_side_by_side_leave_nothing_of_their_padding(tmp_path):
    cache, given = cache_of(decoder(tmp_path, LLAMA, "shared")), {0: [40, 41, 42, 43, 44], 1: SYSTEM}
    for row in given:
        cache.begin(row, 20)
    cache.read(given)
    cache.step({0: 9, 1: 9})
    for row in given:
        cache.drop(row)
    for row, prompt in given.items():
        cache.begin(row, 20)
        assert cache.reuse(row, [*prompt, 9, 8]) == len(prompt) + 1
        assert cache.read({row: [8]})[row] == pytest.approx(reference(LLAMA, [*prompt, 9, 8])[-1], abs=1e-3)


async def test_draws_of_a_seed_are_the_same(tmp_path):
    running, _ = engine(decoder(tmp_path, LLAMA, "shared"))
    how = Drawing(1.0, top_k=8, seed=11)
    first, again = await told(running, SYSTEM, 20, how), await told(running, SYSTEM, 20, how)
    assert first[0] == again[0]
    assert again[1] == len(SYSTEM) - 1


async def test_after_a_run_that_failed_everything_is_read_anew(tmp_path):
    found, held, made = decoder(tmp_path, LLAMA, "shared"), Prefixes(), []

    def make():
        made.append(Watched(cache_of(found, held)))
        return made[-1]

    running = Engine(make)
    await told(running, SYSTEM)
    made[0].before.append(lambda cache: 1 / 0)
    with pytest.raises(Exception, match="division"):
        await told(running, SYSTEM)
    assert await told(running, SYSTEM) == (greedy(LLAMA, SYSTEM, 8), 0)
    assert len(made) == 2


async def test_unloading_lets_everything_go(tmp_path):
    found = decoder(tmp_path, LLAMA, "shared")
    running = Engine(lambda: cache_of(found))
    await told(running, SYSTEM)
    await asyncio.to_thread(lambda: running._thread and running._thread.join(10))
    assert not running._cache._buffers  # what nobody writes to is not held beside it
    gone = weakref.ref(running._cache._prefixes._kept[0].arrays[0])
    assert gone() is not None
    running.close()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("layout", "room", "keeps"),
    [("genai", prefixes.KEPT, True), ("genai", 600, False), ("optimum", prefixes.KEPT, False)],
)
async def test_a_writer_tells_what_it_keeps_and_forgets_it(tmp_path, layout, room, keeps):
    model = open_writer(describe(folder(tmp_path / "m", layout=layout)), Device(provider="cpu", threads=1), room)
    asked = Chat("local/m", (Message("user", (Text("hello there"),)),), Sampling(max_output_tokens=4))

    async def used():
        deltas = [delta async for delta in model.generate(asked, Scope())]
        await asyncio.to_thread(lambda: model._engine._thread and model._engine._thread.join(10))
        return next(delta for delta in deltas if isinstance(delta, Usage))

    first = await used()
    of_a_token = sum(array.nbytes // array.shape[1] for one in model.prefixes._kept for array in one.arrays)
    assert model.kept == (first.input + first.output - 1) * of_a_token
    assert (model.kept > 0) is keeps
    assert ((await used()).cached_input is not None) is keeps
    model.forget()
    assert (model.kept, (await used()).cached_input) == (0, None)
    model.close()
    assert model.kept == 0


def kept(tokens, size=10):
    return Kept(list(tokens), [np.zeros((1, size), np.uint8)])


@pytest.mark.parametrize(
    ("most", "rows", "left"),
    [
        (100, ["abcd", "efgh"], ["efgh", "abcd"]),
        (25, ["abcd", "efgh", "ijkl"], ["ijkl", "efgh"]),
        (100, ["abcd", "abcdef"], ["abcdef"]),  # the longer one has all of it
        (100, ["abcdef", "abcdxy"], ["abcdxy", "abcdef"]),
        (10, ["abcd", "efgh"], ["efgh"]),
    ],
)
def test_what_is_kept(most, rows, left):
    held = Prefixes(most)
    for row in rows:
        held.keep(kept(map(ord, row)))
    assert ["".join(map(chr, one.tokens)) for one in held._kept] == left
    assert held.size == 10 * len(left) <= most
    held.forget()
    assert (held.size, held.longest(list(map(ord, left[0])))) == (0, (0, None))


def test_no_more_than_a_number_is_kept():
    held = Prefixes()
    for number in range(100, 140):
        held.keep(kept([number] * 4))
    assert [one.tokens[0] for one in held._kept] == list(range(139, 139 - prefixes.MOST, -1))


def test_what_is_used_is_kept_longest():
    held = Prefixes(30)
    for number in (1, 2, 3):
        held.keep(kept([number] * 4))
    assert held.longest([1, 1, 1, 1, 9])[0] == 4
    held.keep(kept([4] * 4))
    assert [one.tokens[0] for one in held._kept] == [4, 1, 3]


class Forgetting(list):
    """Tokens at whose comparison another thread has everything forgotten."""

    def __init__(self, tokens, held):
        super().__init__(tokens)
        self.held = held

    def __iter__(self):
        self.held.forget()
        return super().__iter__()


@pytest.mark.parametrize(
    "work",
    [
        lambda held: held.keep(Kept(Forgetting([3] * 4, held), [np.zeros((1, 10), np.uint8)])),
        lambda held: held.longest(Forgetting([1] * 4, held)),
    ],
)
def test_what_is_forgotten_meanwhile_does_not_come_back(work):
    held = Prefixes()
    held.keep(kept([1] * 4))
    held.keep(kept([2] * 4))
    work(held)
    assert (held.size, held._kept) == (0, [])


class Late:
    """A lock that is had only when another one who had it has forgotten everything."""

    def __init__(self, held):
        self.held = held
        self.taken = 0

    def __enter__(self):
        self.held._kept, self.held.size = [], 0
        self.taken += 1

    def __exit__(self, *error):
        """There is nothing to give back."""


@pytest.mark.parametrize(
    "work", [lambda held: held.keep(kept([2] * 4)), lambda held: held.longest([1] * 4), Prefixes.forget]
)
def test_nobody_changes_it_between_the_last_look_and_the_change(work):
    held = Prefixes()
    held.keep(kept([1] * 4))
    held._lock = Late(held)
    work(held)
    assert (held.size, held._kept, held._lock.taken) == (0, [], 1)


def test_who_keeps_account_is_told_of_each_change():
    held, sizes = Prefixes(25), []
    held.changed = lambda: sizes.append(held.size)
    for number in (1, 2, 3):
        held.keep(kept([number] * 4))
    held.longest([2] * 4)
    held.forget()
    assert sizes == [10, 20, 20, 0]


@pytest.mark.parametrize(
    ("tokens", "size", "fits"),
    [
        ("abc", 10, False),
        ("ab", 10, False),
        ("abcx", 10, True),
        ("abcde", 10, True),
        ("xyz", 31, False),
        ("xyz", 30, True),
    ],
)
def test_what_is_worth_being_kept(tokens, size, fits):
    held = Prefixes(30)
    held.keep(kept("abcd"))
    assert held.fits(tokens, size) is fits


@given(st.lists(st.lists(st.integers(0, 1), max_size=8), max_size=5), st.lists(st.integers(0, 1), max_size=8))
def test_the_longest_is_found(among, prompt):
    length, place = longest(prompt, among)
    best = max((common(one, prompt) for one in among), default=0)
    assert length == (best if best >= prefixes.LEAST else 0)
    assert not length or among[place][:length] == prompt[:length]
