"""JSON Schema 2020-12 for schemas and values that come from anywhere.

A schema is checked before it is used (`check_schema`): at most `BYTES` long, `DEPTH` deep, with
`REFERENCES` references, all into itself, none of which leads round in a circle on the same value or
multiplies beyond `EXPANSION`; patterns are RE2's, so that they match in linear time. Nothing is ever
fetched. `$dynamicRef`, inner `$id`, other drafts, and `unevaluatedProperties` beside
`patternProperties` are refused.

A value is checked by `validator`. Errors are one line each, with an exact path and never the value
itself: ``$.lines[2].amount: expected number, got string``. NaN and infinities are errors; the formats
of `FORMATS` are asserted, others are notes. Following references is bounded by the size of the value.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from flowllm.text.json_formats import FORMATS
from flowllm.text.json_problems import CAP, describe, path_text
from flowllm.text.schema_shape import largest_expansion, shape_problems

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["FORMATS", "check_schema", "validator"]

ERRORS = 20
"""Errors listed of one value."""
FOLLOWED, FOLLOWED_EACH = 2_000, 50
"""References followed for one value: so many, and for each part of it so many more, or as many as meet it."""
KEPT = 256
"""Compiled schemas kept."""

Schema = Mapping[str, Any] | bool
Check = Callable[[Any], list[str]]

_REFUSED = "the schema cannot be used: "
_left: ContextVar[list[int]] = ContextVar("references left to follow")


class _TooMuch(Exception):
    """A value makes the schema's references multiply."""


def check_schema(schema: Any) -> list[str]:
    """What is wrong with a schema, one sentence each; none when it may be used."""
    found = shape_problems(schema)
    return found or _against_metaschema(schema)


def validator(schema: Schema) -> Check:
    """A function from a value to its errors, compiled once for each schema; ValueError for a bad schema."""
    return _compiled(_canonical(schema))


def _canonical(schema: Schema) -> bytes:
    try:
        return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        problems = shape_problems(schema)
    if problems:
        raise ValueError(_REFUSED + "; ".join(problems))
    return json.dumps(schema, sort_keys=True).encode()


@lru_cache(maxsize=KEPT)
def _compiled(source: bytes) -> Check:
    schema = json.loads(source)
    problems = check_schema(schema)
    if problems:
        raise ValueError(_REFUSED + "; ".join(problems))
    checker, each = _checker(schema), max(FOLLOWED_EACH, largest_expansion(schema))

    def check(value: Any) -> list[str]:
        return _errors(checker, value, each)

    return check


def _errors(checker: "Validator", value: Any, each: int) -> list[str]:
    try:
        parts, broken = _measured(value)
        if broken:
            return broken
        token = _left.set([FOLLOWED + each * parts])
        try:
            lines = dict.fromkeys(describe(error) for error in islice(checker.iter_errors(value), ERRORS * 4))
        finally:
            _left.reset(token)
    except _TooMuch:
        return ["$: the schema's references multiply on this value; it is not checked any further"]
    except RecursionError:
        return ["$: the value nests too deep for this schema"]
    listed = list(lines)
    return listed if len(listed) <= ERRORS else [*listed[:ERRORS], "$: and more"]


def _measured(value: Any) -> tuple[int, list[str]]:
    """How many parts a value has, and the numbers in it that JSON does not have."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    broken: list[str] = []
    count = 0
    while waiting and len(broken) < ERRORS:
        path, item = waiting.pop()
        count += 1
        if isinstance(item, Mapping):
            waiting.extend(((*path, key), part) for key, part in item.items())
        elif isinstance(item, list | tuple):
            waiting.extend(((*path, i), part) for i, part in enumerate(item))
        elif isinstance(item, float) and not math.isfinite(item):
            broken.append(f"{path_text(path)}: expected a JSON number, got {item}"[:CAP])
    return count, broken


def _against_metaschema(schema: Any) -> list[str]:
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError

    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        return [describe(error)]
    return []


def _checker(schema: Any) -> "Validator":
    from referencing import Registry

    registry: Registry[Any] = Registry()
    made: Validator = _validator_class()(schema, registry=registry, format_checker=_format_checker())
    return made


@lru_cache(maxsize=1)
def _format_checker() -> Any:
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    for name, test in FORMATS.items():
        checker.checks(name)(test)
    return checker


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    from flowllm.text.json_keywords import KEYWORDS

    follow = Draft202012Validator.VALIDATORS["$ref"]

    def counted(checker: Any, reference: str, instance: Any, schema: Any) -> Iterator[Any]:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooMuch
        yield from follow(checker, reference, instance, schema) or ()

    return extend(Draft202012Validator, {**KEYWORDS, "$ref": counted})  # type: ignore[no-untyped-call]
