"""What is declared at the top of a pipeline, and what a pipeline that uses another has to give it."""

import json
from collections.abc import Collection, Iterator, Mapping

from flowllm.compiler.examples import example_of
from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import Unit
from flowllm.compiler.types import fits, of_value
from flowllm.core.nearest import nearest
from flowllm.core.origin import Origin
from flowllm.core.spec import InputSpec, PipelineSpec

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_DEEPEST = 64
_PLAIN = frozenset({"type", "default", "description", "title"})


def check_written(spec: PipelineSpec, findings: Findings) -> None:
    """The schemas of inputs, the named ones and those on nodes, and the output that ``print`` names."""
    for name, given in spec.inputs.items():
        _check_schema(dict(given.schema), f"inputs.{name}", spec.place(f"inputs.{name}"), spec, findings)
        _check_default(given, spec, findings)
    for name, schema in spec.schemas.items():
        _check_schema(dict(schema), f"schemas.{name}", spec.place(f"schemas.{name}"), spec, findings)
    for node in spec.nodes.values():
        written = node.params.get("schema")
        if isinstance(written, dict):
            _check_schema(dict(written), f"{node.id}.schema", node.place("schema"), spec, findings)
    if spec.print is not None and spec.print not in spec.outputs:
        hint = did_you_mean(spec.print, spec.outputs)
        findings.report("unknown_reference", f"there is no output `{spec.print}`", "print", spec.place("print"), hint)


def check_outputs(spec: PipelineSpec, ports: Mapping[str, Collection[str]], findings: Findings) -> None:
    """A pipeline gives something; ``ports`` are those of its nodes."""
    if spec.outputs or not spec.nodes or misread("outputs", spec):
        return
    last = list(spec.nodes)[-1]
    names = ports.get(last, ())
    port = next((name for name in ("text", "value", "items") if name in names), next(iter(names), "value"))
    message = "a pipeline needs `outputs`; without any nothing runs"
    findings.report("missing_field", message, "outputs", spec.place("nodes"), f"outputs: {{{port}: {last}.{port}}}")


def misread(key: str, spec: PipelineSpec) -> bool:
    """Whether what stands under a top-level key was not understood, or perhaps stands under one that is misspelt."""
    return any(
        found.code == "unknown_field" or (found.code, found.where) == ("bad_value", key) for found in spec.problems
    )


def _check_default(given: InputSpec, spec: PipelineSpec, findings: Findings) -> None:
    """The default is what an input may be given."""
    where, schema = f"inputs.{given.name}", {key: value for key, value in given.schema.items() if key != "default"}
    if "default" not in given.schema or any(found.where.startswith(where) for found in findings.all()):
        return
    default = given.schema["default"]
    if fits(of_value(default), schema):
        return
    from flowllm.text.json_schema import validator

    wrong = validator(schema)(default)
    if wrong:
        message = f"the default of `{given.name}` is no value for it: {wrong[0].removeprefix('$: ')}"
        hint = f"default: {json.dumps(example_of(schema), ensure_ascii=False)}"
        hint = f'type: [{schema["type"]}, "null"]' if default is None and isinstance(schema.get("type"), str) else hint
        findings.report("type_mismatch", message, f"{where}.default", spec.place(f"{where}.default"), hint)


def _check_schema(
    schema: dict[str, object], where: str, origin: Origin, spec: PipelineSpec, findings: Findings
) -> None:
    if not schema.keys() - _PLAIN and schema.get("type", "string") in _TYPES:
        return
    if any(problem.code == "bad_schema" and problem.where.startswith(where) for problem in spec.problems):
        return
    from flowllm.text.json_schema import check_schema

    schema.pop("default", None)
    for message in check_schema(schema):
        findings.report("bad_schema", message, where, origin, _schema_hint(schema, message))


_SCHEMA_HINTS = (
    ("reference", "$ref: '#/$defs/name'"),
    ("$schema", "leave `$schema` out"),
    ("$id", "leave `$id` out"),
    ("pattern", "pattern: '^[a-z]+$'"),
    ("enum", "enum: [first, second]"),
    ("required", "required: [name]"),
)


def _schema_hint(schema: object, message: str) -> str:
    """The type that was meant, or how the part that the message speaks of is written."""
    for word in _type_words(schema):
        if word not in _TYPES:
            return f"type: {nearest(word, _TYPES) or 'object'}  # or {', '.join(_TYPES)}"
    known = (hint for part, hint in _SCHEMA_HINTS if part in message)
    return next(known, "{type: object, properties: {name: {type: string}}}")


def _type_words(schema: object) -> Iterator[str]:
    """Every `type` in a schema; what nests deeper than a schema may is left out."""
    pending = [(schema, 0)]
    while pending:
        part, depth = pending.pop()
        inner = list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else []
        if depth < _DEEPEST:
            pending.extend((item, depth + 1) for item in inner)
        given = part.get("type") if isinstance(part, dict) else None
        yield from [word for word in (given if isinstance(given, list) else [given]) if isinstance(word, str)]


def missing_inputs(spec: PipelineSpec, given: Collection[str], findings: Findings) -> None:
    """Report declared inputs that a run would lack."""
    mistyped = {problem.where for problem in spec.problems if problem.code in ("bad_override", "unknown_input")}
    for name, declared in spec.inputs.items():
        if name not in given and "default" not in declared.schema and f"inputs.{name}" not in mistyped:
            hint = f"give it with -i {name}=... or -i {name}=@FILE"
            message = f"the input `{name}` is not given"
            findings.report("missing_input", message, f"inputs.{name}", declared.origin, hint)


def check_inputs(unit: Unit, inner: PipelineSpec, findings: Findings) -> None:
    """The names that are given to a sub-pipeline against those that it declares."""
    node, use = unit.node, unit.node.params.get("use")
    for name in node.ports:
        if name not in inner.inputs:
            message = f"`{use}` has no input `{name}`"
            hint = did_you_mean(name, inner.inputs)
            findings.report("unknown_input", message, f"{node.id}.in", node.key_place(f"in.{name}"), hint)
    for name, declared in inner.inputs.items():
        meant = any(nearest(word, [name]) for word in node.ports if word not in inner.inputs)
        if name not in node.ports and "default" not in declared.schema and not meant:
            message = f"`{use}` needs its input `{name}`"
            findings.report("missing_input", message, f"{node.id}.in", node.place("in"), f"in: {{{name}: ...}}")
