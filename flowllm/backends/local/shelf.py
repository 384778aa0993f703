"""The models of this process: loaded at first use, shared by all who use them, unloaded when memory is short.

A model that is in use is never unloaded; of the others the one that was used longest ago goes first, so that all
together stay under ``memory`` bytes of graphs and weights, and of what models keep of prompts, which goes before any
model does. While models are in use they may pass that limit.
"""

import asyncio
import ctypes
import gc
import itertools
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowllm.backends.local import manifest
from flowllm.backends.local.layout import Description, describe, files_of
from flowllm.backends.local.places import Places
from flowllm.core.errors import SetupError
from flowllm.core.record import record
from flowllm.core.scope import Scope


class Loaded(Protocol):
    """A model in memory."""

    @property
    def description(self) -> Description:
        """What was loaded."""
        ...

    @property
    def provider(self) -> str:
        """The execution provider that really runs it."""
        ...

    @property
    def kept(self) -> int:
        """Bytes that it holds beside its files, or may hold."""
        ...

    def forget(self) -> None:
        """Let go of these, as far as they are not in use."""
        ...

    def close(self) -> None:
        """End its thread and let go of its session."""
        ...


class Load(Protocol):
    """Brings models into memory."""

    def __call__(self, found: Description) -> Loaded:
        """Load what was described."""
        ...

    def check(self) -> None:
        """`SetupError` where nothing can be loaded: no package, no device."""
        ...


@record
class Held:
    """A model in memory, for lists: its size in bytes with what it keeps, and how many use it at this moment."""

    name: str
    size: int
    provider: str
    users: int


@dataclass(slots=True, eq=False)
class _Entry:
    size: int = 0
    users: int = 0
    used: int = 0
    model: Loaded | None = None
    opening: threading.Lock = field(default_factory=threading.Lock)

    @property
    def whole(self) -> int:
        """Bytes of its files and of what it keeps beside."""
        return self.size + (self.model.kept if self.model else 0)


class Shelf:
    """Models by name. Safe from many threads and event loops."""

    def __init__(self, places: Places, load: Load, memory: int, precision: str = "") -> None:
        self.places = places
        self._load = load
        self._memory = memory
        self._precision = precision
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._ticks = itertools.count(1)

    def describe(self, name: str) -> Description:
        """What the model of that name is, read from its files."""
        return describe(self.places.find(name), self._precision)

    def identity(self, name: str) -> str:
        """What tells this model from another of its name; empty where there is none."""
        with suppress(SetupError):
            found = self.describe(name)
            return manifest.identity(found.folder, files_of(found))
        return ""

    def check(self, name: str) -> None:
        """`SetupError` where the model cannot be loaded, as far as that shows without loading it."""
        self._load.check()
        self.describe(name)

    @asynccontextmanager
    async def held(self, name: str, scope: Scope) -> AsyncGenerator[Loaded, None]:
        """The model, loaded where it is not, and kept as long as this is entered."""
        model = self._ready(name) or await self._taken(name, scope)
        try:
            yield model
        finally:
            _close_aside(self._given_back(name))

    def preload(self, *names: str) -> None:
        """Load models now."""
        for name in names:
            self._take(name)
            _close(self._given_back(name))

    def unload(self, name: str | None = None) -> list[str]:
        """Give back the memory of a model, or of all; those in use stay. Returns the names of what went."""
        with self._lock:
            idle = [one for one, entry in self._entries.items() if name in (None, one) and self._is_idle(entry)]
            gone = [self._entries.pop(one).model for one in idle]
        _close(gone)
        return idle

    def loaded(self) -> list[Held]:
        """What is in memory."""
        with self._lock:
            found = [(name, entry, entry.model) for name, entry in sorted(self._entries.items())]
        return [Held(name, entry.whole, model.provider, entry.users) for name, entry, model in found if model]

    async def _taken(self, name: str, scope: Scope) -> Loaded:
        taking: asyncio.Future[Any] = asyncio.ensure_future(scope.run_in_thread(lambda: self._take(name)))
        try:
            model: Loaded = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The thread goes on, and whoever it loads for is gone.
            taking.add_done_callback(lambda done: self._forget(name, done))
            raise
        return model

    def _forget(self, name: str, taking: "asyncio.Future[Any]") -> None:
        if not taking.cancelled() and taking.exception() is None:
            _close_aside(self._given_back(name))

    def _ready(self, name: str) -> Loaded | None:
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry.model is None:
                return None
            entry.users += 1
            entry.used = next(self._ticks)
            return entry.model

    def _take(self, name: str) -> Loaded:
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            entry.users += 1
            entry.used = next(self._ticks)
        try:
            with entry.opening:
                if entry.model is None:
                    entry.model = self._opened(name, entry)
                return entry.model
        except BaseException:
            _close(self._given_back(name))
            raise

    def _opened(self, name: str, entry: _Entry) -> Loaded:
        found = self.describe(name)
        if found.size > self._memory:
            message = f"`local/{name}` has {_gigabytes(found.size)}, and models may take {_gigabytes(self._memory)}"
            raise SetupError("device_unavailable", message, hint=f"FLOWLLM_MODEL_MEMORY={found.size}")
        manifest.check_manifest(found.folder, files_of(found))
        entry.size = found.size
        _close(self._too_many())
        return self._load(found)

    def _given_back(self, name: str) -> list[Loaded | None]:
        """Use a model no more; what is to be closed now."""
        with self._lock:
            entry = self._entries[name]
            entry.users -= 1
            if not entry.users and entry.model is None:
                del self._entries[name]
        return self._too_many()

    def _too_many(self) -> list[Loaded | None]:
        """Take away until the rest is under the limit: what models keep, then models that nobody uses, oldest first."""
        gone = []
        with self._lock:
            order = sorted(self._entries, key=lambda name: self._entries[name].used)
            over = sum(entry.whole for entry in self._entries.values()) - self._memory
            for entry in [self._entries[name] for name in order]:
                if over > 0 and entry.model is not None:
                    held = entry.whole
                    entry.model.forget()
                    over -= held - entry.whole
            for name in [name for name in order if self._is_idle(self._entries[name])]:
                if over > 0:
                    entry = self._entries.pop(name)
                    over -= entry.whole
                    gone.append(entry.model)
        return gone

    def _is_idle(self, entry: _Entry) -> bool:
        return entry.model is not None and not entry.users


def _close_aside(models: list[Loaded | None]) -> None:
    """As `_close`, without a wait: an event loop has other work than to wait for the end of a model's process."""
    if models:
        threading.Thread(target=_close, args=(models,), name="flowllm unloading").start()


def _close(models: list[Loaded | None]) -> None:
    """End models and hand their memory back to the system."""
    if not models:
        return
    while models:
        # No name may keep the last one until memory is collected.
        _end(models.pop())
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _end(model: Loaded | None) -> None:
    if model is not None:
        model.close()


def _gigabytes(size: int) -> str:
    return f"{size / 10**9:.1f} GB" if size >= 10**8 else f"{size / 10**6:.1f} MB"
