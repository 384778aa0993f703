"""What is known of models: one file a provider, read at the first question about that provider.

A file is ``NAME.json`` with a head (table, version, licence, as_of) and ``models``, one entry a line. The first
folder goes before the others, entry by entry. A file is parsed once; an entry becomes a card when it is asked for.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowllm.catalog.registry_rows import Head, card_of_row
from flowllm.core.card import ModelCard
from flowllm.core.errors import UsageError

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
"""How a provider may be called, so that its name is a file's name on every system."""

LARGEST = 8 * 1024 * 1024
"""The most bytes that a registry file may have."""

_PROFILE = r"(us|us-gov|eu|apac|au|jp|in|ca|sa|global)\.(?=.+\.)"
_ORDINARY = frozenset({"us-east-1", "us-east-2", "us-west-2"})
"""Regions of Amazon for which the prices of an entry without a region hold, where they have none of their own."""
_DATED = re.compile(r"([-@](latest|default|\d{8})|-20\d\d-\d\d-\d\d)$", re.ASCII)


class Registry:
    """Models by provider and id; safe from many threads."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._read: dict[str, Mapping[str, ModelCard]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Every provider of which something is known; no file is read."""
        found = {path.stem for folder in self._folders for path in folder.glob("*.json")}
        return sorted(name for name in found if NAME.fullmatch(name))

    def models(self, provider: str) -> Mapping[str, ModelCard]:
        """All that is known of a provider's models, by id; ``file_refused`` for a file that is no registry file."""
        found = self._read.get(provider)
        if found is None:
            with self._lock:
                found = self._read.get(provider) or self._models(provider)
                self._read[provider] = found
        return found

    def _models(self, provider: str) -> Mapping[str, ModelCard]:
        if not NAME.fullmatch(provider):
            return {}
        paths = (folder / f"{provider}.json" for folder in self._folders)
        return _Cards([_File(path) for path in paths if path.is_file()])

    def find(self, provider: str, model: str, region: str = "") -> ModelCard | None:
        """What is known of a model, in a region where that has an entry of its own; None is nothing.

        The prices of a model that costs another thing in other regions say so where the region has no entry. A name
        with a region, a date or ``latest`` that has no entry is told the windows and capabilities of the
        model it is a form of, and no price.
        """
        models = self.models(provider)
        for name in (f"{region}/{model}", model) if region else (model,):
            found = models.get(name)
            if found is not None:
                return _marked(found, models, region) if name == model else _regional(found, models.get(model), model)
        forms = (models.get(form) for form in _forms(model))
        base = next((form for form in forms if form is not None), None)
        return None if base is None else replace(base, id=model, prices=None, released="", deprecated="")


def _regional(found: ModelCard, everywhere: ModelCard | None, model: str) -> ModelCard:
    """The entry of a region with what is known of the model everywhere; of prices only where the two agree."""
    whole = found.over(everywhere)
    return replace(whole, id=model, prices=whole.prices if found.prices else None)


def _marked(found: ModelCard, models: Mapping[str, ModelCard], region: str) -> ModelCard:
    """The entry without a region, its prices marked where they differ by region and this one's are not known."""
    if not region or region in _ORDINARY or found.prices is None or not isinstance(models, _Cards):
        return found
    others = (models[one].prices for one in models.placed(found.id))
    if all(other is None or {*other.rates} == {*found.prices.rates} for other in others):
        return found
    return replace(found, prices=replace(found.prices, unpriced_region=region))


def _forms(model: str) -> Iterator[str]:
    """The names that a model has without its region, without its date, and without both."""
    here = re.sub(_PROFILE, "", model, count=1)
    yield from (form for form in dict.fromkeys((here, undated(model), undated(here))) if form != model)


def undated(model: str) -> str:
    """The name that a model has without its date."""
    return _DATED.sub("", model)


class _File:
    """One registry file, parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head, self.rows = read_file(path)

    def card(self, id_: str) -> ModelCard:
        try:
            return card_of_row(id_, self.rows[id_], self.head)
        except ValueError as error:
            raise refused(self.path, f"{id_}: {error}") from None


class _Cards(Mapping[str, ModelCard]):
    """Cards of files, the first ones before the others; each made when it is first asked for."""

    def __init__(self, files: list[_File]) -> None:
        self._of = {id_: file for file in reversed(files) for id_ in file.rows}
        self._made: dict[str, ModelCard] = {}
        self._placed: dict[str, list[str]] | None = None

    def placed(self, id_: str) -> list[str]:
        """The entries of a model in regions, by id."""
        if self._placed is None:
            placed: dict[str, list[str]] = {}
            for one in self._of:
                _, sign, model = one.partition("/")
                if sign and model in self._of:
                    placed.setdefault(model, []).append(one)
            self._placed = placed
        return self._placed.get(id_, [])

    def __getitem__(self, id_: str) -> ModelCard:
        if id_ not in self._made:
            self._made[id_] = self._of[id_].card(id_)
        return self._made[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


def read_file(path: Path) -> tuple[Head, Mapping[str, Any]]:
    """The head and the entries of a registry file; ``file_refused`` for what is none."""
    import orjson

    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise refused(path, error.strerror or "it cannot be read") from None
    if len(text) > LARGEST:
        raise refused(path, f"it is larger than {LARGEST // 1024 // 1024} MiB")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise refused(path, f"it is no JSON: {error}") from None
    models = value.get("models") if isinstance(value, dict) else None
    told = (
        [value.get(name, "") for name in ("table", "version", "as_of", "licence")] if isinstance(models, dict) else []
    )
    words = [word for word in told if isinstance(word, str)]
    if not isinstance(models, dict) or len(words) < len(told):
        raise refused(path, "it needs `table`, `version`, `as_of` and `models`")
    return Head(*words), models


def refused(path: Path, why: str) -> UsageError:
    """The error for a registry file that is none."""
    hint = "remove it, or write it anew with `flowllm models sync --from FILE`"
    return UsageError("file_refused", f"`{path}` is no registry file: {why}", hint=hint)
