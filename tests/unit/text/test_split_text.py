"""Parts and gaps are the text, and parts fit."""

import itertools
import re
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.split import sentences_of_prose, split
from flowllm.text.tokens import ESTIMATE


class Characters:
    exact = True

    def __init__(self):
        self.read = 0

    def count(self, text):
        self.read += len(text)
        return len(text)


class Parts:
    """Characters in parts of a token, summed and rounded up: a whole is up to two less than its halves."""

    exact = False

    def __init__(self, of_a_token=0.3, pair_saves=0.2):
        self._of_a_token = of_a_token
        self._pair_saves = pair_saves

    def count(self, text):
        return ceil(round(len(text) * self._of_a_token - text.count("  ") * self._pair_saves, 6))


class Merging:
    """As tokenizers may: a beginning has more tokens than the whole, and a whole more than its halves."""

    exact = True

    def count(self, text):
        return max(bool(text), len(text) - text.count("ab") - 3 * text.count("b .") + 2 * text.count(". "))


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


@given(texts, kinds, st.integers(2, 30), st.integers(0, 10), st.sampled_from([Parts(), Merging(), ESTIMATE]))
def test_parts_fit_whatever_their_counts_sum_to(text, by, limit, overlap, counter):
    text = text.lstrip()
    found = split(text, by, limit, min(overlap, limit // 2), counter=counter)
    assert overlap or woven(found) == text
    assert all(counter.count(part) <= limit or len(part) == 1 for part in found.parts)


@pytest.mark.parametrize(
    ("by", "limit", "overlap", "text", "dear", "free", "parts"),
    [
        ("sentences", 7, 0, "Éé. Éé.", ". ", "", ["Éé.", "Éé."]),
        ("tokens", 3, 0, "éééé xxxx", "", "éé ", ["ééé", "é", "xxx", "x"]),
        ("paragraphs", 13, 6, "a\n\na\n\né\n\naaa", "\n\né", "", ["a\n\na\n\né", "aaa"]),
    ],
    ids=["a whole of more than its halves", "a beginning of more than the whole", "nothing new beside the overlap"],
)
def test_with_a_counter_whose_sums_mislead(by, limit, overlap, text, dear, free, parts):
    class Misleading:
        exact = True

        def count(self, text):
            more = 6 * text.count(dear) if dear else 0
            return len(text) + more - (len(free) * text.count(free) if free else 0)

    assert split(text, by, limit, overlap, counter=Misleading()).parts == parts


@given(st.lists(st.sampled_from(["a", "bb b", "ccc cc c"]), min_size=1, max_size=30), st.integers(5, 12))
def test_whole_units_are_packed_while_they_fit(units, limit):
    counter = Parts()
    found = split("\n\n".join(units), "paragraphs", limit, counter=counter)
    assert "\n\n".join(found.parts).split("\n\n") == units
    for part, then in itertools.pairwise(found.parts):
        assert counter.count(part + "\n\n" + then.split("\n\n")[0]) > limit


COUNTERS = st.sampled_from([Characters(), Parts(), Parts(0.55), Merging(), ESTIMATE])


@given(texts, kinds, st.integers(4, 40), st.integers(1, 10), COUNTERS)
def test_with_overlap_parts_follow_one_another_and_miss_nothing(text, by, limit, overlap, counter):
    overlap = min(overlap, limit // 2)
    found = split(text, by, limit, overlap, counter=counter)
    ends = {0}  # where the parts so far may end: a text that repeats itself has them at several places
    for part in found.parts:
        starts = [start for start in range(len(text)) if text.startswith(part, start)]
        ends = {
            start + len(part)
            for start, end in itertools.product(starts, ends)
            if start + len(part) > end and (start <= end or is_nothing(text[end:start]))
        }
    assert any(is_nothing(text[end:]) for end in ends)


NOTHING = re.compile(r"(?:[-=*_#>~+|•‣◦▪·–—:\s]|\(?[A-Za-z\d]{1,3}[.)](?=[ \t]))*")  # noqa: RUF001  marks of lists
"""Blanks, rules, and the marks of items, headings and quotations."""


def is_nothing(text):
    return NOTHING.fullmatch(text) is not None


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
        ("sentences", 5, 0, "--\nAa b", ["--", "Aa b"], ["\n", ""]),
        ("sentences", 2, 0, "-----", ["--", "--", "-"], ["", "", ""]),
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
