"""The models of this process: loaded at first use, shared by all who use them, unloaded when memory is short.

A model that is in use is never unloaded; of the others the one that was used longest ago goes first, so that all
together stay under ``memory`` bytes of graphs and weights, and of what models keep of prompts, which goes before any
model does. While models are in use they may pass that limit.
"""

import ctypes
import gc
import itertools
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakSet

from flowllm.backends.local.layout import Description, describe
from flowllm.backends.local.made_of import MadeOf
from flowllm.backends.local.opening import Opening
from flowllm.backends.local.places import Places
from flowllm.core.errors import SetupError
from flowllm.core.record import record


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
        """Bytes that it holds beside its files."""
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


class _Use:
    """That somebody uses a model: gone with whoever has it, however that ends."""

    __slots__ = ("__weakref__",)


@dataclass(slots=True, eq=False)
class _Entry:
    """One model. ``opening`` loads it, ``uses`` are those who have it or wait for it.

    ``current`` is False where its files are no longer those that it was made of: it answers whom it answers already.
    """

    name: str
    used: int = 0
    size: int = 0
    current: bool = True
    made_of: MadeOf | None = None
    model: Loaded | None = None
    opening: Opening | None = None
    uses: "WeakSet[_Use]" = field(default_factory=WeakSet)

    @property
    def whole(self) -> int:
        """Bytes of its files and of what it keeps beside."""
        return self.size + (self.model.kept if self.model else 0)

    @property
    def idle(self) -> bool:
        """Whether it is in memory for nobody."""
        return self.model is not None and not self.uses

    @property
    def stale(self) -> bool:
        """Whether it was made of other files than lie there now, as far as that was seen."""
        return self.made_of is not None and not self.made_of.seems_same()


class Shelf:
    """Models by name. Safe from many threads and event loops. ``now`` is a clock in seconds.

    Where files are replaced, that is seen within `made_of.LOOK` seconds: until then the model that is there answers,
    under its own identity.
    """

    def __init__(
        self,
        places: Places,
        load: Load,
        memory: int,
        precision: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = places
        self._load = load
        self._memory = memory
        self._precision = precision
        self._now = now
        self._entries: list[_Entry] = []
        self._seen: dict[str, MadeOf] = {}
        """What models were seen to be made of that are not in memory."""
        self._lock = threading.Lock()
        self._ticks = itertools.count(1)

    def describe(self, name: str) -> Description:
        """What the model of that name is, read from its files."""
        return describe(self.places.find(name), self._precision)

    def identity(self, name: str) -> str:
        """What tells this model from another of its name; empty where none is, or its files are being replaced."""
        with suppress(SetupError, OSError):
            with self._lock:
                made_of = self._made_of(name)
            if made_of is None:
                made_of = MadeOf(self.describe(name), self._now)
                self._seen[name] = made_of
            return made_of.identity
        return ""

    def check(self, name: str) -> None:
        """`SetupError` where the model cannot be loaded, as far as that shows without loading it."""
        self._load.check()
        self.describe(name)

    @asynccontextmanager
    async def held(self, name: str) -> AsyncGenerator[Loaded, None]:
        """The model, loaded where it is not, and kept as long as this is entered."""
        entry, opening, use = self._joined(name)
        try:
            await opening.come()
            yield _loaded(entry)
        finally:
            _close_aside(self._given_back(entry, use))

    @contextmanager
    def in_use(self, name: str) -> Iterator[Loaded]:
        """As `held`, for a thread that may wait."""
        entry, opening, use = self._joined(name)
        try:
            opening.wait()
            yield _loaded(entry)
        finally:
            _close(self._given_back(entry, use))

    def preload(self, *names: str) -> None:
        """Load models now."""
        for name in names:
            with self.in_use(name):
                pass

    def unload(self, name: str | None = None) -> list[str]:
        """Give back the memory of a model, or of all; those in use stay. Returns the names of what went."""
        with self._lock:
            idle = [entry for entry in self._entries if name in (None, entry.name) and entry.idle]
            gone = list(map(self._taken_away, idle))
        _close(gone)
        return sorted(entry.name for entry in idle)

    def loaded(self) -> list[Held]:
        """What is in memory."""
        with self._lock:
            found = sorted(((entry, entry.model) for entry in self._entries), key=lambda one: one[0].name)
        return [Held(one.name, one.whole, model.provider, len(one.uses)) for one, model in found if model]

    def abandon(self) -> object:
        """Be empty without an end for what is there, in a process that was forked: its threads are not here.

        What is returned must be kept for good: the end of a session waits for its threads.
        """
        self._lock = threading.Lock()
        lost, self._entries = self._entries, []
        return lost

    def _joined(self, name: str) -> tuple[_Entry, Opening, _Use]:
        """The model as it lies there now, and who opens it; used from here on."""
        with self._lock:
            entry = self._current(name)
            if entry is None:
                entry = _Entry(name)
                self._entries.append(entry)
            opening = entry.opening or self._begun(entry)
            use = _Use()
            entry.uses.add(use)
            entry.used = next(self._ticks)
            return entry, opening, use

    def _begun(self, entry: _Entry) -> Opening:
        entry.opening = Opening(lambda: self._open(entry))
        return entry.opening

    def _current(self, name: str) -> _Entry | None:
        """What is there by that name, unless its files were replaced."""
        entry = next((one for one in self._entries if one.name == name and one.current), None)
        if entry is None or not entry.stale:
            return entry
        entry.current = False
        return None

    def _made_of(self, name: str) -> MadeOf | None:
        """The files of that name as they were last seen, unless they were replaced since."""
        entry = self._current(name)
        if entry is not None and entry.made_of is not None:
            return entry.made_of
        seen = self._seen.get(name)
        return seen if seen is not None and seen.seems_same() else None

    def _open(self, entry: _Entry) -> None:
        """Load a model; on the thread of its opening."""
        try:
            found = self.describe(entry.name)
            made_of = MadeOf(found, self._now)
            self._require_room(entry.name, found.size)
            made_of.check()
            entry.size = found.size
            _close(self._too_many())
            model = self._load(found)
            _require_same(made_of, model)
        except BaseException:
            with self._lock:
                self._entries.remove(entry)
            raise
        with self._lock:
            entry.made_of, entry.model = made_of, model
        del model
        _close(self._too_many())

    def _require_room(self, name: str, size: int) -> None:
        if size > self._memory:
            message = f"`local/{name}` has {_bytes(size)}, and models may take {_bytes(self._memory)}"
            raise SetupError("device_unavailable", message, hint=f"FLOWLLM_MODEL_MEMORY={size}")

    def _given_back(self, entry: _Entry, use: _Use) -> list[Loaded | None]:
        """Use a model no more; what is to be closed now."""
        with self._lock:
            entry.uses.discard(use)
        return self._too_many()

    def _taken_away(self, entry: _Entry) -> Loaded | None:
        self._entries.remove(entry)
        if entry.made_of is not None:
            self._seen[entry.name] = entry.made_of
        model, entry.model = entry.model, None
        return model

    def _too_many(self) -> list[Loaded | None]:
        """Take away what nobody can ask any more, then until the rest is under the limit.

        What models keep goes first, then models that nobody uses; both by how long ago they were used.
        """
        with self._lock:
            gone = [self._taken_away(entry) for entry in list(self._entries) if entry.idle and not entry.current]
            order = sorted(self._entries, key=lambda entry: entry.used)
            over = sum(entry.whole for entry in order) - self._memory
            for entry in order:
                if over > 0 and entry.model is not None:
                    held = entry.whole
                    entry.model.forget()
                    over -= held - entry.whole
            for entry in [entry for entry in order if entry.idle]:
                if over > 0:
                    over -= entry.whole
                    gone.append(self._taken_away(entry))
        return gone


def _loaded(entry: _Entry) -> Loaded:
    assert entry.model is not None
    return entry.model


def _require_same(made_of: MadeOf, model: Loaded) -> None:
    if not made_of.same():
        model.close()
        message = f"the files of {model.description.folder} changed while the model was loaded"
        raise SetupError("bad_model_file", message, hint="run it again when they are whole")


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


def _bytes(size: int) -> str:
    """An amount that is never shown as none where there is some."""
    units = {10**8: (10**9, "GB"), 10**5: (10**6, "MB"), 10**3: (10**3, "kB")}
    for least, (unit, name) in units.items():
        if size >= least:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
