"""The files that a model in memory was made of: what tells them from others, and whether they still lie there."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from flowllm.backends.local import manifest
from flowllm.backends.local.layout import Description, files_of

LOOK = 1.0
"""Seconds in which files that were looked at are taken for what they were."""

_Stamp = tuple[int, int, int, int] | None


class MadeOf:
    """Made before a model is loaded, so that what changes from then on is seen. ``now`` is a clock in seconds."""

    def __init__(self, found: Description, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._looked, self._was_same = now(), True
        self._found = found
        self._files = files_of(found)
        self._folders = _names({path.parent for path in self._files} | {found.folder})
        self._named = _names((found.folder / manifest.NAME, *self._files))
        self._stamps = _stamps(self._named)
        self._listed = _stamps(self._folders)
        self.identity = manifest.identity(found.folder, self._files)
        """What tells this model from another of its name."""

    def check(self) -> None:
        """`SetupError` for the first file that is not as the manifest says, where there is one."""
        manifest.check_manifest(self._found.folder, self._files)

    def seems_same(self) -> bool:
        """As `same`, by a look of the last `LOOK` seconds: for every call, so that few wait for a disk."""
        now = self._now()
        if self._was_same and now - self._looked >= LOOK:
            self._looked, self._was_same = now, self.same()
        return self._was_same

    def same(self) -> bool:
        """Whether all of them are there unchanged, and no further one. Reads no file."""
        if _stamps(self._named) != self._stamps:
            return False
        listed = _stamps(self._folders)
        if listed != self._listed:
            # What came or went there may be none of the model's.
            if files_of(self._found) != self._files:
                return False
            self._listed = listed
        return True


def _names(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(map(str, paths))


def _stamps(names: Iterable[str]) -> list[_Stamp]:
    return list(map(_stamp, names))


def _stamp(name: str) -> _Stamp:
    try:
        found = os.stat(name)  # noqa: PTH116  asked again and again
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
