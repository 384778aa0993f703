"""What is given to a pipeline, against what it declares: defaults filled in, types held."""

from collections.abc import Mapping
from typing import Any

from flowllm.core.errors import UsageError
from flowllm.core.json_values import find_fault
from flowllm.core.nearest import did_you_mean
from flowllm.core.spec import Schema


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
        raise UsageError("bad_value", f"the input `{name}` is not valid: {errors[0]}")
    return value


_PLAIN_TYPES: Mapping[str, type | tuple[type, ...]] = {"string": str, "object": dict, "array": list, "boolean": bool}


def _errors(schema: Schema, value: Any) -> list[str]:
    """A bare type is looked at here; everything else by JSON Schema, which is slow to import."""
    rest = {key for key in schema if key not in ("type", "default", "description", "title")}
    expected = _PLAIN_TYPES.get(str(schema.get("type")))
    if not rest and ((expected is None and "type" not in schema) or (expected and isinstance(value, expected))):
        return []
    from flowllm.text.json_schema import validator

    return validator(schema)(value)
