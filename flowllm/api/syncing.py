"""A published table of models, from a file on this machine into a folder of registry files."""

import hashlib
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from flowllm.catalog.importing.changes import Report, compare
from flowllm.catalog.importing.entry import Table
from flowllm.catalog.importing.sheets import read_sheet
from flowllm.catalog.importing.table import NotATable, read_table
from flowllm.catalog.importing.writing import file_text, write
from flowllm.catalog.registry import LARGEST, read_file
from flowllm.catalog.registry_rows import Head, card_of_row, row_of
from flowllm.core.errors import UsageError
from flowllm.core.record import record

TABLE = "model_prices_and_context_window_backup.json"
"""The table's file inside a wheel of LiteLLM."""

LICENCE = "MIT, Copyright (c) 2023 Berri AI"
_WHEEL = re.compile(r"(?P<name>litellm)-(?P<version>[0-9][0-9A-Za-z.+!]*)-.*\.whl")
_DAMAGED = (
    OSError, EOFError, RuntimeError, UnicodeDecodeError, struct.error,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What reading an archive raises that is none, or is damaged."""
_SHEETS = (".yaml", ".yml")
_NO_DAY = "1980-01-02"
"""Wheels that are built to be the same everywhere have the first day of zip files in them."""


@record(kw_only=True)
class Source:
    """Where a table is from. ``release`` and ``as_of`` (YYYY-MM-DD) default to what the file itself tells.

    Where the folder has files of the same release the day is theirs, else that of the file.
    """

    path: Path
    release: str = ""
    as_of: str = ""


def sync_models(source: Source, into: Path, *, allow_shrink: bool = False, dry_run: bool = False) -> Report:
    """Make the registry files of ``into`` tell what a table tells, all of them or none, and report what that changes.

    ``UsageError`` for a file that is no table, and for one with less than half of the models that are there, or
    without a provider that is there, unless ``allow_shrink``. The same table a second time changes no byte.
    """
    table = _read(source, into)
    new = {provider: _rows(table, provider) for provider in table.models}
    old, strange = _present(into, table)
    report = compare(table, old, new, f"`{into / strange[0]}.json` is from another table" if strange else "")
    if dry_run:
        return report
    if report.refused and not allow_shrink:
        hint = "look at the file; --allow-shrink takes it nevertheless, --dry-run shows what would change"
        raise UsageError("file_refused", f"nothing was changed: {report.refused}", hint=hint)
    texts = {f"{provider}.json": file_text(table.head, rows) for provider, rows in sorted(new.items())}
    large = next((name for name, text in texts.items() if len(text.encode()) > LARGEST), None)
    if large:
        raise UsageError("file_refused", f"nothing was changed: {large} would be larger than any registry file may be")
    try:
        report.files.extend(write(into, texts, [f"{provider}.json" for provider in report.vanished]))
    except OSError as error:
        message = f"`{into}` was not written: {error.strerror or error}"
        raise UsageError("file_refused", message, hint="give another folder: --into FOLDER") from None
    return report


def _rows(table: Table, provider: str) -> dict[str, dict[str, Any]]:
    """The entries of a provider, each read back: what the registry would refuse is never written."""
    rows = {id_: row_of(card) for id_, card in table.models[provider].items()}
    for id_, row in rows.items():
        try:
            card_of_row(id_, row, table.head)
        except ValueError as error:
            message = f"nothing was changed: `{provider}/{id_}` could not be read again: {error}"
            raise UsageError("file_refused", message, hint="mend the entry in the table") from None
    return rows


def _read(source: Source, into: Path) -> Table:
    from flowllm.config import load_yaml, read_text_file

    path, sheet = source.path, source.path.suffix.lower() in _SHEETS
    try:
        data, version, day = _table_of(path)
        release = source.release or version
        table = "exllm" if sheet else "litellm"
        as_of = _day(source.as_of) or _day_before(into, table, release) or day or f"{datetime.now(UTC):%Y-%m-%d}"
        if not sheet:
            return read_table(data, Head(table, release, as_of, LICENCE))
        return read_sheet(load_yaml(read_text_file(path), str(path))[0], Head(table, release, as_of))
    except NotATable as error:
        hint = f"give the wheel of LiteLLM, its {TABLE}, or YAML with `provider` and `models`"
        raise UsageError("file_refused", f"`{path}` is no table of models: {error}", hint=hint) from None


def _day_before(into: Path, table: str, release: str) -> str:
    """The day that the files of the same table have: one that was copied or touched since is no newer one."""
    heads = (read_file(path)[0] for path in sorted(into.glob("*.json"))) if into.is_dir() else iter(())
    return next((head.as_of for head in heads if (head.table, head.version) == (table, release)), "")


def _table_of(path: Path) -> tuple[bytes, str, str]:
    """The bytes of a table, its version and its day."""
    from flowllm.config.files import LIMIT, TOO_LARGE, read_bytes

    if path.suffix.lower() != ".whl":
        data = read_bytes(path)
        return data, _print(data), _changed(path)
    try:
        with zipfile.ZipFile(path) as wheel:
            member = next((one for one in wheel.infolist() if one.filename.rpartition("/")[2] == TABLE), None)
            if member is None:
                raise NotATable(f"the wheel holds no {TABLE}")
            with wheel.open(member) as file:
                data = file.read(LIMIT + 1)
    except _DAMAGED as error:
        raise NotATable(f"it is no wheel that can be read: {error}") from None
    if len(data) > LIMIT:
        raise NotATable(TOO_LARGE)
    named = _WHEEL.fullmatch(path.name)
    day = f"{member.date_time[0]}-{member.date_time[1]:02}-{member.date_time[2]:02}"
    day = day if day > _NO_DAY else _changed(path)
    return data, named["version"] if named else _print(data), day


def _print(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _changed(path: Path) -> str:
    """The day of a file; empty where it is the first one of zip files, which says nothing."""
    day = f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"
    return day if day > _NO_DAY else ""


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise UsageError("bad_usage", f"`{text}` is no day", hint="--as-of 2026-11-22") from None


def _present(into: Path, table: Table) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The entries of the folder that the table speaks of, and providers of those that are of another table.

    A table of all providers speaks of every file that came from it, a sheet of its own provider.
    """
    found, strange = {}, []
    for path in sorted(into.glob("*.json")) if into.is_dir() else ():
        head, rows = read_file(path)
        same = head.table == table.head.table
        if path.stem in table.models or (same and table.whole):
            found[path.stem] = rows
        if path.stem in table.models and not same:
            strange.append(path.stem)
    return found, strange
