"""The rows of a cache on disk: their tags, and reading them for statistics."""

import sqlite3
from pathlib import Path
from typing import Any


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
