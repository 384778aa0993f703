"""`flowllm plan`: what will run, in which order, with which models and policies."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flowllm.cli.options import Command, Overrides, Pipeline
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen
    from flowllm.compiler.explain import Outlined

HEAD = ("step", "kind", "reads", "runs", "model", "policies, outermost first")
STRUCK = "\N{COMBINING LONG STROKE OVERLAY}"


@record(kw_only=True)
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
            from flowllm.compiler.explain import outline

            what = outline(flow.plan)
            strike = struck_out if screen.on_terminal else str
            screen.table([HEAD, *_rows(what.steps, "", strike)])
            screen.note(f"{what.name or 'pipeline'}, digest {what.digest[:12]}, outputs: {', '.join(what.outputs)}")
        if findings and not self.quiet:
            screen.problems(findings)
        return 0


def _rows(steps: "tuple[Outlined, ...]", margin: str, strike: Callable[[str], str]) -> Iterator[tuple[str, ...]]:
    for step in steps:
        kind = " ".join([step.kind, *step.details])
        name = strike(step.id) if step.runs == "never" else step.id
        yield margin + name, kind, _reads(step), step.runs, " or ".join(step.models), " > ".join(step.policies)
        for case in step.dropped:
            yield f"{margin}  {strike(case)}", "case", "", "never", "", ""
        yield from _rows(step.inner, margin + "  ", strike)


def _reads(step: "Outlined") -> str:
    names = [link.source.rpartition("/")[2] + (f" ({link.label})" if link.label else "") for link in step.links]
    return ", ".join(names)


def struck_out(text: str) -> str:
    """The text with a line through it, for eyes: whoever searches a file for it would not find it."""
    return "".join(character + STRUCK for character in text)


COMMAND = ShowPlan
