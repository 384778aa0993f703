import pytest

from flowllm.core.delta import Restart, ToolCall, fold
from flowllm.core.request import ToolUse

PIECES = 2_000


class Piece(str):
    """A piece of arguments that notes how many characters are copied to put it behind others."""

    __slots__ = ()
    copied: list[int] = []  # noqa: RUF012

    def __radd__(self, before: str) -> str:
        self.copied.append(len(before))
        return str(before) + str(self)


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ([], ()),
        ([ToolCall(0, "i", "f", "{}", "seal")], (ToolUse("f", "{}", "i", "seal"),)),
        ([ToolCall(0, name="f"), ToolCall(0, arguments="[1"), ToolCall(0, arguments="]")], (ToolUse("f", "[1]"),)),
        ([ToolCall(1, "", "g", "1"), ToolCall(0, name="f")], (ToolUse("f", ""), ToolUse("g", "1"))),
        ([ToolCall(0, "i", "f"), ToolCall(0, "other", "other")], (ToolUse("f", "", "i"),)),
        ([ToolCall(0, name="f"), Restart(), ToolCall(0, name="g")], (ToolUse("g", ""),)),
    ],
)  # fmt: skip
def test_calls_of_tools_are_put_together(deltas, calls):
    assert fold(deltas).tool_calls == calls


def test_arguments_in_many_pieces_are_copied_once():
    Piece.copied.clear()
    (call,) = fold(ToolCall(0, arguments=Piece("ab")) for _ in range(PIECES)).tool_calls
    assert call.arguments == "ab" * PIECES
    assert sum(Piece.copied) <= len(call.arguments)
