"""Registry files as text, and a folder of them changed as a whole or, where there is a fault, not at all."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from shutil import copyfile
from typing import Any

from flowllm.catalog.registry_rows import Head

Rows = Mapping[str, Mapping[str, Any]]
"""Entries of one provider, by the model's id."""


def file_text(head: Head, rows: Rows) -> str:
    """A registry file: its head, then one entry a line, sorted by id."""
    told = {"table": head.table, "version": head.version, "as_of": head.as_of, "licence": head.licence}
    lines = [f" {_compact(name)}: {_compact(value)}," for name, value in told.items() if value]
    entries = ",\n".join(f"{_compact(id_)}:{_compact(rows[id_])}" for id_ in sorted(rows))
    return "\n".join(["{", *lines, ' "models": {', *([entries] if entries else []), "}}", ""])


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(folder: Path, texts: Mapping[str, str], gone: Iterable[str] = ()) -> list[str]:
    """Write files by their names, remove those that are gone, and tell which names changed.

    Every new text and a copy of every old one are on disk, whole, before the first file is replaced; a fault brings
    the old files back. A machine that stops meanwhile leaves some new files and some old ones, each whole.
    """
    changed = [name for name, text in texts.items() if not _is(folder / name, text)]
    removed = [name for name in gone if (folder / name).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        for name in changed:
            part = _part(folder, name)
            undo.callback(part.unlink, missing_ok=True)
            _write_whole(part, texts[name])
        _keep(folder, [*changed, *removed], undo)
        try:
            _put(folder, changed, removed)
        except BaseException:
            _bring_back(folder, [*changed, *removed])
            raise
    return [*changed, *removed]


def _keep(folder: Path, names: Iterable[str], undo: ExitStack) -> None:
    for name in names:
        kept = _kept(folder, name)
        undo.callback(kept.unlink, missing_ok=True)
        kept.unlink(missing_ok=True)
        if (folder / name).exists():
            copyfile(folder / name, kept)


def _put(folder: Path, changed: Iterable[str], removed: Iterable[str]) -> None:
    for name in changed:
        _part(folder, name).replace(folder / name)
    for name in removed:
        (folder / name).unlink()


def _bring_back(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        kept = _kept(folder, name)
        with suppress(OSError):
            if kept.exists():
                kept.replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


def _kept(folder: Path, name: str) -> Path:
    return folder / f".{name}.{os.getpid()}.old"


def _part(folder: Path, name: str) -> Path:
    return folder / f".{name}.{os.getpid()}.part"


def _write_whole(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _is(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False
