"""`flowllm cache`: what is kept of earlier answers."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.backends.cache_rows import Entry
    from flowllm.cli.render import Screen

HELP = "Look at the cache: stats, clear, explain."


@record(kw_only=True)
class Stats(Command):
    """Show how much is kept, by kind and model."""

    def carry_out(self, screen: "Screen") -> int:
        """Print counts and sizes."""
        from flowllm.backends.store import DiskStore
        from flowllm.cli.tables import size

        store = DiskStore(warn=screen.note)
        stats = store.stats()
        store.close()
        groups = [
            {"kind": kind, "model": model, "entries": count, "bytes": total}
            for (kind, model), (count, total) in sorted(stats.groups.items())
        ]
        if self.as_json:
            screen.json({"folder": stats.folder, "entries": stats.entries, "bytes": stats.size, "groups": groups})
            return 0
        rows = [(str(g["kind"]), str(g["model"]), str(g["entries"]), size(int(str(g["bytes"])))) for g in groups]
        total = ("all", "", str(stats.entries), size(stats.size))
        screen.table([("kind", "model", "entries", "size"), *rows, total], right=frozenset({2, 3}))
        screen.note(f"in {stats.folder}")
        return 0


@record(kw_only=True)
class Clear(Command):
    """Forget what is kept: everything, or what is old or of one model."""

    older_than: Annotated[str | None, typer.Option(metavar="TIME", help="Only what is older (12h, 7d).")] = None
    model: Annotated[str | None, typer.Option(help="Only answers of this model.", autocompletion=completion.models)] = (
        None
    )

    def carry_out(self, screen: "Screen") -> int:
        """Clear; a cache of another version is removed unread."""
        count = self._clear_some(screen) if self.older_than or self.model else None
        if count is None:
            from flowllm.backends.store import erase

            erase()
        if self.as_json:
            screen.json({"removed": count})
        screen.note("the cache is empty" if count is None else f"{count} entries are forgotten")
        return 0

    def _clear_some(self, screen: "Screen") -> int:
        from flowllm.backends.store import DiskStore
        from flowllm.core.durations import seconds
        from flowllm.core.errors import UsageError

        try:
            age = seconds(self.older_than) if self.older_than else None
        except ValueError as error:
            raise UsageError("bad_usage", str(error), hint="--older-than 7d") from None
        store = DiskStore(warn=screen.note)
        count = store.clear(age, self.model)
        store.close()
        return count


@record(kw_only=True)
class Explain(Command):
    """Show one entry: what was answered, by whom, when, until when."""

    key: Annotated[str, typer.Argument(metavar="KEY", help="A key, or how it begins; run --events shows keys.")]

    def carry_out(self, screen: "Screen") -> int:
        """Print the entry; 2 when there is none, or more than one."""
        from flowllm.backends.store import DiskStore
        from flowllm.core.errors import UsageError

        store = DiskStore(warn=screen.note)
        entry, several = store.explain(self.key), store.begin_with(self.key) > 1
        store.close()
        if entry is None and several:
            message = f"more than one entry has a key that begins with `{self.key}`"
            raise UsageError("bad_usage", message, hint="give more of the key")
        if entry is None:
            hint = "flowllm run ... --events prints the keys of a run"
            raise UsageError("bad_usage", f"no entry has a key that begins with `{self.key}`", hint=hint)
        data = _entry_data(entry)
        if self.as_json:
            screen.json(data)
        else:
            value = json.dumps(data.pop("value"), ensure_ascii=False, default=str)
            screen.text("\n".join([*(f"{name}: {_word(fact)}" for name, fact in data.items()), f"value: {value}"]))
        return 0


def _entry_data(entry: "Entry") -> dict[str, Any]:
    return {
        "key": entry.key,
        "kind": entry.kind,
        "model": entry.model,
        "bytes": entry.size,
        "stored": _moment(entry.stored),
        "expires": _moment(entry.expires) if entry.expires is not None else None,
        "value": entry.value,
    }


def _word(fact: object) -> str:
    return "never" if fact is None else str(fact)


def _moment(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="seconds")


COMMANDS = {"stats": Stats, "clear": Clear, "explain": Explain}
