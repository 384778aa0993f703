"""`flowllm check`: everything that can be wrong before a run, and what a run would cost, for many files at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command
from flowllm.core.on_disk import lies_there
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen
    from flowllm.compiler.estimate import Estimate
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
        problems = [problem for one in found.values() for problem in one.problems]
        if self.as_json:
            screen.json({"files": [{"file": file, **one.to_data()} for file, one in found.items()]})
        elif self.format != "text":
            screen.problems(problems, as_data_on_stdout=True)
        else:
            screen.problems([problem for problem in problems if problem.severity == "error" or not self.quiet])
            for file, one in found.items():
                screen.note("\n".join([f"{file}: {one.verdict()}", *one.unbounded()]))
            if any(one.is_guessed for one in found.values()):
                screen.note(_assumed())
        return 0 if all(one.ok for one in found.values()) else 2

    def _check(self, file: str, overrides: Sequence[str]) -> "Checked":
        from flowllm.api.absent import absent_models
        from flowllm.cli.opening import open_flow
        from flowllm.cli.render import problems_of
        from flowllm.compiler.estimate import foreseen
        from flowllm.core.errors import PipelineInvalid, UsageError
        from flowllm.pricing.cost import pricing_of

        try:
            flow = open_flow(file, overrides)
            problems = flow.check(strict=self.strict)
            problems += tuple(absent_models(flow.environment, flow.plan))
        except (PipelineInvalid, UsageError) as error:
            return Checked(problems_of(error))
        catalog = flow.environment.catalog
        return Checked(problems, tuple(foreseen(flow.plan, catalog, pricing_of(catalog))))


@record
class Checked:
    """What was found in one file, and what each of its nodes may ask for; None where it cannot run."""

    problems: "tuple[Problem, ...]"
    rows: "tuple[Estimate, ...] | None" = None

    @property
    def ok(self) -> bool:
        """Whether it can run."""
        return not any(problem.severity == "error" for problem in self.problems)

    def to_data(self) -> dict[str, Any]:
        """As plain data; ``nodes`` and ``total`` are what `run --dry-run --json` calls so."""
        from flowllm.cli.formats import as_data
        from flowllm.compiler.estimate import totalled

        found: dict[str, Any] = {"ok": self.ok, "problems": [as_data(problem) for problem in self.problems]}
        if self.rows is not None:
            found["nodes"] = [row.to_data() for row in self.rows]
            found["total"] = totalled(list(self.rows)).to_data()
        return found

    def verdict(self) -> str:
        """``ok``, or how much was found; and the cost, where a model may be asked."""
        from flowllm.cli.rehearse import cost_range, is_guessed, money
        from flowllm.cli.render import counted
        from flowllm.compiler.estimate import totalled

        said = counted(self.problems) or "ok"
        if not self.rows:
            return said
        total = totalled(list(self.rows))
        return f"{said}, cost {cost_range(total)}" + (f", expected {money(total.expected)}" * is_guessed(total))

    @property
    def is_guessed(self) -> bool:
        """Whether the cost has an expected value of its own."""
        from flowllm.cli.rehearse import is_guessed
        from flowllm.compiler.estimate import totalled

        return bool(self.rows) and is_guessed(totalled(list(self.rows or ())))

    def unbounded(self) -> list[str]:
        """Why the cost has no bound, one line for each node."""
        return [f"  {row.node}: {row.why}" for row in self.rows or () if row.why]


def _assumed() -> str:
    from flowllm.compiler.estimate import ASSUMED

    return ASSUMED


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files, and overrides. A word with ``=`` is an override unless a file is called so."""
    overrides = [word for word in words if ("=" in word or word.startswith("~")) and not lies_there(Path(word))]
    return [word for word in words if word not in overrides], overrides


COMMAND = Check
