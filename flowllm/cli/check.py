"""`flowllm check`: everything that can be wrong before a run, for many files at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen
    from flowllm.core.errors import Problem


@record(kw_only=True)
class Check(Command):
    """Check pipelines without running them: no network, no key."""

    words: Annotated[
        list[str],
        typer.Argument(
            metavar="PIPELINE|OVERRIDE",
            help="Files to check; words with `=` or a leading `~` set something in each of them.",
            autocompletion=completion.pipelines,
        ),
    ]

    def carry_out(self, screen: "Screen") -> int:
        """Check every file; 2 when one has errors."""
        files, overrides = split_words(self.words)
        found = {file: self._check(file, overrides) for file in files}
        problems = [problem for some in found.values() for problem in some]
        if self.as_json:
            self._print_json(found, screen)
        elif self.format != "text":
            screen.problems(problems, as_data_on_stdout=True)
        else:
            screen.problems(problems)
        if self.format == "text" and not self.as_json:
            for file, some in found.items():
                screen.note(f"{file}: {_verdict(some)}")
        return 2 if any(problem.severity == "error" for problem in problems) else 0

    def _check(self, file: str, overrides: Sequence[str]) -> "tuple[Problem, ...]":
        from flowllm.cli.opening import open_flow
        from flowllm.cli.render import problems_of
        from flowllm.core.errors import PipelineInvalid, UsageError

        try:
            return open_flow(file, overrides).check(strict=self.strict)
        except (PipelineInvalid, UsageError) as error:
            return problems_of(error)

    def _print_json(self, found: "dict[str, tuple[Problem, ...]]", screen: "Screen") -> None:
        from flowllm.cli.formats import as_data

        rows = [
            {
                "file": file,
                "ok": not any(problem.severity == "error" for problem in some),
                "problems": [as_data(problem) for problem in some],
            }
            for file, some in found.items()
        ]
        screen.json({"files": rows})


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files, and overrides. A word with ``=`` is an override unless a file is called so."""
    overrides = [word for word in words if ("=" in word or word.startswith("~")) and not Path(word).exists()]
    return [word for word in words if word not in overrides], overrides


def _verdict(problems: "Sequence[Problem]") -> str:
    from flowllm.cli.render import counted

    return counted(problems) or "ok"


COMMAND = Check
