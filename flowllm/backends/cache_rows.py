"""The rows of a cache on disk: their tags, and reading them for statistics."""

import sqlite3
from dataclasses import field
from pathlib import Path
from typing import Any

from flowllm.core.record import record

GROUPS = "SELECT tag, COUNT(*), SUM(size + IFNULL(LENGTH(value), 0)) FROM Cache GROUP BY tag"
KEYS = "SELECT key, tag FROM Cache WHERE raw = 1 AND store_time <= ?"
ENTRY = (
    "SELECT key, tag, size + IFNULL(LENGTH(value), 0), store_time, expire_time FROM Cache"
    " WHERE raw = 1 AND SUBSTR(key, 1, ?) = ? LIMIT 2"
)


@record
class Entry:
    """One entry as ``explain`` of the store shows it. Times are seconds since 1970; ``expires`` None: never."""

    key: str
    kind: str
    model: str
    size: int
    stored: float
    expires: float | None
    value: Any


@record
class Stats:
    """What is on disk, by (kind, model): (entries, bytes); and what this process did."""

    entries: int = 0
    size: int = 0
    groups: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    memory_hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    folder: str = ""


def rows(folder: Path, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """What a statement finds in a cache's database, read beside the cache."""
    connection = sqlite3.connect(folder / "cache.db", timeout=1.0)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def tag_of(value: Any) -> str:
    """The tag of a kept value: its kind and model."""
    if not isinstance(value, dict):
        return "value\t"
    return f"{value.get('kind', 'value')}\t{value.get('model') or ''}"


def kind_and_model(tag: object) -> tuple[str, str]:
    """The kind and model of a tag."""
    kind, _, model = str(tag or "").partition("\t")
    return kind, model
