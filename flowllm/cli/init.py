"""`flowllm init`: a pipeline to start from, with its sample, its test, and a command that works offline."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

TEMPLATES = ("summarize", "extract", "answer", "classify", "blank")
SCHEMA = "schema.json"


def _known(value: str) -> str:
    if value not in TEMPLATES:
        raise typer.BadParameter(f"`{value}` is none of {', '.join(TEMPLATES)}")
    return value


@record(kw_only=True)
class Init(Command):
    """Write a pipeline to start from into a folder."""

    folder: Annotated[str, typer.Argument(metavar="DIRECTORY", help="Where to write; made when it is not there.")]
    template: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            metavar="|".join(TEMPLATES),
            help="What to write.",
            callback=_known,
            autocompletion=completion.among(*TEMPLATES),
        ),
    ] = "summarize"
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False

    def carry_out(self, screen: "Screen") -> int:
        """Write the files and print the next command."""
        target = Path(self.folder).expanduser()
        files = dict(self._files())
        self._refuse_existing(target, list(files))
        for name, text in files.items():
            _write(target / name, text)
        command = next_command(target, self.template)
        written = [str(target / name) for name in files]
        if self.as_json:
            screen.json({"written": written, "next": command})
            return 0
        for name in written:
            screen.note(f"wrote {name}")
        screen.note("next:")
        screen.text(command)
        return 0

    def _files(self) -> Iterator[tuple[str, str]]:
        from flowllm.cli.opening import here
        from flowllm.cli.schema import pipeline_schema

        source = template_folder(self.template)
        for path in sorted(source.rglob("*")):
            if path.is_file():
                yield path.relative_to(source).as_posix(), path.read_text("utf-8")
        yield SCHEMA, json.dumps(pipeline_schema(here().kinds), ensure_ascii=False, indent=1) + "\n"

    def _refuse_existing(self, target: Path, names: list[str]) -> None:
        from flowllm.core.errors import UsageError
        from flowllm.core.on_disk import lies_there

        there = [name for name in names if name != SCHEMA and lies_there(target / name)]
        if there and not self.force:
            message = f"{', '.join(there)} would be written over in {target}"
            raise UsageError("bad_usage", message, hint="choose another folder, or add --force")


def _write(path: Path, text: str) -> None:
    from flowllm.core.errors import UsageError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{path} cannot be written: {(error.strerror or 'no reason given').lower()}"
        raise UsageError("file_refused", message, hint="choose another folder") from None


def template_folder(name: str) -> Path:
    """Where a template's files lie."""
    return Path(__file__).parent / "templates" / name


def next_command(folder: Path, template: str) -> str:
    """A command that runs what was written, without key or network."""
    words = ["flowllm", "run", str(folder / f"{template}.yaml")]
    if (template_folder(template) / "mock.yaml").is_file():
        words += ["--mock", str(folder / "mock.yaml")]
    return shlex.join(words)


COMMAND = Init
