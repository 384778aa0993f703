"""Random pipelines, and what the rules of the language say of them, read off what is written.

`make` writes a pipeline: plain nodes, routes, retry, cache and map regions inside each other, `each`,
`after`, nodes that fail and are rescued. `Reading` is the recursive reading of the rules: a node runs
if it is needed. It knows nothing of plans, indexes or early demand.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar

from flowllm.core.errors import NodeFailure
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node

DEEPEST = 3
SWITCH = re.compile(r"{{ (\S+) % 3 }}")
UNTIL = re.compile(r"{{ (\S+) % 2 == 0 or (\S+) == 2 }}")


def mixed(given: Any) -> int:
    """A number that every part of the data changes."""
    return zlib.crc32(json.dumps(given, sort_keys=True).encode()) % 1000


class Mix(Node):
    """Gives a number made of all that it reads, and a short list."""

    open_inputs: ClassVar[bool] = True
    fail: bool = False

    def output_ports(self, inputs, schemas):
        return {"value": {}, "list": {}}

    def run(self, **given):
        if self.fail:
            raise NodeFailure("node_failed", "as asked")
        value = mixed(given)
        return {"value": value, "list": [value + n for n in range(value % 3)]}


KINDS = Kinds({"mix": Mix})


class Maker:
    """Writes one random pipeline; nodes read only what was written before them, so there is no circle."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.nodes: dict[str, dict] = {}
        self.count = 0

    def pipeline(self) -> dict:
        readable = ["inputs.a", "inputs.b"]
        made = self.frame(readable, self.dice.randint(2, 9), 0)
        outputs = self.dice.sample(made, min(len(made), self.dice.randint(1, 2)))
        return {
            "inputs": {"a": "integer", "b": "integer"},
            "nodes": self.nodes,
            "outputs": {f"o{i}": self.result(name) for i, name in enumerate(outputs)},
        }

    def name(self) -> str:
        self.count += 1
        return f"n{self.dice.randint(0, 999):03}_{self.count}"

    def result(self, name: str) -> str:
        return f"{name}.items" if self.gives_items(name) else f"{name}.value"

    def gives_items(self, name: str) -> bool:
        return self.nodes[name]["kind"] == "map" or "each" in self.nodes[name]

    def frame(self, readable: list[str], size: int, depth: int) -> list[str]:
        """Nodes of one frame; what they give is added to ``readable``."""
        made: list[str] = []
        for _ in range(size):
            name = self.node(readable, made, depth)
            made.append(name)
            readable.append(self.result(name))
        return made

    def node(self, readable: list[str], made: list[str], depth: int) -> str:
        kinds = ["mix"] * 5 + ["route"] * 3 + ["failing", "each"]
        if depth < DEEPEST:
            kinds += ["retry", "cache", "map"]
        kind = self.dice.choice(kinds)
        name = self.name()
        if kind in ("retry", "cache", "map"):
            self.region(kind, name, readable, depth)
        elif kind == "route":
            self.nodes[name] = self.route(readable)
        else:
            self.nodes[name] = self.plain(kind, name, readable)
        if made and self.dice.random() < 0.15:
            self.nodes[name]["after"] = self.dice.sample(made, 1)
        return name

    def reads(self, readable: list[str]) -> dict[str, Any]:
        return {f"v{i}": self.dice.choice(readable) for i in range(self.dice.randint(0, 2))}

    def plain(self, kind: str, name: str, readable: list[str]) -> dict:
        node: dict[str, Any] = {"kind": "mix", "in": self.reads(readable)}
        if kind == "failing":
            node |= {"fail": True, "when_failed": {"value": self.dice.choice(readable), "list": {"const": [1]}}}
        if kind == "each":
            item = f"x_{name}"
            node |= {"each": self.list_of(readable), "as": item}
            node["in"] |= {"item": item, "index": f"{name}.index"}
        return node

    def list_of(self, readable: list[str]) -> Any:
        return self.dice.choice([{"const": [1, 2]}, {"const": []}, [self.dice.choice(readable), 7]])

    def route(self, readable: list[str]) -> dict:
        cases = {key: self.slot(readable) for key in self.dice.sample(["0", "1", "2"], self.dice.randint(1, 3))}
        node = {"kind": "route", "switch": "{{ %s % 3 }}".replace("%s", self.scalar(readable)), "cases": cases}
        if len(cases) < 3 or self.dice.random() < 0.3:
            node["default"] = self.slot(readable)
        if self.dice.random() < 0.1:
            node["switch"] = {"const": self.dice.choice(list(cases))}
        return node

    def slot(self, readable: list[str]) -> Any:
        return self.dice.choice([self.dice.choice(readable), {"const": 5}, [self.dice.choice(readable)]])

    def scalar(self, readable: list[str]) -> str:
        """A path to a number: plain nodes and inputs give one."""
        known = [p for p in readable if p.startswith("inputs.") or self.is_number(p)]
        return self.dice.choice(known)

    def is_number(self, path: str) -> bool:
        node = self.nodes.get(path.partition(".")[0])
        return bool(node) and path.endswith(".value") and node["kind"] == "mix" and "fail" not in node

    def region(self, kind: str, name: str, readable: list[str], depth: int) -> None:
        inner = list(readable)
        self.nodes[name] = {"kind": kind}
        if kind == "retry":
            inner += [f"{name}.attempt", f"{name}.last"]
        if kind == "map":
            inner += [f"x_{name}", f"{name}.index"]
        known = len(inner)
        made = self.frame(inner, self.dice.randint(1, 3), depth + 1)
        node = {"kind": kind, "around": made, "of": self.dice.choice(inner[known:])}
        if kind == "retry":
            node |= {"attempts": 2, "until": f"{{{{ {self.scalar(inner)} % 2 == 0 or {name}.attempt == 2 }}}}"}
        if kind == "map":
            node |= {"over": self.list_of(readable), "as": f"x_{name}"}
        self.nodes[name] = node


def make(seed: int) -> dict:
    """A random pipeline with two numbers as inputs."""
    return Maker(seed).pipeline()


def shuffled(pipeline: dict, seed: int) -> dict:
    """The same pipeline with its nodes in another order."""
    nodes = list(pipeline["nodes"].items())
    Random(seed).shuffle(nodes)
    return {**pipeline, "nodes": dict(nodes)}


class Reading:
    """The recursive reading of the rules for one run."""

    def __init__(self, pipeline: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        self.nodes = pipeline["nodes"]
        self.outputs = pipeline["outputs"]
        self.inputs = inputs
        self.ran: Counter[str] = Counter()
        owned = {name: set(node["around"]) for name, node in self.nodes.items() if "around" in node}
        self.owner = {member: region for region, members in owned.items() for member in members}

    def run(self) -> dict[str, Any]:
        pass_ = Pass(self, None, {"inputs": self.inputs}, "")
        return {name: pass_.value(slot) for name, slot in self.outputs.items()}

    def inside(self, name: str, region: str) -> bool:
        """Whether a node stands in a region, at any depth."""
        while name in self.owner:
            name = self.owner[name]
            if name == region:
                return True
        return False

    def read_from_outside(self, region: str) -> set[str]:
        """Nodes outside that a region's nodes read, whether they run or not."""
        found: set[str] = set()
        for name, node in self.nodes.items():
            if name == region or self.inside(name, region):
                found.update(roots(node, name))
        return {name for name in found if name in self.nodes and name != region and not self.inside(name, region)}


def roots(node: Mapping[str, Any], name: str) -> set[str]:
    """The first words of all paths in a node; a constant switch has one case."""
    if isinstance(node.get("switch"), Mapping):
        case = node["switch"]["const"]
        chosen = {"cases": {case: node["cases"][case]}} if case in node["cases"] else {"default": node["default"]}
        return words(list(chosen.values())) | set(node.get("after", ()))
    slots = [
        node.get(key) for key in ("in", "each", "over", "switch", "cases", "default", "of", "until", "when_failed")
    ]
    return {*(word for slot in slots for word in words(slot)), *node.get("after", ())} - {name}


def words(slot: Any) -> set[str]:
    if isinstance(slot, str):
        return {path.partition(".")[0] for path in re.findall(r"[a-z]\w*(?:\.\w+)*", slot)}
    if isinstance(slot, Mapping):
        return set() if "const" in slot else {word for part in slot.values() for word in words(part)}
    return {word for part in slot for word in words(part)} if isinstance(slot, list) else set()


class Pass:
    """One pass through a frame: an attempt, an item, or the whole pipeline."""

    def __init__(self, reading: Reading, region: str | None, own: Mapping[str, Any], prefix: str, outer=None) -> None:
        self.reading = reading
        self.region = region
        self.own = own
        self.prefix = prefix
        self.outer = outer
        self.done: dict[str, Mapping[str, Any]] = {}

    def value(self, slot: Any) -> Any:
        if isinstance(slot, list):
            return [self.value(part) for part in slot]
        if isinstance(slot, Mapping):
            return slot["const"]
        if not isinstance(slot, str):
            return slot
        if found := SWITCH.fullmatch(slot):
            return self.value(found[1]) % 3
        if found := UNTIL.fullmatch(slot):
            return self.value(found[1]) % 2 == 0 or self.value(found[2]) == 2
        root, _, port = slot.partition(".")
        ports = self.look_up(root)
        return ports[port] if port else ports

    def look_up(self, name: str) -> Any:
        if name in self.own:
            return self.own[name]
        if name in self.reading.nodes and self.reading.owner.get(name) == self.region:
            return self.need(name)
        return self.outer.look_up(name)

    def need(self, name: str) -> Mapping[str, Any]:
        if name not in self.done:
            node = self.reading.nodes[name]
            for other in node.get("after", ()):
                self.look_up(other)
            self.done[name] = self.carry_out(name, node)
        return self.done[name]

    def carry_out(self, name: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "around" in node:
            for outside in self.reading.read_from_outside(name):
                self.look_up(outside)
            return getattr(self, node["kind"])(name, node)
        if "each" in node:
            for outside in roots(node, name) & self.reading.nodes.keys():
                self.look_up(outside)
            items = self.value(node["each"])
            own = [{name: {"index": i}, node["as"]: item} for i, item in enumerate(items)]
            return {"items": [self.inner(name, o, f"[{i}]").mix(name, node) for i, o in enumerate(own)]}
        return self.route(name, node) if node["kind"] == "route" else self.mix(name, node)

    def mix(self, name: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
        given = {port: self.value(slot) for port, slot in node["in"].items()}
        self.reading.ran[self.prefix + name] += 1
        if node.get("fail"):
            return {port: self.value(slot) for port, slot in node["when_failed"].items()}
        return Mix().run(**given)

    def route(self, name: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
        case = str(self.value(node["switch"]))
        slot = node["cases"][case] if case in node["cases"] else node["default"]
        return {"value": self.value(slot)}

    def inner(self, name: str, own: Mapping[str, Any], mark: str) -> "Pass":
        return Pass(self.reading, name, own, f"{self.prefix}{name}{mark}/", self)

    def retry(self, name: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
        last = None
        for attempt in (1, 2):
            inner = self.inner(name, {name: {"attempt": attempt, "last": last}}, f"#{attempt}")
            last, good = inner.value(node["of"]), inner.value(node["until"])
            if good:
                break
        return {"value": last}

    def cache(self, name: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"value": self.inner(name, {}, "").value(node["of"])}

    def map(self, name: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
        own = [{name: {"index": i}, node["as"]: item} for i, item in enumerate(self.value(node["over"]))]
        return {"items": [self.inner(name, o, f"[{i}]").value(node["of"]) for i, o in enumerate(own)]}
