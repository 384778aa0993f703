import pytest

from flowllm.core.errors import UsageError
from flowllm.runtime.inputs import complete_inputs

DECLARED = {
    "text": {"type": "string", "minLength": 1},
    "words": {"type": "integer", "minimum": 10, "default": 80},
    "any": {"default": None},
}


def test_defaults_fill_in():
    assert complete_inputs(DECLARED, {"text": "a"}) == {"text": "a", "words": 80, "any": None}


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, "missing_input", "`text` is not given"),
        ({"text": ""}, "bad_value", "`text` is not valid"),
        ({"text": "a", "words": 9}, "bad_value", "`words` is not valid"),
        ({"text": "a", "words": "80"}, "bad_value", "`words` is not valid"),
        ({"text": "a", "words": True}, "bad_value", "`words` is not valid"),
        ({"text": "a\ud800"}, "bad_value", "`text` holds half of a character"),
        ({"text": "a", "any": {"b": ["\ud800"]}}, "bad_value", r"`any.b\[0\]` holds half of a character"),
        ({"text": "a", "any": float("nan")}, "bad_value", "`any` is no number"),
        ({"text": "a", "word": 80}, "unknown_input", "no input `word`"),
    ],
)
def test_what_does_not_fit_is_said(given, code, words):
    with pytest.raises(UsageError, match=words) as raised:
        complete_inputs(DECLARED, given)
    assert raised.value.code == code


def test_an_unknown_input_has_a_hint():
    with pytest.raises(UsageError) as raised:
        complete_inputs(DECLARED, {"tekst": "a"})
    assert raised.value.hint == "did you mean `text`?"
