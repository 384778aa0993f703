"""Which region owns which node: what ``around`` lists, and what listed regions own.

Two regions are apart or one owns the other. What cannot be is reported here, and then nothing is
said of scopes, for every such finding would follow from this one.
"""

from collections.abc import Mapping
from itertools import pairwise

from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import REGIONS
from flowllm.core.kinds import Kinds
from flowllm.core.spec import NodeSpec

DEEPEST = 50
"""Regions inside regions."""

Owned = dict[str, set[str]]


def find_parents(nodes: Mapping[str, NodeSpec], kinds: Kinds, findings: Findings) -> dict[str, str] | None:
    """The innermost region of each node that has one; None when the regions cannot be."""
    regions = {node.id: node for node in nodes.values() if _is_region(node, kinds)}
    listed = {name: _listed(node, nodes, findings) for name, node in regions.items()}
    owned = {name: _owned(name, listed) for name in regions}
    circles = [name for name in regions if name in owned[name]]
    for name in circles:
        _report_circle(regions[name], listed[name], owned, findings)
    owners = _owners({name: members for name, members in owned.items() if name not in circles})
    crossing = _report_crossing(owners, owned, nodes, findings)
    if circles or crossing:
        return None
    parents = {node: chain[0] for node, chain in owners.items()}
    return parents if _report_depth(owners, nodes, findings) else None


def _is_region(node: NodeSpec, kinds: Kinds) -> bool:
    kind = kinds.find(node.kind) if node.kind else None
    return kind is not None and kind.control in REGIONS


def _listed(node: NodeSpec, nodes: Mapping[str, NodeSpec], findings: Findings) -> list[str]:
    where, origin = f"{node.id}.around", node.place("around")
    if not node.around and not findings.told("bad_value", where):
        findings.report("bad_around", f"`{node.id}` lists no nodes", where, origin, "around: [ask, check]")
    for index, name in enumerate(node.around):
        if name not in nodes:
            place = node.origins.get(f"around.{index}", origin)
            findings.report("unknown_reference", f"unknown reference `{name}`", where, place, did_you_mean(name, nodes))
    return [name for name in dict.fromkeys(node.around) if name in nodes]


def _owned(region: str, listed: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(listed[region])
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(listed.get(name, ()))
    return found


def _report_circle(node: NodeSpec, listed: list[str], owned: Owned, findings: Findings) -> None:
    where, origin = f"{node.id}.around", node.place("around")
    if node.id in listed:
        message, culprit = f"`{node.id}` lists itself", node.id
    else:
        culprit = next(name for name in listed if name == node.id or node.id in owned.get(name, ()))
        message = f"`{node.id}` and `{culprit}` would be inside each other"
    rest = [name for name in listed if name != culprit]
    findings.report("bad_around", message, where, origin, f"around: [{', '.join(rest)}]")


def _owners(owned: Owned) -> dict[str, list[str]]:
    """For each node its regions, the smallest first."""
    found: dict[str, list[str]] = {}
    for region in sorted(owned, key=lambda name: (len(owned[name]), name)):
        for node in owned[region]:
            found.setdefault(node, []).append(region)
    return found


def _report_crossing(
    owners: Mapping[str, list[str]], owned: Owned, nodes: Mapping[str, NodeSpec], findings: Findings
) -> bool:
    pairs = {
        (inner, outer) for chain in owners.values() for inner, outer in pairwise(chain) if inner not in owned[outer]
    }
    for inner, outer in sorted(pairs):
        first, second = sorted((inner, outer))
        both = [name for name in nodes if name in owned[inner] and name in owned[outer]]
        message = f"regions `{first}` and `{second}` cross: both own {', '.join(both)}; "
        message += f"put `{second}` into {first}.around or `{first}` into {second}.around"
        fixed = ", ".join(dict.fromkeys([*nodes[outer].around, inner]))
        findings.report("regions_cross", message, "", nodes[outer].place("around"), f"{outer}: {{around: [{fixed}]}}")
    return bool(pairs)


def _report_depth(owners: Mapping[str, list[str]], nodes: Mapping[str, NodeSpec], findings: Findings) -> bool:
    deep = next((name for name, chain in owners.items() if len(chain) > DEEPEST), None)
    if deep is None:
        return True
    message = f"`{deep}` stands inside more than {DEEPEST} regions"
    findings.report("bad_around", message, deep, nodes[deep].origin, "move inner regions into a sub-pipeline")
    return False
