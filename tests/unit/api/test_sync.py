"""Async work from plain code: it can be left and interrupted, in a script and under a running loop."""

import asyncio
import contextlib
import contextvars
import os
import signal
import threading

import pytest

from flowllm.api.sync import AHEAD, iterate_sync, run_sync

PATIENCE = 60
WORD = contextvars.ContextVar("WORD", default="none")


class Silent:
    """Gives ``items``, then says nothing for longer than any test may take. ``fate`` is what ended it."""

    def __init__(self, *items, interrupts=False):
        self.items, self.interrupts, self.fate = items, interrupts, []

    async def __call__(self):
        for item in self.items:
            yield item
        await self.wait()

    async def wait(self):
        if self.interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(PATIENCE / 4)
            self.fate.append("came to its end")
        except asyncio.CancelledError:
            self.fate.append("cancelled")
            raise


async def counted(count, given=None):
    for number in range(count):
        if given is not None:
            given.append(number)
        yield number


def alone(work):
    """Run in a thread, as work that is not the main one's."""
    found = []

    def carry_out():
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  the test looks at it
            found.append(error)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return found[0]


def in_a_task(work):
    """Run plain code in the task of a running loop."""

    async def main():
        return work()

    return asyncio.run(main())


def in_a_notebook(work):
    """Run plain code in a loop that leaves Ctrl-C to Python."""

    async def main():
        return work()

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(main())


def in_a_callback(work):
    """Run plain code in a loop, but in no task of it."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        found = []
        loop.call_soon(lambda: (found.append(work()), loop.stop()))
        loop.run_forever()
        return found[0]


def directly(work):
    return work()


PLACES = [directly, in_a_task, in_a_notebook, in_a_callback, alone]


@pytest.mark.parametrize("place", PLACES)
def test_items_come_in_order_and_to_an_end(place):
    assert place(lambda: list(iterate_sync(lambda: counted(3 * AHEAD)))) == [*range(3 * AHEAD)]


@pytest.mark.parametrize("place", PLACES)
def test_results_come_from_everywhere(place):
    async def work():
        return "done"

    assert place(lambda: run_sync(work())) == "done"


def test_results_are_not_written_out():
    written = []

    class Large:
        def __repr__(self):
            written.append("large")
            return "large"

    async def work():
        return Large()

    found = run_sync(work())
    assert (type(found), written) == (Large, [])


@pytest.mark.parametrize("place", PLACES[:3])
@pytest.mark.parametrize("error", [TimeoutError, ValueError, asyncio.CancelledError])
def test_failures_come_from_everywhere(place, error):
    async def fails():
        raise error

    async def source():
        yield 1
        raise error

    with pytest.raises(error):
        place(lambda: run_sync(fails()))
    got = []
    with pytest.raises(error):
        place(lambda: got.extend(iterate_sync(source)))
    assert got == [1]


@pytest.mark.parametrize("place", PLACES)
def test_leaving_a_silent_source_ends_it(place):
    source = Silent(1)

    def work():
        items = iterate_sync(source)
        assert next(items) == 1
        items.close()

    place(work)
    assert source.fate == ["cancelled"]


@pytest.mark.parametrize("place", [directly, in_a_task, in_a_notebook])
def test_ctrl_c_ends_a_silent_source(place):
    source = Silent(1, interrupts=True)
    with pytest.raises(KeyboardInterrupt):
        place(lambda: [*iterate_sync(source)])
    assert source.fate == ["cancelled"]


@pytest.mark.parametrize("place", [directly, in_a_task, in_a_notebook])
def test_ctrl_c_ends_a_run(place):
    source = Silent(interrupts=True)
    with pytest.raises(KeyboardInterrupt):
        place(lambda: run_sync(source.wait()))
    assert source.fate == ["cancelled"]


def test_ctrl_c_while_the_reader_works_ends_the_source():
    source = Silent(1)

    def work():
        for _ in iterate_sync(source):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        in_a_task(work)
    assert source.fate == ["cancelled"]


def test_a_source_waits_for_its_reader():
    given = []
    items = iterate_sync(lambda: counted(10 * AHEAD, given))
    assert next(items) == 0
    items.close()
    assert len(given) <= AHEAD + 2


def test_nothing_is_left_running():
    before = threading.active_count()
    for _ in range(5):
        items = iterate_sync(Silent(1))
        next(items)
        items.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("place", [in_a_task, directly])
def test_the_caller_s_context_is_known(place):
    async def word():
        return WORD.get()

    async def words():
        yield WORD.get()

    def work():
        WORD.set("mine")
        return [run_sync(word()), *iterate_sync(words)]

    assert contextvars.copy_context().run(place, work) == ["mine", "mine"]


@pytest.mark.parametrize("place", [directly, in_a_task])
def test_an_event_loop_that_cannot_be_made_is_an_error(monkeypatch, place):
    async def work():
        raise AssertionError

    def refuse():
        raise OSError(24, "Too many open files")

    def main():
        monkeypatch.setattr(asyncio.events, "new_event_loop", refuse)
        return run_sync(work())

    with pytest.raises(OSError, match="Too many"):
        place(main)
