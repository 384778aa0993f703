import pytest

from flowllm.text.markdown import fenced, is_row, is_underline


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("a\n```py\nb\n```\nc", [(1, 4)]),
        ("````\n```\n````", [(0, 3)]),
        ("```\n~~~\n```\n~~~\nx\n~~~", [(0, 3), (3, 6)]),
        ("```\nnever closed", []),
        ("``````\n```\nx\n```", [(1, 4)]),
        ("``` a `code` b\n```\nx\n```", [(1, 4)]),
        ("  ```\r\nx\r\n  ```\r\n", [(0, 3)]),
        ("``\nx\n``", []),
    ],
)
def test_code_stands_between_fences(text, blocks):
    assert fenced(text.split("\n")) == blocks


@pytest.mark.parametrize(("line", "row"), [("| a | b |", True), (" |a|", True), ("a | b", False), ("|a", False)])
def test_rows_begin_with_a_bar(line, row):
    assert is_row(line) is row


@pytest.mark.parametrize(("line", "under"), [("===", True), ("--", True), ("-", False), ("=-=", False), ("***", False)])
def test_underlines(line, under):
    assert is_underline(line) is under
