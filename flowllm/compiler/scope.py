"""What every name means: references become edges between units of one frame, and captures of regions.

A name is looked up in the frame where it is read, then further out. What is found further out is
captured by every region in between, and the outermost of them, which stands in the frame of what is
read, needs it. Reading a frame's own variable makes no edge.
"""

from collections.abc import Mapping
from dataclasses import replace

from flowllm.compiler.advice import ReadPaths
from flowllm.compiler.diagnosis import INPUTS, Diagnosis, Site
from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import INNER_FIELDS, Frame, Unit, every_unit
from flowllm.core.cases import case_text
from flowllm.core.origin import Origin
from flowllm.core.slot import UNREADABLE, Evaluable, Expression, Late, Literal, Path, Slot
from flowllm.core.spec import PipelineSpec
from flowllm.text.slots import constant, is_constant, own_names, problems, references

CASES = ("cases", "default")


class Scopes:
    """Resolves all references of one pipeline. ``sound`` False: the regions cannot be, so only names are checked."""

    def __init__(self, spec: PipelineSpec, root: Frame, findings: Findings, read: ReadPaths, *, sound: bool) -> None:
        self._spec = spec
        self._read_paths = read
        self._root = root
        self._findings = findings
        self._sound = sound
        self._diagnosis = Diagnosis(spec, root, findings, sound=sound)
        self._units = self._diagnosis.units

    def resolve(self) -> None:
        """Fill in what every unit and every frame's outputs read."""
        self._diagnosis.items()
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
        if unit.control == "route":
            self._cases(unit, site)
        for name, evaluable in node.fields.items():
            apart = name in INNER_FIELDS if unit.body is not None else unit.control == "route" and name in CASES
            if not apart:
                self._read(evaluable, replace(site, where=f"{unit.id}.{name}", origin=node.place(name)))

    def _outputs_of(self, unit: Unit) -> None:
        body = unit.body
        assert body is not None
        for name, slot in body.outputs.items():
            if unit.each:
                body.roots.add(unit.id)
                continue
            self._read(slot, Site(body, f"{unit.id}.{name}", body.roots, origin=unit.node.place(name)))

    def _cases(self, unit: Unit, site: Site) -> None:
        """What each case reads; those that a constant switch can never choose make no edges."""
        slots = _cases_of(unit, self._diagnosis)
        chosen = _chosen(unit, slots)
        for key, slot in slots.items():
            field = f"cases.{key}" if key else "default"
            dead = chosen is not None and key != chosen
            into = unit.reads.folded if dead else unit.reads.cases.setdefault(key, set())
            place = unit.node.place(field)
            self._read(slot, replace(site, where=f"{unit.id}.{field}", into=into, case=True, dead=dead, origin=place))
        unit.folded = tuple(key for key in slots if key not in unit.reads.cases)

    def _rescue(self, unit: Unit) -> None:
        node = unit.node
        for port, slot in (node.when_failed or {}).items():
            place = node.place(f"when_failed.{port}")
            if unit.ports is not None and port not in unit.ports:
                self._diagnosis.no_rescued_port(port, unit, place)
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
                site = site if evaluable.steps else replace(site, alone=True)
                self._look_up(evaluable, _place(evaluable.origin, site), site)
            return
        if type(evaluable) is Literal:
            return
        for problem in problems(evaluable, site.where):
            self._findings.add(replace(problem, where=site.where))
        self._check_own_names(evaluable, site)
        if type(evaluable) is Late:
            site = replace(site, local=site.local.union(evaluable.names))
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
            return self._diagnosis.own_failure(path, origin, site)
        crossed: list[Unit] = []
        current: Frame | None = frame
        while current is not None:
            if root in current.variables:
                self._read_paths.keep(path, site.reader, None)
                self._diagnosis.variable(path, current, origin, site)
                return _capture(path, crossed, site)
            if root in current.units:
                return self._found(path, current.units[root], crossed, origin, site)
            if current.owner is not None:
                crossed.append(current.owner)
            current = current.parent
        if root == INPUTS:
            self._diagnosis.undeclared(path, origin, site)
            return _capture(path, crossed, site)
        return self._diagnosis.not_found(path, origin, site)

    def _found(self, path: Path, unit: Unit, crossed: list[Unit], origin: Origin, site: Site) -> None:
        self._read_paths.keep(path, site.reader, unit)
        if not crossed:
            site.into.add(unit.id)
        elif site.dead:
            crossed[-1].reads.folded.add(unit.id)
        else:
            _capture(path, crossed, site)
            crossed[-1].reads.needs.add(unit.id)
            if site.case:
                self._diagnosis.case_outside(unit, crossed, origin, site)
        if unit.ports is None or (unit.body is not None and not self._sound):
            return
        if path.steps and path.steps[0] not in unit.ports:
            self._diagnosis.no_port(path, unit, origin, site)


def _place(origin: Origin, site: Site) -> Origin:
    return origin if origin.line or origin.note else site.origin


def _capture(path: Path, crossed: list[Unit], site: Site) -> None:
    for region in () if site.dead else crossed:
        region.reads.captures[path] = None


def _cases_of(unit: Unit, diagnosis: Diagnosis) -> dict[str, Slot]:
    """A route's slots by case; the default's key is empty."""
    cases, default = unit.node.fields.get("cases"), unit.node.fields.get("default")
    found = dict(cases.slots) if isinstance(cases, Late) else {}
    for key in ("", "default"):
        if found.pop(key, None) is not None:
            diagnosis.no_case(unit, key)
    return {**found, "": default} if isinstance(default, Slot) else found


def _chosen(unit: Unit, slots: Mapping[str, Slot]) -> str | None:
    """The case that a constant switch chooses; None where only a run can tell."""
    switch = unit.node.fields.get("switch")
    if not isinstance(switch, Slot) or not is_constant(switch):
        return None
    value = constant(switch)
    if value is UNREADABLE:
        return None
    text = case_text(value)
    return text if text in slots else ""
