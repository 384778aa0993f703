"""`flowllm models sync`: facts of models from a published table into the registry files of a project."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.catalog.importing.changes import Change, Report
    from flowllm.cli.render import Screen

SHOWN = 20
"""Names that are shown of each list; ``--json`` has all."""


@record(kw_only=True)
class SyncModels(Command):
    """Take windows, capabilities and prices of models from a published table on this machine. Nothing is asked."""

    source: Annotated[
        Path,
        typer.Option("--from", metavar="FILE", help="A wheel of LiteLLM, its JSON table, or a YAML file of ExLLM."),
    ]
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write (default: the project's providers/models).")
    ] = None
    release: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The table's version, where its name does not tell it.")
    ] = None
    as_of: Annotated[
        str | None, typer.Option(metavar="DAY", help="The table's day, 2026-11-22 (default: that of the file).")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change and write nothing.")] = False
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Also where models or providers that are there would go.")
    ] = False

    def carry_out(self, screen: "Screen") -> int:
        """Write the files and print what changed and what is doubtful."""
        from flowllm.api.syncing import Source, sync_models
        from flowllm.cli.opening import here

        into = self.into or here().project / "providers" / "models"
        source = Source(path=self.source, release=self.release or "", as_of=self.as_of or "")
        report = sync_models(source, into, allow_shrink=self.allow_shrink, dry_run=self.dry_run)
        if self.as_json:
            screen.json({"into": str(into), "dry_run": self.dry_run, **report.as_json()})
        else:
            screen.text("\n".join(_lines(report)))
            screen.note(_ending(report, into, dry_run=self.dry_run))
        return 0


def _ending(report: "Report", into: Path, *, dry_run: bool) -> str:
    if dry_run:
        return (
            f"nothing was written; it would be refused: {report.refused}" if report.refused else "nothing was written"
        )
    return f"{len(report.files)} files changed in {into}" if report.files else f"nothing changed in {into}"


def _lines(report: "Report") -> list[str]:
    from flowllm.catalog.importing.entry import FAULTS

    head, table = report.table.head, report.table
    lines = [
        f"{head.title} of {head.as_of}: {table.rows} entries, {report.models} models of {len(table.models)} providers"
    ]
    for word, names in (("added", report.added), ("removed", report.removed)):
        lines += _list(f"{word}: {len(names)}", names)
    lines += _list(f"changed: {len(report.changed)} facts", [_change(one) for one in report.changed])
    for reason, names in table.skipped.items():
        lines += _list(f"left out, {reason}: {len(names)}", names)
    for fault, meaning in FAULTS.items():
        if names := table.faults.get(fault, []):
            lines += _list(f"{fault} ({meaning}): {len(names)}", names)
    return lines


def _list(title: str, names: list[str]) -> list[str]:
    more = [f"  and {len(names) - SHOWN} more; --json has all"] if len(names) > SHOWN else []
    return [title, *(f"  {name}" for name in names[:SHOWN]), *more]


def _change(change: "Change") -> str:
    before, after = ("unknown" if value is None else value for value in (change.before, change.after))
    return f"{change.model}: {change.fact}: {before} -> {after}"
