"""The estimate grows with the text and is additive to within two tokens; counters, messages and tools."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text import tokens
from flowllm.text.tokens import ESTIMATE, count, count_message, counter_for

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("The quick brown fox jumps over the lazy dog near the river bank today.", 15, 20),
        ('{"number": "A-17", "total": 120.50, "lines": []}', 14, 26),
        ("Съешь же ещё этих мягких французских булок", 15, 24),
        ("一个句子有十个字左右", 6, 12),
        ("🎉🎉", 4, 6),
        ("\ud800", 1, 2),
    ],
)
def test_estimate_is_near(text, low, high):
    assert low <= count(text) <= high


@given(ANY_TEXT, ANY_TEXT)
def test_estimate_is_additive_to_within_two(first, second):
    together, apart = count(first + second), count(first) + count(second)
    assert together in (apart, apart - 1, apart - 2)
    assert together >= max(count(first), count(second))


def test_every_text_costs_something():
    assert all(count(chr(i)) >= 1 for i in range(1, 0x3000))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": ""}, 4),
        ({"role": "user", "content": "abcd"}, 5),
        ({"role": "user", "content": [{"text": "abcd"}, {"image": {"url": "https://x"}}]}, 805),
        ({"role": "assistant", "content": None, "tool_calls": [{"name": "abc", "arguments": "abcd"}]}, 6),
    ],
)
def test_messages_cost_more_than_their_text(message, expected):
    assert count_message(message) == expected


class Words:
    exact = True

    def count(self, text):
        return len(text.split())


def test_a_registered_counter_counts_for_its_model_or_provider(monkeypatch):
    monkeypatch.setattr(tokens, "_counters", {})
    own, shared = Words(), Words()
    tokens.register("acme/large", own)
    tokens.register("acme/", shared)
    assert counter_for("acme/large") is own
    assert counter_for("acme/small") is shared
    assert counter_for("other/large") is ESTIMATE
    assert counter_for(None) is ESTIMATE
