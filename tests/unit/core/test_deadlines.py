"""Timeouts of one loop share a timer and end work as those of asyncio do."""

import asyncio
import math

import pytest

from flowllm.core.deadlines import Deadline


class Time:
    """The loop's clock, moved by hand."""

    def __init__(self, monkeypatch):
        self.loop = asyncio.get_running_loop()
        self.now, self.timers = self.loop.time(), 0
        call_at = self.loop.call_at
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        monkeypatch.setattr(self.loop, "call_at", lambda *given, **more: self._booked() or call_at(*given, **more))

    def _booked(self):
        self.timers += 1

    async def pass_by(self, seconds):
        self.now += seconds
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def time(monkeypatch):
    return Time(monkeypatch)


async def waits(make, *seconds):
    """How a wait ends that such timeouts are around, the outermost first, and which were over."""
    timers = [make(one) for one in seconds]

    async def inside(rest):
        if not rest:
            await asyncio.Event().wait()
        async with rest[0]:
            await inside(rest[1:])

    try:
        await inside(timers)
    except TimeoutError:
        return "timeout", [timer.expired() for timer in timers]
    except asyncio.CancelledError:
        return "cancelled", [timer.expired() for timer in timers]


EARLY = 0.01
"""A loop may call so many seconds too early."""

ENDS = [
    # seconds of the timeouts, seconds that pass, the second in which somebody else cancels
    ((3,), 3, None),
    ((0,), 0, None),
    ((-1,), 0, None),
    ((5, 3), 4, None),
    ((3, 5), 4, None),
    ((3, 3), 4, None),
    ((3,), 3 - EARLY / 2, None),
    ((3,), 1, 1),
    ((3,), 4, 2.9),
    ((3,), 4, 3.1),
    ((5, 3), 4, 2.9),
    ((5, 3), 4, 3.1),
    ((3, 5), 6, 3.1),
]


@pytest.mark.parametrize(("seconds", "passed", "cancelled"), ENDS)
async def test_work_ends_as_under_timeouts_of_asyncio(monkeypatch, time, seconds, passed, cancelled):
    monkeypatch.setattr(time.loop, "_clock_resolution", EARLY)
    ended = []
    for make in (Deadline, asyncio.timeout):
        task = asyncio.create_task(waits(make, *seconds))
        await time.pass_by(0)
        if cancelled is not None:
            time.loop.call_at(time.now + cancelled, task.cancel)
        await time.pass_by(passed)
        assert task.done(), make
        ended.append(task.result())
    assert ended[0] == ended[1]


async def test_work_in_time_goes_on():
    async with Deadline(30) as deadline:
        await asyncio.sleep(0)
    assert not deadline.expired()


async def test_an_error_of_the_work_stays_what_it_is(time):
    deadline = Deadline(3)
    with pytest.raises(KeyError):
        async with deadline:
            raise KeyError("a")
    await time.pass_by(3)
    assert not deadline.expired()


async def fails_when_it_is_ended(deadline):
    async with deadline:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError("a") from None


async def test_an_error_after_the_end_is_no_timeout_and_leaves_nothing_cancelled(time):
    deadline = Deadline(3)
    passing = asyncio.create_task(time.pass_by(3))
    with pytest.raises(KeyError):
        await fails_when_it_is_ended(deadline)
    await passing
    assert deadline.expired()
    assert asyncio.current_task().cancelling() == 0


async def test_for_ever_needs_no_timer(time):
    ended = asyncio.create_task(waits(Deadline, math.inf, 3))
    async with Deadline(math.inf):
        await time.pass_by(0)
        await time.pass_by(4)
        assert ended.result() == ("timeout", [False, True])
        await time.pass_by(1e9)
    assert time.timers == 1


async def test_one_timer_serves_many(time):
    async with Deadline(60):
        for _ in range(100):
            async with Deadline(30):
                await asyncio.sleep(0)
    assert time.timers <= 2


async def test_the_timer_is_set_anew_for_what_goes_on(time):
    late = asyncio.create_task(waits(Deadline, 10))
    soon = asyncio.create_task(waits(Deadline, 4))
    async with Deadline(2):
        await time.pass_by(0)
    await time.pass_by(3)
    assert not soon.done()
    await time.pass_by(1)
    assert soon.result() == ("timeout", [True])
    assert not late.done()
    await time.pass_by(6)
    assert late.result() == ("timeout", [True])


def test_every_loop_has_its_own():
    for _ in range(2):
        assert asyncio.run(waits(Deadline, 0)) == ("timeout", [True])
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    under_way = first.create_task(waits(Deadline, 0.001))
    first.run_until_complete(asyncio.sleep(0))
    assert second.run_until_complete(waits(Deadline, 0)) == ("timeout", [True])
    assert first.run_until_complete(under_way) == ("timeout", [True])
    first.close()
    second.close()


async def test_a_timeout_is_for_a_task():
    refused = []

    def outside():
        try:
            Deadline(1).__aenter__().send(None)
        except RuntimeError as error:
            refused.append(str(error))

    asyncio.get_running_loop().call_soon(outside)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert refused == ["a timeout is for the work of a task"]
