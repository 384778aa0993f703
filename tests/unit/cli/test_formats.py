import pytest

from flowllm.cli.formats import as_data, github, sarif
from flowllm.cli.tables import size, table
from flowllm.core.errors import Problem
from flowllm.core.origin import Origin

HERE = Problem("bad_value", "50 %, no\nmore", "a.b", Origin("p.yaml", 3, 5), "try: this")
THERE = Problem("unreachable", "m", origin=Origin(note="command line: x=1"), severity="warning")
NOTE = Problem("no_model", "m", severity="note")


def test_data_leaves_out_what_is_not_known():
    assert as_data(NOTE) == {"code": "no_model", "severity": "note", "message": "m"}
    assert as_data(HERE)["line"] == 3


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (HERE, "::error title=bad_value,file=p.yaml,line=3,col=5::50 %25, no%0Amore; try: this"),
        (THERE, "::warning title=unreachable::m (command line: x=1)"),
        (NOTE, "::notice title=no_model::m"),
    ],
)
def test_github(problem, line):
    assert github([problem]) == line


def test_sarif_has_a_rule_for_each_code_and_a_place_for_each_result():
    run = sarif([HERE, THERE, NOTE], "1.0")["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["bad_value", "no_model", "unreachable"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    first, second, third = run["results"]
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 5}
    assert second["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "command line: x=1"
    assert "locations" not in third


def test_table():
    assert table([("a", "n"), ("long", "1"), ("b\nc", "22")], right=frozenset({1})) == "a      n\nlong   1\nb c   22"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**20, "3.0 MiB"), (5 * 2**30, "5.0 GiB")]
)
def test_size(count, text):
    assert size(count) == text
