"""From a line and column inside a text to the place in its file, and where a word stands in a line."""

import pytest

from flowllm.core.origin import Layout, Origin
from flowllm.text.places import STRIDE, column_of, place_in, place_of, unspotted

LINES = Origin("f", 10, 5)
BLOCK = Origin("f", 10, 5, layout=Layout(4))
# One line of a file is folded at its character 6, and has an escape before its character 9.
FOLDED = Origin("f", 10, 5, layout=Layout(0, ((0, 6, 1, 3), (0, 9, 1, 8), (2, 1, 4, 7))))


@pytest.mark.parametrize(
    ("origin", "line", "column", "place"),
    [
        (LINES, 1, 0, (10, 5)),
        (LINES, 1, 3, (10, 8)),
        (LINES, 0, 3, (10, 8)),
        (LINES, 2, 0, (11, 1)),
        (LINES, 3, 4, (12, 5)),
        (BLOCK, 1, 3, (10, 8)),
        (BLOCK, 2, 3, (11, 8)),
        (FOLDED, 1, 5, (10, 10)),
        (FOLDED, 1, 6, (11, 3)),
        (FOLDED, 1, 8, (11, 5)),
        (FOLDED, 1, 9, (11, 8)),
        (FOLDED, 2, 0, (12, 1)),
        (FOLDED, 2, 5, (12, 6)),
        (FOLDED, 3, 0, (13, 1)),
        (FOLDED, 3, 1, (14, 7)),
        (FOLDED, 4, 2, (15, 3)),
        (Origin("f"), 3, 4, (0, 0)),
    ],
)
def test_places(origin, line, column, place):
    found = place_of(origin, line, column)
    assert (found.line, found.column) == place


TEXT = "abcdefghijkl\nmnopq\nrstuv\nwxyz"


@pytest.mark.parametrize("origin", [LINES, BLOCK, FOLDED, Origin(note="command line: a=b")])
@pytest.mark.parametrize("first", [0, 3, 6, 8, 10, 12, 13, 15, 19, 20, 22])
def test_a_text_that_begins_inside_another_stands_where_it_stood(origin, first):
    inner = place_in(origin, TEXT, first)
    for at in range(first, len(TEXT)):
        if "\n" in TEXT[first:at] and origin.layout is None:
            continue
        assert place_in(inner, TEXT[first:], at - first) == place_in(origin, TEXT, at), at


@pytest.mark.parametrize(
    ("at", "place"), [(0, (10, 5)), (5, (10, 10)), (6, (11, 3)), (13, (12, 1)), (18, (12, 6)), (20, (14, 7))]
)
def test_a_character_of_a_text(at, place):
    found = place_in(FOLDED, TEXT, at)
    assert (found.line, found.column) == place


@pytest.mark.parametrize(
    ("spot", "place"),
    [(0, (1, 0)), (7, (1, 0)), (STRIDE, (1, 0)), (3 * STRIDE + 9, (3, 9)), (2 * STRIDE - 1, (1, STRIDE - 1))],
)
def test_spots(spot, place):
    assert unspotted(spot) == place


@pytest.mark.parametrize(
    ("source", "line", "words", "near", "column"),
    [
        ("name {{ name }}", 1, ["name"], 0, 8),
        ("name {% if name %}", 1, ["name"], 0, 11),
        ("{{ a }} {{ a }}", 1, ["a"], 0, 3),
        ("{{ a }} {{ a }}", 1, ["a"], 12, 11),
        ("{{ x.a + a }}", 1, ["a"], 0, 9),
        ("{{ ab + a }}", 1, ["a"], 0, 8),
        ("{{ a_b + ba }}", 1, ["a"], 1, 1),
        ("{{ b }}", 1, ["a", "b"], 0, 3),
        ("{{ b + a }}", 1, ["a", "b"], 0, 7),
        ("{{ b }}", 1, ["", "b"], 0, 3),
        ("x\n{{ a\n + b }} b", 3, ["b"], 0, 3),
        ("x\r\n{{ a\r\n + b }} b", 3, ["b"], 9, 3),
        ("{{ a | upper }}", 1, ["| upper"], 0, 5),
        ("{{ a }}", 2, ["a"], 4, 0),
        ("{{ a }}", 0, ["a"], 4, 0),
        ("{{ a }} b", 1, ["b"], 4, 4),
    ],
)
def test_the_column_of_a_word(source, line, words, near, column):
    assert column_of(source, line, words, expression=False, near=near) == column


def test_an_expression_is_code_from_end_to_end():
    assert column_of("a + name", 1, ["name"], expression=True) == 4
    assert column_of("a + name", 1, ["name"], expression=False) == 0
