import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.backends.local.generation.detokenizing import Detokenizer, TokenTexts
from tests.unit.backends.local.generation.tokenizers_made import KINDS, byte_level, sentence_piece, special, word_piece

HALF = "\N{REPLACEMENT CHARACTER}"


def detokenizer(tokenizer, left_out=None) -> Detokenizer:
    left = special(tokenizer) if left_out is None else left_out
    return Detokenizer(lambda tokens: tokenizer.decode(tokens, skip_special_tokens=False), left)


def pieces(tokenizer, tokens) -> list[str]:
    made = detokenizer(tokenizer)
    return [*(made.feed(token) for token in tokens), made.finish()]


def whole(tokenizer, tokens) -> str:
    return tokenizer.decode([token for token in tokens if token not in special(tokenizer)], skip_special_tokens=False)


def tokens_of(kind: str) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, KINDS[kind]().get_vocab_size() - 1), max_size=30)


@settings(max_examples=300, deadline=None)
@given(tokens_of("byte_level"))
def test_any_bytes_give_what_they_give_at_once(tokens):
    assert "".join(pieces(byte_level(), tokens)) == whole(byte_level(), tokens)


@pytest.mark.parametrize("kind", ["word_piece", "metaspace"])
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_words_give_what_they_give_at_once(kind, data):
    tokenizer, tokens = KINDS[kind](), data.draw(tokens_of(kind))
    assert "".join(pieces(tokenizer, tokens)) == whole(tokenizer, tokens)


@st.composite
def fallen_back(draw) -> list[int]:
    """Words and whole characters in bytes, as a model writes what its vocabulary lacks."""
    tokens: list[int] = []
    for piece in draw(st.lists(st.one_of(st.integers(256, 269), st.text(min_size=1, max_size=3)), max_size=15)):
        tokens += [piece] if isinstance(piece, int) else piece.encode()
    return tokens


@settings(max_examples=300, deadline=None)
@given(fallen_back())
def test_bytes_of_whole_characters_give_what_they_give_at_once(tokens):
    assert "".join(pieces(sentence_piece(), tokens)) == whole(sentence_piece(), tokens)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20))
def test_no_piece_holds_half_a_character(text):
    shown = pieces(byte_level(), list(text.encode()))
    assert "".join(shown) == text
    assert all(HALF not in piece for piece in shown if HALF not in text)


@pytest.mark.parametrize(
    ("kind", "tokens", "shown"),
    [
        ("sentence_piece", [259, 261, 262], ["hello", " wor", "ld", ""]),
        ("sentence_piece", [258, 259], ["", " hello", ""]),
        ("sentence_piece", [256, 259, 259], ["", "hello", " hello", ""]),  # a special token hides no blank
        ("sentence_piece", [259, 256, 259], ["hello", "", " hello", ""]),
        ("sentence_piece", [0xE6, 0x97, 0xA5, 268], ["", "", "日", "a", ""]),
        ("sentence_piece", [0xE6, 268], ["", HALF + "a", ""]),
        ("sentence_piece", [259, 0xE6, 0x97], ["hello", "", "", HALF * 2]),
        ("word_piece", [2, 3, 4, 7], ["hello", "ing", ".", " world", ""]),
        ("word_piece", [5, 6], ["do", "n't", ""]),
        ("byte_level", [0xF0, 0x9F, 0x91, 0x8B], ["", "", "", "👋", ""]),
        ("byte_level", [0xFF, 0x61], ["", HALF + "a", ""]),
        ("byte_level", [0xEF, 0xBF, 0xBD], ["", "", "", HALF]),  # the model wrote it; told at the end
        ("byte_level", [], [""]),
    ],
)
def test_pieces(kind, tokens, shown):
    assert pieces(KINDS[kind](), tokens) == shown


def test_what_never_becomes_a_character_is_not_held_for_ever():
    made = detokenizer(byte_level())
    shown = [made.feed(0xFF) for _ in range(1000)]
    assert sum(map(len, shown)) > 900
    assert len(made._window) < 200


def test_tokens_without_text_keep_the_window_small():
    made = detokenizer(sentence_piece())
    shown = "".join(made.feed(token) for token in [259, *[258] * 300, 259])
    assert shown == "hello" + " " * 301 + "hello"
    assert len(made._window) < 200


def test_a_token_without_text_hides_no_blank():
    words = ["", " a"]
    made = Detokenizer(lambda tokens: "".join(words[token] for token in tokens).removeprefix(" "))
    assert "".join(made.feed(token) for token in [1, 0, 1, 0, 0, 1]) == "a a a"


def test_a_kept_mark_is_text():
    tokenizer = byte_level()
    mark = tokenizer.token_to_id("[TOOL_CALLS]")
    kept = detokenizer(tokenizer, special(tokenizer) - {mark})
    assert kept.feed(mark) == "[TOOL_CALLS]"
    assert detokenizer(tokenizer).feed(mark) == ""


def test_tokens_are_decoded_a_few_at_a_time():
    lengths: list[int] = []
    tokenizer = word_piece()

    def decode(tokens):
        lengths.append(len(tokens))
        return tokenizer.decode(tokens)

    made = Detokenizer(decode)
    for _ in range(200):
        made.feed(2)
    assert max(lengths) <= 3


def texts_of(tokenizer):
    return TokenTexts(lambda numbers: tokenizer.decode(list(numbers), skip_special_tokens=False), tokenizer.id_to_token)


@pytest.mark.parametrize(
    ("kind", "tokens", "found"),
    [
        ("byte_level", ["he", "l", "\u0120"], ["he", "l", " "]),
        ("word_piece", ["world", "##ing", "."], [" world", "ing", "."]),
        ("metaspace", ["\u2581hello", "hello", "\u2581\u2581", "\u65e5"], [" hello", "hello", "  ", "\u65e5"]),
    ],
)
def test_the_texts_of_tokens(kind, tokens, found):
    tokenizer = KINDS[kind]()
    texts = texts_of(tokenizer)
    numbers = [tokenizer.token_to_id(token) for token in tokens]
    assert [texts[number] for number in numbers] == found
    assert [texts[number] for number in numbers] == found


@pytest.mark.parametrize("kind", ["byte_level", "sentence_piece"])
def test_a_token_that_is_part_of_a_character_is_its_bytes(kind):
    tokenizer = KINDS[kind]()
    texts = texts_of(tokenizer)
    numbers = tokenizer.encode("\N{SNOWMAN}", add_special_tokens=False).ids
    assert [texts[number] for number in numbers] == [r"\xe2", r"\x98", r"\x83"]


def test_a_part_of_a_character_that_no_vocabulary_names_in_bytes_stays_a_mark():
    assert TokenTexts(lambda _: HALF, lambda _: "\N{SNOWMAN}")[3] == HALF
