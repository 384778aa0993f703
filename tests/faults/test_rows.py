"""The table of the fault matrix says what is so."""

import ast
from pathlib import Path

import pytest

from tests.faults.rows import ROWS

TESTS = Path(__file__).parents[1]
COUNTS = {"N": 13, "P": 15, "V": 12, "R": 12, "D": 7, "C": 12, "G": 6}


def named(path: Path) -> set[str]:
    """The tests of a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_is_listed_once_and_in_order():
    assert list(ROWS) == [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_passed_by_tests_or_open_with_a_reason(row):
    _, tests, why = ROWS[row]
    assert bool(tests) != bool(why)
    for test in tests:
        file, _, name = test.partition("::")
        assert name in named(TESTS / file)
    assert not tests or any(f"::test_{row}_" in test for test in tests)


def test_every_test_of_a_passed_row_is_listed():
    listed = {test for row in ROWS.values() for test in row.tests}
    for path in sorted((TESTS / "faults").glob("test_*.py")):
        for name in named(path):
            row = name.removeprefix("test_").partition("_")[0]
            if row in ROWS and ROWS[row].tests:
                assert f"faults/{path.name}::{name}" in listed


def test_what_other_features_bring_is_open():
    still_open = {row for row, (_, _, why) in ROWS.items() if why}
    assert {"C11"} == {row for row in still_open if row[0] == "C"}
    assert {row for row in ROWS if row[0] in "RG"} - {"R8"} <= still_open
    assert {"V6", "V7", "V11"} <= still_open
    assert not {"D3", "D5", "R8"} & still_open


def test_the_count_of_passed_rows_only_grows():
    assert sum(1 for row in ROWS.values() if row.tests) >= 47
