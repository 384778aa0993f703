import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.strict_json import DEPTH, InvalidJson, loads


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9223372036854775808", 2**63),
        ("-0.0", -0.0),
        ("[1, 1.0, true]", [1, 1.0, True]),
        ('"\\ud83d\\ude00"', "😀"),
        (b"\xef\xbb\xbf{}", {}),
        ("\ufeff{}", {}),
        ('"a\\u0000b"', "a\0b"),
        ("1" * 4300, int("1" * 4300)),
        ("[" * DEPTH + "]" * DEPTH, None),
        ('["' + "[" * 2000 + '"]', ["[" * 2000]),
    ],
)
def test_accepts(text, value):
    result = loads(text)
    if value is not None:
        assert result == value
        assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', 'the key "a" is given twice'),
        ('[{"b": {"a": 1, "a": 1}}]', "given twice"),
        ("NaN", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not"),
        ("1e400", "too large"),
        ("-1e400", "too large"),
        ("1" * 4301, "more than 4300 digits"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ('["\ud800"]', "surrogate"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "nest deeper"),
        ("[" * 100_000, "nest deeper"),
        ('{"a":' * 100_000, "nest deeper"),
        ("", "line 1, column 1"),
        ("{a: 1}", "line 1, column 2"),
        ('{"a": 1,}', "line 1"),
        ("[1]\n x", "line 2, column 2"),
        (b'"\xff"', "byte 0xff at offset 1"),
        (b'\xff\xfe"\x00', "UTF-16"),
        ('"a\nb"', "line 1"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InvalidJson, match=message.replace("(", r"\(")) as caught:
        loads(text)
    assert len(str(caught.value)) < 200


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_VALUES)
def test_reads_back_what_json_writes(value):
    assert loads(json.dumps(value)) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value
