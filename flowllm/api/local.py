"""Models of this machine: where they are, what they do, what runs them, and which of them are in memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowllm.api.environment import Environment
from flowllm.api.housed import PROVIDER
from flowllm.backends.local import diagnosing, libraries
from flowllm.backends.local.devices import Device, no_device, parse_device, settled
from flowllm.backends.local.diagnosing import Look, Version
from flowllm.backends.local.layout import Description
from flowllm.backends.local.settings import Settings, parse_settings, shared_shelf
from flowllm.backends.local.shelf import Held, Shelf
from flowllm.config import load_yaml, packaged, read_text_file
from flowllm.core.card import ProviderCard
from flowllm.core.errors import FlowError, UsageError
from flowllm.core.on_disk import is_folder, lies_there
from flowllm.core.origin import Origin
from flowllm.core.record import record
from flowllm.text.misfits import Part, Steps


@record
class LocalModel:
    """A model of this machine: what its files say, or why they cannot be used."""

    name: str
    folder: Path
    description: Description | None = None
    error: FlowError | None = None


def shelf_of(environment: Environment, card: ProviderCard | None = None) -> Shelf:
    """The models that an environment can load."""
    card = card or environment.catalog.providers[PROVIDER]
    settings = _settings(environment, card)
    return shared_shelf(environment.project.resolve(), settings, lambda name: find_device(environment, name))


def find_device(environment: Environment, name: str) -> Device:
    """``conf/device/NAME.yaml`` of the project, else the one that came with flowllm. Raises `FlowError`."""
    folders = (environment.project / "conf" / "device", packaged("conf") / "device")
    files = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    if name not in files:
        raise no_device(name, tuple(sorted(files)))
    path = files[name]
    value, marks = load_yaml(read_text_file(path), str(path))

    def place(steps: Steps, part: Part) -> Origin:
        found = marks.at(*steps)
        return found.key if part == "key" else found.text

    return parse_device(value, name, place)


def require_device(environment: Environment) -> None:
    """`FlowError` where no model can be loaded here, as far as that shows without loading onnxruntime for ``auto``."""
    libraries.require()
    settings = _settings(environment, environment.catalog.providers[PROVIDER])
    device = find_device(environment, settings.device)
    if device.provider != "auto":
        settled(device)


def local_models(environment: Environment) -> list[LocalModel]:
    """Every model of this machine by its name, also those whose files are broken."""
    shelf = shelf_of(environment)
    return [_read(shelf, name, folder) for name, folder in shelf.places.listed()]


def loaded_models(environment: Environment) -> list[Held]:
    """The models that are in memory now."""
    return shelf_of(environment).loaded()


def preload(environment: Environment, *names: str) -> None:
    """Load models (``local/tiny``, or ``tiny``) before they are asked. Raises `SetupError`."""
    shelf_of(environment).preload(*map(_on_shelf, names))


def unload(environment: Environment, name: str | None = None) -> list[str]:
    """Give back the memory of a model, or of all that nobody uses; their names are returned.

    Raises `SetupError` for a name that is neither in memory nor on the shelf.
    """
    shelf, asked = shelf_of(environment), None if name is None else _on_shelf(name)
    known = {one.name for one in shelf.loaded()}
    if asked is not None and asked not in known:
        shelf.places.find(asked)
    return shelf.unload(asked)


def describe_local(environment: Environment, name: str) -> dict[str, Any]:
    """What ``local/NAME`` is and which execution provider really runs it, as JSON; it is loaded for that.

    Raises `SetupError`.
    """
    shelf, name = shelf_of(environment), _on_shelf(name)
    with shelf.in_use(name) as model:
        return {**model_facts(model.description), "provider": model.provider}


def model_facts(found: Description) -> Mapping[str, Any]:
    """A description as JSON."""
    return {
        "task": found.task,
        "layout": found.layout,
        "precision": found.precision,
        "context": found.window,
        "size": found.size,
        "inputs": [port.name for port in found.inputs],
        "outputs": [port.name for port in found.outputs],
        "pooling": "in the graph" if found.pooled else found.pooling,
        "normalize": found.normalize,
        "labels": list(found.labels),
        "folder": str(found.folder),
        "file": found.file.relative_to(found.folder).as_posix(),
    }


def diagnosis(environment: Environment, version: Version) -> Iterator[Look]:
    """What is installed for local models, what can run them and where they lie."""
    installed = diagnosing.wheels(version)
    yield installed
    settings = _settings(environment, environment.catalog.providers[PROVIDER])
    if any(map(version, diagnosing.WHEELS)):
        yield from diagnosing.devices()
        yield from diagnosing.running(lambda: find_device(environment, settings.device), settings.device)
    there = [folder for folder in settings.folders if is_folder(folder)]
    yield Look("folders", ", ".join(map(str, there)) or f"none yet; {settings.folders[-1]} is yours")
    for folder, why in settings.unlike():
        broken = lies_there(folder)
        yield Look("FLOWLLM_MODELS", f"{folder} {why}", ok=not broken, hint="FLOWLLM_MODELS=FOLDER" * broken)


def missing_folders(environment: Environment) -> list[str]:
    """What is wrong with the folder that the setting ``models`` names, in a sentence; empty where nothing is."""
    settings = _settings(environment, environment.catalog.providers[PROVIDER])
    return [f"FLOWLLM_MODELS names {folder}, which {why}" for folder, why in settings.unlike()]


def _on_shelf(name: object) -> str:
    """The name of a model on the shelf; pipelines write ``local/`` before it."""
    if not isinstance(name, str):
        message = f"the name of a model is a text, not {type(name).__name__}"
        raise UsageError("bad_usage", message, hint='preload(environment, "local/tiny")')
    return name.removeprefix(f"{PROVIDER}/")


def _settings(environment: Environment, card: ProviderCard) -> Settings:
    return parse_settings(card.settings, environment.project.resolve())


def _read(shelf: Shelf, name: str, folder: Path) -> LocalModel:
    try:
        return LocalModel(name, folder, shelf.describe(name))
    except FlowError as error:
        return LocalModel(name, folder, error=error)
