"""One stream of events with many readers. A reader that fails is dropped with one warning; it never stops a run.

Readers are called on the run's own thread, which waits for them: one with slow work has a thread for it.
"""

from collections.abc import Callable, Iterable

from flowllm.core.event import Event, Warned

Reader = Callable[[Event], None]
"""Called with every event; one with an attribute ``reads``, a set of their classes, with events of those alone."""


class Bus:
    """Hands every event to those who read its class, in order, on the run's own thread."""

    __slots__ = ("_readers", "_readers_of")

    def __init__(self, readers: Iterable[Reader] = ()) -> None:
        self._readers = tuple(readers)
        self._readers_of: dict[type[Event], tuple[Reader, ...]] = {}

    @property
    def observed(self) -> bool:
        """Whether anybody reads."""
        return bool(self._readers)

    def readers_of(self, kind: type[Event]) -> tuple[Reader, ...]:
        """Those who are told of events of one class; worked out once."""
        found = self._readers_of.get(kind)
        if found is None:
            found = tuple(reader for reader in self._readers if kind in getattr(reader, "reads", (kind,)))
            self._readers_of[kind] = found
        return found

    def emit(self, event: Event) -> None:
        """Tell everybody who reads such events."""
        kind = type(event)
        readers = self._readers_of.get(kind)
        for reader in self.readers_of(kind) if readers is None else readers:
            try:
                reader(event)
            except Exception as error:  # noqa: BLE001  a reader is not part of the run
                self._drop(reader, error, event)

    def _drop(self, failed: Reader, error: Exception, event: Event) -> None:
        self._readers = tuple(reader for reader in self._readers if reader is not failed)
        self._readers_of.clear()
        name = getattr(failed, "__qualname__", type(failed).__name__)
        self.emit(
            Warned(
                event.address, event.at, "internal", f"{name} failed and is not told any more: {type(error).__name__}"
            )
        )
