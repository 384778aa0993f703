"""The working model of the compiler: frames and the units that stand in them.

A frame is the pipeline itself or the inside of a region. A unit is one future step: a node, or the
map that ``each`` puts around one. These objects live while one pipeline is compiled and no longer;
what leaves the compiler is a `Plan`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from flowllm.core.kinds import Kinds
from flowllm.core.node import Node
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.plan import Plan
from flowllm.core.record import record
from flowllm.core.slot import Literal, Path, Slot
from flowllm.core.spec import NodeSpec, Schema

REGIONS = frozenset({"retry", "cache", "map"})
INNER_FIELDS = frozenset({"of", "until", "problem"})
"""Fields of a region that are read inside it."""
ITEM = "item"
"""What an item of a map is called where no ``as`` says otherwise."""

Ports = Mapping[str, Schema]


@record(frozen=False)
class Reads:
    """What a unit reads, as ids of units in its own frame, and paths that a region reads from outside."""

    needs: set[str] = field(default_factory=set)
    cases: dict[str, set[str]] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)
    rescue: set[str] = field(default_factory=set)
    captures: dict[Path, None] = field(default_factory=dict)

    def all(self) -> set[str]:
        """Everything that may have to run before the unit ends."""
        return self.needs.union(self.rescue, *self.cases.values())


@record(frozen=False, eq=False)
class Unit:
    """One future step. ``ports`` None: nothing is known of them, so that anything may be read.

    ``each``: the map around a node; the node itself, ``is_wrapped``, stands in its body under the same id.
    """

    id: str
    node: NodeSpec
    kind: type[Node] | None
    control: str
    frame: "Frame"
    each: bool = False
    is_wrapped: bool = False
    body: "Frame | None" = None
    instance: Node | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    ports: Ports | None = None
    reads: Reads = field(default_factory=Reads)
    policies: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    models: tuple[str, ...] = ()
    plan: Plan | None = None
    folded: tuple[str, ...] = ()
    unsure: dict[str, Origin] = field(default_factory=dict)
    typed: Origin = UNKNOWN

    @property
    def kind_name(self) -> str:
        """The kind of the step that the unit becomes."""
        return "map" if self.each else self.node.kind

    @property
    def is_region(self) -> bool:
        """Whether it owns other nodes."""
        return self.control in REGIONS


@record(frozen=False, eq=False)
class Frame:
    """The pipeline (no ``owner``), or the inside of one region.

    ``variables`` are names of the frame itself: the region's id with its inner ports, and an item's
    name (None: a value of any shape). ``types`` says what is known of them.
    """

    owner: Unit | None = None
    units: dict[str, Unit] = field(default_factory=dict)
    variables: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    outputs: dict[str, Slot] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    types: dict[str, Schema] = field(default_factory=dict)
    order: tuple[Unit, ...] = ()

    @property
    def parent(self) -> "Frame | None":
        """The frame that the owner stands in."""
        return self.owner.frame if self.owner else None

    def inside(self, region: Unit) -> bool:
        """Whether the frame is the region's body, or further in."""
        frame: Frame | None = self
        while frame is not None:
            if frame.owner is region:
                return True
            frame = frame.parent
        return False


def inner_frames(frame: Frame) -> Iterator[Frame]:
    """The frame and all frames inside it, outer ones first."""
    pending = [frame]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(unit.body for unit in current.units.values() if unit.body is not None)


def every_unit(frame: Frame) -> Iterator[Unit]:
    """All units of a frame and of the frames inside it."""
    for current in inner_frames(frame):
        yield from current.units.values()


def build(nodes: Mapping[str, NodeSpec], parents: Mapping[str, str], kinds: Kinds) -> Frame:
    """All nodes in their frames; ``parents`` names the innermost region of each node that has one."""
    root = Frame()
    bodies: dict[str, Frame] = {}
    regions = set(parents.values())
    for region in _outer_first(regions, parents):
        place = bodies[parents[region]] if region in parents else root
        bodies[region] = _place_region(nodes[region], place, kinds)
    for node in nodes.values():
        if node.id not in bodies:
            _place_node(node, bodies[parents[node.id]] if node.id in parents else root, kinds)
    return root


def _outer_first(regions: set[str], parents: Mapping[str, str]) -> list[str]:
    """Regions such that each comes after the one that owns it."""
    done: dict[str, None] = {}
    for region in sorted(regions):
        chain = [region]
        while chain[-1] in parents and parents[chain[-1]] not in done:
            chain.append(parents[chain[-1]])
        done.update(dict.fromkeys(reversed(chain)))
    return list(done)


def _place_region(node: NodeSpec, frame: Frame, kinds: Kinds) -> Frame:
    kind = kinds.find(node.kind)
    unit = Unit(node.id, node, kind, kind.control if kind else "", frame)
    frame.units[node.id] = unit
    return _open(unit, node.params.get("as", ITEM))


def _open(unit: Unit, item: object) -> Frame:
    """The body of a region, with the names that the region gives to it."""
    body = Frame(owner=unit)
    unit.body = body
    body.variables[unit.id] = unit.kind.inner_ports if unit.kind else ()
    if unit.control == "map":
        body.variables[str(item)] = None
    body.outputs = {"of": Path(unit.id, (), unit.node.origin)} if unit.each else _read_inside(unit.node)
    return body


def _read_inside(node: NodeSpec) -> dict[str, Slot]:
    """What a region reads of its own frame; the problem of ``until: X.ok`` is ``X.errors``."""
    fields = node.fields
    found = {
        name: slot for name in sorted(INNER_FIELDS) if isinstance(slot := fields.get(name), Slot) and not _is_null(slot)
    }
    until = found.get("until")
    if "problem" not in found and isinstance(until, Path) and until.steps == ("ok",):
        found["problem"] = Path(until.root, ("errors",), until.origin)
    return found


def _is_null(slot: Slot) -> bool:
    return isinstance(slot, Literal) and slot.value is None


def _place_node(node: NodeSpec, frame: Frame, kinds: Kinds) -> None:
    kind = kinds.find(node.kind) if node.kind else None
    control = kind.control if kind else ""
    if node.each is None:
        unit = frame.units[node.id] = Unit(node.id, node, kind, control, frame)
        if control in REGIONS:
            _open(unit, node.params.get("as", ITEM))
        return
    outer = frame.units[node.id] = Unit(node.id, node, kinds.find("map"), "map", frame, each=True)
    body = _open(outer, node.each_params.get("as", ITEM))
    body.units[node.id] = Unit(node.id, node, kind, control, body, is_wrapped=True)
