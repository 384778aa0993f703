"""Where the JSON is in what models write: a corpus of forms, and texts made to be slow."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.json_scan import json_values, read_json
from flowllm.text.strict_json import InvalidJson

A = {"a": 1}
FOUND = [
    # the whole text
    ('{"a": 1}', A),
    (' \n{"a": 1}\n ', A),
    ("[1, 2]", [1, 2]),
    ("42", 42),
    ('"text with {braces}"', "text with {braces}"),
    ("null", None),
    ("\ufeff[]", []),
    # in prose
    ('Here it is: {"a": 1}', A),
    ('{"a": 1} is the answer.', A),
    ('Sure! {"a": 1}. Anything else?', A),
    ('The set {x, y} becomes {"a": 1}', A),
    ("Use {name} and {} then [1]", {}),
    ('See [note] or [the docs](x): {"a": 1}', A),
    ('He said "{" and then {"a": 1}', A),
    ('It\'s 5" wide: {"a": 1}', A),
    ('a } b ] c {"a": 1}', A),
    ('{{"a": 1}}', A),
    ('if (x) { return "}" } else {"a": 1}', A),
    ('first {"a": 1} then {"a": 2}', A),
    ('broken {"a": 1,} and {"a": 1}', A),
    ('{"a": tru} {"a": 1}', A),
    ("[[1, 2], [3]] done", [[1, 2], [3]]),
    ('x [{"a": 1}, {"a": 2}] y', [A, {"a": 2}]),
    # in fences
    ('```json\n{"a": 1}\n```', A),
    ('```\n{"a": 1}\n```', A),
    ('```JSON\n{"a": 1}```', A),
    ('Text\n```json\n{"a": 1}\n```\nmore {x}', A),
    ('~~~\n{"a": 1}\n~~~', A),
    ('```json\n{"a": 1}', A),
    ("```json\n42\n```", 42),
    ('The word is:\n```json\n"yes"\n```', "yes"),
    ("`true` as asked: ```true```", True),
    ('```json\n{"a": "```", "b": "``` {"}\n```', {"a": "```", "b": "``` {"}),
    ('````md\n```json\n{"a": 1}\n```\n````', A),
    ('```python\nprint({1, 2})\n```\n```json\n{"a": 1}\n```', A),
    # braces and escapes in strings
    ('x {"a": "}{"}', {"a": "}{"}),
    (r'x {"a": "\"}"}', {"a": '"}'}),
    (r'x {"a": "\\"} {"b": 1}', {"a": "\\"}),
    (r'x {"a": "é {"}', {"a": "é {"}),
    ('x {"a": "\u2028", "b": "漢"}', {"a": "\u2028", "b": "漢"}),
    ('<think>{"draft": </think>{"a": 1}', A),
    # numbers at the edge
    ('x {"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
    ('x {"a": -0.5e3}', {"a": -500.0}),
]
REFUSED = [
    ("", "line 1"),
    ("no value here", "no list or object"),
    ("The answer is 42.", "no list or object"),
    ('{"a": 1', "line 1"),
    ('x {"a": 1, "a": 2}', "twice"),
    ('{"a": 1, "a": 2}', "twice"),
    ('x {"a": NaN}', "NaN"),
    ("x [1e999]", "too large"),
    ("[" * 5_000, "deep"),
    ('{"a":' * 5_000, "deep"),
    ("x " + "[" * 600 + "]" * 600, "deep"),
    ("x [" + "9" * 5_000 + "]", "digits"),
    (r'x {"a": "\ud800"}', "surrogate"),
]


@pytest.mark.parametrize(("text", "value"), FOUND)
def test_found(text, value):
    assert read_json(text) == value
    assert type(read_json(text)) is type(value)


def test_the_corpus_is_large():
    assert len(FOUND) >= 40


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[w + str(i) for i, (_, w) in enumerate(REFUSED)])
def test_refused(text, words):
    if text:
        with pytest.raises(InvalidJson, match=words):
            read_json(text)
    else:
        with pytest.raises(InvalidJson):
            read_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Use {} or [1]: {"a": 1}', A),
        ('draft {"b": 1} final {"a": 1}', A),
        ("only {} and [1]", {}),
    ],
)
def test_a_value_that_fits_goes_first(text, value):
    assert read_json(text, lambda found: isinstance(found, dict) and "a" in found) == value


def test_outermost_values_in_order():
    assert list(json_values('[1, {"a": 2}] then {"b": [3]} then [4')) == [[1, A | {"a": 2}], {"b": [3]}]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
prose = st.text(st.characters(codec="utf-8", exclude_characters="[{"), max_size=40)


@given(prose, st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=6), values, max_size=3), prose)
def test_any_value_is_found_in_prose(before, value, after):
    assert read_json(f"{before}\n{json.dumps(value)}\n{after}") == value


@given(st.text(st.sampled_from('{}[]",:\\ a1`\n'), max_size=200))
def test_anything_is_read_or_refused(text):
    with suppress(InvalidJson):
        json.dumps(read_json(text), allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 300_000,
        '{"' * 60_000,
        "[1 " * 60_000,
        '{"a' * 60_000,
        "x" + "[ " * 100_000,
        '[\\"' * 60_000,
        "```" * 60_000,
    ],
    ids=range(7),
)
def test_texts_made_to_be_slow_end(text):
    """Each of these takes minutes where the search starts again from every bracket to the end."""
    with pytest.raises(InvalidJson):
        read_json("so: " + text)
