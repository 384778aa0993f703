"""What a name that does not lead anywhere was probably meant to be: problems of scope, in the user's words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import field

from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import ITEM, Frame, Unit, every_unit, inner_frames
from flowllm.compiler.pipelines import misread
from flowllm.core.nearest import nearest
from flowllm.core.origin import Origin
from flowllm.core.record import record
from flowllm.core.slot import Path
from flowllm.core.spec import PipelineSpec

FAILURE = ("code", "error")
RETRY_FAILURE = ("attempts", "code", "error", "last", "problem")
INPUTS = "inputs"


@record
class Site:
    """Where something is read: ``into`` collects the units of ``frame`` that it reads.

    ``own`` is the unit whose name stands for its failure (in a `when_failed`), ``local`` are names
    that the reader brings itself, ``case`` is set where only a route's case reads,
    ``dead`` where that case can never be chosen, ``alone`` where a name stands alone, as a text would.
    """

    frame: Frame
    where: str
    into: set[str]
    reader: Unit | None = None
    own: Unit | None = None
    local: frozenset[str] = frozenset()
    case: bool = False
    dead: bool = False
    alone: bool = False
    origin: Origin = field(default_factory=Origin)


class Diagnosis:
    """Knows all names of one pipeline. ``sound`` False: the regions cannot be, so scopes say nothing."""

    def __init__(self, spec: PipelineSpec, root: Frame, findings: Findings, *, sound: bool) -> None:
        self._spec = spec
        self._findings = findings
        self._sound = sound
        self._derived = set(_lost_names(spec, root))
        self._no_nodes = not spec.nodes and misread("nodes", spec)
        hidden = any((found.code, found.where) == ("bad_name", INPUTS) for found in spec.problems)
        self._no_inputs = hidden or (not spec.inputs and misread("inputs", spec))
        self.units = {unit.id: unit for unit in every_unit(root) if not unit.is_wrapped}
        self._items: dict[str, list[Frame]] = {}
        for frame in inner_frames(root):
            for name, ports in frame.variables.items():
                if ports is None:
                    self._items.setdefault(name, []).append(frame)

    def items(self) -> None:
        """Report items that hide another name."""
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
        if name in self.units:
            return f"the node `{name}`"
        if name == INPUTS:
            return "the pipeline's inputs"
        outer = next((f.owner for f in self._items[name] if f is not frame and f.owner and frame.inside(f.owner)), None)
        return f"the item of `{outer.id}`" if outer else ""

    def case_outside(self, unit: Unit, crossed: list[Unit], origin: Origin, site: Site) -> None:
        """A case that reads a node outside the region that its route stands in."""
        region = crossed[-1]
        around = ", ".join([*region.node.around, unit.id])
        message = f"`{unit.id}` stands outside `{region.id}`, so it always runs, whatever is chosen"
        self._findings.report(
            "case_outside_region", message, site.where, origin, f"{region.id}: {{around: [{around}]}}"
        )

    def no_case(self, unit: Unit, key: str) -> None:
        """A case key that cannot be told from the default."""
        message = f"`{key}` is no case; what no case fits goes to `default`, which stands beside `cases`"
        self._findings.report(
            "bad_key", message, f"{unit.id}.cases", unit.node.key_place(f"cases.{key}"), "default: inputs.text"
        )

    def no_port(self, path: Path, unit: Unit, origin: Origin, site: Site) -> None:
        """A node that has no such port."""
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
            near = nearest(str(step), names)
            hint = f"did you mean `{Path(unit.id, (near, *path.steps[1:]))}`?" if near else _port_to_read(unit, names)
        self._findings.report("unknown_port", message, site.where, origin, hint)

    def variable(self, path: Path, frame: Frame, origin: Origin, site: Site) -> None:
        """A region's own variable that has no such port, or not from inside."""
        ports, owner = frame.variables[path.root], frame.owner
        if ports is None or not path.steps or path.steps[0] in ports or owner is None:
            return
        inside = f"inside it has {', '.join(sorted(ports)) or 'no ports'}"
        outside = owner.ports or {}
        wrapped = owner.body.units[owner.id].ports if owner.each and owner.body else None
        own = path.steps[0] in outside or (owner.each and (wrapped is None or path.steps[0] in wrapped))
        hint = f"did you mean `{path.root}.{near}`?" if (near := nearest(str(path.steps[0]), ports)) else ""
        if own:
            message = f"`{path}` is not known inside `{owner.id}`; {inside}"
            self._findings.report("own_value_inside", message, site.where, origin, hint)
        else:
            self._findings.report(
                "unknown_port", f"`{owner.id}` has no port `{path.steps[0]}` here; {inside}", site.where, origin, hint
            )

    def own_failure(self, path: Path, origin: Origin, site: Site) -> None:
        """A port that a node's failure does not have."""
        unit = site.own
        assert unit is not None
        known = RETRY_FAILURE if unit.control == "retry" else FAILURE
        if unit.is_wrapped and path.steps[:1] == ("index",):
            return
        if path.steps and path.steps[0] not in known:
            message = (
                f"`{unit.id}` has no port `{path.steps[0]}` in its own when_failed; there it has {', '.join(known)}"
            )
            hint = f"did you mean `{unit.id}.{nearest(str(path.steps[0]), known) or 'error'}`?"
            self._findings.report("unknown_port", message, site.where, origin, hint)

    def no_rescued_port(self, port: str, unit: Unit, origin: Origin) -> None:
        """A port that a `when_failed` gives and the node does not have."""
        names = sorted(unit.ports or ())
        message = f"`{unit.id}` has no port `{port}`; it has {', '.join(names) or 'none'}"
        self._findings.report("unknown_port", message, f"{unit.id}.when_failed", origin, did_you_mean(port, names))

    def undeclared(self, path: Path, origin: Origin, site: Site) -> None:
        """An input that is not declared."""
        if path.steps and path.steps[0] not in self._spec.inputs and not self._no_inputs:
            rest = str(Path("", path.steps[1:]))
            hint = did_you_mean(str(path.steps[0]), self._spec.inputs, f"{INPUTS}.", rest)
            self._findings.report("unknown_reference", f"unknown reference `{path}`", site.where, origin, hint)

    def not_found(self, path: Path, origin: Origin, site: Site) -> None:
        """A name that nothing in reach has."""
        root = path.root
        if root in self.units:
            if self._sound:
                self._inside(self.units[root], origin, site)
        elif root in self._items:
            if self._sound:
                owners = ", ".join(sorted(frame.owner.id for frame in self._items[root] if frame.owner))
                message = f"`{root}` is known only inside {owners}"
                self._findings.report(
                    "out_of_scope", message, site.where, origin, self._join_hint(self._items[root][0].owner, site)
                )
        elif root not in self._derived and not self._no_nodes:
            known = {*self.units, *(name for f in _outward(site.frame) for name in f.variables), INPUTS, *site.local}
            if not nearest(root, known).isascii():  # that node's name is the fault, and is reported
                return
            hint = did_you_mean(root, known, "", str(Path("", path.steps)))
            if site.alone and not nearest(root, known):
                hint = f"{{const: {root}}} is that text" + (f"; {hint}" if hint else "")
            if region := _region_with(root, site.frame):
                hint = f"did you mean `{region}.{path}`?"
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


def _lost_names(spec: PipelineSpec, root: Frame) -> Iterator[str]:
    """Names that are unknown only because of a fault that is reported elsewhere."""
    for name in (*spec.nodes, *spec.inputs):
        if not name.isidentifier():
            yield from re.split(r"\W+", name)
    for unit in every_unit(root):
        if (unit.kind is None and unit.node.around) or (unit.node.each is not None and unit.body is not None):
            yield from (ITEM, str(unit.node.params.get("as", ITEM)), str(unit.node.each_params.get("as", ITEM)))


def _region_with(port: str, frame: Frame) -> str:
    """The region around whose port, read inside, has this name; empty without one."""
    variables = (pair for outer in _outward(frame) for pair in outer.variables.items())
    return next((name for name, ports in variables if ports is not None and port in ports), "")


def _outward(frame: Frame) -> Iterator[Frame]:
    current: Frame | None = frame
    while current is not None:
        yield current
        current = current.parent


def _port_to_read(unit: Unit, names: Sequence[str]) -> str:
    """The port that is read most often, where no word is near the one written."""
    usual = next((name for name in ("text", "value", "items") if name in names), next(iter(names), ""))
    return f"for example `{unit.id}.{usual}`" if usual else ""
