"""The last answers as bytes, in this process: what the store on disk looks into first."""

import threading
import time
from collections import OrderedDict


class Memory:
    """The last values as bytes, up to a size in bytes. Safe from many threads; a hit takes no lock."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._rows: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The bytes, or None when absent or expired."""
        row = self._rows.get(key)
        if row is None:
            return None
        data, expires = row
        if expires is not None and expires <= time.time():
            return None
        try:  # noqa: SIM105  contextlib.suppress costs as much as all the rest
            self._rows.move_to_end(key)
        except KeyError:  # another thread made room just now
            pass
        return data

    def put(self, key: str, data: bytes, expires: float | None) -> None:
        """Keep the bytes until ``expires``, in seconds since 1970 (None: until room is needed).

        What is larger than all the room is not kept, and costs no other entry its place.
        """
        with self._lock:
            self._drop(key)
            if len(data) > self._limit:
                return
            self._rows[key] = data, expires
            self._size += len(data)
            while self._size > self._limit:
                self._drop(next(iter(self._rows)))

    def remove(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        with self._lock:
            return self._drop(key)

    def _drop(self, key: str) -> bool:
        row = self._rows.pop(key, None)
        self._size -= len(row[0]) if row else 0
        return row is not None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rows.clear()
            self._size = 0

    def after_fork(self) -> None:
        """In a forked child: no thread that is gone holds the lock, or has left a row half counted."""
        self._lock = threading.Lock()
        self._size = sum(len(data) for data, _ in self._rows.values())
