import pytest

from flowllm.core.cases import case_text
from flowllm.core.errors import NodeFailure


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"),
        ("1", "1"),
        (1, "1"),
        (True, "true"),
        (None, "null"),
        (1.0, "1.0"),
        (1e22, "1e22"),
        (1e-7, "1e-7"),
        (2**70, "1180591620717411303424"),
        pytest.param(-(10**5000), "-1" + "0" * 5000, id="5001 digits"),
        ([1, "é"], '[1,"é"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_a_value_as_the_text_of_a_case(value, text):
    assert case_text(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_what_json_cannot_hold_is_no_case(value):
    with pytest.raises(NodeFailure, match="chooses no case"):
        case_text(value)
