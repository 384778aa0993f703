"""What is known of values: JSON Schemas of ports, followed along paths and compared.

The fragment that is understood: ``type`` (one or several), ``enum``, ``const``, ``properties``,
``required``, ``additionalProperties: false``, ``items``, ``anyOf``, ``oneOf`` and ``$ref`` into the
same schema's ``$defs``. Everything else (patterns, bounds, ``not``, ``if`` ...) is not looked at:
`fits` then says None, and the value is checked when the pipeline runs. ``{}`` is any value.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flowllm.core.spec import Schema

ANY: Final[Schema] = {}
NEVER: Final[Schema] = {"not": {}}
"""The type of a part that cannot be there."""

DEEPEST = 24
_UNDERSTOOD = frozenset({
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf",
    "title", "description", "default", "examples", "$defs", "$schema", "$id", "$comment", "deprecated",
})  # fmt: skip


def named(schema: Schema) -> str:
    """The type in a user's words, for messages."""
    kinds = sorted({_word(option) for option in options(schema)})
    return " or ".join(kinds) if kinds else "any value"


def _word(schema: Schema) -> str:
    if "enum" in schema or "const" in schema:
        return "one of " + ", ".join(map(str, enumerated(schema) or ()))
    kind = schema.get("type")
    if kind == "array" and schema.get("items"):
        return f"a list of {named(schema['items'])}"
    words = {"array": "a list", "object": "an object", "null": "null", "integer": "an integer"}
    return words.get(str(kind), f"a {kind}") if kind else "any value"


def options(schema: Schema) -> tuple[Schema, ...]:
    """The alternatives of a schema, each with one type at most; references are followed."""
    found: list[Schema] = []
    pending, steps = [schema], 0
    while pending and steps < 4 * DEEPEST:
        current, steps = _resolved(pending.pop(0)), steps + 1
        several = current.get("anyOf") or current.get("oneOf")
        if several:
            pending[:0] = [_with_defs(option, current) for option in several]
        elif isinstance(current.get("type"), list):
            pending[:0] = [{**current, "type": kind} for kind in current["type"]]
        else:
            found.append(current)
    return tuple(found)


def _resolved(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    start, _, name = str(reference).rpartition("/")
    if start != "#/$defs":
        return ANY
    return _with_defs(schema.get("$defs", {}).get(name, ANY), schema)


def _with_defs(part: Any, whole: Schema) -> Schema:
    if not isinstance(part, Mapping):
        return NEVER if part is False else ANY
    return {**part, "$defs": whole["$defs"]} if "$defs" in whole and "$defs" not in part else part


def step(schema: Schema, key: str | int | None) -> Schema:
    """The type one step further in; `NEVER` where no value of this type has such a part."""
    if schema.get("type") == "object" and key in schema.get("properties", ()):
        return _property(schema, str(key))
    parts = [_step(option, key) for option in options(schema) if option.get("type") != "null"]
    possible = [part for part in parts if part is not NEVER]
    return union(possible) if possible else NEVER


def _step(schema: Schema, key: str | int | None) -> Schema:
    kind = schema.get("type")
    if "not" in schema or "allOf" in schema:
        return ANY
    if isinstance(key, str):
        return _property(schema, key) if kind in ("object", None) else NEVER
    if kind == "array":
        return ANY if "prefixItems" in schema else _with_defs(schema.get("items", ANY), schema)
    return ANY if kind is None else NEVER


def _property(schema: Schema, key: str) -> Schema:
    known = schema.get("properties", {})
    if key in known:
        return _with_defs(known[key], schema)
    if "patternProperties" in schema:
        return ANY
    return _with_defs(schema.get("additionalProperties", ANY), schema)


def along(schema: Schema, steps: Iterable[str | int | None]) -> tuple[Schema, int]:
    """The type of one value at the end of a path, and how many steps were possible."""
    count = 0
    for key in steps:
        schema = step(schema, key) if schema else ANY
        if schema is NEVER:
            return NEVER, count
        count += 1
    return schema, count


def listed(schema: Schema, steps: Iterable[str | int | None]) -> Schema:
    """The type of all values at the end of a path: a list for each ``[]`` in it."""
    for key in steps:
        if key is None:
            schema = {"type": "array", "items": schema}
    return schema


def union(schemas: Iterable[Schema]) -> Schema:
    """A value of one of these types."""
    apart: list[Schema] = []
    for schema in schemas:
        if not schema:
            return ANY
        if schema not in apart:
            apart.append(schema)
    return apart[0] if len(apart) == 1 else {"anyOf": apart} if apart else ANY


def of_value(value: Any, depth: int = 0) -> Schema:
    """The type of one known value."""
    if isinstance(value, Mapping) and depth < DEEPEST:
        return record({str(key): of_value(item, depth + 1) for key, item in value.items()})
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return {"type": "array", "items": union(of_value(item, depth + 1) for item in value)}
    kind = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}.get(type(value))
    return {"type": kind, "const": value} if kind else ANY


def record(fields: Mapping[str, Schema]) -> Schema:
    """An object with exactly these fields."""
    return {"type": "object", "properties": dict(fields), "required": sorted(fields), "additionalProperties": False}


def enumerated(schema: Schema) -> tuple[Any, ...] | None:
    """Every value that the type has, where they are few and known."""
    found: list[Any] = []
    for option in options(schema):
        if "const" in option:
            found.append(option["const"])
        elif "enum" in option:
            found.extend(option["enum"])
        elif option.get("type") == "boolean":
            found.extend((True, False))
        elif option.get("type") == "null":
            found.append(None)
        else:
            return None
    return tuple(found)


def fits(given: Schema, wanted: Schema, depth: int = 0) -> bool | None:
    """Whether every value of ``given`` is one of ``wanted``; None when only a run can tell."""
    if not wanted:
        return True
    if not given or depth > DEEPEST:
        return None
    answers = [_fits_some(option, options(wanted), depth) for option in options(given)]
    if False in answers:
        return False
    return None if None in answers else True


def _fits_some(given: Schema, wanted: tuple[Schema, ...], depth: int) -> bool | None:
    answers = [_fits_one(given, option, depth) for option in wanted]
    if True in answers:
        return True
    return None if None in answers else False


def _fits_one(given: Schema, wanted: Schema, depth: int) -> bool | None:
    if not wanted.keys() - {"$defs"}:
        return True
    answers = [_fits_type(given, wanted), _fits_values(given, wanted)]
    kind = given.get("type")
    if kind == "object" and False not in answers:
        answers.extend(_fits_properties(given, wanted, depth))
    if kind == "array" and "items" in wanted and False not in answers:
        answers.append(_fits_items(given, wanted, depth))
    if False in answers:
        return False
    sure = None not in answers and not wanted.keys() - _UNDERSTOOD
    return True if sure else None


def _fits_type(given: Schema, wanted: Schema) -> bool | None:
    need, kind = wanted.get("type"), given.get("type")
    if need is None:
        return True
    if kind is None:
        values = enumerated(given)
        return None if values is None else all(_is(value, need) for value in values)
    return bool(kind == need or (kind == "integer" and need == "number"))


def _is(value: Any, kind: str) -> bool:
    return fits(of_value(value), {"type": kind}) is not False


def _fits_values(given: Schema, wanted: Schema) -> bool | None:
    allowed = enumerated(wanted) if "enum" in wanted or "const" in wanted else None
    if allowed is None:
        return True
    values = enumerated(given)
    if values is None:
        return None
    return all(any(value == other and type(value) is type(other) for other in allowed) for value in values)


def _fits_items(given: Schema, wanted: Schema, depth: int) -> bool | None:
    inner = _with_defs(wanted["items"], wanted)
    if "items" not in given:
        return True if not inner else None
    return fits(_with_defs(given["items"], given), inner, depth + 1)


def _fits_properties(given: Schema, wanted: Schema, depth: int) -> list[bool | None]:
    have, need = given.get("properties", {}), wanted.get("properties", {})
    closed = given.get("additionalProperties") is False
    sure = given.get("required", ())
    answers: list[bool | None] = [
        False if closed and name not in have else None for name in wanted.get("required", ()) if name not in sure
    ]
    for name, schema in need.items():
        if name in have:
            answers.append(fits(_with_defs(have[name], given), _with_defs(schema, wanted), depth + 1))
        elif not closed and schema:
            answers.append(None)
    if wanted.get("additionalProperties") is False:
        extra = have.keys() - need.keys()
        required = extra & set(given.get("required", ()))
        answers.append(False if required else None if extra or not closed else True)
    return answers
