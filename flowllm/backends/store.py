"""Answers kept on disk between runs: a `Store` in memory, in front of one database for all processes.

A put returns at once: a thread writes in batches, and what is not yet written is read from memory.
Nothing that is found on disk can stop a run. A database that cannot be read is renamed to
``cache.db.corrupt-TIME`` and work goes on with an empty one; one that another process locks for too
long is left alone for a while; when the disk is full or read-only the store stays in memory. Each of
these is said once. The one error is a folder that another version wrote: `SetupError`, when made.
Runs share one store for each folder, as long as one of them has it: `shared_store`.

    FLOWLLM_CACHE_DIR or the user's cache folder
    `-- answers/            0700
        |-- VERSION         what wrote the rest
        |-- cache.db        rows: key, bytes, expiry, tag (kind and model)
        `-- ab/cd/*.val     values of 32 KiB and more
"""

import atexit
import contextlib
import logging
import os
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowllm.backends.cache_rows import ENTRY, GROUPS, KEYS, Entry, Stats, kind_and_model, rows, tag_of
from flowllm.backends.envelope import Unreadable, pack, unpack, unpack_own
from flowllm.backends.memory import Memory
from flowllm.core.errors import SetupError
from flowllm.core.record import record
from flowllm.core.secrets import repeats_secret

VERSION = "flowllm cache 1"
FOLDER = "answers"
MARKER = "VERSION"
MEMORY_LIMIT = 32 * 2**20
DISK_LIMIT = 2**30
PAUSE = 30.0
"""Seconds for which a locked database is left alone."""
LINGER = 1.0
"""Seconds for which an idle writer waits for more; then its thread ends."""
CLEAR = "flowllm cache clear"

_log = logging.getLogger("flowllm.cache")


def location() -> Path:
    """Where caches live: ``FLOWLLM_CACHE_DIR``, else the user's cache folder."""
    own = os.environ.get("FLOWLLM_CACHE_DIR")
    if own:
        return Path(own)
    import platformdirs

    return platformdirs.user_cache_path("flowllm", appauthor=False)


def erase(folder: Path | None = None) -> None:
    """Remove the whole cache, of whatever version, without reading it; its stores in this process are discarded."""
    target = (folder or location()) / FOLDER
    place = os.path.realpath(target.parent)
    for store in [store for store in _MADE if os.path.realpath(store.folder.parent) == place]:
        store.discard()
    if target.is_symlink():
        target.unlink()
        return
    # Whoever closes the database at this moment removes files of it too.
    while target.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target)


@record
class _Write:
    data: bytes
    expires: float | None
    tag: str


class DiskStore:
    """A `Store` in a folder. ``warn`` gets one sentence for each thing that went wrong, once."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        warn: Callable[[str], None] = _log.warning,
        size_limit: int = DISK_LIMIT,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.folder = (folder or location()) / FOLDER
        self._warn, self._warned = warn, set[str]()
        self._size_limit = size_limit
        self._memory = Memory(memory_limit)
        self._database: Any = None
        self._opening = threading.RLock()
        self._closed_until = 0.0
        self._pending: dict[str, _Write] = {}
        self._news = threading.Condition()
        self._writer: threading.Thread | None = None
        self._writing = self._stopping = False
        self._hits = [0, 0, 0]
        self._check_version()
        _MADE.add(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing more is written."""
        return self._stopping

    def _check_version(self) -> None:
        with contextlib.suppress(OSError):
            found = (self.folder / MARKER).read_bytes()[:100].decode("utf-8", "replace").strip()
            if found != VERSION:
                message = f"the cache in {self.folder} was written by another version ({found!r})"
                raise SetupError("file_refused", message, hint=CLEAR)

    def get(self, key: str) -> Any | None:
        """The value, or None; a fresh copy each time."""
        data = self._memory.get(key)
        if data is not None:
            self._hits[0] += 1
            return unpack_own(data)
        write = self._pending.get(key)
        if write is not None and (write.expires is None or write.expires > time.time()):
            self._hits[0] += 1
            return unpack_own(write.data)
        return self._read(key)

    def _read(self, key: str) -> Any | None:
        value = None
        try:
            database = self._open()
            if database is not None:
                row = database.read(key)
                if row is not None:
                    value = unpack(key, row[0])
                    self._memory.put(key, *row)
        except Exception as error:  # noqa: BLE001  nothing on disk may stop a run
            self._trouble(error)
        self._hits[2 if value is None else 1] += 1
        return value

    def put(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep ``value``; it is read back at once and written soon. What is no data, or repeats a key, is not kept."""
        try:
            data = pack(key, value)
        except (TypeError, ValueError, RecursionError) as error:
            self._say(f"a value was not cached: {error}")
            return
        if repeats_secret(data):
            self._say("a value was not cached: it repeats a key, which would stand on disk")
            return
        expires = None if ttl is None else time.time() + ttl
        self._memory.put(key, data, expires)
        with self._news:
            if not self._stopping:
                self._pending[key] = _Write(data, expires, tag_of(value))
                self._start_writer()
                self._news.notify_all()

    def remove(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        self.flush()
        found = [self._memory.remove(key)]
        with self._guard() as database:
            found.append(database is not None and bool(database.delete(key)))
        return any(found)

    def flush(self) -> None:
        """Wait until what was put is on disk, or was given up."""
        with self._news:
            self._news.wait_for(lambda: not self._pending and not self._writing)

    def discard(self) -> None:
        """Forget what is in memory or waits to be written, and close: from now on nothing is found or kept."""
        with self._news:
            self._pending.clear()
        self.close()
        self._memory = Memory(0)

    def close(self) -> None:
        """Write what is left and let the database go; it is not opened again."""
        self.flush()
        with self._news:
            self._stopping, writer = True, self._writer
            self._news.notify_all()
        if writer is not None:
            writer.join()
        with self._opening:
            database, self._database, self._closed_until = self._database, None, float("inf")
        if database is not None:
            database.close()

    def after_fork(self) -> None:
        """In a forked child: what waits is for the parent to write; its locks and its database are not ours."""
        self._opening, self._news = threading.RLock(), threading.Condition()
        self._pending, self._writer, self._writing, self._database = {}, None, False, None
        self._memory.after_fork()

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_on, name="flowllm-cache", daemon=True)
            self._writer.start()

    def _write_on(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._pending or self._stopping, LINGER)
                if not self._pending:
                    self._writer = None
                    break
                batch, self._writing = dict(self._pending), True
            try:
                self._write(batch)
            finally:
                with self._news:
                    for key, write in batch.items():
                        if self._pending.get(key) is write:
                            del self._pending[key]
                    self._writing = False
                    self._news.notify_all()
        if self._database is not None:
            self._database.close()  # diskcache keeps a connection for each thread

    def _write(self, batch: dict[str, _Write]) -> None:
        with self._guard() as database:
            if database is None:
                return
            now = time.time()
            with database.transact():
                for key, write in batch.items():
                    left = None if write.expires is None else write.expires - now
                    database.set(key, write.data, expire=left, tag=write.tag)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[Any]:
        """The database, or None while there is none to use; nothing that goes wrong with it gets out."""
        database = None
        try:
            database = self._open()
        except Exception as error:  # noqa: BLE001  nothing on disk may stop a run
            self._trouble(error)
        try:
            yield database
        except Exception as error:  # noqa: BLE001  nothing on disk may stop a run
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        from flowllm.backends.disk import Busy, Tampered

        operational = isinstance(error, sqlite3.OperationalError) and "no such" not in str(error)
        if not operational and isinstance(error, (Tampered, Unreadable, sqlite3.DatabaseError)):
            self._quarantine(error)
        else:
            self._leave_alone(error, locked=isinstance(error, Busy) or "locked" in str(error))

    def _open(self) -> Any:
        if self._database is not None and not self._closed_until:
            return self._database
        with self._opening:
            if time.monotonic() < self._closed_until:
                return None
            self._closed_until = 0.0
            if self._database is None:
                self._database = self._make()
            return self._database

    def _make(self) -> Any:
        from flowllm.backends.disk import open_database

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stranger = hasattr(os, "geteuid") and self.folder.stat().st_uid != os.geteuid()
        if stranger or self.folder.is_symlink():
            raise PermissionError(f"{self.folder} belongs to someone else")
        self.folder.chmod(0o700)
        marker = self.folder / MARKER
        if not marker.exists():
            marker.write_text(VERSION + "\n", "utf-8")
        return open_database(self.folder, self._size_limit)

    def _leave_alone(self, error: Exception, *, locked: bool) -> None:
        """Locked: try again after a pause. Full, read-only, out of reach: not in this process."""
        self._closed_until = time.monotonic() + PAUSE if locked else float("inf")
        reason = "another process holds it" if locked else str(error) or type(error).__name__
        self._say(f"the cache in {self.folder} is not used: {reason}")

    def _quarantine(self, error: Exception) -> None:
        """Put a database aside that cannot be trusted; the next use begins an empty one."""
        with self._opening:
            broken, self._database = self._database, None
            with contextlib.suppress(Exception):
                broken.close()
            self._memory.clear()
            aside = f"cache.db.corrupt-{time.time_ns()}"
            with contextlib.suppress(OSError):
                (self.folder / "cache.db").rename(self.folder / aside)
            for name in ("cache.db-wal", "cache.db-shm"):
                (self.folder / name).unlink(missing_ok=True)
        self._say(f"the cache could not be read ({error}) and was put aside as {self.folder / aside}")

    def _say(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self._warn(message)

    def stats(self) -> Stats:
        """What is kept, by kind and model, and how this process was served."""
        self.flush()
        groups: dict[tuple[str, str], tuple[int, int]] = {}
        with self._guard() as database:
            if database is not None:
                found_rows = rows(self.folder, GROUPS, ())
                groups = {kind_and_model(tag): (count, size) for tag, count, size in found_rows}
        entries, size = (sum(group[i] for group in groups.values()) for i in (0, 1))
        memory, disk, misses = self._hits
        return Stats(entries, size, groups, memory, disk, misses, str(self.folder))

    def clear(self, older_than: float | None = None, model: str | None = None) -> int:
        """Forget entries stored more than ``older_than`` seconds ago, of ``model``; how many."""
        self.flush()
        self._memory.clear()
        count = 0
        with self._guard() as database:
            if database is not None and older_than is None and model is None:
                count = database.clear()
            elif database is not None:
                found_rows = rows(self.folder, KEYS, (time.time() - (older_than or 0.0),))
                keys = [key for key, tag in found_rows if model is None or kind_and_model(tag)[1] == model]
                with database.transact():
                    count = sum(bool(database.delete(key)) for key in keys)
        return count

    def explain(self, key: str) -> Entry | None:
        """What is kept under a key, or under the one key that begins so."""
        self.flush()
        with self._guard() as database:
            if database is not None:
                found_rows = rows(self.folder, ENTRY, (len(key), key))
                if len(found_rows) == 1:
                    found, tag, size, stored, expires = found_rows[0]
                    kind, model = kind_and_model(tag)
                    return Entry(found, kind, model, size, stored, expires, self.get(found))
        return None

    def begin_with(self, start: str) -> int:
        """How many keys begin so, counted up to two."""
        self.flush()
        with self._guard() as database:
            if database is not None:
                return len(rows(self.folder, ENTRY, (len(start), start)))
        return 0


_MADE: weakref.WeakSet[DiskStore] = weakref.WeakSet()
_SHARED: weakref.WeakValueDictionary[Path, DiskStore] = weakref.WeakValueDictionary()
_SHARING = threading.Lock()


def shared_store(folder: Path | None = None) -> DiskStore:
    """The one store of a folder in this process; it is let go with the last who has it."""
    place = Path(os.path.realpath(folder or location()))
    with _SHARING:
        store = _SHARED.get(place)
        if store is None or store.closed:
            store = _SHARED[place] = DiskStore(folder)
        return store


@atexit.register
def _close_all() -> None:
    for store in list(_MADE):
        store.close()


def _after_fork() -> None:
    _SHARING.release()
    for store in list(_MADE):
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_SHARING.acquire, after_in_parent=_SHARING.release, after_in_child=_after_fork)
