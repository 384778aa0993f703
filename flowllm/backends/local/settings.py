"""The settings of the provider ``local``, and the shelf that they make; one for all environments with the same ones."""

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flowllm.backends.local import libraries, manifest
from flowllm.backends.local.batching import BUDGET, WAIT, Limits
from flowllm.backends.local.devices import PROVIDERS, Device, settled, size
from flowllm.backends.local.layout import Description
from flowllm.backends.local.places import Places, own_folder
from flowllm.backends.local.sessions import Session, open_session
from flowllm.backends.local.shapes import LENGTHS, profiles
from flowllm.backends.local.shelf import Loaded, Shelf
from flowllm.core.durations import seconds
from flowllm.core.errors import SetupError
from flowllm.core.on_disk import is_folder, lies_there
from flowllm.core.record import record

MEMORY = 8 * 10**9
PATIENCE = 300.0
_DEVICE_BUDGET = 16384
"""Padded tokens of a batch on anything but a processor."""

_FINE = {"memory": "8GB", "wait": "2ms", "budget": "256", "isolation": "process", "patience": "5m"}
"""A value of each setting that is read, for hints."""

_COPIES = 3
"""The weights of a model as they are read, as they are held and as they are packed."""

FindDevice = Callable[[str], Device]
"""A device by the name of its file; `SetupError` where there is none."""


@record
class Settings:
    """``memory`` in bytes, ``wait`` in seconds, ``budget`` in padded tokens of a batch, None: as the device has it.

    ``isolation``: ``process`` runs every model in a process of its own, ``unlisted`` those without a manifest;
    ``patience`` is how long such a process may work and say nothing, in seconds.
    """

    device: str = "auto"
    folders: tuple[Path, ...] = ()
    memory: int = MEMORY
    wait: float = WAIT
    budget: int | None = None
    isolation: str = "none"
    patience: float = PATIENCE

    def unlike(self) -> Iterator[tuple[Path, str]]:
        """The folder that a setting names, where it is none, and in words what it is."""
        for folder in self.folders[1:-1]:
            if not is_folder(folder):
                yield folder, "is no folder" if lies_there(folder) else "is not there"


_LOCK = threading.Lock()
_MADE: dict[tuple[Path, Settings, str], Shelf] = {}


def parse_settings(values: Mapping[str, str], project: Path) -> Settings:
    """The settings of the provider's file; `SetupError` for what is no such value.

    The folder ``models`` is a path as it is typed: from the working folder where it is no whole one.
    """
    own = values.get("models", "").strip()
    folders = (project / "models", *([Path(own).expanduser().absolute()] if own else []), own_folder())
    return Settings(
        values.get("device", "").strip() or "auto",
        tuple(dict.fromkeys(folders)),
        _read(values, "memory", size, MEMORY),
        _read(values, "wait", seconds, WAIT),
        _read(values, "budget", _whole, None),
        _read(values, "isolation", _isolation, "none"),
        _read(values, "patience", _some_time, PATIENCE),
    )


def shared_shelf(project: Path, settings: Settings, find_device: FindDevice) -> Shelf:
    """The shelf of a project with these settings, kept until the process ends."""
    device = find_device(settings.device)
    key = (project, settings, device.model_dump_json())
    with _LOCK:
        if key not in _MADE:
            places = Places(project, settings.folders)
            _MADE[key] = Shelf(places, _Loader(settings, device), settings.memory, device.precision)
        return _MADE[key]


@record
class _Loader:
    settings: Settings
    device: Device

    def check(self) -> None:
        """`SetupError` where a package is absent or the device cannot be used."""
        libraries.require()
        settled(self.device)

    def __call__(self, found: Description) -> Loaded:
        """Load what was described."""
        isolated = self._isolated(found)
        if found.task == "chat":
            # The past of a decoder grows, and a recorded graph has one shape.
            device = self.device.model_copy(update={"graphs": False})
            room = max(0, self.settings.memory - found.size)
            if isolated:
                from flowllm.backends.local.generation.isolated import IsolatedWriter

                return IsolatedWriter(found, device, self.settings.patience, room, self._most(found))
            from flowllm.backends.local.generation import open_writer

            return open_writer(found, device, room)
        from flowllm.backends.local.encoders import Encoder

        device = self._profiled(found)
        opened = self._apart(found, device) if isolated else open_session(found.file, device)
        on_cpu = opened.provider == PROVIDERS["cpu"]
        budget = self.settings.budget or (BUDGET if on_cpu else _DEVICE_BUDGET)
        lengths = () if on_cpu and not device.graphs else LENGTHS
        return Encoder(found, opened, Limits(budget, wait=self.settings.wait, lengths=lengths))

    def _profiled(self, found: Description) -> Device:
        """The device, with the shapes of batches where TensorRT builds for them; what its file says wins."""
        if self.device.provider != "tensorrt":
            return self.device
        budget = self.settings.budget or _DEVICE_BUDGET
        names = [port.name for port in found.inputs]
        options = {**profiles(names, LENGTHS, budget, found.window), **self.device.options}
        return self.device.model_copy(update={"options": options})

    def _isolated(self, found: Description) -> bool:
        said = self.settings.isolation
        return said == "process" or (said == "unlisted" and not (found.folder / manifest.NAME).is_file())

    def _apart(self, found: Description, device: Device) -> Session:
        from flowllm.backends.local.isolated import Isolated

        return Isolated(found.file, device, self.settings.patience, self._most(found))

    def _most(self, found: Description) -> int:
        """Bytes that a process may take for a model: for its runs as many as all models may take."""
        return _COPIES * found.size + self.settings.memory


def _read(values: Mapping[str, str], word: str, read: Callable[[str], Any], otherwise: Any) -> Any:
    text = values.get(word, "").strip()
    try:
        return read(text) if text else otherwise
    except ValueError as error:
        message = f"the setting `{word}` of the provider `local`: {error}"
        raise SetupError("missing_setting", message, hint=f"FLOWLLM_MODEL_{word.upper()}={_FINE[word]}") from None


def _whole(text: str) -> int:
    if not text.isdecimal() or not int(text):
        message = f"`{text}` is no number of tokens"
        raise ValueError(message)
    return int(text)


def _some_time(text: str) -> float:
    found = seconds(text)
    if not found:
        raise ValueError("a process is given more time than none")
    return found


def _isolation(text: str) -> str:
    if text not in ("none", "process", "unlisted"):
        message = f"`{text}` is none of none, process and unlisted"
        raise ValueError(message)
    return text


@atexit.register
def _end() -> None:
    """A thread inside of ONNX Runtime must not outlive the interpreter."""
    for shelf in _MADE.values():
        shelf.unload()


_LOST: list[object] = []
"""What a parent had in memory when this process was forked from it, kept as it is: its end would wait for threads."""


def _after_fork() -> None:
    """Begin with empty shelves: the threads that answered are the parent's, and so are its models' processes."""
    _LOCK.release()
    _LOST.extend(shelf.abandon() for shelf in _MADE.values())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_after_fork)
