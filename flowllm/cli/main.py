"""The command `flowllm`: parse the words, carry the command out, turn every end into an exit status.

    0 ok    1 a node failed    2 bad pipeline, input or usage    3 set-up    4 provider failure
    5 output not valid    6 budget    130 / 143 interrupted

When whoever reads stdout leaves (``flowllm run ... | head``) the command ends quietly with 1; when stdout
cannot be written, with 1 and a line that says why. Help, ``--version`` and completion import nothing but typer.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from flowllm.cli import later, streams
from flowllm.cli.options import Command, Commands, Manner, OwnOptionsFirst

SINGLE = ("run", "check", "plan", "graph", "schema", "init", "pull", "export", "doctor")
GROUPS = ("cache", "keys", "models", "providers")
SHOWN = (*SINGLE, *GROUPS)
"""What help and completion name; they need nothing of what is inside of groups."""


class Stopped(BaseException):
    """SIGTERM came."""


def version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        from flowllm import __version__

        print(f"flowllm {__version__}")
        raise typer.Exit


def root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=version, is_eager=True)
    ] = False,
) -> None:
    """Declarative LLM pipelines: YAML in, a checked plan, a run with places in every error."""


def application(words: Sequence[str] | None = None) -> typer.Typer:
    """All commands; of a command line's ``words`` those alone that it needs, for each costs time to make."""
    only = _needed(words)
    app = typer.Typer(
        name="flowllm",
        cls=Commands,
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        suggest_commands=False,
    )
    names = ", ".join(later.NAMES)
    app.callback(
        epilog=f"Exit status: 0 ok, 1 a node failed, 2 bad pipeline, input or usage, 3 set-up, 4 provider, "
        f"5 output not valid, 6 budget, 130 interrupted. Not available yet: {names}."
    )(root)
    for name in (name for name in SINGLE if name in only):
        module = importlib.import_module(f"flowllm.cli.{name}")
        app.command(name, cls=OwnOptionsFirst)(module.COMMAND)
    for name in (name for name in GROUPS if name in only):
        module = importlib.import_module(f"flowllm.cli.{name}")
        app.add_typer(_group({} if only == set(SHOWN) else module.COMMANDS), name=name, help=module.HELP)
    for name in (name for name in later.NAMES if name in only):
        command = later.command(name)
        app.command(name, cls=OwnOptionsFirst, hidden=True, context_settings={"ignore_unknown_options": True})(command)
    return app


def _needed(words: Sequence[str] | None) -> set[str]:
    """The commands to make: one, those that help and completion show, or every one for the sake of a good error."""
    shown, every = set(SHOWN), {*SHOWN, *later.NAMES}
    if words is None:
        return every
    first = next(iter(words or _completed()), "--help")
    known = {"--version": set[str](), "--help": shown}
    return known[first] if first in known else ({first} & every or every)


def _completed() -> list[str]:
    """The command of the line that a shell wants to have completed, when it is there."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    words = line.split()
    return words[1:2] if len(words) > 2 or line[-1:].isspace() else []  # noqa: PLR2004  flowllm COMMAND WORD


def _group(commands: dict[str, type[Command]]) -> typer.Typer:
    group = typer.Typer(cls=Commands, rich_markup_mode=None, no_args_is_help=True, suggest_commands=False)
    for name, command in commands.items():
        group.command(name, cls=OwnOptionsFirst)(command)
    # Without a callback a group of one command would be that command.
    group.callback()(lambda: None)
    return group


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``words`` default to the command line."""
    words = list(sys.argv[1:] if words is None else words)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    streams.prepare()
    before = _catch_termination()
    try:
        status = _carry_out(words)
        streams.settle()
    except BrokenPipeError:
        streams.silence(sys.stdout)
        return 1
    except OSError as error:
        # Everything else that fails was told as a problem: this was stdout.
        streams.silence(sys.stdout)
        _last_word(f"stdout could not be written: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        return _stopped(words, "interrupted", 130)
    except Stopped:
        return _stopped(words, "terminated", 143)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return status


def _carry_out(words: list[str]) -> int:
    try:
        command = typer.main.get_command(application(words)).main(words, prog_name="flowllm", standalone_mode=False)
    except typer.TyperException as error:
        return _misused(words, error)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if not isinstance(command, Command):
        return int(command or 0)
    return _guarded(command)


def _guarded(command: Command) -> int:
    from flowllm.cli.render import Screen
    from flowllm.core.errors import FlowError, UsageError

    screen = Screen(Manner.of(command))
    if command.record:
        return screen.failure(UsageError("not_available_yet", "`--record` is not available yet", hint="leave it out"))
    try:
        if command.needs_logs:
            screen.start_logs(command.log_level, as_json=command.log_json)
        return command.carry_out(screen)
    except FlowError as error:
        return screen.failure(error)
    except (BrokenPipeError, streams.StdoutRefused):
        raise
    except Exception as error:  # noqa: BLE001  the last place that can say it without a traceback
        return screen.fault(error)


def _misused(words: list[str], error: typer.TyperException) -> int:
    """A command line that does not parse; no words at all ask for help."""
    from flowllm.cli.render import Screen
    from flowllm.core.errors import UsageError

    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0 if not words else 2
    path = context.command_path if context is not None else "flowllm"
    message = error.format_message().strip().rstrip(".")
    message = message[:1].lower() + message[1:]
    if path == "flowllm keys set" and not message.startswith("missing"):
        from flowllm.cli.keys import NOT_TAKEN

        message = NOT_TAKEN  # what typer says would repeat the word, which may be a key
    return Screen(Manner.guessed(words)).failure(UsageError("bad_usage", message, hint=f"{path} --help"))


def _catch_termination() -> Any:
    """Make SIGTERM raise `Stopped`; what stood there before, to be put back."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return None  # only the main thread may; another one leaves the signal to it


def _stopped(words: list[str], word: str, status: int) -> int:
    """Ended by a signal; with ``--json`` this too is one object."""
    _last_word(word)
    if Manner.guessed(words).as_json:
        from flowllm.cli.formats import as_data
        from flowllm.cli.render import Screen
        from flowllm.core.errors import Problem

        with suppress(OSError):
            problem = Problem("interrupted", f"the run was {word}", hint="run it again")
            Screen(Manner(as_json=True)).json({"errors": [as_data(problem)], "exit": status})
    return status


def _last_word(line: str) -> None:
    with suppress(OSError):
        sys.stdout.flush()
    with streams.to_stderr(sys.stderr):
        print(f"flowllm: {line}", file=sys.stderr, flush=True)
