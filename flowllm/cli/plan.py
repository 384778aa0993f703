"""`flowllm plan`: what will run, in which order, with which models and policies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowllm.cli.options import Command, Overrides, Pipeline

if TYPE_CHECKING:
    from flowllm.cli.render import Screen
    from flowllm.core.plan import Plan, Step

STRUCK = "\N{COMBINING LONG STROKE OVERLAY}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPlan(Command):
    """Show the steps of a pipeline, their models, and the policies of each call in order."""

    pipeline: Pipeline
    overrides: Overrides = None

    def carry_out(self, screen: "Screen") -> int:
        """Print the plan as text, or as the JSON that other machines read."""
        from flowllm.cli.opening import open_flow

        flow = open_flow(self.pipeline, self.overrides)
        findings = flow.check(strict=self.strict)
        if self.as_json:
            from flowllm.compiler.plan_json import to_json

            screen.json(to_json(flow.plan))
        else:
            screen.text("\n".join(_lines(flow.plan)))
        if findings and not self.quiet:
            screen.problems(findings)
        return 0


def _lines(plan: "Plan") -> Iterator[str]:
    yield f"{plan.name or 'pipeline'}  {plan.digest[:12]}".rstrip()
    yield from _frame(plan, "  ")
    yield "outputs: " + ", ".join(plan.outputs)


def _frame(plan: "Plan", margin: str) -> Iterator[str]:
    for step in plan.steps:
        yield margin + _step(plan, step)
        yield from (f"{margin}    {line}" for line in _cases(plan, step))
        if step.body is not None:
            yield from _frame(step.body, margin + "  | ")


def _step(plan: "Plan", step: "Step") -> str:
    parts = [f"{step.id}: {step.kind}"]
    models = step.models or ((step.model,) if step.model else ())
    parts += [" or ".join(models)] if models else []
    policies = _policies(step)
    parts += [" > ".join(policies)] if policies else []
    needs = [plan.steps[i].id for i in step.needs]
    parts += ["after " + ", ".join(needs)] if needs else []
    parts += ["when it fails: " + ", ".join(step.rescue.ports)] if step.rescue else []
    return "  ".join(parts)


def _policies(step: "Step") -> list[str]:
    from flowllm.policies.chain import order

    known = [name for name in order() if name in step.policies]
    return [f"{name} {_short(step.policies[name])}".rstrip() for name in known]


def _short(value: object) -> str:
    if value in ({}, True):
        return ""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {item}" for key, item in value.items()) + ")"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cases(plan: "Plan", step: "Step") -> Iterator[str]:
    for case in step.cases:
        yield _case(plan, step, case, repr(case))
    if step.default is not None:
        yield _case(plan, step, "", "default")
    for case in step.folded:
        name = "default" if not case else repr(case)
        yield f"{struck_out(name)}  (never chosen)"


def _case(plan: "Plan", step: "Step", case: str, shown: str) -> str:
    needs = ", ".join(plan.steps[i].id for i in step.lazy.get(case, ()))
    return f"{shown}" + (f" -> {needs}" if needs else "")


def struck_out(text: str) -> str:
    """The text with a line through it."""
    return "".join(character + STRUCK for character in text)


COMMAND = ShowPlan
