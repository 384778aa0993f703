"""Hints that can be pasted: an example of what a parameter takes, an expression that makes one type another."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from flowllm.compiler.types import fits, options
from flowllm.core.node import Node
from flowllm.core.spec import Schema

_ALLOWED = 12
"""The most allowed values that a hint lists."""

_EXAMPLES: Mapping[str, Any] = {"string": "text", "boolean": True, "array": [], "object": {}, "null": None}
_CONVERSIONS: Mapping[tuple[str, str], str] = {
    ("string", "array"): "{{{{ {0} | join('\\n') }}}}",
    ("string", "object"): "{{{{ {0} | tojson }}}}",
    ("string", "integer"): "{{{{ {0} | tojson }}}}",
    ("string", "number"): "{{{{ {0} | tojson }}}}",
    ("string", "boolean"): "{{{{ {0} | tojson }}}}",
    ("string", "null"): "{{{{ {0} | default('', true) }}}}",
    ("integer", "array"): "{{{{ {0} | length }}}}",
    ("integer", "object"): "{{{{ {0} | length }}}}",
    ("integer", "string"): "{{{{ {0} | int }}}}",
    ("integer", "number"): "{{{{ {0} | int }}}}",
    ("integer", "boolean"): "{{{{ 1 if {0} else 0 }}}}",
    ("number", "array"): "{{{{ {0} | length }}}}",
    ("number", "string"): "{{{{ {0} | float }}}}",
    ("boolean", "string"): "{{{{ {0} == 'yes' }}}}",
    ("boolean", "integer"): "{{{{ {0} > 0 }}}}",
    ("boolean", "number"): "{{{{ {0} > 0 }}}}",
    ("boolean", "array"): "{{{{ {0} | length > 0 }}}}",
    ("array", "object"): "[{0}]",
    ("array", "string"): "[{0}]",
    ("array", "integer"): "[{0}]",
    ("array", "number"): "[{0}]",
    ("array", "boolean"): "[{0}]",
}


@cache
def parameter_schemas(kind: type[Node]) -> Mapping[str, Schema]:
    """The JSON Schema of each parameter of a kind, by its spelling in YAML; ``{}`` where it has none."""
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

    try:
        whole = kind.model_json_schema(by_alias=True)
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        return {}
    shared = {"$defs": whole["$defs"]} if "$defs" in whole else {}
    return {name: {**schema, **shared} for name, schema in whole.get("properties", {}).items()}


def takes_text(kind: type[Node], name: str) -> bool:
    """Whether a parameter may be a text."""
    schema = parameter_schemas(kind).get(name, {})
    return not schema or any(option.get("type", "string") == "string" for option in options(schema))


def parameter_hint(kind: type[Node], name: str) -> str:
    """``name: value`` with a value that the parameter takes, and all of them where they are few."""
    schema = parameter_schemas(kind).get(name)
    if not schema:
        return f"{name}: ..."
    example = example_of(schema)
    others = [value for value in dict.fromkeys(_allowed(schema)) if value != example]
    if 0 < len(others) <= _ALLOWED:
        return f"{name}: {_flow(example)}  # or {', '.join(map(_flow, others))}"
    return f"{name}: {_flow(example)}"


def _allowed(schema: Schema) -> Iterator[Any]:
    for option in options(schema):
        if "const" in option:
            yield option["const"]
        yield from option.get("enum", ())


def example_of(schema: Schema) -> Any:
    """A value that the schema takes, as far as its type, bounds and enumeration say."""
    default = schema.get("default")
    if default not in (None, [], {}, "") and not isinstance(default, dict | list):
        return default
    ways = [option for option in options(schema) if option.get("type") != "null"]
    first = ways[0] if ways else {}
    for value in _allowed(first):
        return value
    kind = first.get("type")
    if kind in ("integer", "number"):
        return _number(first)
    if kind == "array" and isinstance(first.get("items"), Mapping):
        items = {"$defs": schema.get("$defs", {}), **first["items"]}
        return [example_of(items)]
    if kind == "object":
        known = first.get("properties", {})
        return {name: example_of({"$defs": schema.get("$defs", {}), **known.get(name, {})})
                for name in first.get("required", ())}  # fmt: skip
    return _EXAMPLES.get(str(kind), "text")


def _number(schema: Schema) -> int | float:
    """A number within the schema's bounds."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if schema.get("type") == "integer":
        return int(low) + (0 if "minimum" in schema else 1) if low is not None else 1
    if low is not None and high is not None:
        return float((low + high) / 2)
    return 0.5 if low is None or low < 1 else float(low) + 1


def conversion(source: str, given: Schema, wanted: Schema) -> str:
    """The slot that makes what ``source`` reads the type that is needed; empty where none is known."""
    have = {str(option.get("type", "")) for option in options(given)}
    for option in options(wanted):
        need = str(option.get("type", ""))
        if have == {need, "null"} or ("null" in have and need == "string"):
            return _quoted(f"{{{{ {source} | default({json.dumps(_EXAMPLES.get(need, 0))}, true) }}}}")
        for kind in sorted(have):
            found = _CONVERSIONS.get((need, kind))
            if found and (need != "array" or fits(given, option.get("items", {})) is not False):
                return _quoted(found.format(source)) if "{{" in found.format(source) else found.format(source)
    return ""


def literal_hint(wanted: Schema) -> str:
    """A constant of the type that is needed."""
    return f"{{const: {_flow(example_of(wanted))}}}"


def _quoted(expression: str) -> str:
    return json.dumps(expression, ensure_ascii=False)


def _flow(value: Any) -> str:
    """A value as YAML's flow style writes it."""
    if isinstance(value, str) and value.isidentifier() and value not in ("true", "false", "null"):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value, ensure_ascii=False, default=str)
