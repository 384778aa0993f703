"""What every command takes, and what a command is.

A command is a frozen dataclass: its fields are its arguments and options, its docstring its help, and
``carry_out`` its work. It imports what it needs in there, so that help and completion import nothing.
"""

import itertools
import os
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from flowllm.cli import completion
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

FORMATS = ("text", "json", "github", "sarif")
UNKNOWN_PRICE = ("fail", "warn", "zero")
LEVELS = ("debug", "info", "warning", "error")


def one_of(*words: str) -> object:
    """A callback of an option that takes one of these words."""

    def check(value: str) -> str:
        if value not in words:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(words)}")
        return value

    return check


Pipeline = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="A pipeline's YAML file.", autocompletion=completion.pipelines)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDE",
        help="Configuration (model=..., nodes.ask.temperature=0) and inputs (input.words=40).",
        autocompletion=completion.overrides,
    ),
]
Mock = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A YAML list of rules that mock models answer by, or NAME.test.yaml."),
]


@record(kw_only=True)
class Command:
    """The options that every command has."""

    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
    format: Annotated[
        str,
        typer.Option(metavar="|".join(FORMATS), help="How errors are written.", callback=one_of(*FORMATS)),
    ] = "text"
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors on stderr.")] = False
    log_level: Annotated[
        str,
        typer.Option(metavar="|".join(LEVELS), help="The least severe log line to write.", callback=one_of(*LEVELS)),
    ] = "warning"
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines as JSON.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Log everything; tracebacks of failures.")] = False
    record: Annotated[bool, typer.Option("--record", help="Keep what was sent and received (not available yet).")] = (
        False
    )

    needs_logs: ClassVar[bool] = False
    """Whether the command runs something that logs."""

    def carry_out(self, screen: "Screen") -> int:
        """Do the work and return the exit status. Raises `FlowError`."""
        raise AssertionError(type(self).__name__)


COMMON = tuple(Command.__dataclass_fields__)


def _as_written(command: Any, context: Any) -> None:
    """Completion takes words as they are: to make values of them, typer imports pydantic."""
    if context.resilient_parsing:
        for parameter in command.get_params(context):
            vars(parameter)["process_value"] = lambda ctx, value: value


class OwnOptionsFirst(typer.core.TyperCommand):
    """A command whose help lists what is its own before what all commands have."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters in the order of the help. ``ctx`` and the items are typer's own, which it does not name."""
        return sorted(super().get_params(ctx), key=lambda parameter: parameter.name in COMMON)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line."""
        _as_written(self, ctx)
        rest: list[str] = super().parse_args(ctx, args)
        return rest


class Commands(typer.core.TyperGroup):
    """A command that has commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words up to the command's name."""
        _as_written(self, ctx)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names; an unknown one may be meant to be one that is there to use."""
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException as error:
            from flowllm.core.nearest import nearest

            near = nearest(args[0], (name for name, command in self.commands.items() if not command.hidden))
            if near:
                vars(error)["message"] = f"no such command `{args[0]}`; did you mean `{near}`?"
            raise


@record
class Manner:
    """How a command reports, known before its words are parsed: what `main` needs when parsing fails."""

    as_json: bool = False
    format: str = "text"
    quiet: bool = False
    debug: bool = False

    @classmethod
    def guessed(cls, words: list[str]) -> "Manner":
        """From words that may not parse."""
        following = dict(itertools.pairwise(words))
        form = next((word.removeprefix("--format=") for word in words if word.startswith("--format=")), "")
        form = form or following.get("--format", "text")
        return cls("--json" in words, form if form in FORMATS else "text", debug="--debug" in words)

    @classmethod
    def of(cls, command: Command) -> "Manner":
        """From the options given."""
        return cls(command.as_json, command.format, command.quiet, command.debug)


def wants_colour(terminal: bool) -> bool:
    """Whether colours suit a stream: a terminal, and NO_COLOR and TERM=dumb are not set."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
