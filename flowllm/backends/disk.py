"""The only way to diskcache: a Disk that reads and writes bytes, unpickles nothing and stays in its folder.

Rows that anyone could have planted (another mode, a pickled key, a file name that leads elsewhere)
raise `Tampered`, and no file outside the folder is ever read or removed.
"""

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DEFAULT_SETTINGS, METADATA, MODE_BINARY, MODE_RAW

FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")
KEY = re.compile(r"[0-9a-f]{64}")
DATABASE = "cache.db"
WAIT = 1.0
"""Seconds that a read or a write waits for another process."""
OPEN_WAIT = 2.0
_ROW = (
    "SELECT mode, filename, value, expire_time FROM Cache"
    " WHERE key = ? AND raw = 1 AND (expire_time IS NULL OR expire_time > ?)"
)

Busy = diskcache.Timeout


class Tampered(Exception):
    """A row that this program did not write."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys are sha256 in hex, values are bytes; both are stored as they are."""

    def put(self, key: Any) -> tuple[str, bool]:
        """The key as it stands in the database."""
        if type(key) is not str or not KEY.fullmatch(key):
            raise TypeError("a cache key is a sha256 in hex")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """A key read from the database."""
        if not raw or type(key) is not str:
            raise Tampered("a key that is not text")
        return key

    def store(self, value: Any, read: Any, key: Any = None) -> Any:
        """Bytes, in the row or in a file beside the database."""
        if read or type(value) is not bytes:
            raise TypeError("a cache value is bytes")
        return super().store(value, False, key=key)  # noqa: FBT003  diskcache's own signature

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> bytes:
        """Bytes of a row; `Tampered` for any row that `store` does not write."""
        if mode not in (MODE_RAW, MODE_BINARY) or read:
            raise Tampered(f"a row of mode {mode}")
        if mode == MODE_BINARY:
            if not _stays_inside(filename):
                raise Tampered("a file name that leads elsewhere")
            value = super().fetch(mode, filename, value, False)  # noqa: FBT003  diskcache's own signature
        if type(value) is not bytes:
            raise Tampered("a value that is not bytes")
        return value

    def remove(self, file_path: Any) -> None:
        """Remove a value's file, if it is one."""
        if _stays_inside(file_path):
            super().remove(file_path)


class BytesCache(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """The cache of a folder, its rows read by one statement."""

    def read(self, key: str) -> tuple[bytes, float | None] | None:
        """The bytes of a key and when they expire, in seconds since 1970; None when there are none that are good."""
        rows = self._sql(_ROW, (key, time.time())).fetchall()
        if not rows:
            return None
        ((mode, filename, value, expires),) = rows
        try:
            return self._disk.fetch(mode, filename, value, False), expires  # noqa: FBT003  diskcache's own signature
        except OSError:  # another process removed the file just now
            return None


def _stays_inside(name: object) -> bool:
    return isinstance(name, str) and FILE.fullmatch(name) is not None


def open_database(folder: Path, size_limit: int) -> BytesCache:
    """The cache in ``folder`` (which exists).

    Errors: sqlite3.OperationalError "locked" after `OPEN_WAIT` seconds, sqlite3.DatabaseError when
    the file is no database, `Tampered` when its settings are not diskcache's.
    """
    _probe(folder / DATABASE)
    settings = {name: value for name, value in DEFAULT_SETTINGS.items() if name != "size_limit"}
    cache = BytesCache(str(folder), timeout=WAIT, disk=BytesDisk, size_limit=size_limit, **settings)
    (folder / DATABASE).chmod(0o600)
    return cache


def _probe(path: Path) -> None:
    """Wait for the lock once, for a bounded time, and look at what diskcache is going to believe."""
    if not path.exists():
        return
    connection = sqlite3.connect(path, timeout=OPEN_WAIT, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "Settings" in tables:
            names = {name for (name,) in connection.execute("SELECT key FROM Settings")}
            if not names <= {*DEFAULT_SETTINGS, *METADATA}:
                raise Tampered("settings that are not diskcache's")
        connection.execute("ROLLBACK")
    finally:
        connection.close()
