"""What is given to a pipeline, against what it declares: defaults filled in, types held."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from flowllm.core.errors import UsageError
from flowllm.core.json_values import find_fault
from flowllm.core.nearest import did_you_mean
from flowllm.core.spec import Schema
from flowllm.runtime.plain import typed


def complete_inputs(declared: Mapping[str, Schema], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every declared input's value. Raises `UsageError` for an unknown, missing or wrong one."""
    for name in given:
        if name not in declared:
            raise _unknown(name, declared)
    return {name: _checked(name, schema, given) for name, schema in declared.items()}


def _unknown(name: str, declared: Mapping[str, Schema]) -> UsageError:
    hint = did_you_mean(name, declared, f"its inputs are: {', '.join(declared) or 'none'}")
    return UsageError("unknown_input", f"the pipeline has no input `{name}`", hint=hint)


def _checked(name: str, schema: Schema, given: Mapping[str, Any]) -> Any:
    if name not in given:
        if "default" in schema:
            return schema["default"]
        raise UsageError(
            "missing_input", f"the input `{name}` is not given", hint=f"give it with -i {name}=... or -i {name}=@FILE"
        )
    value = given[name]
    path, why = find_fault(value)
    if why:
        place = f"{name}{path if path[:1] in ('', '[') else '.' + path}"
        raise UsageError("bad_value", f"the input `{place}` {why}", hint="write the character itself")
    errors = _errors(schema, value)
    if errors:
        raise UsageError("bad_value", f"the input `{name}` is not valid: {errors[0].removeprefix('$: ')}")
    return value


_IS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) is int or (type(value) is float and math.isfinite(value)),
    "null": lambda value: value is None,
}
_PLAIN = frozenset({"type", "default", "description", "title", "items", "anyOf", "additionalProperties"})


def _errors(schema: Schema, value: Any) -> list[str]:
    """Bare types are looked at here; everything else by JSON Schema, which is slow to import."""
    if _surely_fits(schema, value):
        return []
    from flowllm.text.json_schema import validator

    return validator(schema)(value)


def _surely_fits(schema: Schema, value: Any) -> bool:
    """Whether a value is of a type that can be told at a glance."""
    if not schema.keys() <= _PLAIN or schema.get("additionalProperties", True) is not True:
        return False
    if "type" in schema and not _IS.get(str(schema["type"]), _never)(value):
        return False
    if "anyOf" in schema and not any(_surely_fits(option, value) for option in schema["anyOf"]):
        return False
    items = schema.get("items")
    return not items or not isinstance(value, list) or all(_surely_fits(items, item) for item in value)


def _never(value: Any) -> bool:
    return False


def misfit(schema: Schema, value: Any) -> str:
    """Why a value that a step was given is not of a port's type; empty where it is, or where nobody can tell."""
    if _surely_fits(schema, value):
        return ""
    try:
        errors = _errors(schema, typed(value))
    except TypeError:  # a value that JSON has no type for
        return ""
    return errors[0] if errors else ""
