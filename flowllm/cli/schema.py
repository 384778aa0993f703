"""`flowllm schema`: the JSON Schema of pipeline files, for editors; or of one kind.

Every scalar of a kind also takes a ``"${...}"`` string, for configuration is resolved before it is typed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command
from flowllm.core.record import record
from flowllm.policies import WRITTEN

if TYPE_CHECKING:
    from flowllm.cli.render import Screen
    from flowllm.core.kinds import Kinds
    from flowllm.core.node import Node

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTERPOLATION = {"type": "string", "pattern": r"\$\{.*\}"}
SLOT: dict[str, Any] = {"description": "A path, one {{ expression }}, {const: ...}, or a structure of these."}
_SCALARS = {"integer", "number", "boolean", "null", "string"}


@record(kw_only=True)
class ShowSchema(Command):
    """Print the JSON Schema of pipeline files, or of one kind of node."""

    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Only the node of this kind.", autocompletion=completion.kinds),
    ] = None

    def carry_out(self, screen: "Screen") -> int:
        """Print it."""
        from flowllm.cli.opening import here
        from flowllm.core.errors import UsageError

        kinds = here().kinds
        if self.kind is None:
            screen.json(pipeline_schema(kinds))
            return 0
        found = kinds.find(self.kind)
        if found is None:
            hint = f"kinds are {', '.join(kinds.names())}"
            raise UsageError("unknown_kind", f"there is no kind `{self.kind}`", hint=hint)
        screen.json({"$schema": DIALECT, **node_schema(self.kind, found)})
        return 0


def pipeline_schema(kinds: "Kinds") -> dict[str, Any]:
    """The schema of a whole pipeline file."""
    definitions = {name: node_schema(name, kind) for name in kinds.names() if (kind := kinds.find(name)) is not None}
    choice = {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(definitions)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}}
            for name in definitions
        ],
    }
    return {
        "$schema": DIALECT,
        "title": "flowllm pipeline",
        "type": "object",
        "additionalProperties": False,
        "required": ["nodes", "outputs"],
        "properties": _top_level({"type": "object", "additionalProperties": choice}),
        "$defs": definitions,
    }


def _top_level(nodes: dict[str, Any]) -> dict[str, Any]:
    name = {"type": ["string", "null"]}
    mapping = {"type": "object"}
    schema = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    return {
        "defaults": {"type": "array", "description": "A Hydra defaults list; groups live in conf/."},
        "flowllm": {"const": 1, "description": "The language version."},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "inputs": {"type": "object", "additionalProperties": schema, "description": "Each a JSON Schema."},
        "model": name | {"description": "Serves calls that name none."},
        "embedder": name | {"description": "Serves embeds that name none."},
        "models": mapping | {"description": "Names for models, and groups."},
        "schemas": mapping | {"additionalProperties": {"type": ["object", "boolean"]}},
        "policies": mapping | {"description": "Defaults for every call."},
        "vars": mapping | {"description": "Your own configuration, read as ${vars.x}."},
        "print": name | {"description": "The output that stdout shows as text."},
        "nodes": nodes,
        "outputs": {"type": "object", "additionalProperties": SLOT},
    }


def node_schema(name: str, kind: "type[Node]") -> dict[str, Any]:
    """The schema of a node of one kind: its parameters, its inputs, and what every node takes."""
    schema = kind.model_json_schema(by_alias=True)
    held = {info.alias or field for field, info in kind.model_fields.items() if field in kind.held()}
    own = {key: SLOT if key in held else flexible(value) for key, value in schema.get("properties", {}).items()}
    found: dict[str, Any] = {
        "type": "object",
        "description": (kind.summary or (kind.__doc__ or "").strip().partition("\n")[0]),
        "additionalProperties": False,
        "properties": {"kind": {"const": name}, **_common(kind), **own},
    }
    required = [field for field in schema.get("required", ()) if field not in held]
    found["required"] = ["kind", *required]
    if "$defs" in schema:
        found["$defs"] = {key: flexible(value) for key, value in schema["$defs"].items()}
        found = _rerooted(found, f"#/$defs/{name}/$defs/")
    return found


def _common(kind: "type[Node]") -> dict[str, Any]:
    ids = {"type": "array", "items": {"type": "string"}}
    ports = kind.input_ports()
    inputs: dict[str, Any] = {"type": "object", "properties": dict.fromkeys(ports, SLOT)}
    if not kind.open_inputs and not kind.control:
        inputs["additionalProperties"] = False
    common: dict[str, Any] = {
        "in": inputs,
        "after": ids,
        "timeout": {"type": ["string", "number", "null"]},
        "when_failed": {"type": "object", "additionalProperties": SLOT},
    }
    if kind.control in ("retry", "cache", "map"):
        common["around"] = ids
    elif not kind.control or kind.control == "pipeline":
        common |= {"each": SLOT, "as": {"type": "string"}, "at_once": flexible({"type": "integer"})}
        common["keep_going"] = flexible({"type": "boolean"})
    if kind.calls:
        common |= {"model": {"type": ["string", "null"]}, **{name: {} for name in WRITTEN if name not in common}}
    return common


def flexible(schema: Any) -> Any:
    """The schema, with a ``"${...}"`` string beside every scalar that is no string already."""
    if isinstance(schema, list):
        return [flexible(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {
        key: value if key in ("default", "const", "enum", "examples") else flexible(value)
        for key, value in schema.items()
    }
    if inner.get("type") in _SCALARS - {"string"} or _closed(inner):
        notes = {key: inner.pop(key) for key in ("title", "description", "default") if key in inner}
        return {"anyOf": [inner, INTERPOLATION], **notes}
    return inner


def _closed(schema: Mapping[str, Any]) -> bool:
    """Whether a schema takes some strings only."""
    return "enum" in schema or "const" in schema or (schema.get("type") == "string" and "pattern" in schema)


def _rerooted(value: Any, start: str) -> Any:
    if isinstance(value, dict):
        return {
            key: start + item.removeprefix("#/$defs/")
            if key == "$ref" and isinstance(item, str)
            else _rerooted(item, start)
            for key, item in value.items()
        }
    return [_rerooted(item, start) for item in value] if isinstance(value, list) else value


COMMAND = ShowSchema
