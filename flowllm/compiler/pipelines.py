"""What is declared at the top of a pipeline, and what a pipeline that uses another has to give it."""

from collections.abc import Collection

from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import Unit
from flowllm.core.origin import Origin
from flowllm.core.spec import PipelineSpec

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_PLAIN = frozenset({"type", "default", "description", "title"})


def check_written(spec: PipelineSpec, findings: Findings) -> None:
    """The schemas of inputs, the named ones and those on nodes, and the output that ``print`` names."""
    for name, given in spec.inputs.items():
        _check_schema(dict(given.schema), f"inputs.{name}", spec.place(f"inputs.{name}"), spec, findings)
    for name, schema in spec.schemas.items():
        _check_schema(dict(schema), f"schemas.{name}", spec.place(f"schemas.{name}"), spec, findings)
    for node in spec.nodes.values():
        written = node.params.get("schema")
        if isinstance(written, dict):
            _check_schema(dict(written), f"{node.id}.schema", node.place("schema"), spec, findings)
    if spec.print is not None and spec.print not in spec.outputs:
        hint = did_you_mean(spec.print, spec.outputs)
        findings.report("unknown_reference", f"there is no output `{spec.print}`", "print", spec.place("print"), hint)


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
        findings.report("bad_schema", message, where, origin)


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
            findings.report("unknown_input", message, f"{node.id}.in", node.place(f"in.{name}"), hint)
    for name, declared in inner.inputs.items():
        if name not in node.ports and "default" not in declared.schema:
            message = f"`{use}` needs its input `{name}`"
            findings.report("missing_input", message, f"{node.id}.in", node.place("in"), f"in: {{{name}: ...}}")
