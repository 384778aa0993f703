"""Order, circles and demand within one frame. Nothing here recurses: chains may be any length.

``networkx`` is imported only to name a circle; a frame without one is put in order by a heap, so
that steps of equal standing follow their ids and not the file.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from flowllm.compiler.findings import Findings
from flowllm.compiler.frames import Frame, Unit, every_unit
from flowllm.text.slots import references

if TYPE_CHECKING:
    import networkx as nx

SHOWN = 12
"""Ids of a circle that a message shows."""


def put_in_order(frame: Frame, findings: Findings) -> None:
    """Set ``frame.order``. Units that wait for each other are reported, and come last with all that reads them."""
    reads = {name: {other for other in unit.reads.all() if other in frame.units} for name, unit in frame.units.items()}
    order = _ordered(reads)
    done = set(order)
    left = {name: reads[name] - done for name in reads.keys() - done} if len(order) < len(reads) else {}
    for circle in circles(left) if left else ():
        unit = frame.units[circle[0]]
        hint = _drop(unit, circle[1 % len(circle)])
        findings.report("cycle", f"{_shown(circle)}: each waits for the next", unit.id, unit.node.origin, hint)
    frame.order = tuple(frame.units[name] for name in (*order, *sorted(left)))


def _drop(unit: Unit, other: str) -> str:
    """Which reference to drop: one by which ``unit``, or what it owns, waits for ``other``."""
    inside = [unit, *(every_unit(unit.body) if unit.body is not None else ())]
    for reader in inside:
        node = reader.node
        if other in node.after:
            rest = ", ".join(name for name in node.after if name != other)
            return f"{node.id}: {{after: [{rest}]}}"
        read = {**{f"in.{name}": slot for name, slot in node.ports.items()}, **node.fields}
        if node.each is not None:
            read["each"] = node.each
        for name, evaluable in read.items():
            for reference in references(evaluable):
                if reference.path.root == other:
                    return f"drop `{reference.path}` from `{node.id}.{name}`, or repeat both with a retry around them"
    return f"drop what `{unit.id}` reads of `{other}`"


def _ordered(reads: Mapping[str, set[str]]) -> list[str]:
    missing = {name: len(others) for name, others in reads.items()}
    readers: dict[str, list[str]] = {name: [] for name in reads}
    for name, others in reads.items():
        for other in others:
            readers[other].append(name)
    ready = [name for name, count in missing.items() if not count]
    heapify(ready)
    order = []
    while ready:
        name = heappop(ready)
        order.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if not missing[reader]:
                heappush(ready, reader)
    return order


def circles(reads: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """One circle of each group of nodes that wait for each other, its smallest id first."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from((name, other) for name in sorted(reads) for other in sorted(reads[name]))
    groups = [sorted(group) for group in nx.strongly_connected_components(graph)]
    for group in sorted(groups):
        first = group[0]
        if len(group) > 1 or graph.has_edge(first, first):
            yield _circle_through(graph.subgraph(group), first)


def _circle_through(graph: "nx.DiGraph[str]", first: str) -> list[str]:
    """The shortest circle through ``first``, whose group is strongly connected."""
    import networkx as nx

    if graph.has_edge(first, first):
        return [first]
    far: dict[str, int] = nx.single_source_shortest_path_length(graph.reverse(copy=False), first)
    onward = min(graph.successors(first), key=lambda other: (far[other], other))
    return [first, *nx.shortest_path(graph, onward, first)[:-1]]


def _shown(circle: list[str]) -> str:
    names = [*circle, circle[0]]
    if len(names) > SHOWN:
        names = [*names[: SHOWN - 3], "...", *names[-2:]]
    return " -> ".join(names)


def early(frame: Frame, index: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """For each route what all its cases need and its switch does not: it may start before the choice.

    Where no case may fit and `when_failed` then gives the ports, that is one more case. Only what no
    other such step needs is listed; demand goes on from there. Sets of steps are the bits of one
    integer, which keeps thousands of routes cheap.
    """
    routes = [unit for unit in frame.order if unit.reads.cases]
    if not routes:
        return {}
    found: dict[str, tuple[int, ...]] = {}
    demands: list[int] = []
    own: dict[str, int] = {}
    for position, unit in enumerate(frame.order):
        demand = _demand(unit.reads.needs, index, demands)
        if unit.reads.cases:
            shared = _shared(unit, index, demands) & ~demand
            own[unit.id] = shared
            demand |= shared
        demands.append(demand | 1 << position)
    for unit in routes:
        found[unit.id] = _first_level(own[unit.id], demands)
    return found


def _demand(names: Iterable[str], index: Mapping[str, int], demands: list[int]) -> int:
    demand = 0
    for name in names:
        demand |= demands[index[name]]
    return demand


def _shared(unit: Unit, index: Mapping[str, int], demands: list[int]) -> int:
    ways = list(unit.reads.cases.values())
    if "" not in unit.reads.cases and unit.node.when_failed:
        ways.append(unit.reads.rescue)
    shared = -1
    for names in ways:
        shared &= _demand(names, index, demands)
    return max(shared, 0)


def _first_level(steps: int, demands: list[int]) -> tuple[int, ...]:
    """The steps of a set that no other step of it needs; the last in order cannot be needed by earlier ones."""
    found = []
    while steps:
        last = steps.bit_length() - 1
        found.append(last)
        steps &= ~demands[last]
    return tuple(reversed(found))


def reached(frame: Frame, *, folded: bool) -> set[str]:
    """The units of a frame that can ever be needed; ``folded`` counts what dropped cases read."""
    found: set[str] = set()
    pending = list(frame.roots)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        reads = frame.units[name].reads
        pending.extend(reads.all())
        if folded:
            pending.extend(reads.folded)
    return found
