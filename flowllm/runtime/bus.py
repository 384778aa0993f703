"""One stream of events with many readers. A reader that fails is dropped with one warning; it never stops a run."""

from collections.abc import Callable, Iterable

from flowllm.core.event import Event, Warned

Reader = Callable[[Event], None]


class Bus:
    """Hands every event to every reader, in order, on the run's own thread."""

    __slots__ = ("_readers",)

    def __init__(self, readers: Iterable[Reader] = ()) -> None:
        self._readers = list(readers)

    @property
    def observed(self) -> bool:
        """Whether anybody reads."""
        return bool(self._readers)

    def emit(self, event: Event) -> None:
        """Tell everybody."""
        for reader in tuple(self._readers):
            try:
                reader(event)
            except Exception as error:  # noqa: BLE001  a reader is not part of the run
                self._drop(reader, error, event)

    def _drop(self, reader: Reader, error: Exception, event: Event) -> None:
        self._readers.remove(reader)
        name = getattr(reader, "__qualname__", type(reader).__name__)
        self.emit(
            Warned(
                event.address, event.at, "internal", f"{name} failed and is not told any more: {type(error).__name__}"
            )
        )
