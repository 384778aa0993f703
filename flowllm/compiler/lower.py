"""From frames to plans: ids become indexes, what is evaluated is put where the executor looks for it."""

from collections.abc import Mapping
from typing import Any

from flowllm.compiler.frames import INNER_FIELDS, Frame, Unit
from flowllm.compiler.graph import early
from flowllm.compiler.plan_json import digest
from flowllm.core.plan import Plan, Rescue, Step
from flowllm.core.slot import Evaluable, Expression, Late, Path, Slot


class Lowering:
    """Makes plans. ``entries`` is what the catalog says of each model that is used."""

    def __init__(self, entries: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
        self._entries = entries
        self._groups = groups

    def frame(self, frame: Frame) -> tuple[tuple[Step, ...], dict[str, int]]:
        """The steps of a frame in order, and the index of each id."""
        index = {unit.id: position for position, unit in enumerate(frame.order)}
        first = early(frame, index)
        return tuple(self._step(unit, index, first.get(unit.id, ())) for unit in frame.order), index

    def _step(self, unit: Unit, index: Mapping[str, int], first: tuple[int, ...]) -> Step:
        node, reads = unit.node, unit.reads
        is_route = unit.control == "route"
        return Step(
            id=unit.id,
            kind=unit.kind_name,
            inputs=_inputs(unit),
            params=unit.params,
            policies=unit.policies,
            needs=_indexes(reads.needs, index),
            early=first,
            lazy={key: _indexes(names, index) for key, names in sorted(reads.cases.items())},
            cases=_cases(unit) if is_route else {},
            default=_default(unit) if is_route else None,
            folded=tuple(sorted(unit.folded)),
            rescue=_rescue(unit, index),
            body=self._body(unit),
            captures=tuple(sorted(reads.captures, key=_path_order)),
            model=unit.model,
            models=unit.models,
            unsure={} if unit.each else unit.unsure,
            origin=node.origin,
            typed=unit.typed,
        )

    def _body(self, unit: Unit) -> Plan | None:
        if unit.body is None:
            return unit.plan
        steps, index = self.frame(unit.body)
        outputs = dict(sorted(unit.body.outputs.items()))
        plan = Plan(unit.id, steps, _indexes(unit.body.roots, index), outputs)
        return self.sealed(plan)

    def sealed(self, plan: Plan) -> Plan:
        """The plan with its digest."""
        return Plan(
            plan.name, plan.steps, plan.roots, plan.outputs, plan.inputs, plan.output_schemas,
            plan.models, plan.print, digest(plan, self._entries, self._groups),
        )  # fmt: skip


def _indexes(names: set[str], index: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sorted(index[name] for name in names))


def _path_order(path: Path) -> tuple[str, str]:
    return (path.root, str(path))


def _inputs(unit: Unit) -> dict[str, Evaluable]:
    """What is evaluated where the unit stands, by the names of the kind's arguments."""
    node = unit.node
    if unit.each:
        return {"over": node.each} if node.each is not None else {}
    inputs: dict[str, Evaluable] = dict(node.ports)
    for name, evaluable in node.fields.items():
        if unit.is_region and name in INNER_FIELDS:
            continue
        if unit.control != "route" or name == "switch":
            inputs[name] = evaluable
    if isinstance(node.model, Expression):
        inputs["model"] = node.model
    return inputs


def _cases(unit: Unit) -> dict[str, Slot]:
    cases = unit.node.fields.get("cases")
    slots = cases.slots if isinstance(cases, Late) else {}
    return {name: slot for name, slot in sorted(slots.items()) if name in unit.reads.cases}


def _default(unit: Unit) -> Slot | None:
    default = unit.node.fields.get("default")
    return default if isinstance(default, Slot) and "" in unit.reads.cases else None


def _rescue(unit: Unit, index: Mapping[str, int]) -> Rescue | None:
    written = unit.node.when_failed
    if written is None or unit.each:
        return None
    return Rescue(dict(sorted(written.items())), _indexes(unit.reads.rescue, index))
