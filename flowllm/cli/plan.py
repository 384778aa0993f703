"""`flowllm plan`: what will run, in which order, with which models and policies, and what is known of the models."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flowllm.cli.options import Command, Overrides, Pipeline
from flowllm.core.prices import UNITS
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen
    from flowllm.compiler.explain import Outlined
    from flowllm.core.card import Catalog

HEAD = ("step", "kind", "reads", "runs", "model", "window", "$ per million in/out", "policies, outermost first")
UNKNOWN = "?"
STRUCK = "\N{COMBINING LONG STROKE OVERLAY}"


@record(kw_only=True)
class ShowPlan(Command):
    """Show the steps of a pipeline, their models with windows and prices, and the policies of each call in order."""

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
            screen.table([HEAD, *_Rows(flow.environment.catalog, strike).of(what.steps, "")])
            screen.note(f"{what.name or 'pipeline'}, digest {what.digest[:12]}, outputs: {', '.join(what.outputs)}")
        if findings and not self.quiet:
            screen.problems(findings)
        return 0


@record
class _Rows:
    """Makes rows of steps."""

    catalog: "Catalog"
    strike: Callable[[str], str]

    def of(self, steps: "tuple[Outlined, ...]", margin: str) -> Iterator[tuple[str, ...]]:
        for step in steps:
            kind = " ".join([step.kind, *step.details])
            name = self.strike(step.id) if step.runs == "never" else step.id
            window, price = _each(map(self._window, step.models)), _each(map(self._price, step.models))
            models, policies = " or ".join(step.models), " > ".join(step.policies)
            yield margin + name, kind, _reads(step), step.runs, models, window, price, policies
            for case in step.dropped:
                yield f"{margin}  {self.strike(case)}", "case", "", "never", "", "", "", ""
            yield from self.of(step.inner, margin + "  ")

    def _window(self, name: str) -> str:
        card = self.catalog.model(name)
        return f"{card.window:,}" if card and card.window else UNKNOWN

    def _price(self, name: str) -> str:
        from flowllm.api.model_facts import model_of

        model = model_of(self.catalog, name)
        sides = [model.per_million(item) for item in ("input", "output")]
        if model.free:
            return "free"
        tokens = "/".join(UNKNOWN if amount is None else f"{amount:f}" for amount in sides)
        return " + ".join([tokens, *(f"{rate.amount:f}/{UNITS[rate.item]}" for rate in model.beside())])


def _each(words: Iterator[str]) -> str:
    """What is known of several models, once where it is the same of all."""
    return " or ".join(dict.fromkeys(words))


def _reads(step: "Outlined") -> str:
    names = [link.source.rpartition("/")[2] + (f" ({link.label})" if link.label else "") for link in step.links]
    return ", ".join(names)


def struck_out(text: str) -> str:
    """The text with a line through it, for eyes: whoever searches a file for it would not find it."""
    return "".join(character + STRUCK for character in text)


COMMAND = ShowPlan
