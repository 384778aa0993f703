"""Every secret that this process has read, so that what is shown or written can be cleaned of them.

Who reads a secret registers it before it is used; the redactor in ``sinks`` asks for all of them.
"""

import threading

SHORTEST = 6
"""Shorter values would blank ordinary words and protect nothing."""

_LOCK = threading.Lock()
_SECRETS: dict[str, None] = {}


def register(secret: str) -> str:
    """Remember ``secret`` and give it back; blank and very short values are not kept."""
    value = secret.strip()
    if len(value) >= SHORTEST:
        with _LOCK:
            _SECRETS[value] = None
    return secret


def registered() -> tuple[str, ...]:
    """All of them, the longest first, so that a secret inside another is not replaced before it."""
    with _LOCK:
        return tuple(sorted(_SECRETS, key=len, reverse=True))
