"""Tokens end, are renewed in time, and are minted once for all who wait."""

import asyncio
import threading

import pytest

from flowllm.backends.auth.tokens import AGAIN, YOUNG, Minted, Tokens
from flowllm.core.errors import ProviderFailure


class Mint:
    """Gives token 1, 2, 3...; ``slow`` seconds of the clock pass, ``gate`` is waited for, ``broken`` is raised."""

    def __init__(self, clock, life=3600.0, slow=0.0):
        self.clock, self.life, self.slow = clock, life, slow
        self.calls = []
        self.gate = None
        self.broken = None

    async def __call__(self, refused):
        self.calls.append(refused)
        number = len(self.calls)
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        self.clock.time += self.slow
        if self.broken:
            raise self.broken
        return Minted(number, self.life)


def failure():
    return ProviderFailure("connect_error", "not reached")


@pytest.mark.parametrize(
    ("life", "slow", "after", "minted"),
    [
        (None, 0, 1e9, 1),
        (3600, 0, 3600 - 241, 1),
        (3600, 0, 3600 - 240, 2),
        (3600, 200, 3600 - 200 - 241, 1),
        # Life counts from before it was asked for: a slow answer makes it no longer.
        (3600, 200, 3600 - 200 - 240, 2),
        (100, 0, 79, 1),
        (100, 0, 80, 2),
        (0.5, 0, 0.5, 2),
    ],
)
async def test_a_token_is_renewed_before_it_ends(clock, life, slow, after, minted):
    mint = Mint(clock, life, slow)
    tokens = Tokens(mint, clock)
    assert await tokens.get() == 1
    clock.time += after
    assert await tokens.get() == minted
    assert mint.calls == [False] * minted


async def test_fifty_who_wait_get_one_token(clock):
    mint = Mint(clock)
    mint.gate = asyncio.Event()
    tokens = Tokens(mint, clock)
    waiting = [asyncio.ensure_future(tokens.get()) for _ in range(50)]
    await asyncio.sleep(0)
    mint.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 50
    assert len(mint.calls) == 1


def test_threads_with_loops_of_their_own_share_one_mint(clock):
    go, found = threading.Barrier(8), []
    started, release = threading.Event(), threading.Event()

    async def mint(refused):
        calls.append(1)
        started.set()
        await asyncio.to_thread(release.wait, 10)
        return Minted("token", 3600)

    calls = []
    tokens = Tokens(mint, clock)

    async def ask():
        return await asyncio.gather(*(tokens.get() for _ in range(5)))

    def work():
        go.wait(10)
        found.extend(asyncio.run(ask()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    release.set()
    for thread in threads:
        thread.join(10)
    assert (found, len(calls)) == (["token"] * 40, 1)


async def test_a_mint_that_failed_is_told_to_all_who_wait_and_then_forgotten(clock):
    mint = Mint(clock)
    mint.broken, mint.gate = failure(), asyncio.Event()
    tokens = Tokens(mint, clock)
    waiting = [asyncio.ensure_future(tokens.get()) for _ in range(5)]
    await asyncio.sleep(0)
    mint.gate.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [error.code for error in told] == ["connect_error"] * 5
    assert len(mint.calls) == 1
    mint.broken = None
    assert await tokens.get() == 2


async def test_a_renewal_that_failed_leaves_the_token_that_lives(clock):
    mint = Mint(clock)
    tokens = Tokens(mint, clock)
    assert await tokens.get() == 1
    clock.time += 3600 - 200
    mint.broken = failure()
    assert [await tokens.get() for _ in range(3)] == [1, 1, 1]
    assert len(mint.calls) == 2
    clock.time += AGAIN
    assert await tokens.get() == 1
    assert len(mint.calls) == 3
    clock.time += 200
    with pytest.raises(ProviderFailure):
        await tokens.get()
    mint.broken = None
    assert await tokens.get() == 5


async def test_while_one_renews_the_others_use_the_token_that_lives(clock):
    mint = Mint(clock)
    tokens = Tokens(mint, clock)
    await tokens.get()
    clock.time += 3600 - 200
    mint.gate = asyncio.Event()
    first = asyncio.ensure_future(tokens.get())
    await asyncio.sleep(0)
    assert await tokens.get() == 1
    clock.time += 180
    late = asyncio.ensure_future(tokens.get())
    await asyncio.sleep(0)
    assert not late.done()
    mint.gate.set()
    assert (await first, await late, len(mint.calls)) == (2, 2, 2)


async def test_who_gives_up_harms_no_other(clock):
    mint = Mint(clock)
    mint.gate = asyncio.Event()
    tokens = Tokens(mint, clock)
    first, second, third = (asyncio.ensure_future(tokens.get()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await asyncio.sleep(0)
    mint.gate.set()
    assert await third == 2
    assert (first.cancelled(), second.cancelled(), len(mint.calls)) == (True, True, 2)


async def test_a_refused_token_is_renewed_once_for_all_who_were_refused(clock):
    mint = Mint(clock)
    tokens = Tokens(mint, clock)
    used = await tokens.get()
    clock.time += YOUNG
    assert await asyncio.gather(*(tokens.renew(lambda token: token == used) for _ in range(20))) == [True] * 20
    assert mint.calls == [False, True]
    assert await tokens.get() == 2


async def test_a_new_token_that_is_refused_too_is_not_renewed_again(clock):
    mint = Mint(clock)
    tokens = Tokens(mint, clock)
    await tokens.get()
    clock.time += YOUNG - 0.1
    assert not await tokens.renew(lambda token: True)
    assert len(mint.calls) == 1


async def test_the_same_token_again_is_no_renewal(clock):
    tokens = Tokens(lambda refused: _same(), clock, young=0)
    await tokens.get()
    assert not await tokens.renew(lambda token: token == "same")


async def _same():
    return Minted("same", None)


async def test_a_token_is_renewed_on_this_process_s_clock_and_not_by_the_time_of_day(clock, monkeypatch):
    monkeypatch.setattr("time.monotonic", clock)
    mint = Mint(clock)
    tokens = Tokens(mint)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert await tokens.get() == 1
    monkeypatch.setattr("time.time", lambda: 1e12)
    assert await tokens.get() == 1
    clock.time += 3600
    assert await tokens.get() == 2
