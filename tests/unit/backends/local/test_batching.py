import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.backends.local.batching import Batcher, Limits, next_batch

PACKED = [
    ([1, 2, 3], Limits(6), 2),
    ([3, 3, 3], Limits(9), 3),
    ([3, 3, 3], Limits(8), 2),
    ([9], Limits(4), 1),
    ([9, 9], Limits(4), 1),
    ([2, 2, 3], Limits(99, uniform=True), 2),
    ([2, 2, 2, 2], Limits(6, lengths=(2,)), 2),
    ([2, 2, 2, 2], Limits(8, lengths=(2,)), 4),
]


@pytest.mark.parametrize(("lengths", "limits", "count"), PACKED)
def test_a_batch_ends_where_its_padded_tokens_would_pass_the_budget(lengths, limits, count):
    assert next_batch(lengths, limits) == count


class Counted:
    """Runs batches of texts; a text is its own length, ``boom`` fails and what ends with ``?`` has an error."""

    def __init__(self, limits=None, *, closed_at_start=False):
        self.batches = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        if not closed_at_start:
            self.gate.set()
        self.batcher = Batcher(self.run, len, limits)

    def run(self, batch):
        self.batches.append(list(batch))
        self.entered.set()
        assert self.gate.wait(10)
        if "boom" in batch:
            raise ValueError("boom")
        if "panic" in batch:
            raise Panic("panic")
        return [KeyError(text) if text.endswith("?") else text.upper() for text in batch if text != "lost"]


class Panic(BaseException):
    """What a library in Rust raises where it panics: no Exception."""


class Waits(threading.Condition):
    """Says when the worker waits for callers on their way: it is the only one who waits for so long."""

    def __init__(self):
        super().__init__()
        self.begun = threading.Event()

    def wait(self, timeout=None):
        if timeout is not None:
            self.begun.set()
        return super().wait(timeout)


@pytest.fixture
def counted():
    made = []

    def make(*arguments, **options):
        made.append(Counted(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.gate.set()
        one.batcher.close()


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text("ab", min_size=1, max_size=9), max_size=30), budget=st.integers(1, 40))
def test_results_come_in_the_order_of_the_items_and_batches_keep_the_budget(texts, budget):
    made = Counted(Limits(budget))
    assert made.batcher.submit(texts).result(10) == [text.upper() for text in texts]
    made.batcher.close()
    for batch in made.batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= budget
    assert [len(text) for batch in made.batches for text in batch] == sorted(map(len, texts))


def test_callers_share_batches(counted):
    made = counted(Limits(100), closed_at_start=True)
    first = made.batcher.submit(["x"])
    assert made.entered.wait(10)
    others = [made.batcher.submit([text]) for text in ("aa", "bb", "cc")]
    made.gate.set()
    assert [future.result(10) for future in (first, *others)] == [["X"], ["AA"], ["BB"], ["CC"]]
    assert made.batches == [["x"], ["aa", "bb", "cc"]]


def waiting(made):
    """The event of a worker that waits for callers on their way."""
    made.batcher._changed = Waits()
    return made.batcher._changed.begun


def test_a_worker_waits_for_callers_on_their_way(counted):
    made = counted(Limits(100, wait=30))
    begun = waiting(made)
    with made.batcher.coming():
        first = made.batcher.submit(["a"])
        assert begun.wait(10)
        second = made.batcher.submit(["b"])
    assert (first.result(10), second.result(10)) == (["A"], ["B"])
    assert made.batches == [["a", "b"]]


def test_what_was_answered_fills_no_later_batch(counted):
    made = counted(Limits(4, wait=30))
    begun = waiting(made)
    assert made.batcher.submit(["aaaa"]).result(10) == ["AAAA"]
    with made.batcher.coming():
        made.batcher.submit(["b"])
        assert begun.wait(10)


def test_no_more_than_a_window_is_sorted_together(counted):
    made = counted(Limits(100, window=2), closed_at_start=True)
    first = made.batcher.submit(["x"])
    assert made.entered.wait(10)
    others = made.batcher.submit(["ccc", "bb", "a"])
    made.gate.set()
    assert (first.result(10), others.result(10)) == (["X"], ["CCC", "BB", "A"])
    assert made.batches == [["x"], ["bb", "ccc"], ["a"]]


def test_nobody_on_the_way_is_not_waited_for(counted):
    made = counted(Limits(100, wait=10**6))
    assert made.batcher.submit(["a"]).result(10) == ["A"]


def test_a_full_batch_is_not_waited_for(counted):
    made = counted(Limits(4, wait=10**6))
    with made.batcher.coming():
        assert made.batcher.submit(["aaaa"]).result(10) == ["AAAA"]


def test_those_who_do_not_come_are_waited_for_no_longer_than_said(counted):
    made = counted(Limits(100, wait=0.001))
    with made.batcher.coming():
        assert made.batcher.submit(["a"]).result(10) == ["A"]


def test_a_caller_that_is_gone_is_dropped_before_the_next_batch(counted):
    made = counted(Limits(1), closed_at_start=True)
    first = made.batcher.submit(["x"])
    assert made.entered.wait(10)
    gone, kept = made.batcher.submit(["a", "b", "c"]), made.batcher.submit(["d"])
    gone.cancel()
    made.gate.set()
    assert (first.result(10), kept.result(10)) == (["X"], ["D"])
    assert made.batches == [["x"], ["d"]]


def test_a_caller_that_goes_while_its_batch_runs_harms_nobody(counted):
    made = counted(Limits(100), closed_at_start=True)
    with made.batcher.coming():
        gone, kept = made.batcher.submit(["a"]), made.batcher.submit(["b"])
    assert made.entered.wait(10)
    gone.cancel()
    made.gate.set()
    assert kept.result(10) == ["B"]


def test_a_failed_batch_fails_its_callers_and_no_others(counted):
    made = counted(Limits(4), closed_at_start=True)
    first = made.batcher.submit(["x"])
    assert made.entered.wait(10)
    bad, good = made.batcher.submit(["boom", "longer than that"]), made.batcher.submit(["ab"])
    made.gate.set()
    assert good.result(10) == ["AB"]
    assert str(bad.exception(10)) == "boom"
    assert first.result(10) == ["X"]
    assert ["longer than that"] not in made.batches


def test_an_item_with_an_error_fails_its_caller_alone(counted):
    made = counted(Limits(100), closed_at_start=True)
    first = made.batcher.submit(["x"])
    assert made.entered.wait(10)
    bad, good = made.batcher.submit(["a", "b?"]), made.batcher.submit(["c"])
    made.gate.set()
    assert (first.result(10), good.result(10)) == (["X"], ["C"])
    assert repr(bad.exception(10)) == "KeyError('b?')"
    assert made.batches == [["x"], ["a", "c", "b?"]]


@pytest.mark.parametrize(("text", "error"), [("lost", ValueError), ("panic", Panic)])
def test_nothing_that_goes_wrong_ends_the_thread(counted, text, error):
    made = counted()
    assert type(made.batcher.submit([text]).exception(10)) is error
    assert made.batcher.submit(["a"]).result(10) == ["A"]


def test_a_closed_batcher_takes_nothing_and_cancels_what_waits():
    made = Counted(Limits(1), closed_at_start=True)
    first, second = made.batcher.submit(["x"]), made.batcher.submit(["y"])
    assert made.entered.wait(10)
    closing = threading.Thread(target=made.batcher.close)
    closing.start()
    while not made.batcher._closed:
        pass
    made.gate.set()
    closing.join(10)
    assert (first.result(10), second.cancelled()) == (["X"], True)
    with pytest.raises(RuntimeError):
        made.batcher.submit(["z"])


def test_nothing_is_answered_without_a_thread(counted):
    made = counted()
    assert made.batcher.submit([]).result(0) == []
    assert made.batcher._thread is None


async def test_cancelling_the_task_drops_the_item(counted):
    made = counted(Limits(1), closed_at_start=True)
    first = made.batcher.submit(["x"])
    await asyncio.to_thread(made.entered.wait, 10)
    waiting = asyncio.wrap_future(made.batcher.submit(["y"]))
    waiting.cancel()
    await asyncio.sleep(0)
    made.gate.set()
    assert first.result(10) == ["X"]
    assert made.batcher.submit(["z"]).result(10) == ["Z"]
    assert made.batches == [["x"], ["z"]]
