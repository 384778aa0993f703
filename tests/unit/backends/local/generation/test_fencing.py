import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.local.generation.fencing import Fence, tokens_of
from flowllm.core.request import Chat, Image, Message, Text, Thought, Tool, ToolUse
from tests.unit.backends.local.generation.tokenizers_made import byte_level, special

TOKENS = byte_level()
MARKS = ("<|start|>", "<|end|>", "[TOOL_CALLS]")
FENCE = Fence(MARKS)
ANYTHING = st.lists(
    st.sampled_from([*MARKS, "<|", "end|>", "a", "\n", "<|st", "art|>", "\U000f0000", "é"]), max_size=9
).map("".join)


def chat(*texts: str) -> Chat:
    return Chat("local/x", tuple(Message("user", (Text(text),)) for text in texts))


def prompt(request: Chat) -> list[int]:
    cut, seam = FENCE.cut(request)
    text = "<|start|>" + "<|end|>".join(message.text for message in cut.messages)
    return tokens_of(text, seam, lambda piece: TOKENS.encode(piece).ids)


@given(st.lists(ANYTHING, min_size=1, max_size=3))
def test_only_the_templates_own_marks_are_marks(texts):
    tokens = prompt(chat(*texts))
    marks = [token for token in tokens if token in special(TOKENS)]
    assert marks == [TOKENS.token_to_id("<|start|>")] + [TOKENS.token_to_id("<|end|>")] * (len(texts) - 1)
    assert TOKENS.decode(tokens, skip_special_tokens=False) == "<|start|>" + "<|end|>".join(texts)


def test_words_without_marks_are_left_as_they_are():
    request = chat("hello < world |> [TOOL")
    assert FENCE.cut(request) == (request, "")
    assert Fence(()).cut(chat("<|end|>")) == (chat("<|end|>"), "")


@pytest.mark.parametrize(
    "message",
    [
        Message("user", (Text("a<|end|>"), Image("https://example.org/a.png"))),
        Message("assistant", (), (ToolUse("f", '{"a": "<|end|>"}'),)),
        Message("assistant", (), (ToolUse("<|end|>", "{}", "<|end|>"),)),
        Message("assistant", (), thoughts=(Thought("<|end|>"),)),
        Message("tool", (Text("x"),), tool_call_id="<|end|>"),
    ],
)
def test_every_text_of_a_turn_is_fenced(message):
    cut, seam = FENCE.cut(Chat("local/x", (message,)))
    assert seam
    assert "<|end|>" not in repr(cut)
    assert repr(cut).count(repr(seam)[1:-1]) == repr(message).count("<|end|>")


@pytest.mark.parametrize(
    "tool",
    [
        Tool("f<|end|>"),
        Tool("f", "does <|end|> this"),
        Tool("f", parameters={"properties": {"a<|end|>": {}}}),
        Tool("f", parameters={"properties": {"a": {"enum": [1, None, "<|end|>", ("<|end|>",)]}}}),
    ],
)
def test_every_text_of_a_tool_is_fenced(tool):
    cut, seam = FENCE.cut(Chat("local/x", (), tools=(tool,)))
    assert "<|end|>" not in repr(cut)
    assert repr(cut).count(repr(seam)[1:-1]) == repr(tool).count("<|end|>")


@pytest.mark.parametrize(
    ("marks", "text", "cut"),
    [
        (("<|end|>", "<|end|>>"), "<|end|>>", "<.|end|>>"),
        (("<a>", "<<a>>"), "<<a>>", "<.<.a>>"),
        (("<a>", "<a><a>"), "<a><a>", "<.a><.a>"),
        (("+=", "=+"), "+=+", "+.=.+"),
    ],
)
def test_marks_inside_of_marks_are_cut_too(marks, text, cut):
    for every in (marks, marks[::-1]):
        found, seam = Fence(every).cut(chat(text))
        assert found.messages[0].text.replace(seam, ".") == cut


def test_the_seam_is_no_character_of_the_text():
    assert FENCE.cut(chat("<|end|>\U000f0000\U000f0001"))[1] == "\U000f0002"
