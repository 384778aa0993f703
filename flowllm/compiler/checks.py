"""Types along the edges: what flows into a port against what the port takes, once the order is known."""

import re
from collections.abc import Iterable, Iterator, Mapping

from flowllm.compiler.diagnosis import INPUTS
from flowllm.compiler.examples import conversion, literal_hint
from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import INNER_FIELDS, Frame, Unit
from flowllm.compiler.interface import depends_on_inputs, output_ports
from flowllm.compiler.types import ANY, NEVER, along, enumerated, fits, listed, named, of_value, options, record, union
from flowllm.core.cases import case_text
from flowllm.core.errors import Problem
from flowllm.core.nearest import nearest
from flowllm.core.node import Port, condition
from flowllm.core.origin import Origin
from flowllm.core.slot import UNREADABLE, Evaluable, Expression, Late, ListOf, Literal, MapOf, Path, Slot, Template
from flowllm.core.spec import PipelineSpec, Schema
from flowllm.text.paths import parse_path
from flowllm.text.slots import constant, is_constant, references
from flowllm.text.templates import compares

_LIST: Schema = {"type": "array"}


class TypeCheck:
    """Goes through the frames of one pipeline in order and fills in the types of ports."""

    def __init__(self, spec: PipelineSpec, findings: Findings) -> None:
        self._spec = spec
        self._findings = findings
        self._inputs: dict[str, Schema] = {name: given.schema for name, given in spec.inputs.items()}

    def frame(self, frame: Frame) -> None:
        """Check all units of a frame; frames inside are checked where their region stands."""
        for unit in frame.order:
            self._unit(unit)

    def outputs(self, frame: Frame) -> dict[str, Schema]:
        """The types of the pipeline's outputs; paths that lead nowhere are reported."""
        found = {}
        for name, slot in self._spec.outputs.items():
            self._check_paths(slot, frame, f"outputs.{name}", self._spec.place(f"outputs.{name}"))
            found[name] = self.of(slot, frame)
        return found

    def of(self, evaluable: Evaluable, frame: Frame) -> Schema:
        """What is known of a slot's value."""
        match evaluable:
            case Path():
                return self._path(evaluable, frame)
            case Literal(value=value):
                return of_value(value)
            case ListOf(items=items):
                return {"type": "array", "items": union(self.of(item, frame) for item in items)}
            case MapOf(items=fields):
                return record({name: self.of(slot, frame) for name, slot in fields.items()})
            case Expression(source=source):
                path = parse_path(source.strip())
                return self._path(path, frame) if path else ANY
            case Template():
                return {"type": "string"}
            case _:
                return ANY

    def _path(self, path: Path, frame: Frame) -> Schema:
        found, _ = along(self._root(path.root, frame), path.steps)
        return ANY if found is NEVER else listed(found, path.steps)

    def _root(self, name: str, frame: Frame) -> Schema:
        """What is known of everything under one name."""
        current: Frame | None = frame
        while current is not None:
            owner = current.owner
            if name in current.types and not (owner is not None and owner.each and name in current.units):
                return current.types[name]
            if name in current.units:
                ports = current.units[name].ports
                return ANY if ports is None else {"type": "object", "properties": ports}
            current = current.parent
        return {"type": "object", "properties": self._inputs} if name == "inputs" else ANY

    def _unit(self, unit: Unit) -> None:
        if unit.body is not None:
            self._body(unit)
        elif unit.control != "pipeline" and depends_on_inputs(unit):
            unit.ports = output_ports(unit, self._connected(unit), self._spec.schemas)
        for place, evaluable, origin in _read_by(unit):
            self._check_paths(evaluable, unit.frame, place, origin)
        self._check_ports(unit)
        if unit.control == "route":
            self._check_cases(unit)
        if unit.kind is not None and not unit.each:
            self._check_conditions(unit, unit.kind.conditions)

    def _check_conditions(self, unit: Unit, names: Iterable[str]) -> None:
        """Conditions that look at nothing, or at what is neither true nor false."""
        frame = unit.body or unit.frame
        for name in names:
            field = unit.node.fields.get(name)
            if isinstance(field, Late):
                for key, slot in field.slots.items():
                    self._check_condition(slot, frame, (unit, f"{name}.{key}", field.names))
            elif field is not None and not (isinstance(field, Literal) and field.value is None):
                self._check_condition(field, frame, (unit, name, ()))

    def _check_condition(self, slot: Evaluable, frame: Frame, at: tuple[Unit, str, tuple[str, ...]]) -> None:
        unit, field, names = at
        where, origin = f"{unit.id}.{field}", unit.node.place(field)
        read, hint = references(slot), self._condition_hint(unit, frame)
        if not read:
            if not (isinstance(slot, Literal) and slot.value is UNREADABLE):
                message = "a condition that reads nothing is the same for every value"
                self._findings.report("bad_value", message, where, origin, hint)
            return
        given = ANY if read[0].path.root in names else self.of(slot, frame)
        if fits(given, {"type": "boolean"}) is False:
            hint = conversion(str(slot), given, {"type": "boolean"}) if isinstance(slot, Path) else hint
            message = f"a condition is true or false, and this is {named(given)}"
            self._findings.report("type_mismatch", message, where, origin, hint or condition(slot))

    def _condition_hint(self, unit: Unit, frame: Frame) -> str:
        """A condition that can be asked of what the unit judges: its ``of``, or the value that goes in."""
        judged = unit.node.fields.get("of") or (None if "schema" in unit.node.params else unit.node.ports.get("value"))
        given = self.of(judged, frame) if judged is not None else ANY
        kinds = {str(option.get("type", "")) for option in options(given)}
        return condition(unit.node.fields.get("of", "value"), kinds.pop() if len(kinds) == 1 else "")

    def _body(self, unit: Unit) -> None:
        body = unit.body
        assert body is not None
        if unit.control == "map":
            self._item(unit, body)
        body.types.setdefault(unit.id, ANY)
        self.frame(body)
        for name, slot in body.outputs.items():
            if not unit.each:
                self._check_paths(slot, body, f"{unit.id}.{name}", unit.node.place(name))
        if unit.instance is not None and "of" in body.outputs:
            unit.ports = output_ports(unit, {"of": self.of(body.outputs["of"], body)}, self._spec.schemas)

    def _item(self, unit: Unit, body: Frame) -> None:
        field = "each" if unit.each else "over"
        over = unit.node.each if unit.each else unit.node.fields.get("over")
        if over is None:
            return
        given = self.of(over, unit.frame)
        if given and fits(given, _LIST) is False:
            message = f"`{field}` needs a list, and this is {named(given)}"
            hint = f"{field}: [{over}]" if isinstance(over, Path) else f"{field}: inputs.items"
            self._findings.report("type_mismatch", message, f"{unit.id}.{field}", unit.node.place(field), hint)
        item, _ = along(given, (None,))
        name = next((name for name, ports in body.variables.items() if ports is None), "")
        body.types[name] = ANY if item is NEVER else item

    def _connected(self, unit: Unit) -> dict[str, Schema]:
        frame = unit.frame
        if unit.control != "route":
            return {name: self.of(slot, frame) for name, slot in unit.node.ports.items()}
        cases, default = unit.node.fields.get("cases"), unit.node.fields.get("default")
        slots = cases.slots if isinstance(cases, Late) else {}
        found = {f"cases.{name}": self.of(slot, frame) for name, slot in slots.items() if name in unit.reads.cases}
        if default is not None and "" in unit.reads.cases:
            found["default"] = self.of(default, frame)
        return found

    def _check_paths(self, evaluable: Evaluable, frame: Frame, where: str, place: Origin) -> None:
        """Report paths through values that cannot have such a part."""
        if isinstance(evaluable, Literal):
            return
        paths = [evaluable] if type(evaluable) is Path else [reference.path for reference in references(evaluable)]
        for path in paths:
            if len(path.steps) > 1 or (path.steps and path.root in frame.types):
                self._check_path(path, frame, where, path.origin if path.origin.line or path.origin.note else place)

    def _check_path(self, path: Path, frame: Frame, where: str, origin: Origin) -> None:
        whole = self._root(path.root, frame)
        found, count = along(whole, path.steps)
        if found is not NEVER or (count == 0 and path.root not in frame.types):
            return
        before = Path(path.root, path.steps[:count])
        kind, _ = along(whole, path.steps[:count])
        key = path.steps[count]
        part = str(Path("", (key,)))
        message = f"`{before}` is {named(kind)} and has no `{part}`"
        self._findings.report("type_mismatch", message, where, origin, _path_hint(path, count, kind))

    def _check_ports(self, unit: Unit) -> None:
        kind = unit.kind
        if kind is None or unit.each or unit.control in ("retry", "cache", "map", "route"):
            return self._no_inputs(unit)
        if unit.plan is not None:
            ports = {name: Port(schema, required=False) for name, schema in unit.plan.inputs.items()}
            return self._fit_ports(unit, ports)
        if not kind.open_inputs:
            self._match(unit, kind.input_ports())
        return None

    def _no_inputs(self, unit: Unit) -> None:
        if unit.node.ports and unit.kind is not None and not unit.each:
            message = f"`{unit.node.kind}` takes nothing with `in`; it reads what its nodes read"
            message = message if unit.is_region else f"`{unit.node.kind}` takes nothing with `in`"
            self._findings.report("unknown_port", message, f"{unit.id}.in", unit.node.place("in"))

    def _match(self, unit: Unit, ports: Mapping[str, Port]) -> None:
        """What is connected against what the ports take."""
        node = unit.node
        for name in node.ports:
            if name not in ports:
                message, origin = f"`{node.kind}` takes no `{name}`", node.key_place(f"in.{name}")
                self._findings.report("unknown_port", message, f"{unit.id}.in", origin, did_you_mean(name, ports))
        self._fit_ports(unit, ports)
        for name, port in ports.items():
            meant = name in node.params or any(nearest(word, [name]) for word in node.ports if word not in ports)
            if port.required and name not in node.ports and not meant:
                hint = f"in: {{{name}: inputs.{name}}}"
                self._findings.report(
                    "missing_input", f"`{unit.id}` needs `{name}`", f"{unit.id}.in", node.origin, hint
                )

    def _fit_ports(self, unit: Unit, ports: Mapping[str, Port]) -> None:
        for name, slot in unit.node.ports.items():
            if name in ports and ports[name].schema:
                origin = unit.node.place(f"in.{name}")
                given, wanted = self.of(slot, unit.frame), ports[name].schema
                if fits(given, wanted) is None:
                    unit.unsure[name] = origin
                hint = self._fit_hint(slot, given, wanted, unit.frame) if fits(given, wanted) is False else ""
                hint = f"in: {{{name}: {hint}}}" if hint and not hint.startswith("did") else hint
                self._fit(given, wanted, (f"{unit.id}.in.{name}", origin, hint))

    def _fit_hint(self, slot: Evaluable, given: Schema, wanted: Schema, frame: Frame) -> str:
        """Another port of the same node that fits, an expression that changes the type, or a constant."""
        path = parse_path(slot.source.strip()) if isinstance(slot, Expression) else slot
        if not isinstance(path, Path):
            number = isinstance(slot, Literal) and isinstance(slot.value, int | float)
            as_text = {"const": str(slot.value).lower()} if number and isinstance(slot, Literal) else {}
            return literal_hint({**as_text, **wanted})
        if path.root != INPUTS and len(path.steps) == 1:
            ports = self._root(path.root, frame).get("properties", {})
            fitting = [name for name, schema in ports.items() if schema and fits(schema, wanted)]
            best = nearest(str(path.steps[0]), fitting) or (fitting[0] if len(fitting) == 1 else "")
            if best:
                return f"did you mean `{path.root}.{best}`?"
        return conversion(str(path), given, wanted) or literal_hint(wanted)

    def _fit(self, given: Schema, wanted: Schema, at: tuple[str, Origin, str]) -> None:
        answer = fits(given, wanted)
        where, origin, hint = at
        if answer is False:
            message = f"{named(wanted)} is needed, and this is {named(given)}"
            self._findings.report("type_mismatch", message, where, origin, hint)
        elif answer is None and given:
            message = f"whether this is {named(wanted)} is checked when it runs"
            self._findings.add(Problem("unchecked_type", message, where, origin, severity="note"))

    def _check_cases(self, unit: Unit) -> None:
        fields = unit.node.fields
        cases = fields.get("cases")
        if not isinstance(cases, Late) or self._findings.told("bad_key", f"{unit.id}.cases"):
            return
        switch = fields.get("switch")
        values = enumerated(self._switch(switch, unit.frame)) if switch is not None else None
        if values is None and isinstance(switch, Expression) and compares(switch.source):
            values = (True, False)
        if values is None and switch is not None:
            self._no_numbers(unit, cases, self.of(switch, unit.frame))
        texts = [case_text(value) for value in values or ()]
        if texts and switch is not None and not _is_constant(switch):
            self._never_chosen(unit, cases, texts)
        if "default" in fields or unit.node.when_failed:
            return
        missing = [text for text in texts if text not in cases.slots]
        if missing:
            shown = ", ".join(f"`{value}`" for value in missing)
            message = f"`{unit.id}` has no case for {shown} and no default"
            origin, hint = unit.node.place("cases"), f'"{missing[0]}": {{const: null}}'
            self._findings.report("case_missing", message, f"{unit.id}.cases", origin, hint)

    def _never_chosen(self, unit: Unit, cases: Late, texts: list[str]) -> None:
        """Cases for values that the switch cannot have."""
        for name in cases.slots:
            if name not in texts:
                known = " or ".join(f"`{text}`" for text in texts)
                message = f"the case `{name}` is never chosen; the switch is {known}"
                place = unit.node.place(f"cases.{name}")
                self._findings.report("unreachable", message, f"{unit.id}.cases", place, did_you_mean(name, texts))

    def _no_numbers(self, unit: Unit, cases: Late, given: Schema) -> None:
        """Cases that are no number, where the switch is one."""
        if not {option.get("type") for option in options(given)} <= {"integer", "number"}:
            return
        for name in cases.slots:
            if not re.fullmatch(_NUMBER, name):
                message = f"the case `{name}` is never chosen; the switch is {named(given)}"
                self._findings.report(
                    "unreachable", message, f"{unit.id}.cases", unit.node.place(f"cases.{name}"), '"1"'
                )

    def _switch(self, switch: Evaluable, frame: Frame) -> Schema:
        return of_value(constant(switch)) if _is_constant(switch) else self.of(switch, frame)  # type: ignore[arg-type]


_NUMBER = r"(?a)-?\d+(\.\d+)?(e-?\d+)?"


def _is_constant(evaluable: Evaluable) -> bool:
    return isinstance(evaluable, Slot) and is_constant(evaluable)


def _read_by(unit: Unit) -> Iterator[tuple[str, Evaluable, Origin]]:
    """Everything that a unit reads in its own frame, with its place."""
    node = unit.node
    if unit.each:
        if node.each is not None:
            yield f"{unit.id}.each", node.each, node.place("each")
        return
    for port, slot in node.ports.items():
        yield f"{unit.id}.in", slot, node.place(f"in.{port}")
    for name, evaluable in node.fields.items():
        if unit.body is None or name not in INNER_FIELDS:
            yield f"{unit.id}.{name}", evaluable, node.place(name)


def _path_hint(path: Path, count: int, kind: Schema) -> str:
    lists = [option for option in options(kind) if option.get("type") == "array"]
    key = path.steps[count]
    if lists and isinstance(key, str):
        return f"every item's: `{Path(path.root, (*path.steps[:count], None, *path.steps[count:]))}`"
    known = {name for option in options(kind) for name in option.get("properties", {})}
    if not known:
        return f"the whole of it is `{Path(path.root, path.steps[:count])}`"
    rest = str(Path("", path.steps[count + 1 :]))
    return did_you_mean(str(key), known, f"{Path(path.root, path.steps[:count])}.", rest)
