"""A node against its kind: its parameters, what has to be written, and the ports that it has."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from flowllm.compiler.examples import parameter_hint, takes_text
from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import ITEM, REGIONS, Ports, Unit
from flowllm.core.kinds import MODEL, Kinds
from flowllm.core.nearest import nearest
from flowllm.core.node import Node
from flowllm.core.slot import Late, Literal
from flowllm.core.spec import NodeSpec, PipelineSpec, Schema
from flowllm.policies import SETTABLE
from flowllm.text.wording import as_yaml, shortened

COMMON = (
    "kind", "in", "each", "as", "at_once", "keep_going", "around", "after", "model", "when_failed",
    "timeout", "attempt_timeout", "cache", "fallback", "retry", "limit",
)  # fmt: skip
NAMED = "schemas."


def prepare(unit: Unit, spec: PipelineSpec, findings: Findings, kinds: Kinds) -> None:
    """Make the unit's kind with its parameters and find the names of its ports."""
    node, kind = unit.node, unit.kind
    if kind is None:
        if node.kind and not unit.each:
            hint = did_you_mean(node.kind, kinds.names())
            findings.report(
                "unknown_kind", f"there is no kind `{node.kind}`", f"{node.id}.kind", node.place("kind"), hint
            )
        return
    if unit.each:
        unit.params = {**node.each_params, "as": node.each_params.get("as", ITEM)}
    else:
        if node.each is not None and unit.control in (*REGIONS, "route"):
            message = f"`each` cannot stand on a {unit.control}"
            hint = f"put a map around it: {{kind: map, over: ..., around: [{node.id}], of: {node.id}.value}}"
            findings.report("each_on_region", message, f"{node.id}.each", node.place("each"), hint)
        unit.params = _parameters(node, kind, spec, findings, kinds)
        _check_written(node, kind, findings)
    unit.instance = _made(unit, kind, findings, kinds)
    if unit.instance is not None and unit.control != "pipeline":
        unit.ports = output_ports(unit, {name: {} for name in _connected(unit)}, spec.schemas)


def depends_on_inputs(unit: Unit) -> bool:
    """Whether the types of the unit's ports can follow from those of what it reads."""
    return unit.instance is not None and type(unit.instance).output_ports is not Node.output_ports


def output_ports(unit: Unit, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> Ports:
    """The unit's ports, given what is known of what it reads."""
    assert unit.instance is not None
    if depends_on_inputs(unit):
        return unit.instance.output_ports(inputs, schemas)
    return unit.instance.output_ports({}, {})


def _connected(unit: Unit) -> list[str]:
    if unit.body is not None:
        return ["of"]
    if unit.control != "route":
        return list(unit.node.ports)
    cases = unit.node.fields.get("cases")
    names = [f"cases.{name}" for name in cases.slots] if isinstance(cases, Late) else []
    return [*names, "default"] if "default" in unit.node.fields else names


def _parameters(
    node: NodeSpec, kind: type[Node], spec: PipelineSpec, findings: Findings, kinds: Kinds
) -> Mapping[str, Any]:
    """The parameters with named schemas in place of their names."""
    schema = node.params.get("schema")
    found = dict(node.params)
    if kind.control == "map":
        found.setdefault("as", ITEM)
    if isinstance(schema, str) and schema.startswith(NAMED):
        name = schema.removeprefix(NAMED)
        found["schema"] = spec.schemas[name] if name in spec.schemas else _registered(name, node, kinds, findings)
        if found["schema"] is None:
            hint = did_you_mean(name, {*spec.schemas, *kinds.schema_names()}, NAMED)
            place = node.place("schema")
            findings.report("unknown_reference", f"unknown reference `{schema}`", f"{node.id}.schema", place, hint)
            found["schema"] = {}
    return found


def _registered(name: str, node: NodeSpec, kinds: Kinds, findings: Findings) -> Schema | None:
    """The schema of a registered pydantic model, with the model's name in it; None where there is none."""
    model = kinds.schema(name)
    if model is None:
        return None
    from flowllm.text.json_schema import check_schema
    from flowllm.text.pydantic_models import schema_of

    try:
        schema = schema_of(model)
    except ValueError as error:
        schema, wrong = {}, [str(error)]
    else:
        kind = kinds.find(node.kind)
        wrong = check_schema(schema) if kind is not None and kind.calls else []
    for said in wrong:
        message = f"the schema of the pydantic model `{name}` cannot be used: {said}"
        hint = f"write it in words of JSON Schema: schemas: {{{name}: {{type: object}}}}"
        findings.report("bad_schema", message, f"{node.id}.schema", node.place("schema"), hint)
    return {**schema, MODEL: name}


def _check_written(node: NodeSpec, kind: type[Node], findings: Findings) -> None:
    """Common keys that this kind has no use for, and evaluated fields that are missing."""
    label = f"`{node.kind}`"
    if node.around and kind.control not in ("retry", "cache", "map"):
        message = f"{label} owns no nodes; `around` belongs to retry, cache and map"
        findings.report("unknown_field", message, f"{node.id}.around", node.place("around"), "after: [id] only orders")
    if node.model is not None and not kind.calls and "model" not in kind.model_fields:
        message = f"{label} asks no model"
        findings.report("unknown_field", message, f"{node.id}.model", node.place("model"))
    for name in node.each_params if node.each is None and kind.control != "map" else ():
        message = f"`{name}` goes with `each`, and `{node.id}` has none"
        findings.report("unknown_field", message, f"{node.id}.{name}", node.place(name), "each: inputs.items")
    written = {name for name, slot in node.fields.items() if not (isinstance(slot, Literal) and slot.value is None)}
    written |= {*node.ports, *node.params}
    if kind.control == "route":
        written |= set(node.fields)
    for must in kind.must:
        names = must.split("|")
        unknown = node.params.keys() - {info.alias or name for name, info in kind.model_fields.items()} - {*COMMON}
        if not written.intersection(names) and not any(nearest(word, names) for word in unknown):
            message = f"`{node.id}` needs {' or '.join(f'`{name}`' for name in names)}"
            findings.report("missing_field", message, node.id, node.origin, f"{names[0]}: ...")


def _made(unit: Unit, kind: type[Node], findings: Findings, kinds: Kinds) -> Node | None:
    """The kind with its parameters; where some are wrong and the ports cannot depend on them, without those."""
    try:
        made = kind.model_validate(dict(unit.params), context=kinds.schema)
    except ValidationError as error:
        wrong = _report_all(unit.node, kind, error, findings)
        if wrong & _port_parameters(kind, wrong):
            return None
        unit.params = {name: value for name, value in unit.params.items() if name not in wrong}
        try:
            made = kind.model_validate(dict(unit.params), context=kinds.schema)
        except ValidationError:
            return None
    _check_texts(unit, kind, made, findings)
    return made


def _port_parameters(kind: type[Node], wrong: Collection[str]) -> set[str]:
    """Those of ``wrong`` that are, or were meant to be, parameters that the kind's ports follow from."""
    function = kind.output_ports
    if function is Node.output_ports:
        return set()
    read = set(function.__code__.co_names)
    own = {name for base in kind.__mro__[: kind.__mro__.index(Node)] for name in vars(base)} - {"output_ports"}
    fields = kind.model_fields
    if read & own - fields.keys():  # what other methods read is not seen here
        return set(wrong)
    known = {info.alias or name: name for name, info in fields.items()}
    return {name for name in wrong if known.get(name if name in known else nearest(name, known), "") in read}


def _report_all(node: NodeSpec, kind: type[Node], error: ValidationError, findings: Findings) -> set[str]:
    """Report what pydantic found, once for each part that is wrong; gives the parameters at fault."""
    apart: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        apart.setdefault(_way(detail["loc"], node), []).append(detail)
    for names, details in apart.items():
        _report(node, kind, names, details, findings)
    return {names[0] for names in apart if names}


def _way(location: tuple[int | str, ...], node: NodeSpec) -> tuple[str, ...]:
    """The part that a finding is about, without pydantic's names for the alternatives of a union."""
    here: Any = {**node.params, **node.each_params}
    way: list[str] = []
    for step in location:
        inside = step in here if isinstance(here, Mapping) else isinstance(here, list) and isinstance(step, int)
        if inside and (isinstance(here, Mapping) or 0 <= int(step) < len(here)):
            here = here[step]
        elif way and not isinstance(here, Mapping):
            break
        way.append(str(step))
    return tuple(way)


def _report(
    node: NodeSpec, kind: type[Node], names: tuple[str, ...], details: list[Mapping[str, Any]], findings: Findings
) -> None:
    """One finding of pydantic, in the words of the pipeline."""
    names, detail = names or ("kind",), details[0]
    where, origin = f"{node.id}.{'.'.join(names)}", node.place(".".join(names))
    if detail["type"] == "extra_forbidden":
        known = {info.alias or name for name, info in kind.model_fields.items()}
        known = {*known, *COMMON} if len(names) == 1 else known
        message = f"`{node.kind}` has no field `{names[-1]}`"
        hint = _meant(names, kind, known, detail["input"])
        findings.report("unknown_field", message, where, origin, hint)
    elif detail["type"] == "missing":
        findings.report("missing_field", f"`{node.id}` needs `{names[-1]}`", node.id, node.origin, f"{names[-1]}: ...")
    else:
        said = " or ".join(dict.fromkeys(one["msg"].removeprefix("Value error, ") for one in details))
        said = said.replace("valid tuple", "list").replace("valid dictionary", "mapping")
        said = said.partition(", unable to parse")[0]
        message = f"`{names[0]}`: {said[:1].lower()}{said[1:]}{_instead(node, names, detail)}"
        findings.report("bad_value", message, where, origin, parameter_hint(kind, names[0]))


def _instead(node: NodeSpec, names: tuple[str, ...], detail: Mapping[str, Any]) -> str:
    """``, not `012```: the scalar as written, unless the message holds it."""
    given = detail.get("input")
    if isinstance(given, Mapping | list):
        return ""
    raw = node.written.get(".".join(names), _spelled(given))
    return "" if f"`{raw}`" in detail["msg"] else f", not `{shortened(raw)}`"


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else as_yaml(value)


def _check_texts(unit: Unit, kind: type[Node], made: Node, findings: Findings) -> None:
    """Texts where a number, true or false is needed: pydantic would read ``1_000`` and ``no``, YAML does not.

    Nor is true a number.
    """
    for name, info in kind.model_fields.items():
        key = info.alias or name
        given, value = unit.params.get(key), getattr(made, name)
        read = isinstance(given, str) or (isinstance(given, bool) and not isinstance(value, bool))
        if not read or not isinstance(value, int | float) or takes_text(kind, key):
            continue
        raw = unit.node.written.get(key, _spelled(given))
        if "${" not in raw:  # a variable of the environment is always a text
            wanted = "true or false" if isinstance(value, bool) else "a number"
            message = f"`{key}`: {wanted} is needed, not `{shortened(raw)}`"
            hint = parameter_hint(kind, key) if str(value) in ("True", "False") else f"{key}: {value}"
            findings.report("bad_value", message, f"{unit.id}.{key}", unit.node.place(key), hint)


def _near(word: str, known: set[str]) -> str:
    hint = did_you_mean(word, known)
    return hint if hint.startswith("did") else ""


def _meant(names: tuple[str, ...], kind: type[Node], known: set[str], value: object) -> str:
    """What a field that the kind does not have may have been meant for."""
    if len(names) == 1 and names[0] in SETTABLE:
        return f"at the top of the file: policies: {{{names[0]}: ...}}"
    if len(names) == 1 and names[0] in kind.input_ports():
        return f"in: {{{names[0]}: {value if isinstance(value, str) else '...'}}}"
    return _near(names[-1], known)
