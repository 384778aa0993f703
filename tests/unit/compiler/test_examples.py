"""Values that hints propose, as YAML reads them back."""

import pytest
import yaml

from flowllm.compiler.examples import _flow


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("word", "word"),
        ("true", '"true"'),
        ("false", '"false"'),
        ("null", '"null"'),
        ("two words", '"two words"'),
        ("", '""'),
        ("7", '"7"'),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        ([1, "a", "a b"], '[1, a, "a b"]'),
        ({"k": None, "a b": [True]}, '{k: null, "a b": [true]}'),
    ],
)
def test_flow_style(value, text):
    assert _flow(value) == text
    assert yaml.safe_load(text) == value
