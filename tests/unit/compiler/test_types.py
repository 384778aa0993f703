"""What is known of values: the fragment of JSON Schema that the compiler understands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flowllm.compiler.types import ANY, DEEPEST, NEVER, along, enumerated, fits, listed, named, of_value, union

TEXT, WHOLE, NUMBER, FLAG, NULL = ({"type": t} for t in ("string", "integer", "number", "boolean", "null"))
REPLY = {
    "type": "object",
    "required": ["answer"],
    "properties": {"answer": TEXT, "sources": {"type": "array", "items": {"$ref": "#/$defs/source"}}},
    "$defs": {"source": {"type": "object", "properties": {"id": WHOLE}, "additionalProperties": False}},
}
CLOSED = {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("given_", "wanted", "answer"),
    [
        (TEXT, TEXT, True),
        (TEXT, WHOLE, False),
        (WHOLE, NUMBER, True),
        (NUMBER, WHOLE, False),
        (ANY, TEXT, None),
        (TEXT, ANY, True),
        ({"type": ["string", "null"]}, TEXT, False),
        (TEXT, {"type": ["string", "null"]}, True),
        ({"anyOf": [TEXT, ANY]}, TEXT, None),
        ({"anyOf": [TEXT, WHOLE]}, {"anyOf": [NUMBER, TEXT]}, True),
        (TEXT, {"type": "string", "minLength": 3}, None),
        (TEXT, {"type": "string", "enum": ["a"]}, None),
        ({"enum": ["a", "b"]}, {"type": "string"}, True),
        ({"enum": ["a", 1]}, {"type": "string"}, False),
        ({"const": "a"}, {"enum": ["a", "b"]}, True),
        ({"const": "c"}, {"enum": ["a", "b"]}, False),
        ({"const": True}, {"enum": [1]}, False),
        (FLAG, {"enum": [True]}, False),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": TEXT}, True),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": WHOLE}, False),
        ({"type": "array"}, {"type": "array", "items": WHOLE}, None),
        (CLOSED, {"type": "object", "required": ["a"]}, True),
        (CLOSED, {"type": "object", "required": ["b"]}, False),
        ({"type": "object"}, {"type": "object", "required": ["b"]}, None),
        (CLOSED, {"type": "object", "properties": {"a": WHOLE}}, False),
        (CLOSED, {"type": "object", "properties": {}, "additionalProperties": False}, False),
        ({"type": "object"}, CLOSED, None),
        (TEXT, {"properties": {"a": TEXT}}, True),
        (TEXT, {"required": ["a"]}, True),
        (TEXT, {"properties": {"a": TEXT}, "additionalProperties": False}, True),
        (TEXT, {"items": WHOLE}, True),
        (CLOSED, {"properties": {"a": WHOLE}}, False),
        (REPLY, {"type": "object", "properties": {"sources": {"type": "array", "items": TEXT}}}, False),
        (REPLY, {"type": "object", "properties": {"sources": {"type": "array", "items": {"type": "object"}}}}, True),
        ({"$ref": "#/$defs/t", "$defs": {"t": TEXT}}, WHOLE, False),
        ({"$ref": "https://elsewhere/x"}, WHOLE, None),
    ],
)
def test_fits(given_, wanted, answer):
    assert fits(given_, wanted) is answer


@pytest.mark.parametrize(
    ("schema", "steps", "wanted"),
    [
        (REPLY, ("answer",), TEXT),
        (REPLY, ("sources", 0, "id"), WHOLE),
        (REPLY, ("sources", None, "id"), {"type": "array", "items": WHOLE}),
        (REPLY, ("sources", 0, "name"), NEVER),
        (REPLY, ("other",), ANY),
        (TEXT, ("x",), NEVER),
        (TEXT, (0,), NEVER),
        (ANY, ("x", 0), ANY),
        ({"type": ["object", "null"], "properties": {"a": TEXT}}, ("a",), TEXT),
        ({"type": "object", "additionalProperties": WHOLE}, ("x",), WHOLE),
        ({"anyOf": [CLOSED, TEXT]}, ("a",), TEXT),
        (
            {"type": "array", "items": {"type": "array", "items": TEXT}},
            (None, None),
            {"type": "array", "items": {"type": "array", "items": TEXT}},
        ),
    ],
)
def test_along(schema, steps, wanted):
    found, _ = along(schema, steps)
    found = found if found is NEVER else listed(found, steps)
    assert without_definitions(found) == without_definitions(wanted)


def without_definitions(schema):
    """`$defs` travel with what may refer to them."""
    if isinstance(schema, dict):
        return {key: without_definitions(value) for key, value in schema.items() if key != "$defs"}
    return schema


def test_a_schema_that_contains_itself_ends():
    tree = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}}}
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert fits(tree, tree) in (True, None)
    assert fits(loop, TEXT) is None


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "object", "properties": {"a": TEXT}, "allOf": [{}]}, TEXT),
        ({"type": "object", "properties": {"b": TEXT}, "allOf": [{}]}, ANY),
        ({"type": "array", "properties": {"a": TEXT}}, NEVER),
        ({"type": "string", "properties": {"a": TEXT}}, NEVER),
        ({"properties": {"a": TEXT}}, TEXT),
        ({"type": ["object", "null"], "properties": {"a": TEXT}}, TEXT),
        ({"type": ["object", "string"], "properties": {"a": TEXT}}, TEXT),
        ({"type": "null"}, NEVER),
        ({"properties": {"a": TEXT}, "anyOf": [{"type": "array"}]}, NEVER),
    ],
)
def test_a_property_is_one_where_the_type_has_any(schema, found):
    assert along(schema, ["a"]) == (found, 0 if found is NEVER else 1)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}])
def test_what_lies_too_deep_is_any_value(wrap):
    value = 1
    for _ in range(DEEPEST + 2):
        value = wrap(value)
    step = None if isinstance(value, list) else "k"
    assert along(of_value(value), [step] * (DEEPEST - 1))[0] not in (ANY, NEVER)
    assert along(of_value(value), [step] * DEEPEST) == (ANY, DEEPEST)


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"enum": ["a", 2]}, ("a", 2)),
        (FLAG, (True, False)),
        ({"type": ["boolean", "null"]}, (True, False, None)),
        ({"const": 1}, (1,)),
        (TEXT, None),
        (ANY, None),
    ],
)
def test_enumerated(schema, values):
    assert enumerated(schema) == values


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (TEXT, "a string"),
        (WHOLE, "an integer"),
        ({"type": ["string", "null"]}, "a string or null"),
        ({"type": "array", "items": TEXT}, "a list of a string"),
        ({"enum": ["a", "b"]}, "one of a, b"),
        (ANY, "any value"),
    ],
)
def test_named(schema, words):
    assert named(schema) == words


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(
    [TEXT, WHOLE, NUMBER, FLAG, NULL, ANY, CLOSED, REPLY, {"enum": ["a", 1, None]}, {"type": ["string", "null"]}]
)
SCHEMAS = st.recursive(
    TYPES,
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner)
        | st.builds(lambda a: {"type": "object", "properties": {"a": a}, "required": ["a"]}, inner)
    ),
    max_leaves=5,
)


@given(VALUES, SCHEMAS)
def test_what_fits_is_valid(value, schema):
    plain = _without_references(schema)
    answer, valid = fits(of_value(value), plain), Draft202012Validator(plain).is_valid(value)
    assert answer is None or answer is valid or (answer is False and _has_empty_list(value))


@given(SCHEMAS, SCHEMAS, VALUES)
def test_a_subset_holds_for_every_value(small, large, value):
    small, large = _without_references(small), _without_references(large)
    if fits(small, large) is True and Draft202012Validator(small).is_valid(value):
        assert Draft202012Validator(large).is_valid(value)


@given(st.lists(SCHEMAS, max_size=3))
def test_every_member_fits_its_union(schemas):
    assert all(fits(schema, union(schemas)) is not False for schema in schemas)


def _without_references(schema):
    """`$ref` is looked up at the top of a schema, which nesting moves."""
    text = repr(schema)
    return {"type": "object"} if "$ref" in text else schema


def _has_empty_list(value):
    return "[]" in repr(value)
