"""Folders of provider files to a `Catalog`.

Names come from the file names; a file is read and checked when its provider is first asked for. The
first folder that has a name wins, and no folder is read before a name is missed. Overrides
(``providers.NAME.base_url=...``) are merged over the file, mapping by mapping. Where an override or a variable
names the server, the file's ``origins`` are not its own, and its key goes to those alone that were given with it.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flowllm.catalog.cards import CheckQuirks, Place, card_of, merged, problem
from flowllm.catalog.settings import unread
from flowllm.core.card import Catalog, ProviderCard
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.nearest import did_you_mean
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.packaged import packaged
from flowllm.text.misfits import Part, Steps

Read = Callable[[Path], Mapping[str, Any]]
"""Reads one provider file into plain data, under the rules for files that are not the project's own."""

FindPlace = Callable[[Path | None, str, Steps, Part], Origin]
"""Where a provider's setting was written: its file (None: it has none), its name, and as `cards.Place`."""


def packaged_providers() -> Path:
    """The folder of provider files that came with flowllm."""
    return packaged("providers")


def load_catalog(
    folders: Iterable[Path],
    read: Read,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    check_quirks: CheckQuirks | None = None,
    environment: Mapping[str, str] | None = None,
    place: FindPlace | None = None,
) -> Catalog:
    """Every provider of the folders, the first ones before the others.

    ``environment`` (default: the process's) is where variables like OLLAMA_HOST are looked up.
    Problems of a file are raised as `PipelineInvalid` when its provider is asked for; ``place`` says where
    they stand, else it is the file alone.
    """
    paths = _Files(folders)
    words = dict(overrides or {})
    variables = os.environ if environment is None else environment
    unknown = [name for name in words if name not in paths]
    if unknown:
        places = {name: place(None, name, (), "key") if place else UNKNOWN for name in unknown}
        raise PipelineInvalid(_unknown_provider(name, paths, origin) for name, origin in places.items())

    def make(name: str) -> ProviderCard:
        path = paths[name]
        data = read(path)
        over = words.get(name, {})
        whole = _overridden(data, over, variables) if isinstance(data, Mapping) else data
        at = partial(place, path, name) if place else None
        card = card_of(whole, name, Origin(str(path)), check_quirks, variables, at)
        if over and (found := list(unread(data, over, whole))):
            raise PipelineInvalid(problem(misfit, name, at or (lambda steps, part: card.origin)) for misfit in found)
        if card.registry and not paths.are_known(card.registry):
            raise PipelineInvalid([_unknown_registry(card, paths, at)])
        return card

    cards = _Cards(paths, make)
    _check_said(words, cards)
    return Catalog(cards)


def _check_said(words: Iterable[str], cards: Mapping[str, ProviderCard]) -> None:
    """Make each card that something was said over: what cannot be said is told, whether or not it is asked for."""
    problems: list[Problem] = []
    for name in words:
        try:
            _ = cards[name]
        except PipelineInvalid as error:
            problems += error.problems
    if problems:
        raise PipelineInvalid(problems)


def _unknown_registry(card: ProviderCard, paths: "_Files", at: Place | None) -> Problem:
    names = paths.with_models()
    hint = did_you_mean(card.registry, names, f"known here: {', '.join(sorted(names))}")
    message = f"nothing is known of models of `{card.registry}`"
    origin = at(("registry",), "value") if at else card.origin
    return Problem("bad_value", message, f"{card.name}.registry", origin, hint)


def _unknown_provider(name: str, known: Mapping[str, Any], origin: Origin = UNKNOWN) -> Problem:
    hint = did_you_mean(name, known) or f"installed are {', '.join(sorted(known))}"
    return Problem("unknown_provider", f"the provider `{name}` is not installed", f"providers.{name}", origin, hint)


def _overridden(data: Mapping[str, Any], over: Mapping[str, Any], environment: Mapping[str, str]) -> Mapping[str, Any]:
    """The file's mapping with what was said over it; where another server is named, without the servers of the file."""
    made = merged(data, over) if over else dict(data)
    variable = made.get("base_url_env")
    # A server that the user names wins over the variable that names one.
    if "base_url" in over:
        made.pop("base_url_env", None)
    elif not (isinstance(variable, str) and environment.get(variable, "").strip()):
        return made
    made["endpoints"] = _moved(made.get("endpoints"), over.get("endpoints"))
    made["origins"] = over.get("origins", [])
    return made


def _moved(endpoints: Any, over: Any) -> Any:
    """The endpoints of the file as paths of another server: a key of that one goes to no server of the file."""
    if not isinstance(endpoints, Mapping):
        return endpoints or {}
    own = over if isinstance(over, Mapping) else {}
    return {
        word: urlsplit(place).path if word not in own and isinstance(place, str) and "://" in place else place
        for word, place in endpoints.items()
    }


class _Files(Mapping[str, Path]):
    """Files by the names of their providers; safe from many threads."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = iter(folders)
        self._seen: list[Path] = []
        self._paths: dict[str, Path] = {}
        self._lock = threading.RLock()

    def _read_on(self) -> bool:
        """Read one more folder; False when there is none."""
        folder = next(self._folders, None)
        for path in sorted(folder.glob("*.yaml")) if folder and folder.is_dir() else ():
            self._paths.setdefault(path.stem, path)
        self._seen += [folder] if folder else []
        return folder is not None

    def are_known(self, name: str) -> bool:
        """Whether there can be models of a provider: it has a file, or its models have one."""
        return name in self or any((folder / "models" / f"{name}.json").is_file() for folder in self._seen)

    def with_models(self) -> set[str]:
        """The names of which `are_known` is true."""
        return {*self, *(path.stem for folder in self._seen for path in (folder / "models").glob("*.json"))}

    def __getitem__(self, name: str) -> Path:
        with self._lock:
            while name not in self._paths and self._read_on():
                pass
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            while self._read_on():
                pass
        return iter(sorted(self._paths))

    def __len__(self) -> int:
        return len(list(iter(self)))


class _Cards(Mapping[str, ProviderCard]):
    """Cards by name, each made when it is first asked for; safe from many threads."""

    def __init__(self, paths: Mapping[str, Path], make: Callable[[str], ProviderCard]) -> None:
        self._paths = paths
        self._make = make
        self._made: dict[str, ProviderCard] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> ProviderCard:
        if name not in self._paths:
            raise KeyError(name)
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
