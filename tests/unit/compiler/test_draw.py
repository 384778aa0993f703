"""Drawings of one plan in every form, as they are read by people and by Mermaid and Graphviz."""

import json
from dataclasses import asdict

import pytest

from flowllm.compiler import draw
from flowllm.compiler.explain import outline
from tests.unit.compiler.worlds import compiled, nodes

CALL = {"kind": "call", "prompt": "hi"}
WAY = {
    "kind": "route",
    "switch": "inputs.which",
    "cases": {"a": "a.value", 'say "b"|x\\y': "s.value"},
    "default": "inputs.n",
    "when_failed": {"value": "z.value"},
}
PLAN = compiled(
    nodes(
        {"o": "way.value", "t": "{{ way.value ~ ' & more' }}", "c": {"const": "é"}, "l": ["a.value"]},
        way=WAY,
        a={"kind": "fake", "in": {"v": "inputs.text"}},
        z={"kind": "fake", "in": {"v": "inputs.text"}},
        s={"kind": "retry", "around": ["x"], "of": "x.text", "until": "{{ s.attempt > 1 }}", "attempts": 2},
        x={**CALL, "prompt": "{{ a.value }}", "retry": 2, "fallback": ["open/y"], "cache": "7d"},
        idle={**CALL, "each": "inputs.xs", "keep_going": True},
        dead={"kind": "route", "switch": {"const": 'k <"q"> & \\'}, "cases": {"k": "z.value"}, "default": "z.value"},
    )
).plan
NAME = f"pipeline  {PLAN.digest[:12]}"

TREE = r"""
├─ a     fake
├─ idle  never runs  map  each item of inputs.xs  keeps going
│  └─ idle  never runs  call  retry > meter > acme/large
├─ s     retry  at most 2 attempts  <- a
│  └─ x  call  cache 7d > single-flight > fallback open/y > retry 2 > meter > acme/large or open/y
├─ z     fake
├─ dead  never runs  route  by "k <\"q\"> & \\"  <- default: z  never: k
└─ way   route  by inputs.which  if it fails: value  <- a: a, say "b"|x\y: s, failed: z
   o = way.value
   t = {{ way.value ~ ' & more' }}
   c = "é"
   l = {...}
"""

MERMAID = r"""flowchart TD
  n_a["a<br>fake"]
  subgraph n_idle["idle<br>map each item of inputs.xs keeps going"]
    n_idle__idle["idle<br>call<br>acme/large"]
  end
  subgraph n_s["s<br>retry at most 2 attempts"]
    n_s__x["x<br>call<br>acme/large<br>open/y"]
  end
  n_z["z<br>fake"]
  n_dead{"dead<br>route by #quot;k #lt;\#quot;q\#quot;> #amp; \\#quot;"}
  n_way{"way<br>route by inputs.which if it fails: value"}
  n_a --> n_s
  n_z -.->|"default"| n_dead
  n_a -.->|"a"| n_way
  n_s -.->|"say #quot;b#quot;#124;x\y"| n_way
  n_z -.->|"failed"| n_way
  classDef never stroke-dasharray: 4, text-decoration: line-through
  class n_idle,n_idle__idle,n_dead never
"""

DOT = r"""digraph {
  compound=true; node [shape=box];
  "a" [label="a\nfake"];
  subgraph "cluster_idle" {
    "idle" [label="idle\nmap each item of inputs.xs keeps going", style=dotted, fontcolor=gray];
    "idle/idle" [label="idle\ncall\nacme/large", style=dotted, fontcolor=gray];
  }
  subgraph "cluster_s" {
    "s" [label="s\nretry at most 2 attempts"];
    "s/x" [label="x\ncall\nacme/large\nopen/y"];
  }
  "z" [label="z\nfake"];
  "dead" [label="dead\nroute by \"k <\\\"q\\\"> & \\\\\"", style=dotted, fontcolor=gray, shape=diamond];
  "way" [label="way\nroute by inputs.which if it fails: value", shape=diamond];
  "a" -> "s";
  "z" -> "dead" [style=dashed, label="default"];
  "a" -> "way" [style=dashed, label="a"];
  "s" -> "way" [style=dashed, label="say \"b\"|x\\y"];
  "z" -> "way" [style=dashed, label="failed"];
}
"""


@pytest.mark.parametrize(("form", "drawn"), [("tree", NAME + TREE), ("mermaid", MERMAID), ("dot", DOT)])
def test_drawings(form, drawn):
    assert draw.FORMATS[form](PLAN) == drawn


def test_json_is_the_outline():
    text = draw.as_json(PLAN)
    assert json.loads(text) == json.loads(json.dumps(asdict(outline(PLAN))))
    assert '"é' in text.replace('\\"', '"')
    assert text.startswith('{\n  "name"')


@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_nothing_is_marked_where_everything_can_run(form):
    plan = compiled(nodes(a={"kind": "fake", "in": {"v": "inputs.text"}})).plan
    assert not any(word in draw.FORMATS[form](plan) for word in ("never", "dotted", "dashed"))
