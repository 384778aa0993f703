"""`flowllm keys`: provider keys in a file that only its owner can read. No key is ever printed."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.options import Command

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

HELP = "Keep provider keys: set, list, path, remove."
Name = Annotated[str, typer.Argument(metavar="NAME", help="The variable's name, such as OPENAI_API_KEY.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKey(Command):
    """Keep a key. It is asked for, or read from stdin, never taken from the command line."""

    name: Name

    def carry_out(self, screen: "Screen") -> int:
        """Read the key and keep it."""
        from flowllm.backends.auth import KeyStore

        store = KeyStore()
        store.set(self.name, self._read())
        if self.as_json:
            screen.json({"name": self.name, "path": str(store.path)})
        screen.note(f"{self.name} is kept in {store.path}")
        return 0

    def _read(self) -> str:
        if sys.stdin is not None and sys.stdin.isatty():
            import getpass

            return getpass.getpass(f"{self.name}: ")
        return sys.stdin.readline(16 * 1024).strip() if sys.stdin is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeys(Command):
    """List the names that are kept, each with the end of its key."""

    def carry_out(self, screen: "Screen") -> int:
        """Print names."""
        from flowllm.backends.auth import KeyStore

        kept = KeyStore().list()
        if self.as_json:
            screen.json({"keys": [{"name": name, "key": masked} for name, masked in kept.items()]})
        elif kept:
            from flowllm.cli.tables import table

            screen.text(table([("name", "key"), *kept.items()]))
        else:
            screen.note("no keys are kept; `flowllm keys set OPENAI_API_KEY` keeps one")
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysPath(Command):
    """Print where keys are kept."""

    def carry_out(self, screen: "Screen") -> int:
        """Print the path."""
        from flowllm.backends.auth import KeyStore

        path = str(KeyStore().path)
        if self.as_json:
            screen.json({"path": path})
        else:
            screen.text(path)
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveKey(Command):
    """Forget a key."""

    name: Name

    def carry_out(self, screen: "Screen") -> int:
        """Remove it; 2 when there is none."""
        from flowllm.backends.auth import KeyStore
        from flowllm.core.errors import UsageError

        removed = KeyStore().remove(self.name)
        if not removed:
            raise UsageError("bad_usage", f"no key `{self.name}` is kept", hint="flowllm keys list")
        if self.as_json:
            screen.json({"removed": self.name})
        screen.note(f"{self.name} is forgotten")
        return 0


COMMANDS = {"set": SetKey, "list": ListKeys, "path": KeysPath, "remove": RemoveKey}
