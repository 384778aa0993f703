"""Readers of events: ledger, JSON lines, log, progress."""

import io
import json
import logging
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from flowllm.core import event as events
from flowllm.core.delta import Text, Usage
from flowllm.core.event import (
    AttemptEnded,
    CacheHit,
    CacheMiss,
    CallFailed,
    CallFinished,
    CallRetried,
    Cost,
    DeltaReceived,
    Event,
    Line,
    ModelChosen,
    RunFinished,
    RunStarted,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepStarted,
    Warned,
)
from flowllm.runtime.bus import Bus
from flowllm.sinks import log
from flowllm.sinks.events_json import EventLines, to_data
from flowllm.sinks.ledger import Ledger, Row, node_of
from flowllm.sinks.progress import LiveProgress, PlainProgress, is_live, progress_for
from flowllm.sinks.redact import Redactor

SECRET = "canary-4711-secret"
CLEAN = Redactor(lambda: (SECRET,)).clean

USAGE = Usage(100, 20)
LINE = Line("input", 100, "token", Decimal("0.00002"), Decimal("0.0020"))


def finished(address="ask", model="acme/m", cost="0.002", usage=USAGE):
    return CallFinished(address, 2.0, model, usage, Cost(None if cost is None else Decimal(cost)), 1.5, 0.2, "stop")


def told(cost, reported):
    """An answer with which the provider said a cost."""
    known = Cost(None if cost is None else Decimal(cost), version="table 7", reported=Decimal(reported))
    return replace(finished(), cost=known)


# ledger


@pytest.mark.parametrize(
    ("address", "node"),
    [("ask", "ask"), ("docs[3]/sure#2/ask", "docs/sure/ask"), ("rank/ask", "rank/ask"), ("note[12]", "note"), ("", "")],
)
def test_node_of(address, node):
    assert node_of(address) == node


def test_ledger_counts():
    ledger = Ledger()
    for event in [
        finished("docs[0]/ask"),
        finished("docs[1]/ask"),
        CallRetried("docs[1]/ask", 1.0, "acme/m", 1, 0.5, "overloaded", "no"),
        CallFailed("docs[1]/ask", 1.0, "acme/m", "overloaded", "no"),
        CallFailed("docs[2]/ask", 1.0, "acme/m", "stream_interrupted", "no", Usage(7, 1), Cost(Decimal("0.001"))),
        CacheHit("docs[3]/ask", 1.0, "k", "call", Decimal("0.004")),
        CacheMiss("docs[0]/ask", 1.0, "k"),
        replace(finished("sum", "acme/n", None, None), simulated=True),
        StepFinished("sum", 3.0, "call", 1.25),
        DeltaReceived("sum", 1.0, Text("a")),
    ]:
        ledger(event)
    summary = ledger.summary()
    row = summary.nodes["docs/ask"]
    assert row == Row(
        calls=2, failed=2, retries=1, cache_hits=1, cache_misses=1, input=207, output=41,
        cost=Decimal("0.005"), saved=Decimal("0.004"),
    )  # fmt: skip
    assert summary.nodes["sum"] == Row(calls=1, unpriced=1, uncounted=1, steps=1, seconds=1.25, simulated=1)
    assert summary.models["acme/m"].calls == 2
    assert summary.total.calls == 3
    assert summary.cost() is None
    cost = {"total": None, "known": "0.005", "unpriced_calls": 1, "reported": None, "prices": []}
    assert json.loads(json.dumps(summary.to_data()))["cost"] == cost
    assert summary.text() == (
        "3 calls, 2 failed requests, 1 retry, 207 + 41 tokens, 1 from the cache (saved $0.0040), "
        "at least $0.0050, the tokens of 1 call are not known"
    )


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        ([], ""),
        ([finished(cost=None)], "1 call, 100 + 20 tokens, the price of 1 call is not known"),
        ([finished()], "1 call, 100 + 20 tokens, $0.0020"),
        ([finished(cost="0")], "1 call, 100 + 20 tokens, $0.00"),
        ([finished(cost="12.345")], "1 call, 100 + 20 tokens, $12.34"),
        ([finished(cost="0.00001234")], "1 call, 100 + 20 tokens, $0.000012"),
        ([CacheHit("a", 0.0, "k")], "0 calls, 1 from the cache, $0.00"),
        ([told("0.002", "0.00202")], "1 call, 100 + 20 tokens, $0.0020"),
        (
            [told("0.002", "0.00203")],
            "1 call, 100 + 20 tokens, $0.0020, the provider's own figure is $0.00203 for what is $0.002 here",
        ),
        ([told("5.00", "5.01")], "1 call, 100 + 20 tokens, $5.00"),
        (
            [told("5.00", "5.02"), finished(cost="1")],
            "2 calls, 200 + 40 tokens, $6.00, the provider's own figure is $5.02 for what is $5.00 here",
        ),
        (
            [told(None, "0.5")],
            "1 call, 100 + 20 tokens, the price of 1 call is not known, the provider's own figure is $0.5",
        ),
    ],
)
def test_summary_text(seen, text):
    ledger = Ledger()
    for event in seen:
        ledger(event)
    assert ledger.summary().text() == text


def test_a_summary_says_which_prices_it_is_made_with():
    ledger = Ledger()
    for event in (told("1", "1"), told("2", "2"), finished()):
        ledger(event)
    cost = ledger.summary().to_data()["cost"]
    assert (cost["reported"], cost["prices"]) == ("3", ["table 7"])


# JSON lines


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (
            finished(),
            {
                "model": "acme/m",
                "usage": {"type": "Usage", "input": 100, "output": 20, "cached_input": None, "cache_write": None,
                          "reasoning": None, "estimated": False, "classes": {}, "written": {}, "units": {},
                          "service": "", "region": "", "speed": "", "variant": "", "reported": None,
                          "billed_input": None, "billed_output": None},
                "cost": {"type": "Cost", "total": "0.002", "items": [], "source": "", "version": "", "reported": None},
                "seconds": 1.5, "first": 0.2, "finish": "stop", "simulated": False, "address": "ask", "at": 2.0,
            },
        ),
        (DeltaReceived("a", 0.0, Text("x")), {"address": "a", "at": 0.0, "delta": {"type": "Text", "text": "x"}}),
        (
            RunFinished("", 0.0, "", math.inf, {"v": np.array([1.5]), "n": math.nan, 1: (None, b"x")}),
            {"address": "", "at": 0.0, "code": "", "seconds": None,
             "outputs": {"v": [1.5], "n": None, "1": [None, "b'x'"]}},
        ),
        (Warned("a", 0.0, "c", "lone \ud800"), {"address": "a", "at": 0.0, "code": "c", "message": "lone ?"}),
    ],
)  # fmt: skip
def test_events_as_strict_json(event, data):
    written = []
    EventLines(written.append)(event)
    (line,) = written
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {"event": type(event).__name__, **data}


def test_lines_are_cleaned():
    written = []
    EventLines(written.append, CLEAN)(Warned("a", 0.0, "c", f"key {SECRET}"))
    assert SECRET not in written[0]
    assert json.loads(written[0])["message"] == "key ***"


def test_a_delta_is_a_delta_and_an_event_an_event():
    assert to_data(RunStarted("", 0.0, "r", "p", "d"))["event"] == "RunStarted"


# log


@pytest.fixture
def root():
    import structlog

    logger = logging.getLogger()
    before = (logger.handlers[:], logger.level)
    yield logger
    logger.handlers[:], level = before[0], before[1]
    logger.setLevel(level)
    structlog.reset_defaults()


def fail_with_secret():
    hidden = SECRET
    raise ValueError(f"told {hidden} in passing")


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_logged_holds_a_secret(root, as_json):
    import structlog

    stream = io.StringIO()
    log.configure("debug", CLEAN, as_json=as_json, stream=stream)
    logger = structlog.get_logger("flowllm.test")
    logger.info("event", told=SECRET, key=SECRET, nested={"a": [SECRET]}, header="Authorization: Bearer zzz999zzz999")
    logging.getLogger("flowllm.cache").warning("plain %s", SECRET)
    logging.getLogger("httpx").info("GET https://x/?key=%s", "unregistered1")
    try:
        fail_with_secret()
    except ValueError:
        logger.exception("broke")
        logging.getLogger("other").exception("broke too")
    text = stream.getvalue()
    assert SECRET not in text
    assert "zzz999" not in text
    assert "unregistered1" not in text
    assert "fail_with_secret" in text
    assert "hidden" not in text.replace('raise ValueError(f"told {hidden}', "")
    assert text.count("***") >= 6
    if as_json:
        assert all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize(("level", "seen"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_levels(root, level, seen):
    stream = io.StringIO()
    log.configure(level, CLEAN, stream=stream)
    for name in ("debug", "info", "warning"):
        getattr(logging.getLogger("flowllm.x"), name)("said")
    assert stream.getvalue().count("said") == seen


def test_configuring_twice_says_things_once(root):
    stream = io.StringIO()
    log.warnings_only(CLEAN, stream)
    log.configure("info", CLEAN, stream=stream)
    logging.getLogger("flowllm.x").warning("said")
    assert stream.getvalue().count("said") == 1


def test_warnings_without_structlog(root):
    stream = io.StringIO()
    log.warnings_only(CLEAN, stream)
    logging.getLogger("flowllm.cache").warning("key %s", SECRET)
    logging.getLogger("flowllm.cache").info("quiet")
    assert stream.getvalue() == "warning[file_refused]: key ***\n"


def test_events_in_the_log(root):
    stream = io.StringIO()
    log.configure("debug", CLEAN, as_json=True, stream=stream)
    bus = Bus([log.EventLog()])
    bus.emit(finished())
    bus.emit(DeltaReceived("a", 0.0, Text("secret story")))
    bus.emit(StepFailed("ask", 1.0, "call", "auth", f"the key {SECRET} is not accepted"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("CallFinished", "info"), ("StepFailed", "error")]
    assert lines[0]["usage"]["input"] == 100
    assert isinstance(lines[0]["cost"]["total"], str)
    assert lines[1]["message"] == "the key *** is not accepted"


def test_no_pieces_of_answers_are_made_for_the_log(root):
    log.configure("debug", CLEAN, stream=io.StringIO())
    assert {kind for kind in Event.__subclasses__() if not Bus([log.EventLog()]).readers_of(kind)} == {DeltaReceived}


SAMPLES = {
    str: "some words",
    float: 1 / 3,
    int: 2,
    bool: True,
    Usage: Usage(100, 20, cached_input=5, estimated=True),
    Line: LINE,
    Cost: Cost(Decimal("0.0020"), (LINE,), "prices of a day"),
    Decimal: Decimal("0.0020"),
    Mapping: {"o": Decimal(1)},
}


def sample_of(hint, *, empty):
    """A value of a field's type; None where that is allowed and ``empty`` is asked for."""
    options = typing.get_args(hint) if type(None) in typing.get_args(hint) else (typing.get_origin(hint) or hint,)
    return None if empty and type(None) in options else SAMPLES[options[0]]


# A class with slots is made twice, and the first stays among the subclasses until it is collected.
LOGGED = [kind for kind in Event.__subclasses__() if kind is vars(events)[kind.__name__] and kind is not DeltaReceived]


@pytest.mark.parametrize("kind", LOGGED)
@pytest.mark.parametrize("empty", [False, True])
def test_text_logs_are_plain_words(root, kind, empty):
    stream = io.StringIO()
    log.configure("debug", CLEAN, stream=stream)
    hints = typing.get_type_hints(kind)
    log.EventLog()(kind(**{name: sample_of(hint, empty=empty) for name, hint in hints.items()}))
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert not re.search(r"\w\(|None|True|False|'|\{|\[", line)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (Usage(100, 20), '"input 100, output 20"'),
        (Usage(100, 20, reasoning=0, estimated=True), '"input 100, output 20, reasoning 0, estimated"'),
        (Cost(Decimal("0.00200")), "$0.00200"),
        (Cost(None), "unknown"),
        (Decimal("1E-7"), "0.0000001"),
        (1 / 3, "0.333333"),
        (True, "true"),
        (["a", "b"], '"a, b"'),
        ({"a": 1}, '"a 1"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "x"\nand', '"say \\"x\\"\\nand"'),
        ("ümläut", "ümläut"),
        (None, None),
    ],
)
def test_words_of_a_text_log(root, value, word):
    import structlog

    stream = io.StringIO()
    log.configure("info", CLEAN, stream=stream)
    structlog.get_logger("flowllm.x").info("said", told=value)
    assert stream.getvalue().partition("event=said")[2] == ("\n" if word is None else f" told={word}\n")


# progress

STORY = [
    RunStarted("", 0.0, "r", "p", "d"),
    StepStarted("docs", 0.0, "map"),
    *(StepStarted(f"docs[{n}]/ask", 0.0, "call") for n in range(3)),
    CallRetried("docs[1]/ask", 1.0, "acme/m", 1, 2.5, "overloaded", "no"),
    finished("docs[0]/ask"),
    StepFinished("docs[0]/ask", 2.0, "call", 2.0),
    CacheHit("docs[2]/ask", 2.0, "k"),
    StepFailed("docs[2]/ask", 3.0, "call", "auth", "no"),
    AttemptEnded("sure", 3.0, 1, "too long\nand more"),
    ModelChosen("docs[1]/ask", 3.0, "b/x", f"a/x: {SECRET}"),
    Warned("", 3.0, "internal", "careful"),
]


def test_a_step_that_was_ended_is_not_shown_as_running():
    from flowllm.sinks.progress import _TAKE, _Row, label_of

    row = _Row("ask")
    for event in (StepStarted("ask", 0.0, "call"), StepCancelled("ask", 2.0, "call")):
        _TAKE[type(event)](row, event)
    assert label_of(row, 9.0) == "-  ask  2.0 s"


@pytest.mark.parametrize(
    ("last", "mark"),
    [(StepFinished("sure#2/ask", 3.0, "call", 1.0), "✓"), (StepFailed("sure#2/ask", 3.0, "call", "auth", "no"), "✗")],
)
def test_what_a_later_attempt_mended_is_not_shown_as_failed(last, mark):
    from flowllm.sinks.progress import _TAKE, _Row, label_of

    row = _Row("ask")
    for event in (
        StepStarted("sure#1/ask", 0.0, "call"),
        StepFailed("sure#1/ask", 1.0, "call", "auth", "no"),
        StepStarted("sure#2/ask", 2.0, "call"),
        last,
    ):
        _TAKE[type(event)](row, event)
    assert label_of(row, 9.0).startswith(f"{mark}  ask  2/2  ")


def test_a_tree_that_is_closed_shows_nothing_more():
    reader = LiveProgress(Terminal(), CLEAN)
    for number in range(60):
        reader(StepStarted(f"n{number}", 0.0, "call"))
    assert len(reader._picture().children) == 60
    reader.close()
    assert reader._picture().children == []


def test_plain_lines():
    lines = []
    reader = PlainProgress(lines.append, CLEAN)
    for event in STORY:
        reader(event)
    assert lines == [
        "docs[1]/ask: attempt 1 failed (overloaded), the next one in 2.5 s",
        "docs[0]/ask: acme/m answered in 1.5 s, 100 + 20 tokens",
        "docs[2]/ask: from the cache",
        "docs[2]/ask: failed: auth",
        "sure: attempt 1 was not good: too long",
        "docs[1]/ask: now b/x (a/x: ***)",
        "warning: careful",
    ]


def test_a_run_that_goes_well_is_told_at_info(root):
    stream = io.StringIO()
    log.configure("info", CLEAN, as_json=True, stream=stream)
    reader = log.EventLog()
    for event in (*STORY[:3], finished(), RunFinished("", 1.0, "", 1.0, {"o": "the whole answer"})):
        reader(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["RunStarted", "CallFinished", "RunFinished"]
    assert lines[-1]["outputs"] == ["o"]


def test_what_happens_often_is_counted():
    lines = []
    reader = PlainProgress(lines.append, CLEAN)
    for n in range(10_000):
        reader(finished(f"docs[{n}]/ask"))
        reader(CacheHit(f"docs[{n}]/look#2", 2.0, "k"))
    said = [line for line in lines if "/ask" in line]
    assert len(said) == len(lines) / 2 == 13
    assert [line.partition(":")[0] for line in said[-4:]] == [f"docs[{n}]/ask" for n in (9, 99, 999, 9999)]
    assert said[8].endswith("tokens")
    assert said[9].endswith("(10 times, shown less often from here)")
    assert said[-1].endswith("(10,000 times)")


def test_functions_of_this_process_are_not_said():
    lines = []
    PlainProgress(lines.append, CLEAN)(finished(model="builtin/lexical"))
    assert lines == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_live_tree(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    reader = LiveProgress(terminal, CLEAN)
    for event in STORY:
        reader(event)
    tree = reader._picture()
    reader.write(f"a line with {SECRET}")
    reader.close()
    docs = tree.children[0]
    assert "docs" in docs.label.plain
    (ask,) = docs.children
    assert ask.label.plain.startswith("…  ask  2/3  1 failed  1 from the cache")
    assert ask.label.plain.endswith("now b/x")
    assert "a line with ***" in terminal.getvalue()
    assert SECRET not in terminal.getvalue()


@pytest.mark.parametrize(
    ("stream", "environment", "live"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"CI": "true"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_where_a_tree_is_drawn(stream, environment, live):
    assert is_live(stream, environment) == live


def test_elsewhere_lines_are_written():
    stream = io.StringIO()
    reader = progress_for(stream, CLEAN)
    reader(Warned("ask", 0.0, "c", SECRET))
    reader.close()
    assert stream.getvalue() == "ask: warning: ***\n"


def test_every_event_can_be_read_by_everybody():
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]
    samples = [event for event in [*STORY, finished()] if type(event) in kinds]
    readers = [Ledger(), EventLines(lambda line: None), PlainProgress(lambda line: None)]
    for reader in readers:
        for event in samples:
            reader(event)
