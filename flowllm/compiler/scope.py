"""What every name means: references become edges between units of one frame, and captures of regions.

A name is looked up in the frame where it is read, then further out. What is found further out is
captured by every region in between, and the outermost of them, which stands in the frame of what is
read, needs it. Reading a frame's own variable makes no edge.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import orjson

from flowllm.compiler.advice import ReadPaths
from flowllm.compiler.findings import Findings, closest, did_you_mean
from flowllm.compiler.frames import INNER_FIELDS, ITEM, Frame, Unit, every_unit, inner_frames
from flowllm.core.origin import Origin
from flowllm.core.slot import Evaluable, Expression, Late, Literal, Path, PromptTemplate, Template
from flowllm.core.spec import PipelineSpec
from flowllm.text.slots import constant, is_constant, own_names, problems, references

FAILURE = ("code", "error")
RETRY_FAILURE = ("attempts", "code", "error", "last", "problem")
INPUTS = "inputs"


class Scopes:
    """Resolves all references of one pipeline. ``sound`` False: the regions cannot be, so only names are checked."""

    def __init__(self, spec: PipelineSpec, root: Frame, findings: Findings, read: ReadPaths, *, sound: bool) -> None:
        self._spec = spec
        self._read_paths = read
        self._root = root
        self._findings = findings
        self._sound = sound
        self._derived = set(_lost_names(spec, root))
        misread = any(problem.code == "unknown_field" for problem in spec.problems)
        self._no_nodes, self._no_inputs = misread and not spec.nodes, misread and not spec.inputs
        self._units = {unit.id: unit for unit in every_unit(root) if not unit.is_wrapped}
        self._items: dict[str, list[Frame]] = {}
        for frame in inner_frames(root):
            for name, ports in frame.variables.items():
                if ports is None:
                    self._items.setdefault(name, []).append(frame)

    def resolve(self) -> None:
        """Fill in what every unit and every frame's outputs read."""
        self._check_items()
        for unit in every_unit(self._root):
            self._resolve_unit(unit)
        for name, slot in self._spec.outputs.items():
            place = self._spec.place(f"outputs.{name}")
            self._read(slot, Site(self._root, f"outputs.{name}", self._root.roots, origin=place))

    def _resolve_unit(self, unit: Unit) -> None:
        node, frame = unit.node, unit.frame
        site = Site(frame, "", unit.reads.needs, unit, origin=node.origin)
        if unit.each:
            assert node.each is not None
            self._read(node.each, replace(site, where=f"{unit.id}.each", origin=node.place("each")))
            self._after(unit)
            return self._outputs_of(unit)
        if not unit.is_wrapped:
            self._after(unit)
        if node.ports:
            into = Site(frame, f"{unit.id}.in", unit.reads.needs, unit, origin=node.place("in"))
            for slot in node.ports.values():
                self._read(slot, into)
        if isinstance(node.model, Expression):
            self._read(node.model, replace(site, where=f"{unit.id}.model"))
        if node.fields:
            self._fields(unit, site)
        if node.when_failed:
            self._rescue(unit)
        return None

    def _fields(self, unit: Unit, site: Site) -> None:
        node = unit.node
        opened = unit.kind is not None and unit.kind.open_inputs and unit.control != "pipeline"
        site = replace(site, local=frozenset(node.ports)) if opened else site
        if unit.body is not None:
            self._outputs_of(unit)
        for name, evaluable in node.fields.items():
            place = replace(site, where=f"{unit.id}.{name}", origin=node.place(name))
            if unit.body is not None and name in INNER_FIELDS:
                continue
            if unit.control == "route" and name in ("cases", "default"):
                self._case(unit, name, evaluable, place)
            else:
                self._read(evaluable, place)
        if unit.control == "route":
            self._fold(unit)

    def _outputs_of(self, unit: Unit) -> None:
        body = unit.body
        assert body is not None
        for name, slot in body.outputs.items():
            if unit.each:
                body.roots.add(unit.id)
                continue
            self._read(slot, Site(body, f"{unit.id}.{name}", body.roots, origin=unit.node.place(name)))

    def _case(self, unit: Unit, name: str, evaluable: Evaluable, site: Site) -> None:
        slots = {"": evaluable} if name == "default" else evaluable.slots if isinstance(evaluable, Late) else {}
        for key, slot in slots.items():
            into = unit.reads.cases.setdefault(key, set())
            where = f"{unit.id}.cases.{key}" if key else site.where
            self._read(
                slot, replace(site, where=where, into=into, case=True, origin=unit.node.place(where.partition(".")[2]))
            )

    def _fold(self, unit: Unit) -> None:
        """Drop the cases that a constant switch can never choose."""
        switch = unit.node.fields.get("switch")
        if switch is None or isinstance(switch, Late | Template | PromptTemplate) or not is_constant(switch):
            return
        chosen, cases = case_text(constant(switch)), unit.reads.cases
        chosen = chosen if chosen in cases else ""
        for key in [key for key in cases if key != chosen]:
            unit.reads.folded |= cases.pop(key)
            unit.folded = (*unit.folded, key)

    def _rescue(self, unit: Unit) -> None:
        node = unit.node
        for port, slot in (node.when_failed or {}).items():
            place = node.place(f"when_failed.{port}")
            self._read(slot, Site(unit.frame, f"{unit.id}.when_failed", unit.reads.rescue, unit, unit, origin=place))

    def _after(self, unit: Unit) -> None:
        for index, name in enumerate(unit.node.after):
            origin = unit.node.origins.get(f"after.{index}", unit.node.place("after"))
            site = Site(unit.frame, f"{unit.id}.after", unit.reads.needs, unit, origin=origin)
            if name not in self._units:
                self._findings.report(
                    "unknown_reference",
                    f"unknown reference `{name}`",
                    site.where,
                    origin,
                    did_you_mean(name, self._units),
                )
                continue
            self._look_up(Path(name), origin, site)

    def _read(self, evaluable: Evaluable, site: Site) -> None:
        """Resolve everything that one slot, template or prompt reads."""
        if type(evaluable) is Path:
            if evaluable.root not in site.local:
                self._look_up(evaluable, _place(evaluable.origin, site), site)
            return
        if type(evaluable) is Literal:
            return
        for problem in problems(evaluable, site.where):
            self._findings.add(replace(problem, where=site.where))
        self._check_own_names(evaluable, site)
        for reference in references(evaluable):
            if reference.path.root not in site.local:
                origin = _place(reference.origin, site)
                self._look_up(reference.path, origin, site)

    def _check_own_names(self, evaluable: Evaluable, site: Site) -> None:
        for name, origin in own_names(evaluable):
            if name in self._units or name == INPUTS or name in site.frame.variables:
                what = f"the node `{name}`" if name in self._units else f"`{name}`"
                message = f"the template's own variable `{name}` hides {what}; rename it"
                self._findings.report(
                    "hidden_name", message, site.where, origin, f"rename it, for example to `one_{name}`"
                )

    def _look_up(self, path: Path, origin: Origin, site: Site) -> None:
        root, frame = path.root, site.frame
        if site.own is not None and root == site.own.id:
            return self._own_failure(path, origin, site)
        crossed: list[Unit] = []
        current: Frame | None = frame
        while current is not None:
            if root in current.variables:
                self._read_paths.keep(path, site.reader, None)
                self._variable(path, current, origin, site)
                return _capture(path, crossed)
            if root in current.units:
                return self._found(path, current.units[root], crossed, origin, site)
            if current.owner is not None:
                crossed.append(current.owner)
            current = current.parent
        if root == INPUTS:
            self._input(path, origin, site)
            return _capture(path, crossed)
        return self._not_found(path, origin, site)

    def _found(self, path: Path, unit: Unit, crossed: list[Unit], origin: Origin, site: Site) -> None:
        self._read_paths.keep(path, site.reader, unit)
        if not crossed:
            site.into.add(unit.id)
        else:
            _capture(path, crossed)
            crossed[-1].reads.needs.add(unit.id)
            if site.case:
                self._case_outside(unit, crossed, origin, site)
        if unit.ports is None or (unit.body is not None and not self._sound):
            return
        if path.steps and path.steps[0] not in unit.ports:
            self._no_port(path, unit, origin, site)



def _place(origin: Origin, site: Site) -> Origin:
    return origin if origin.line or origin.note else site.origin


def _capture(path: Path, crossed: list[Unit]) -> None:
    for region in crossed:
        region.reads.captures[path] = None


def case_text(value: object) -> str:
    """A switch's value as text: a string as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
