"""What a table changes in a folder of registry files: added, removed and changed models, and whether it may."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from flowllm.catalog.importing.entry import Table
from flowllm.core.record import record

Models = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Entries as in registry files, by provider and id."""

_SHOWN = 20


@record
class Change:
    """A fact of a model that is told otherwise now; None is unknown. A price's fact is its item and conditions."""

    model: str
    fact: str
    before: Any
    after: Any


@record
class Report:
    """What was read, what it changes, what was left out and what is doubtful.

    ``vanished`` are providers that the folder has and the table has not. ``files`` are those written, none in a
    dry run.
    """

    table: Table
    models: int
    added: list[str]
    removed: list[str]
    changed: list[Change]
    vanished: list[str]
    refused: str = ""
    files: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        head = self.table.head
        return {
            "table": head.table, "version": head.version, "as_of": head.as_of,
            "entries": self.table.rows, "models": self.models, "providers": len(self.table.models),
            "added": self.added, "removed": self.removed,
            "changed": [
                {"model": one.model, "fact": one.fact, "before": one.before, "after": one.after}
                for one in self.changed
            ],
            "vanished": self.vanished, "refused": self.refused,
            "skipped": self.table.skipped, "faults": self.table.faults, "files": self.files,
        }  # fmt: skip


def compare(table: Table, old: Models, new: Models, strange: str = "") -> Report:
    """What the new entries change in the old ones, and in ``refused`` why they should not, if they should not.

    ``strange`` says what else is wrong with the folder, in words.
    """
    before, after = set(_names(old)), set(_names(new))
    vanished = sorted(old.keys() - new.keys())
    changed = [change for name in sorted(before & after) for change in _changes(name, _row(old, name), _row(new, name))]
    refused = strange
    if len(after) * 2 < len(before):
        refused = f"the table has {len(after)} models, less than half of the {len(before)} that are there"
    elif vanished:
        refused = f"the table has no model of {', '.join(vanished[:_SHOWN])}"
    return Report(table, len(after), sorted(after - before), sorted(before - after), changed, vanished, refused)


def _names(models: Models) -> Iterator[str]:
    return (f"{provider}/{id_}" for provider, rows in models.items() for id_ in rows)


def _row(models: Models, name: str) -> Mapping[str, Any]:
    provider, _, id_ = name.partition("/")
    return models[provider][id_]


def _changes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    if before == after:
        return
    old, new = _facts(before), _facts(after)
    for fact in [*old, *(fact for fact in new if fact not in old)]:
        if old.get(fact) != new.get(fact):
            yield Change(name, fact, old.get(fact), new.get(fact))


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an entry, each price by its item and conditions."""
    facts = {name: value for name, value in row.items() if name != "prices"}
    for item, amount, *conditions in row.get("prices", ()):
        words = [f"{name} {value}" for name, value in (conditions[0] if conditions else {}).items()]
        facts[" ".join(["price of", item, *words])] = amount
    return facts
