"""`flowllm keys`: provider keys in a file that only its owner can read. No key is ever printed."""

import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowllm.cli.render import Screen
    from flowllm.core.errors import UsageError

HELP = "Keep provider keys: set, list, path, remove."
NOT_TAKEN = "keys are not taken from the command line, which other programs can read"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST = 16 * 1024
"""Letters of what is given that are read."""
QUOTES = ("'", '"', "`")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The variable's name, such as OPENAI_API_KEY.")]


@record(kw_only=True)
class SetKey(Command):
    """Keep a key. It is asked for, or read from stdin, never taken from the command line."""

    name: Name

    def carry_out(self, screen: "Screen") -> int:
        """Read the key and keep it; 2 for a bad name or an empty key."""
        from flowllm.backends.auth.keys import KeyStore

        check_provider(self.name)
        check_name(self.name)
        key = self._read().strip()
        if not key:
            hint = f"flowllm keys set {self.name} asks for it; flowllm keys remove {self.name} forgets it"
            raise refused("the key that was given is empty", hint)
        check_key(key, self.name)
        store = KeyStore()
        store.set(self.name, key)
        if self.as_json:
            screen.json({"name": self.name, "path": str(store.path)})
        screen.note(f"{self.name} is kept in {store.path}")
        if meant := _meant(self.name):
            screen.note(f"no provider reads {self.name}; did you mean `{meant}`?")
        return 0

    def _read(self) -> str:
        if sys.stdin is not None and sys.stdin.isatty():
            import getpass

            return getpass.getpass(f"{self.name}: ")
        return sys.stdin.read(MOST).strip() if sys.stdin is not None else ""


def check_key(key: str, name: str) -> None:
    """Refuse what is more than a key: more lines, words, quotes around it. It is never repeated."""
    hint = f"flowllm keys set {name} asks for the key alone"
    if "\n" in key or "\r" in key:
        raise refused("more than one line was given, and a key is one", hint)
    if key.split(maxsplit=1)[0].casefold().rstrip(":") in ("bearer", "basic", "authorization"):
        raise refused("the key begins with the word that goes before it in a header; give the key alone", hint)
    if any(sign.isspace() for sign in key):
        raise refused("the key has a blank in it, and no key has", hint)
    if key[0] in QUOTES or key[-1] in QUOTES:
        raise refused("the key stands in quotes, and they would be part of it", hint)


def check_provider(word: str) -> None:
    """Refuse a provider's name, or one near to it: nothing would read a key that is kept by it."""
    from flowllm.core.nearest import nearest

    read = _read_by_providers().get(word.casefold().replace("-", "_"))
    if read:
        hint = f"flowllm keys set {read[0]}"
        raise refused(f"`{word}` is a provider; its key is kept by the name of its variable", hint)
    known = _read_by_providers()
    near = "" if word.isupper() or "_" in word else nearest(word.casefold(), (name for name in known if known[name]))
    if near and not any(word in names for names in known.values()):
        raise refused(f"no provider reads `{word}`; did you mean {near}?", f"flowllm keys set {known[near][0]}")


def _read_by_providers() -> "Mapping[str, Sequence[str]]":
    """Of each provider the names of keys that it reads; a broken one reads none."""
    from flowllm.cli.opening import here
    from flowllm.core.errors import FlowError

    found: dict[str, Sequence[str]] = {}
    with suppress(FlowError):
        providers = here().catalog.providers
        for name in providers:
            with suppress(FlowError):
                found[name.casefold().replace("-", "_")] = providers[name].auth.env
    return found


def _meant(name: str) -> str:
    """The name that is read and near to one that is not; an empty text for others."""
    from flowllm.core.nearest import nearest

    read = {variable for names in _read_by_providers().values() for variable in names}
    near = "" if name in read else nearest(name, read)
    return near if near.partition("_")[0] == name.partition("_")[0] else ""


def check_name(word: str) -> None:
    """Refuse what is no variable's name; what may be a key is not repeated."""
    name, equals, _ = word.partition("=")
    if not NAME.fullmatch(name):
        message = "the name of a key has letters A to Z, digits and `_` alone, and does not begin with a digit"
        raise refused(message, "flowllm keys set OPENAI_API_KEY")
    if equals:
        raise refused(NOT_TAKEN, f"flowllm keys set {name} asks for the key")


def refused(message: str, hint: str) -> "UsageError":
    """The error that a command about keys cannot be carried out as typed."""
    from flowllm.core.errors import UsageError

    return UsageError("bad_usage", message, hint=hint)


@record(kw_only=True)
class ListKeys(Command):
    """List the names that are kept, each with the end of its key."""

    def carry_out(self, screen: "Screen") -> int:
        """Print names."""
        from flowllm.backends.auth.keys import KeyStore

        kept = KeyStore().list()
        if self.as_json:
            screen.json({"keys": [{"name": name, "key": masked} for name, masked in kept.items()]})
        elif kept:
            screen.table([("name", "key"), *kept.items()])
        else:
            screen.note("no keys are kept; `flowllm keys set OPENAI_API_KEY` keeps one")
        return 0


@record(kw_only=True)
class KeysPath(Command):
    """Print where keys are kept."""

    def carry_out(self, screen: "Screen") -> int:
        """Print the path."""
        from flowllm.backends.auth.keys import KeyStore

        path = str(KeyStore().path)
        if self.as_json:
            screen.json({"path": path})
        else:
            screen.text(path)
        return 0


@record(kw_only=True)
class RemoveKey(Command):
    """Forget a key."""

    name: Name

    def carry_out(self, screen: "Screen") -> int:
        """Remove it; 2 when there is none."""
        from flowllm.backends.auth.keys import KeyStore

        check_name(self.name)
        removed = KeyStore().remove(self.name)
        if not removed:
            raise refused(f"no key `{self.name}` is kept", "flowllm keys list")
        if self.as_json:
            screen.json({"removed": self.name})
        screen.note(f"{self.name} is forgotten")
        return 0


COMMANDS = {"set": SetKey, "list": ListKeys, "path": KeysPath, "remove": RemoveKey}
