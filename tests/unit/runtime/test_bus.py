from flowllm.core.event import RunStarted, Warned
from flowllm.runtime.bus import Bus

EVENT = RunStarted("", 0.0, "1", "p", "d")


def test_every_reader_is_told_in_order():
    told = []
    Bus([lambda e: told.append(("a", e)), lambda e: told.append(("b", e))]).emit(EVENT)
    assert told == [("a", EVENT), ("b", EVENT)]


def test_a_failing_reader_is_dropped_once_and_the_others_are_told_why():
    told = []

    def broken(event):
        raise OSError("disk full")

    bus = Bus([broken, told.append])
    bus.emit(EVENT)
    bus.emit(EVENT)
    warnings = [e for e in told if isinstance(e, Warned)]
    assert [e for e in told if e is EVENT] == [EVENT, EVENT]
    assert len(warnings) == 1
    assert "broken" in warnings[0].message


def test_observed_tells_whether_anybody_reads():
    assert not Bus().observed
    assert Bus([lambda e: None]).observed
