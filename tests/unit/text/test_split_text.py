"""Parts and gaps are the text, and parts fit."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.markdown import is_underline
from flowllm.text.split import sentences_of_prose, split


class Characters:
    exact = True

    def __init__(self):
        self.read = 0

    def count(self, text):
        self.read += len(text)
        return len(text)


def woven(found):
    return "".join(part + gap for part, gap in zip(found.parts, found.gaps, strict=True))


texts = st.text(st.sampled_from("ab .!\n\t-é漢。"), max_size=150) | st.text(max_size=40)
kinds = st.sampled_from(["sentences", "paragraphs", "tokens"])


@given(texts, kinds, st.none() | st.integers(1, 40))
def test_parts_and_gaps_are_the_text(text, by, limit):
    limit = limit or (9 if by == "tokens" else None)
    found = split(text, by, limit, counter=Characters())
    assert woven(found) == text
    assert all(found.parts)
    leading = len(text) - len(text.lstrip())
    if limit and leading == 0:
        assert all(len(part) <= limit for part in found.parts)


@given(texts, kinds, st.integers(4, 40), st.integers(1, 10))
def test_with_overlap_parts_follow_one_another_and_miss_nothing(text, by, limit, overlap):
    overlap = min(overlap, limit // 2)
    found = split(text, by, limit, overlap, counter=Characters())
    ends = {0}  # where the parts so far may end: a text that repeats itself has them at several places
    for part in found.parts:
        starts = [start for start in range(len(text)) if text.startswith(part, start)]
        ends = {
            start + len(part)
            for start, end in itertools.product(starts, ends)
            if start + len(part) > end and (start <= end or is_nothing(text[end:start]))
        }
    assert any(is_nothing(text[end:]) for end in ends)


def is_nothing(text):
    """Blank, but for the line that makes a heading of the one above."""
    return all(not line.strip() or is_underline(line) for line in text.splitlines())


@pytest.mark.parametrize(
    ("by", "limit", "overlap", "text", "parts", "gaps"),
    [
        ("paragraphs", None, 0, "One.\nTwo.\n\n \nThree.\n", ["One.\nTwo.", "Three."], ["\n\n \n", "\n"]),
        ("paragraphs", None, 0, "\n\nA\n\n  B", ["\n\nA", "  B"], ["\n\n", ""]),
        ("paragraphs", 12, 0, "One.\n\nTwo.\n\nThree.", ["One.\n\nTwo.", "Three."], ["\n\n", ""]),
        ("paragraphs", 10, 0, "Aa bb. Cc dd. Ee.", ["Aa bb.", "Cc dd. Ee."], [" ", ""]),
        ("sentences", None, 0, "Hi there. Go on!", ["Hi there.", "Go on!"], [" ", ""]),
        ("tokens", 7, 0, "one two three", ["one two", "three"], [" ", ""]),
        ("tokens", 3, 0, "abcdefgh", ["abc", "def", "gh"], ["", "", ""]),
        ("tokens", 11, 4, "one two three four", ["one two", "two three", "four"], [" ", " ", ""]),
        ("tokens", 9, 0, "", [], []),
        ("paragraphs", None, 0, " \n ", [" \n "], [""]),
    ],
)
def test_split(by, limit, overlap, text, parts, gaps):
    found = split(text, by, limit, overlap, counter=Characters())
    assert found.parts == parts
    if not overlap:
        assert found.gaps == gaps


@pytest.mark.parametrize(
    ("text", "parts", "gaps"),
    [
        ("# T\n\nOne. Two.\n", ["One.", "Two."], [" ", "\n"]),
        ("One.\n```\nCode.\n```", ["One."], ["\n```\nCode.\n```"]),
        ("```\nCode. More.\n```", ["```\nCode. More.\n```"], [""]),
        ("", [], []),
    ],
)
def test_sentences_of_prose_or_all_where_there_are_none(text, parts, gaps):
    found = sentences_of_prose(text)
    assert (found.parts, found.gaps) == (parts, gaps)


@pytest.mark.parametrize("by", ["sentences", "paragraphs", "tokens"])
@pytest.mark.parametrize("overlap", [0, 100])
def test_counting_is_linear(by, overlap):
    read = []
    for size in (1_000, 4_000):
        counter = Characters()
        split("Some words of a sentence here. " * size, by, 400, overlap, counter=counter)
        read.append(counter.read)
    assert read[1] < 5 * read[0]


def test_splitting_by_tokens_needs_a_size():
    with pytest.raises(ValueError, match="max_tokens"):
        split("a b", "tokens")


@pytest.mark.parametrize("by", ["sentences", "paragraphs", "tokens"])
@pytest.mark.parametrize("text", [" " * 300_000, "a" * 300_000, "\n " * 150_000, "a" + " " * 300_000 + "b"])
def test_long_runs_end(by, text):
    assert woven(split(text, by, 1_000)) == text
