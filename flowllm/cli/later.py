"""Commands that come with their features. They are known, say so, and end with 2."""

from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

NAMES = ("lib", "test", "replay", "batch", "runs", "resume", "why", "explain", "serve")


@record(kw_only=True)
class Later(Command):
    """Not available yet."""

    words: Annotated[list[str] | None, typer.Argument()] = None

    name: ClassVar[str]

    def carry_out(self, screen: "Screen") -> int:
        """Say that the command is to come."""
        from flowllm.core.errors import UsageError

        hint = "`flowllm --help` lists the commands of this version"
        raise UsageError("not_available_yet", f"`flowllm {self.name}` is not available yet", hint=hint)


def command(name: str) -> type[Later]:
    """The command of that name; a plain subclass, for making a dataclass of each would cost every start."""

    class Named(Later):
        """Not available yet."""

        __slots__ = ()

    Named.name = name
    return Named
