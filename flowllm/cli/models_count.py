"""`flowllm models count`: how many tokens a text is for a model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.models_rows import Name
from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen


@record(kw_only=True)
class CountTokens(Command):
    """Count the tokens of a text, and say whether the model's own tokenizer counted or an estimate."""

    model: Name
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="The text.")] = None
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Count what is in a file of text. `-` is stdin.")
    ] = None

    def carry_out(self, screen: "Screen") -> int:
        """Print the number; with --json also whether it is exact."""
        from flowllm.api.counting import count
        from flowllm.api.model_facts import model_named
        from flowllm.cli.opening import here
        from flowllm.config import read_source_text
        from flowllm.core.errors import UsageError
        from flowllm.core.shell_line import shell_line

        if (self.text is None) == (self.file is None):
            hint = shell_line("flowllm", "models", "count", self.model, "--file", "prompt.txt")
            raise UsageError("bad_usage", "a text is given as a word or by --file FILE", hint=hint)
        environment = here()
        model = model_named(environment, self.model).name
        text = (
            read_source_text(str(self.file), sys.stdin.buffer if sys.stdin else None) if self.file else self.text or ""
        )
        found = count(text, model, environment=environment)
        if self.as_json:
            screen.json({"model": model, "tokens": found.n, "exact": found.exact})
        else:
            said = "exact" if found.exact else "estimate: no tokenizer of the model is named in its provider file"
            screen.table([(str(found.n), said)])
        return 0
