"""A plan as a picture: an indented tree, Mermaid, Graphviz, or JSON. Text in, text out; no colours."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict

from flowllm.compiler.explain import Outlined, outline
from flowllm.core.plan import Plan

SHAPES = {"route": ('{"', '"}'), "": ('["', '"]')}
INDENT = "  "


def tree(plan: Plan) -> str:
    """Steps as lines, regions with their steps below them; what never runs says so."""
    what = outline(plan)
    lines = [f"{what.name or 'pipeline'}  {what.digest[:12]}"]
    lines.extend(_branches(what.steps, ""))
    lines.extend(f"   {name} = {slot}" for name, slot in what.outputs.items())
    return "\n".join(lines) + "\n"


def _branches(steps: tuple[Outlined, ...], before: str) -> Iterator[str]:
    width = max((len(step.id) for step in steps), default=0)
    for step in steps:
        last = step is steps[-1]
        yield f"{before}{'└─' if last else '├─'} {step.id:<{width}}  {_line(step)}".rstrip()
        yield from _branches(step.inner, before + ("   " if last else "│  "))


def _line(step: Outlined) -> str:
    """Kind, what is special, policies around the models, and what is read."""
    parts = [*(["never runs"] if step.runs == "never" else []), step.kind, *step.details]
    around = [*step.policies, *([" or ".join(step.models)] if step.models else [])]
    if around:
        parts.append(" > ".join(around))
    reads = [f"{link.label}: {_last(link.source)}" if link.label else _last(link.source) for link in step.links]
    if reads:
        parts.append(f"<- {', '.join(reads)}")
    parts.extend(f"never: {case}" for case in step.dropped)
    return "  ".join(parts)


def _last(address: str) -> str:
    return address.rpartition("/")[2]


def mermaid(plan: Plan) -> str:
    """A Mermaid flowchart; regions are subgraphs, lazy reads dotted."""
    what = outline(plan)
    lines = ["flowchart TD", *_mermaid_boxes(what.steps, INDENT)]
    lines.extend(_mermaid_links(what.steps))
    never = [_name(step.address) for step in _all(what.steps) if step.runs == "never"]
    if never:
        lines.append(f"{INDENT}classDef never stroke-dasharray: 4, text-decoration: line-through")
        lines.append(f"{INDENT}class {','.join(never)} never")
    return "\n".join(lines) + "\n"


def _mermaid_boxes(steps: tuple[Outlined, ...], indent: str) -> Iterator[str]:
    for step in steps:
        label = _label(step).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace("\n", "<br>")
        if step.inner:
            yield f'{indent}subgraph {_name(step.address)}["{label}"]'
            yield from _mermaid_boxes(step.inner, indent + INDENT)
            yield f"{indent}end"
        else:
            left, right = SHAPES.get(step.kind, SHAPES[""])
            yield f"{indent}{_name(step.address)}{left}{label}{right}"


def _mermaid_links(steps: tuple[Outlined, ...]) -> Iterator[str]:
    for step in _all(steps):
        for link in step.links:
            label = link.label.replace("|", "#124;").replace('"', "#quot;")
            arrow = f'-.->|"{label}"|' if label else "-->"
            yield f"{INDENT}{_name(link.source)} {arrow} {_name(step.address)}"


def dot(plan: Plan) -> str:
    """A Graphviz digraph; regions are clusters with their own name as a node inside."""
    what = outline(plan)
    lines = ["digraph {", f"{INDENT}compound=true; node [shape=box];", *_dot_boxes(what.steps, INDENT)]
    for step in _all(what.steps):
        for link in step.links:
            style = f" [style=dashed, label={_quoted(link.label)}]" if link.label else ""
            lines.append(f"{INDENT}{_quoted(link.source)} -> {_quoted(step.address)}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_boxes(steps: tuple[Outlined, ...], indent: str) -> Iterator[str]:
    for step in steps:
        style = ", style=dotted, fontcolor=gray" if step.runs == "never" else ""
        style += ", shape=diamond" if step.kind == "route" else ""
        node = f"{_quoted(step.address)} [label={_quoted(_label(step))}{style}];"
        if step.inner:
            yield f"{indent}subgraph {_quoted('cluster_' + step.address)} {{"
            yield f"{indent}{INDENT}{node}"
            yield from _dot_boxes(step.inner, indent + INDENT)
            yield f"{indent}}}"
        else:
            yield f"{indent}{node}"


def as_json(plan: Plan) -> str:
    """The outline as JSON."""
    return json.dumps(asdict(outline(plan)), indent=2, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Plan], str]] = {"tree": tree, "mermaid": mermaid, "dot": dot, "json": as_json}


def _all(steps: tuple[Outlined, ...]) -> Iterator[Outlined]:
    for step in steps:
        yield step
        yield from _all(step.inner)


def _label(step: Outlined) -> str:
    return "\n".join([step.id, " ".join([step.kind, *step.details]), *step.models])


def _name(address: str) -> str:
    """An address as a name that Mermaid takes; `end` and the like are its own words."""
    return "n_" + address.replace("/", "__")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
