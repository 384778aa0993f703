"""What a plan is, for people: its steps with regions as boxes, their policies in order, what never runs.

`outline` gives the data; `draw` has the renderers. All is read off the plan alone, offline.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from typing import Literal as OneOf

from flowllm.compiler.candidates import asked
from flowllm.core.plan import Plan, Step
from flowllm.core.record import record
from flowllm.core.slot import Literal
from flowllm.policies import ALWAYS_ON

Runs = OneOf["always", "maybe", "never"]


@record
class Link:
    """A step that another one reads, by address; ``label`` is the case or ``failed`` where it is not always read."""

    source: str
    label: str = ""


@record
class Outlined:
    """One step. ``runs`` says whether its frame always needs it; ``inner`` are the steps of a region.

    ``policies`` are in the order in which they are around the call, outermost first. ``dropped``
    are cases that can never be chosen.
    """

    address: str
    id: str
    kind: str
    runs: Runs
    models: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    dropped: tuple[str, ...] = ()
    inner: tuple["Outlined", ...] = ()


@record
class Outline:
    """A whole plan. ``outputs`` names each output and the steps that it reads."""

    name: str
    digest: str
    inputs: tuple[str, ...]
    steps: tuple[Outlined, ...]
    outputs: Mapping[str, str]


def outline(plan: Plan) -> Outline:
    """The plan as data for drawings and for ``--json``."""
    return Outline(
        plan.name,
        plan.digest,
        tuple(plan.inputs),
        _steps(plan, "", plan.models, reachable=True),
        {name: _shown(slot) for name, slot in plan.outputs.items()},
    )


def certain(plan: Plan) -> set[int]:
    """The steps of a frame that run in any case."""
    return _closure(plan, possible=False)


def possible(plan: Plan) -> set[int]:
    """The steps of a frame that can run at all."""
    return _closure(plan, possible=True)


def alternatives(plan: Plan) -> dict[int, tuple[str, str]]:
    """The steps of a frame to which one case of a route alone leads, with that route and case."""
    can, found = possible(plan), dict[int, tuple[str, str]]()
    for index in sorted(can):
        for case in plan.steps[index].lazy:
            for step in can - _closure(plan, possible=True, without=(index, case)):
                found.setdefault(step, (plan.steps[index].id, case))
    return found


def _closure(plan: Plan, *, possible: bool, without: tuple[int, str] | None = None) -> set[int]:
    found: set[int] = set()
    pending = list(plan.roots)
    while pending:
        index = pending.pop()
        if index in found:
            continue
        found.add(index)
        step = plan.steps[index]
        pending.extend((*step.needs, *step.early))
        if possible:
            for case, needs in step.lazy.items():
                pending.extend(needs if (index, case) != without else ())
            pending.extend(step.rescue.needs if step.rescue else ())
    return found


def _steps(plan: Plan, prefix: str, groups: Mapping[str, Any], *, reachable: bool) -> tuple[Outlined, ...]:
    sure, can = certain(plan), possible(plan)
    found = []
    for index, step in enumerate(plan.steps):
        runs: Runs = "never" if not reachable or index not in can else "always" if index in sure else "maybe"
        found.append(_outlined(step, plan, prefix, groups, runs))
    return tuple(found)


def _outlined(step: Step, plan: Plan, prefix: str, groups: Mapping[str, Any], runs: Runs) -> Outlined:
    address = prefix + step.id
    inner: tuple[Outlined, ...] = ()
    if step.body is not None:
        groups = {**groups, **step.body.models}
        inner = _steps(step.body, f"{address}/", groups, reachable=runs != "never")
    return Outlined(
        address,
        step.id,
        step.kind,
        runs,
        models=asked(step, groups),
        policies=_policies(step),
        details=tuple(_details(step)),
        links=tuple(dict.fromkeys(Link(prefix + plan.steps[need].id, label) for need, label in _needs(step))),
        dropped=tuple(name or "default" for name in step.folded),
        inner=inner,
    )


def _needs(step: Step) -> Iterator[tuple[int, str]]:
    for need in step.needs:
        yield need, ""
    for case, needs in step.lazy.items():
        for need in needs:
            yield need, case or "default"
    for need in step.rescue.needs if step.rescue else ():
        yield need, "failed"


def _policies(step: Step) -> tuple[str, ...]:
    from flowllm.policies.chain import order

    written = {name: raw for name, raw in step.policies.items() if raw is not None and raw is not False}
    if step.model or step.models:
        on = {name: None for name in ALWAYS_ON if step.policies.get(name, True) not in (None, False)}
        written = {**on, **written}
    if "cache" in written:
        written["single_flight"] = None
    return tuple(_policy(name, written[name]) for name in order() if name in written)


def _policy(name: str, raw: object) -> str:
    word = name.replace("single_flight", "single-flight")
    if raw is None or raw is True or raw == {}:
        return word
    if isinstance(raw, Mapping):
        return f"{word} {' '.join(f'{key}={value}' for key, value in raw.items())}"
    return f"{word} {', '.join(map(str, raw)) if isinstance(raw, list) else raw}"


def _details(step: Step) -> Iterator[str]:
    """What a reader wants to see of regions and routes beside their name."""
    if step.kind == "retry":
        yield f"at most {step.params.get('attempts', 3)} attempts"
    if step.kind == "map":
        if "over" in step.inputs:
            yield f"each {step.params['as']} of {_shown(step.inputs['over'])}"
        if step.params.get("keep_going") is True:
            yield "keeps going"
    if step.kind == "cache" and step.params.get("ttl") is not None:
        yield f"for {step.params['ttl']}"
    if step.kind == "pipeline" and "use" in step.params:
        yield str(step.params["use"])
    if step.kind == "route" and "switch" in step.inputs:
        yield f"by {_shown(step.inputs['switch'])}"
    if step.rescue is not None:
        yield f"if it fails: {', '.join(step.rescue.ports)}"


def _shown(slot: object) -> str:
    """A slot as short text."""
    source = getattr(slot, "source", None)
    if source is not None:
        return f"{{{{ {str(source).strip()} }}}}"
    if hasattr(slot, "root"):
        return str(slot)
    return json.dumps(slot.value, ensure_ascii=False, default=str) if isinstance(slot, Literal) else "{...}"
