"""Hydra's view of our files: a source that reads them through the guard, and the composition itself.

The pipeline's own folder is not searched: the file is the primary config, groups come from ``conf/``
beside the project and from the package. Folders named like a key of a pipeline are no groups, for they
would turn that key into a choice.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import Any

from flowllm.config.files import read_text_file
from flowllm.config.literal import Vault
from flowllm.config.marks import Marks
from flowllm.config.words import TOP_LEVEL
from flowllm.core.record import record

PRIMARY = "__pipeline__"
_LOCK = threading.RLock()

ReadGroup = Callable[[str, str], tuple[Any, Marks]]
"""Text and file name to a value and its marks; what is wrong was reported, never raised."""


@record(frozen=False)
class Composition:
    """What is being composed: the primary value, the folders with groups, and what was read on the way.

    ``alone`` says that no file of a group takes part.
    ``marks`` are those of every file by its Hydra name; ``read`` parses a group's file.
    """

    value: Any
    marks: dict[str, Marks]
    folders: tuple[Path, ...]
    read: ReadGroup
    alone: bool = False
    vault: Vault = field(default_factory=Vault)


_CURRENT: list[Composition] = []


def compose(composition: Composition, overrides: Sequence[str]) -> tuple[Any, Marks]:
    """The merged configuration, unresolved, with the marks of every file laid over each other.

    Raises Hydra's and OmegaConf's own errors.
    """
    with _LOCK, _hydra(composition) as hydra:
        from hydra import compose as hydra_compose
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        merged = hydra_compose(config_name=PRIMARY, overrides=list(overrides))
        plain = OmegaConf.to_container(merged, resolve=False, throw_on_missing=False)
        plain = composition.vault.restore(plain)
        if composition.alone:
            return plain, composition.marks[PRIMARY]
        results = hydra.config_loader.compute_defaults_list(PRIMARY, list(overrides), RunMode.RUN)
        return plain, _merged_marks(composition, results.defaults)


def group_names(folders: Sequence[Path]) -> frozenset[str]:
    """Groups that the folders hold; ``retry/fast`` for nested ones."""
    found = set()
    for folder in folders:
        for inner, _, names in os.walk(folder):
            if any(name.endswith(".yaml") for name in names):
                found.add(Path(inner).relative_to(folder).as_posix())
    return frozenset(name for name in found if name.split("/")[0] not in {*TOP_LEVEL, "."})


@contextmanager
def _hydra(composition: Composition) -> Iterator[Any]:
    """Hydra set up for one composition; what the process had set up before is put back."""
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra._internal.hydra import Hydra
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.version import setbase

    Plugins.instance()
    SourcesRegistry.instance().types["flowllm"] = _source_class()
    search = ConfigSearchPathImpl()
    search.append("hydra", "pkg://hydra.conf")
    search.append("main", f"flowllm://{PRIMARY}")
    for folder in composition.folders:
        search.append("groups", f"flowllm://{folder}")
    search.append("schema", "structured://")
    glob = GlobalHydra.instance()
    before, base = glob.hydra, _version_base()
    _CURRENT.append(composition)
    try:
        setbase("1.3")
        glob.hydra = None
        yield Hydra.create_main_hydra2(task_name="flowllm", config_search_path=search)
    finally:
        _CURRENT.pop()
        glob.hydra = before
        _set_version_base(base)


def _version_base() -> Any:
    from hydra.version import VersionBase

    return VersionBase.instance().version_base


def _set_version_base(base: Any) -> None:
    from hydra.version import VersionBase

    VersionBase.instance().version_base = base


def _merged_marks(composition: Composition, defaults: Sequence[Any]) -> Marks:
    """Marks in the order of the merge: later files win for what they wrote."""
    merged = Marks()
    for entry in defaults:
        marks = composition.marks.get(entry.config_path or "")
        if marks is None:
            continue
        for step in reversed((entry.package or "").split(".") if entry.package else []):
            marks = Marks(marks.value, marks.text, marks.value, children={step: replace(marks, key=marks.value)})
        merged = marks.over(merged)
    return merged


@cache
def _source_class() -> Any:
    """The source, made at first use: its base class is Hydra's."""
    from hydra.plugins.config_source import ConfigResult, ConfigSource
    from omegaconf import OmegaConf

    class GuardedSource(ConfigSource):
        """Files of one folder, or the pipeline itself."""

        @staticmethod
        def scheme() -> str:
            return "flowllm"

        def load_config(self, config_path: str) -> ConfigResult:
            value = _load(self.path, config_path)
            config = OmegaConf.create(value)
            return ConfigResult(self.provider, self.full_path(), config, header={"package": None})

        def is_config(self, config_path: str) -> bool:
            if self.path == PRIMARY:
                return config_path == PRIMARY
            return config_path != PRIMARY and _config_file(self.path, config_path).is_file()

        def is_group(self, config_path: str) -> bool:
            if self.path == PRIMARY or config_path.split("/", maxsplit=1)[0] in TOP_LEVEL:
                return False
            return (Path(self.path) / config_path).is_dir()

        def available(self) -> bool:
            return True

        def list(self, config_path: str, results_filter: Any) -> list[str]:
            del results_filter
            folder = Path(self.path) / config_path
            return sorted(path.stem for path in folder.glob("*.yaml")) if self.is_group(config_path) else []

    return GuardedSource


def _config_file(folder: str, config_path: str) -> Path:
    return Path(folder) / f"{config_path.removesuffix('.yaml')}.yaml"


def _load(folder: str, config_path: str) -> Any:
    composition = _CURRENT[-1]
    if folder == PRIMARY:
        value = composition.value
    else:
        path = _config_file(folder, config_path)
        text = read_text_file(str(path.relative_to(folder)), under=folder)
        value, composition.marks[config_path.removesuffix(".yaml")] = composition.read(text, str(path))
    if not isinstance(value, dict):
        return {}
    kept = {"defaults": _with_self(value["defaults"])} if isinstance(value.get("defaults"), list) else {}
    rest = {key: inner for key, inner in value.items() if key != "defaults"}
    return kept | composition.vault.keep_all(rest)


def _with_self(defaults: list[Any]) -> list[Any]:
    """The list with ``_self_`` at its end where it names none: what a file writes wins over its defaults."""
    return defaults if "_self_" in defaults else [*defaults, "_self_"]
