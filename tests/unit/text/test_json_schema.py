"""Schemas and values from anywhere: what is refused, how errors read, and that nothing is fetched or slow."""

import asyncio
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flowllm.text.json_schema import FORMATS, check_schema, validator
from flowllm.text.schema_shape import BYTES, DEPTH, EXPANSION, REFERENCES

LINE = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}}
RECORD = {"type": "object", "required": ["total"], "properties": {"lines": {"type": "array", "items": LINE}}}


def nested(depth):
    schema = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


DOUBLING = {
    "$defs": {**{f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(20)}, "d20": {}},
    "$ref": "#/$defs/d0",
}
GOOD = [
    True,
    {},
    RECORD,
    nested(DEPTH - 1),
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.org/x", "type": "null"},
    {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
    {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
    {"const": {"$ref": "http://nowhere.example/x"}, "enum": [{"pattern": "(?=x)"}]},
    {"$defs": {"a": {"$anchor": "here", "type": "string"}}, "items": {"$ref": "#here"}},
    {"pattern": r"^\d{3}-[A-Z]+$", "patternProperties": {"^x_": {}}},
]
BAD = [
    ([], "a schema is a mapping"),
    ({"type": "strin"}, "$.type: the schema breaks"),
    ({"required": "a"}, "expected array, got string"),
    ({1: {}}, "the key 1 of the schema is no string"),
    ({"minimum": math.nan}, "holds nan"),
    ({"const": {1, 2}}, "holds a set"),
    (nested(DEPTH), f"deeper than {DEPTH} levels"),
    ({"description": "x" * BYTES}, "larger than 256 KiB"),
    (
        {"anyOf": [{"$ref": "#/$defs/a"} for _ in range(REFERENCES + 1)], "$defs": {"a": {}}},
        f"more than {REFERENCES} references",
    ),
    ({"$ref": "http://127.0.0.1:9/schema"}, "leads out of the schema"),
    ({"$ref": "file:///etc/passwd"}, "leads out of the schema"),
    ({"$ref": "other.json#/a"}, "leads out of the schema"),
    ({"items": {"$ref": "#/$defs/none"}}, "leads nowhere: there is no `$defs`"),
    ({"items": {"$ref": "#none"}}, "no such $anchor"),
    ({"$ref": "#"}, "circle on the same value"),
    ({"allOf": [{"$ref": "#"}]}, "circle on the same value"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "circle"),
    (DOUBLING, f"more than {EXPANSION} checks"),
    ({"pattern": "(?=x)"}, "not one of RE2"),
    ({"properties": {"a": {"pattern": r"(a)\1"}}}, "#/properties/a: the pattern"),
    ({"patternProperties": {"(?<!x)y": {}}}, "not one of RE2"),
    ({"pattern": "a{2000}"}, "not one of RE2"),
    ({"items": {"$id": "https://example.org/y"}}, "only the whole schema may have an $id"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "only JSON Schema 2020-12"),
    ({"$dynamicRef": "#x"}, "$dynamicRef is not supported"),
    ({"unevaluatedProperties": False, "patternProperties": {"a": {}}}, "cannot stand beside"),
]
ERRORS = [
    (
        RECORD,
        {"total": 1, "lines": [{"amount": 1}, {"amount": 2}, {"amount": "x"}]},
        "$.lines[2].amount: expected number, got string",
    ),
    (RECORD, {"total": 1, "lines": [{}]}, "$.lines[0]: `amount` is missing"),
    (RECORD, [], "$: expected object, got array"),
    ({"required": ["a", "b", "c"]}, {"b": 1}, "$: `a`, `c` are missing"),
    ({"properties": {"a b": {"type": "null"}}}, {"a b": 1}, '$["a b"]: expected null, got integer'),
    ({"properties": {"x": {}}, "additionalProperties": False}, {"x": 1, "y": 2}, "$: `y` is not allowed here"),
    ({"additionalProperties": {"type": "string"}}, {"y": 2}, "$.y: expected string, got integer"),
    (
        {"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": False},
        {"x1": 1},
        "$.x1: expected string, got integer",
    ),
    ({"enum": ["a", 1]}, "b", '$: expected one of "a", 1'),
    ({"const": 3}, 4, "$: expected the value 3"),
    ({"minimum": 3}, 2, "$: expected at least 3"),
    ({"minLength": 3}, "ab", "$: expected a length of at least 3, got 2"),
    ({"maxItems": 1}, [1, 2], "$: expected a number of items of at most 1, got 2"),
    ({"pattern": "^a"}, "b", '$: expected text that matches "^a"'),
    ({"pattern": r"\S"}, " \n", "$: is blank"),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 4, "$: expected string or null, got integer"),
    (
        {"anyOf": [LINE, {"type": "null"}]},
        {"amount": "x"},
        "$: meets none of the allowed shapes; nearest: $.amount: expected number, got string",
    ),
    ({"oneOf": [{}, True]}, 4, "$: meets more than one of the allowed shapes"),
    ({"uniqueItems": True}, [1, 2, 1.0], "$: the items repeat"),
    ({"properties": {"a": False}}, {"a": 1}, "$.a: is not allowed here"),
    ({"type": "integer"}, True, "$: expected integer, got boolean"),
    ({"type": "number"}, math.nan, "$: expected a JSON number, got nan"),
    ({}, {"a": [math.inf]}, "$.a[0]: expected a JSON number, got inf"),
    ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, '$: does not meet `dependentRequired`: {"a": ["b"]}'),
]
LONG = f"a@{'.'.join(['b' * 50] * 4)}.{'c' * 48}"
FORMAT_TABLE = [
    (
        "email",
        ["a@example.org", "é.x+y@sub.example.co", LONG],
        ["a", "a@b", "a b@c.de", "a@@c.de", "@c.de", f"{LONG}c"],
    ),
    ("date", ["2024-02-29"], ["2023-02-29", "2024-2-9", "20240229", "2024-02-29T00:00:00Z"]),
    (
        "date-time",
        ["2024-02-29T12:00:00Z", "2024-02-29 12:00:00.123456789+02:00"],
        ["2024-02-29T12:00:00", "2024-02-30T12:00:00Z"],
    ),
    ("time", ["12:30:00Z"], ["12:30", "25:00:00Z"]),
    ("uri", ["https://example.org/a?b#c", "urn:isbn:1"], ["example.org", "/a", "http://a b"]),
    ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000", "x"]),
    ("ipv4", ["127.0.0.1"], ["127.0.0.256", "127.1"]),
    ("ipv6", ["::1"], ["127.0.0.1", "fe80::1%eth0"]),
]


@pytest.mark.parametrize("schema", GOOD)
def test_good_schemas(schema):
    assert check_schema(schema) == []
    validator(schema)({})


@pytest.mark.parametrize(("schema", "words"), BAD, ids=[w for _, w in BAD])
def test_bad_schemas(schema, words):
    problems = check_schema(schema)
    assert any(words in problem for problem in problems), problems
    assert all(len(problem) <= 500 for problem in problems)
    if not isinstance(schema, list):
        with pytest.raises(ValueError, match="the schema cannot be used"):
            validator(schema)


@pytest.mark.parametrize(("schema", "value", "error"), ERRORS, ids=[e for *_, e in ERRORS])
def test_errors(schema, value, error):
    assert validator(schema)(value) == [error]


@pytest.mark.parametrize(("name", "good", "bad"), FORMAT_TABLE)
def test_formats_are_asserted(name, good, bad):
    check = validator({"format": name})
    assert [check(text) for text in [*good, 7]] == [[]] * (len(good) + 1)
    assert [check(text) for text in bad] == [[f"$: expected text of the format {name}"]] * len(bad)


def test_every_format_stands_in_the_table():
    assert {name for name, *_ in FORMAT_TABLE} == set(FORMATS)
    assert validator({"format": "hostname-or-so"})("x") == []


async def test_no_reference_is_fetched():
    hits = []

    async def count(reader, writer):
        hits.append(1)
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/schema.json"
    for schema in (
        {"$ref": address},
        {"$id": address, "$ref": "#/a", "a": {}},
        {"$schema": address},
        {"items": {"$ref": address}},
    ):
        problems = await asyncio.to_thread(check_schema, schema)
        if not problems:
            await asyncio.to_thread(validator(schema), [1])
    server.close()
    await server.wait_closed()
    assert hits == []


def chain(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


HEAVY = [
    ({"pattern": "^(a+)+$"}, "a" * 100_000 + "b", "matches"),
    ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 50_000 + "b": 1}, "not allowed"),
    ({"uniqueItems": True}, [[i] for i in range(20_000)] + [[0]], "repeat"),
    ({"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}, chain(60), "multiply"),
    ({"type": "string"}, ["x" * 1_000_000], "got array"),
]


@pytest.mark.parametrize(("schema", "value", "words"), HEAVY, ids=[w for *_, w in HEAVY])
def test_heavy_values_get_an_error_soon(schema, value, words):
    """Cubes of the allowance: the same by backtracking, comparing pairs or doubling takes minutes."""
    before = time.process_time()
    (error,) = validator(schema)(value)
    assert words in error
    assert len(error) <= 500
    assert time.process_time() - before < 10


def test_many_errors_are_cut():
    errors = validator({"items": {"type": "string"}})(list(range(1_000)))
    assert len(errors) == 21
    assert errors[-1] == "$: and more"


def test_a_value_is_never_shown():
    secret = "s3cr3t-value"
    schema = {
        "properties": {"a": {"type": "number"}, "b": {"enum": [1]}, "c": {"pattern": "^z"}, "d": {"maxLength": 1}}
    }
    assert secret not in "".join(validator(schema)(dict.fromkeys("abcd", secret)))


def test_a_legitimate_wide_schema_is_no_attack():
    schema = {"$defs": {str(i): {"const": i} for i in range(120)}}
    schema["items"] = {"anyOf": [{"$ref": f"#/$defs/{i}"} for i in range(120)]}
    assert validator(schema)([119] * 60) == []


def test_a_schema_is_compiled_once():
    assert validator(dict(RECORD)) is validator(dict(RECORD))
    big = {"maximum": 10**30}
    assert validator(big)(10**31) == [f"$: expected at most {10**30}"]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, 2.0])
    | st.sampled_from(["", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
leaves = st.sampled_from(
    [
        {"type": "integer"}, {"type": ["string", "null"]}, {"minimum": 1}, {"pattern": "^a"}, {"uniqueItems": True}, {},
        {"maxItems": 2}, {"enum": [1, "a", None]}, {"required": ["a"]}, {"additionalProperties": False}, False,
    ]
)  # fmt: skip
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda one: {"items": one}, inner),
        st.builds(
            lambda one: {"properties": {"a": one}, "patternProperties": {"^b": one}, "additionalProperties": one}, inner
        ),
        st.builds(lambda several: {"anyOf": several}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"$defs": {"x": one}, "allOf": [one]}, inner),
    ),
    max_leaves=6,
)


@given(schemas, values)
def test_agrees_with_the_reference_implementation(schema, value):
    assert bool(validator(schema)(value)) == (not Draft202012Validator(schema).is_valid(value))
