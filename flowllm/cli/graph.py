"""`flowllm graph`: the picture of a pipeline as text, drawn without any service."""

from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command, Overrides, Pipeline
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

DRAWINGS = ("tree", "mermaid", "dot", "json")


def _known(value: str) -> str:
    if value not in DRAWINGS:
        raise typer.BadParameter(f"`{value}` is none of {', '.join(DRAWINGS)}")
    return value


@record(kw_only=True)
class Graph(Command):
    """Draw a pipeline: a tree for people, Mermaid or DOT for pages, JSON for programs."""

    pipeline: Pipeline
    overrides: Overrides = None
    drawing: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="|".join(DRAWINGS),
            help="How to draw it.",
            callback=_known,
            autocompletion=completion.among(*DRAWINGS),
        ),
    ] = "tree"

    def carry_out(self, screen: "Screen") -> int:
        """Print the drawing."""
        from flowllm.cli.opening import open_flow
        from flowllm.compiler import draw

        flow = open_flow(self.pipeline, self.overrides)
        flow.check(strict=self.strict)
        screen.text(draw.FORMATS["json" if self.as_json else self.drawing](flow.plan))
        return 0


COMMAND = Graph
