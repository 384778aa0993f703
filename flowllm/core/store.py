"""Where cached answers live. Values are JSON-like data (plus bytes); a store never runs code to read them."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol


class Store(Protocol):
    """A key-value store with expiry. Keys are sha256 in hex. It never raises for what it holds:
    an unreadable entry is a miss. All methods are safe from many threads.
    """

    def get(self, key: str) -> Any | None:
        """The value, or None when absent, expired or unreadable."""
        ...

    def put(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep ``value`` for ``ttl`` seconds (None: until evicted). Returns at once; written soon."""
        ...

    def remove(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        ...

    def flush(self) -> None:
        """Wait until what was put is on disk."""
        ...


class MemoryStore:
    """A store in memory, without expiry: for one run, and for tests."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any | None:
        """The value or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep it; ``ttl`` is not looked at."""
        self._values[key] = value

    def remove(self, key: str) -> bool:
        """Forget it."""
        return self._values.pop(key, None) is not None

    def flush(self) -> None:
        """Nothing to wait for."""


class Deferred:
    """A store that is opened when something is first asked of it, once."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open = open_store

    @cached_property
    def _store(self) -> Store:
        return self._open()

    def get(self, key: str) -> Any | None:
        """The value or None."""
        return self._store.get(key)

    def put(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep it."""
        self._store.put(key, value, ttl)

    def remove(self, key: str) -> bool:
        """Forget it."""
        return self._store.remove(key)

    def flush(self) -> None:
        """Wait until what was put is on disk."""
        self._store.flush()
