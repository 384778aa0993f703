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


def test_a_reader_that_says_what_it_reads_is_told_that_alone():
    class Selective(list):
        reads = frozenset({Warned})
        __call__ = list.append

    some, told = Selective(), []
    bus, warning = Bus([some, told.append]), Warned("", 0.0, "internal", "x")
    for event in (EVENT, warning, EVENT):
        bus.emit(event)
    assert (some, told) == ([warning], [EVENT, warning, EVENT])
    assert bus.readers_of(Warned) == (some, told.append)
    assert Bus([some]).readers_of(RunStarted) == ()


def test_observed_tells_whether_anybody_reads():
    assert not Bus().observed
    assert Bus([lambda e: None]).observed
