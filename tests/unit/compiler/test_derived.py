"""What was written and is no node, input or schema at all is told of once: nothing follows from it."""

import pytest

from tests.unit.compiler.worlds import errors

CALL = {"kind": "call", "prompt": "x", "model": "open/m"}
TEXT = {"kind": "prompt", "text": "{{ inputs.x }}"}
READERS = {
    "text": {"kind": "prompt", "text": "{{ a.text.x }}, {{ a }}"},
    "after": {"kind": "prompt", "text": "x", "after": ["a"]},
    "way": {"kind": "route", "switch": "a.x", "cases": {"x": "a.y"}, "default": "a.z"},
    "items": {"kind": "prompt", "each": "a.list", "text": "{{ item.x }}"},
    "sure": {"kind": "retry", "around": ["inner"], "of": "inner.text", "until": "{{ a.good }}"},
    "inner": {"kind": "prompt", "text": "{{ a.text }}"},
}
EVERY = {**{name: f"{name}.text" for name in ("text", "after")}, "way": "way.value", "items": "items.items"}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"nodes": {"a": None}, "outputs": {"o": "a.text"}}, "bad_value a: `a` is empty"),
        ({"nodes": {"a": "x"}, "outputs": {"o": "a.text"}}, "bad_value a: a node is a mapping with `kind`, not `x`"),
        ({"nodes": {"a": {}}, "outputs": {"o": "a.text"}}, "missing_field a: `a` does not say its `kind`"),
        ({"nodes": {"a": {"kind": None}}, "outputs": {"o": "a.x"}}, "missing_field a: `a` does not say its `kind`"),
        ({"nodes": {"a": None, **READERS}, "outputs": {**EVERY, "sure": "sure.value"}}, "bad_value a: `a` is empty"),
        (
            {
                "nodes": {"a": None, "r": {"kind": "retry", "around": ["a"], "of": "a.text"}},
                "outputs": {"o": "r.value"},
            },
            "bad_value a: `a` is empty",
        ),
        ({"nodes": ["a"], "outputs": {"o": "a.text"}}, "bad_value nodes: `nodes` is a mapping, not a list"),
        (
            {"inputs": ["x"], "nodes": {"a": TEXT}, "outputs": {"o": "a.text"}},
            "bad_value inputs: `inputs` is a mapping, not a list",
        ),
        (
            {"inputs": {"x": None}, "nodes": {"a": TEXT}, "outputs": {"o": "a.text"}},
            "bad_schema inputs.x: an input is a type or a JSON Schema, not ",
        ),
        (
            {"schemas": {"s": None}, "nodes": {"a": {**CALL, "schema": "schemas.s"}}, "outputs": {"o": "a.value.x"}},
            "bad_schema schemas.s: a schema is a JSON Schema, not ",
        ),
        (
            {"models": {"m": None}, "nodes": {"a": {**CALL, "model": "m"}}, "outputs": {"o": "a.text"}},
            "bad_value models.m: the group `m` lists its models in `among`",
        ),
    ],
)
def test_nothing_follows_from_what_is_nothing(written, told):
    (said,) = errors(written)
    assert told in said
