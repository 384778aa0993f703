"""Every benchmark still runs, at a tiny size, and gives rows that make sense. No time is asserted."""

import math

import pytest

from tests.bench.__main__ import BEGIN, END, MODULES, write
from tests.bench.encoding import ENCODED
from tests.bench.formats import FORMATS, SERVED
from tests.bench.row import FULL, SMOKE, Row, Target, figure, in_turns, lines
from tests.bench.streams import rows_of, serving

EXPECTED = {
    "decode": len(FORMATS),
    "encode": len(ENCODED),
    "P3": 6,
    "P4": 16,
    "P5": 4,
    "P7": 3,
    "P9": 3,
    "P10": 1,
    "lookup": 2,
}


@pytest.mark.parametrize("name", MODULES)
def test_smoke(name):
    rows = MODULES[name].measure(SMOKE)
    assert len(rows) == EXPECTED[name]
    for row in rows:
        assert row.ours > 0
        assert row.target is not None
        assert row.floor is None or (row.floor > 0 and math.isclose(row.ratio, row.ours / row.floor))
    assert len({row.name for row in rows}) == len(rows)


async def test_every_wire_of_events_is_read_to_its_end():
    with serving() as port:
        found = [row for wire in SERVED for row in await rows_of(port, "burst", wire, SMOKE)]
    assert [row.name for row in found] == [f"P3 {wire}, burst, {way}" for wire in SERVED for way in ("backend", "flow")]


@pytest.mark.bench
def test_full(capsys):
    rows = [row for module in MODULES.values() for row in module.measure(FULL)]
    with capsys.disabled():
        print("\n" + "\n".join(lines(rows)))  # noqa: T201  the test's work


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target(2), True),
        (Target(1.9), False),
        (Target(4, "ours"), True),
        (Target(3, "ours"), False),
        (Target(2, "added"), True),
        (Target(1, "added"), False),
        (None, None),
    ],
)
def test_what_a_target_is_of(target, met):
    assert Row("r", ours=4, floor=2, ratio=2, target=target, unit="us").met is met


def test_turns_alternate_and_the_first_is_not_counted():
    log = []

    def way(name):
        return lambda: log.append(name) or len(log)

    assert in_turns(2, way("a"), way("b")) == [[3, 6], [4, 5]]
    assert "".join(log) == "baabba"
    assert in_turns(1, way("c"), way("d")) == [[7], [8]]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.12345, "0.123"), (12.3456, "12.3"), (999.4, "999"), (12345.6, "12346")]
)
def test_figures(value, text):
    assert figure(value) == text


def test_the_table_goes_between_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nEnd.\n")
    write(page, "\n".join(lines([Row("a", 3, 2, 1.5, Target(2), "us", "bare")])))
    assert page.read_text() == (
        f"# Title\n\n{BEGIN}\n| what | ours | floor | ratio | target | met | unit | floor is |\n"
        f"|---|---:|---:|---:|---:|---|---|---|\n| a | 3 | 2 | 1.50x | <= 2x | yes | us | bare |\n{END}\n\nEnd.\n"
    )


def test_a_page_without_marks_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n")
    with pytest.raises(SystemExit, match="has no lines"):
        write(page, "table")
    assert page.read_text() == "# Title\n"
