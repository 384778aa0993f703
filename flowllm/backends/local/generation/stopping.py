"""Stop strings: an answer ends where one begins, wherever the borders of its pieces are.

Text that may become a stop string is held back until it cannot; no text is lost that is not one.
"""

from collections.abc import Sequence


class Stopper:
    """Watches one answer for the first of ``stops``; an empty one is none."""

    __slots__ = ("_held", "_stops", "found")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """What may be shown now. ``found`` is the stop string once it came; nothing is shown after it."""
        if not self._stops or self.found is not None:
            return "" if self.found is not None else text
        text = self._held + text
        places = [(place, -len(stop), stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            place, _, self.found = min(places)
            self._held = ""
            return text[:place]
        held = max(_begun(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back and is no stop string, for nothing more comes."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, stop: str) -> int:
    """How much of ``stop`` the end of ``text`` is."""
    longest = min(len(stop) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
