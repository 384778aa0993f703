import pytest

from flowllm.cli.tables import NARROW, table

ROWS = [("name", "policies", "calls"), ("ask", "timeout > cache > single-flight > retry", "12")]
RIGHT = frozenset({2})
WIDE = """\
name  policies                                 calls
ask   timeout > cache > single-flight > retry     12"""
NARROWER = """\
name  policies           calls
ask   timeout > cache >     12
      single-flight >
      retry"""


@pytest.mark.parametrize(("width", "shown"), [(None, WIDE), (80, WIDE), (30, NARROWER)])
def test_cells_go_on_below_where_the_width_is_too_little(width, shown):
    assert table(ROWS, right=RIGHT, width=width) == shown


def test_words_are_broken_in_the_last_columns_alone_and_only_where_they_must_be():
    rows = [("name", "model", "policies"), ("a-node-s-name", "openai/gpt-5-mini", "timeout > single-flight")]
    assert table(rows, width=49).splitlines()[1:] == [
        "a-node-s-name  openai/gpt-5-mini  timeout >",
        "                                  single-flight",
    ]
    shown = table(rows, width=42).splitlines()
    assert shown[1].startswith("a-node-s-name  openai/gpt-5-mini  ")
    assert max(map(len, shown)) <= 42


def test_no_column_is_made_too_narrow_to_read():
    shown = table(ROWS, right=RIGHT, width=5).splitlines()
    assert shown[0] == "name  policies  calls"
    assert max(len(line.split()[-1]) for line in shown[2:]) <= NARROW


def test_columns_of_numbers_are_not_folded():
    assert table([("a", "b"), ("1" * 30, "x")], right=frozenset({0}), width=20).splitlines()[1] == "1" * 30 + "  x"
