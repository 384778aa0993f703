import string

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers

from flowllm.backends.local.generation.fencing import Fence, tokens_of
from flowllm.backends.local.tokenizing import Tokenizer
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
    return tokens_of(text, seam, read, read)


def read(piece: str) -> list[int]:
    return TOKENS.encode(piece).ids


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


LETTERS = {letter: number for number, letter in enumerate(["<unk>", "</s>", "<s>", "\u2581", *string.printable])}


def opened(folder, *, normalizer=None, before=None, normalized=False) -> Tokenizer:
    """A tokenizer of letters with two special tokens, read from its file."""
    made = tokenizers.Tokenizer(models.BPE(LETTERS, [], unk_token="<unk>"))
    if normalizer is not None:
        made.normalizer = normalizer
    if before is not None:
        made.pre_tokenizer = before
    made.add_special_tokens([tokenizers.AddedToken(text, normalized=normalized) for text in ("<s>", "</s>")])
    made.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder)


def pieces_read(tokenizer: Tokenizer, said: str) -> str:
    """What the model reads of a turn, its blanks as they are."""
    cut, seam = Fence(["<s>", "</s>"]).cut(chat(said))
    text = f"<s>a {cut.messages[0].text} b</s>c"
    tokens = tokens_of(text, seam, tokenizer.ids, tokenizer.further_ids)
    return "".join(map(tokenizer.word, tokens)).replace("\u2581", " ").replace("\u0120", " ")


FORMS = [
    (normalizers.NFKC(), "\uff1c/s\uff1e"),
    (normalizers.NFKC(), "\uff1cs\uff1e"),
    (normalizers.Lowercase(), "</S>"),
    (normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()]), "</s\u0301>"),
    (normalizers.Sequence([normalizers.Strip(), normalizers.Replace("{", "<")]), "{/s>"),
]


@pytest.mark.parametrize(("normalizer", "form"), FORMS)
@pytest.mark.parametrize("normalized", [True, False])
def test_no_other_spelling_becomes_a_mark(tmp_path, normalizer, form, normalized):
    tokenizer = opened(tmp_path, normalizer=normalizer, normalized=normalized)
    cut, seam = Fence(["<s>", "</s>"]).cut(chat(form))
    tokens = tokens_of(f"<s>{cut.messages[0].text}</s>", seam, tokenizer.ids, tokenizer.further_ids)
    assert [token for token in tokens if token in (1, 2)] == [2, 1]
    assert len(tokens) > 2


PREFIXED = {
    "metaspace first": ({"before": pre_tokenizers.Metaspace(prepend_scheme="first", split=False)}, ""),
    "metaspace always": ({"before": pre_tokenizers.Metaspace(prepend_scheme="always", split=False)}, " "),
    "metaspace never": ({"before": pre_tokenizers.Metaspace(prepend_scheme="never", split=False)}, ""),
    "in a row": (
        {"before": pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.Metaspace(split=False)])},
        " ",
    ),
    "prepended": (
        {"normalizer": normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])},
        " ",
    ),
    "nothing else": ({"normalizer": normalizers.Prepend("\u2581")}, " "),
    "nothing": ({}, ""),
}


@pytest.mark.parametrize(("parts", "blank"), PREFIXED.values(), ids=PREFIXED)
@pytest.mark.parametrize("said", ["x</s>y", "<s></s>", "x </s> y<s>"])
def test_a_mark_that_is_cut_gets_no_blank(tmp_path, parts, blank, said):
    """Blanks stand where the tokenizer puts them around the template's own marks, and nowhere else."""
    tokenizer = opened(tmp_path, **parts)
    assert pieces_read(tokenizer, said) == f"<s>{blank}a {said} b</s>{blank}c"
    assert pieces_read(tokenizer, "xy") == f"<s>{blank}a xy b</s>{blank}c"


def test_a_mark_that_is_cut_gets_no_blank_in_bytes(tmp_path):
    made = tokenizers.Tokenizer.from_str(byte_level().to_str())  # the others share theirs
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path)
    cut, seam = FENCE.cut(chat("x<|end|>y"))
    tokens = tokens_of(f"<|start|>{cut.messages[0].text}<|end|>z", seam, tokenizer.ids, tokenizer.further_ids)
    assert tokenizer.decode(tokens, skip_special=False) == "<|start|> x<|end|>y<|end|> z"
