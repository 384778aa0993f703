"""Which model each call asks: its own, the pipeline's, or one of several that an expression can name."""

from collections.abc import Mapping
from dataclasses import replace

from flowllm.compiler.call_policies import fallbacks
from flowllm.compiler.candidates import candidates, chosen_by
from flowllm.compiler.capabilities import check_lengths, needs_of, said_by
from flowllm.compiler.findings import Findings
from flowllm.compiler.foreseen import check_refusals
from flowllm.compiler.frames import Frame, Unit
from flowllm.compiler.models import Asked, Models
from flowllm.compiler.types import NEVER, along, enumerated, listed, of_value
from flowllm.core.slot import Evaluable, Expression, Literal, Path, Slot
from flowllm.core.spec import PipelineSpec, Schema
from flowllm.text.paths import parse_path
from flowllm.text.slots import constant, is_constant


class Binding:
    """Gives units their models. ``needed`` are the units that can run, by identity."""

    def __init__(self, spec: PipelineSpec, models: Models, findings: Findings, needed: set[Unit]) -> None:
        self._spec = spec
        self._models = models
        self._findings = findings
        self._needed = needed

    def settle(self, unit: Unit) -> None:
        """Resolve what the unit asks, or say that it has nothing to ask."""
        kind, node = unit.kind, unit.node
        if kind is None or not kind.calls or unit.each:
            return
        needed = unit in self._needed
        place = node.place("model")
        asked = Asked(f"{unit.id}.model", place, kind.calls, needs_of(unit), said_by(unit), needed=needed)
        if isinstance(node.model, Expression):
            self._chosen(unit, node.model, asked)
        else:
            self._fixed(unit, asked)
        if "fallback" in unit.policies:
            self._fallback(unit, asked)
        own = self._models.cards((unit.model, *unit.models))
        cards = {**own, **self._models.cards(fallbacks(unit.policies))}
        check_lengths(unit, cards, self._findings)
        check_refusals(unit, cards, self._findings, fallbacks=cards.keys() - own.keys())

    def _fixed(self, unit: Unit, asked: Asked) -> None:
        name = unit.node.model
        if name is None:
            name, key = self._models.default(asked.task)
            asked = replace(asked, where=key, origin=self._spec.place(key))
            if name is None:
                if asked.needed:
                    self._missing(unit, key)
                return
        unit.model = self._models.resolve(name, asked)
        if asked.origin.is_typed:
            unit.typed = asked.origin

    def _missing(self, unit: Unit, key: str) -> None:
        message = f"`{unit.id}` needs a model and none is chosen"
        self._findings.report("no_model", message, unit.id, unit.node.origin, chosen_by(key))

    def _chosen(self, unit: Unit, expression: Expression, asked: Asked) -> None:
        values = self._static_values(expression, unit.frame)
        if values is None:
            message = f"the models that `{{{{ {expression.source.strip()} }}}}` can be are not known before it runs"
            hint = "choose from {const: [...]} of a map, or an input with `enum`"
            self._findings.report("model_not_static", message, asked.where, asked.origin, hint)
            return
        found = [self._models.resolve(value, asked, keep_alias=True) for value in values]
        unit.models = tuple(dict.fromkeys(name for name in found if name is not None))

    def _static_values(self, expression: Expression, frame: Frame) -> tuple[str, ...] | None:
        path = parse_path(expression.source.strip())
        schema = self._static(path, frame) if path else None
        values = enumerated(schema) if schema is not None else None
        if not values or not all(isinstance(value, str) for value in values):
            return None
        return tuple(dict.fromkeys(values))

    def _static(self, slot: Evaluable, frame: Frame) -> Schema | None:
        """The type of what only inputs and literals decide; None for anything a node gave."""
        if isinstance(slot, Path):
            whole = self._static_root(slot.root, frame)
            found, _ = along(whole, slot.steps) if whole is not None else (NEVER, 0)
            return None if found is NEVER else listed(found, slot.steps)
        if isinstance(slot, Expression):
            path = parse_path(slot.source.strip())
            return self._static(path, frame) if path else None
        if isinstance(slot, Literal) or _constant(slot):
            return of_value(constant(slot))  # type: ignore[arg-type]
        return None

    def _static_root(self, name: str, frame: Frame) -> Schema | None:
        current: Frame | None = frame
        while current is not None:
            if name in current.variables:
                owner = current.owner
                over = (owner.node.each if owner.each else owner.node.fields.get("over")) if owner else None
                if current.variables[name] is not None or owner is None or over is None:
                    return None
                items = self._static(over, owner.frame)
                return along(items, (None,))[0] if items is not None else None
            current = current.parent
        if name != "inputs":
            return None
        inputs: Mapping[str, Schema] = {name: given.schema for name, given in self._spec.inputs.items()}
        return {"type": "object", "properties": dict(inputs)}

    def _fallback(self, unit: Unit, asked: Asked) -> None:
        own = "fallback" in unit.node.policies
        where = f"{unit.id}.fallback" if own else "policies.fallback"
        place = unit.node.place("fallback") if own else self._spec.place(where)
        there = replace(asked, where=where, origin=place)
        names = [self._models.resolve(name, there) for name in fallbacks(unit.policies)]
        models = dict.fromkeys(model for name in names for model in candidates(name, self._models.groups))
        others = {name: raw for name, raw in unit.policies.items() if name != "fallback"}
        unit.policies = {**others, "fallback": list(models)} if models else others


def _constant(slot: Evaluable) -> bool:
    return isinstance(slot, Slot) and is_constant(slot)
