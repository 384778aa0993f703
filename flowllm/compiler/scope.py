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


@dataclass(frozen=True, slots=True)
class Site:
    """Where something is read: ``into`` collects the units of ``frame`` that it reads.

    ``own`` is the unit whose name stands for its failure (in a `when_failed`), ``local`` are names
    that the reader brings itself, ``case`` is set where only a route's case reads.
    """

    frame: Frame
    where: str
    into: set[str]
    reader: Unit | None = None
    own: Unit | None = None
    local: frozenset[str] = frozenset()
    case: bool = False
    origin: Origin = field(default_factory=Origin)


class Scopes:
    """Resolves all references of one pipeline. ``sound`` False: the regions cannot be, so only names are checked."""

    def __init__(self, spec: PipelineSpec, root: Frame, findings: Findings, read: ReadPaths, *, sound: bool) -> None:
        self._spec = spec
        self._read_paths = read
        self._root = root
        self._findings = findings
        self._sound = sound
        self._derived = set(_lost_names(spec, root))
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

    def _check_items(self) -> None:
        for name, frames in self._items.items():
            for frame in frames:
                self._check_item(name, frame)

    def _check_item(self, name: str, frame: Frame) -> None:
        owner = frame.owner
        assert owner is not None
        what = self._hidden_by(name, frame)
        if what and self._sound:
            self._findings.report(
                "as_hides", f"the item `{name}` of `{owner.id}` hides {what}",
                f"{owner.id}.as", owner.node.place("as"), f"as: {owner.id}_{name}",
            )  # fmt: skip

    def _hidden_by(self, name: str, frame: Frame) -> str:
        if name in self._units:
            return f"the node `{name}`"
        if name == INPUTS:
            return "the pipeline's inputs"
        outer = next((f.owner for f in self._items[name] if f is not frame and f.owner and frame.inside(f.owner)), None)
        return f"the item of `{outer.id}`" if outer else ""

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

    def _case_outside(self, unit: Unit, crossed: list[Unit], origin: Origin, site: Site) -> None:
        region = crossed[-1]
        around = ", ".join([*region.node.around, unit.id])
        message = f"`{unit.id}` stands outside `{region.id}`, so it always runs, whatever is chosen"
        self._findings.report(
            "case_outside_region", message, site.where, origin, f"{region.id}: {{around: [{around}]}}"
        )

    def _no_port(self, path: Path, unit: Unit, origin: Origin, site: Site) -> None:
        ports, step = unit.ports or {}, path.steps[0]
        inner = unit.body.units[unit.id].ports if unit.each and unit.body else None
        if unit.each and isinstance(step, str) and (inner is None or step in inner):
            word = str(Path(unit.id, ("items", None, *path.steps)))
            message = f"`{unit.id}` has no port `{step}`; it has `each`: write `{word}`"
            hint = word
        else:
            names = sorted(ports)
            shown = f"`{step}`" if isinstance(step, str) else f"`{str(path)[len(unit.id) :]}`"
            message = f"`{unit.id}` has no port {shown}; it has {', '.join(names) or 'none'}"
            near = closest(str(step), names)
            hint = f"did you mean `{Path(unit.id, (near, *path.steps[1:]))}`?" if near else ""
        self._findings.report("unknown_port", message, site.where, origin, hint)

    def _variable(self, path: Path, frame: Frame, origin: Origin, site: Site) -> None:
        ports, owner = frame.variables[path.root], frame.owner
        if ports is None or not path.steps or path.steps[0] in ports or owner is None:
            return
        inside = f"inside it has {', '.join(sorted(ports)) or 'no ports'}"
        outside = owner.ports or {}
        wrapped = owner.body.units[owner.id].ports if owner.each and owner.body else None
        own = path.steps[0] in outside or (owner.each and (wrapped is None or path.steps[0] in wrapped))
        hint = f"did you mean `{path.root}.{near}`?" if (near := closest(str(path.steps[0]), ports)) else ""
        if own:
            message = f"`{path}` is not known inside `{owner.id}`; {inside}"
            self._findings.report("own_value_inside", message, site.where, origin, hint)
        else:
            self._findings.report(
                "unknown_port", f"`{owner.id}` has no port `{path.steps[0]}` here; {inside}", site.where, origin, hint
            )

    def _own_failure(self, path: Path, origin: Origin, site: Site) -> None:
        unit = site.own
        assert unit is not None
        known = RETRY_FAILURE if unit.control == "retry" else FAILURE
        if unit.is_wrapped and path.steps[:1] == ("index",):
            return
        if path.steps and path.steps[0] not in known:
            message = (
                f"`{unit.id}` has no port `{path.steps[0]}` in its own when_failed; there it has {', '.join(known)}"
            )
            hint = f"did you mean `{unit.id}.{closest(str(path.steps[0]), known) or 'error'}`?"
            self._findings.report("unknown_port", message, site.where, origin, hint)

    def _input(self, path: Path, origin: Origin, site: Site) -> None:
        if path.steps and path.steps[0] not in self._spec.inputs:
            rest = str(Path("", path.steps[1:]))
            hint = did_you_mean(str(path.steps[0]), self._spec.inputs, f"{INPUTS}.", rest)
            self._findings.report("unknown_reference", f"unknown reference `{path}`", site.where, origin, hint)

    def _not_found(self, path: Path, origin: Origin, site: Site) -> None:
        root = path.root
        if root in self._units:
            if self._sound:
                self._inside(self._units[root], origin, site)
        elif root in self._items:
            if self._sound:
                owners = ", ".join(sorted(frame.owner.id for frame in self._items[root] if frame.owner))
                message = f"`{root}` is known only inside {owners}"
                self._findings.report(
                    "out_of_scope", message, site.where, origin, self._join_hint(self._items[root][0].owner, site)
                )
        elif root not in self._derived:
            known = {*self._units, *(name for f in _outward(site.frame) for name in f.variables), INPUTS}
            hint = did_you_mean(root, known, "", str(Path("", path.steps)))
            if root in self._spec.inputs:
                hint = f"did you mean `{INPUTS}.{path}`?"
            self._findings.report("unknown_reference", f"unknown reference `{path}`", site.where, origin, hint)

    def _inside(self, target: Unit, origin: Origin, site: Site) -> None:
        region = target.frame.owner
        while region is not None and region.frame.owner is not None and not site.frame.inside(region.frame.owner):
            region = region.frame.owner
        assert region is not None
        ports = ", ".join(f"{region.id}.{port}" for port in sorted(region.ports or ()))
        message = f"`{target.id}` is inside `{region.id}`; outside read {ports}"
        self._findings.report("inside_a_region", message, site.where, origin, self._join_hint(region, site))

    def _join_hint(self, region: Unit | None, site: Site) -> str:
        """The whole ``around`` list with which the reader would stand inside the region."""
        reader = site.reader
        if region is None or reader is None or region.each:
            return ""
        while reader.frame is not region.frame and reader.frame.owner is not None:
            reader = reader.frame.owner
        members = {*region.node.around, reader.id}
        ordered = [name for name in self._spec.nodes if name in members]
        return f"{region.id}: {{around: [{', '.join(ordered)}]}}"


def _place(origin: Origin, site: Site) -> Origin:
    return origin if origin.line or origin.note else site.origin


def _capture(path: Path, crossed: list[Unit]) -> None:
    for region in crossed:
        region.reads.captures[path] = None


def _outward(frame: Frame) -> Iterator[Frame]:
    current: Frame | None = frame
    while current is not None:
        yield current
        current = current.parent


def _lost_names(spec: PipelineSpec, root: Frame) -> Iterator[str]:
    """Names that are unknown only because of a fault that is reported elsewhere."""
    for name in (*spec.nodes, *spec.inputs):
        if not name.isidentifier():
            yield from re.split(r"\W+", name)
    for unit in every_unit(root):
        if (unit.kind is None and unit.node.around) or (unit.node.each is not None and unit.body is not None):
            yield from (ITEM, str(unit.node.params.get("as", ITEM)), str(unit.node.each_params.get("as", ITEM)))


def case_text(value: object) -> str:
    """A switch's value as text: a string as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
