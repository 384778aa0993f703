"""What pipelines run in: kinds, providers, keys, a cache. Nothing of it is touched before it is used."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.backends.router import Backends
from flowllm.config import load_yaml, packaged, read_text_file
from flowllm.core.card import Catalog
from flowllm.core.errors import SetupError
from flowllm.core.kinds import Kinds
from flowllm.core.scope import Call

if TYPE_CHECKING:
    from flowllm.backends.auth import KeySource
    from flowllm.backends.store import DiskStore
    from flowllm.core.node import Node


@dataclass(frozen=True)
class Environment:
    """Where pipelines find their world.

    ``project`` is the folder whose ``conf``, ``providers``, ``.env`` and modules count; ``mock`` are
    rules of the mock provider; ``providers`` overrides provider files (``{"openai": {"base_url":
    ...}}``); ``cache_folder`` replaces the user's cache folder; ``registered`` are kinds of one's own.
    """

    project: Path = field(default_factory=Path.cwd)
    mock: Sequence[Mapping[str, Any]] = ()
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cache_folder: Path | None = None
    registered: "Mapping[str, type[Node]]" = field(default_factory=dict)

    @cached_property
    def kinds(self) -> Kinds:
        """Every kind: registered here, offered by the project's modules, built in, installed."""
        return Kinds({**_project_kinds(self.project), **self.registered})

    @cached_property
    def catalog(self) -> Catalog:
        """Every provider: the project's own, then those that came with flowllm."""
        from flowllm.backends.wire import check_quirks
        from flowllm.catalog import load_catalog

        folders = dict.fromkeys((self.project / "providers", packaged("providers")))
        return load_catalog(tuple(folders), _read_card, self.providers, check_quirks)

    @cached_property
    def keys(self) -> "KeySource":
        """Keys from the environment, the project's ``.env`` and the user's store."""
        from flowllm.backends.auth import KeySource

        return KeySource(dotenv=self.project / ".env")

    def connect(self) -> Backends:
        """Backends for every model, with connections of their own; close them with ``aclose``."""
        from flowllm.backends.lexical import answer
        from flowllm.backends.mock import MockBackend

        local: dict[str, Call] = {"builtin": answer, "mock": MockBackend(self.mock)}
        return Backends(self.catalog.providers.__getitem__, self.keys, local)

    @cached_property
    def store(self) -> "DiskStore":
        """The cache on disk, one for all environments of a folder; opened when it is first read or written."""
        from flowllm.backends.store import shared_store

        return shared_store(self.cache_folder)


def _read_card(path: Path) -> Any:
    value, _ = load_yaml(read_text_file(path), str(path))
    return value


def _project_kinds(project: Path) -> "dict[str, type[Node]]":
    """The kinds of the modules that the project names in ``[tool.flowllm] modules``."""
    settings = project / "pyproject.toml"
    if not settings.is_file() or "[tool.flowllm]" not in settings.read_text(encoding="utf-8", errors="replace"):
        return {}
    import tomllib

    names = tomllib.loads(settings.read_text(encoding="utf-8")).get("tool", {}).get("flowllm", {}).get("modules", [])
    return {kind: node for name in names for kind, node in _module_kinds(project, str(name)).items()}


def _module_kinds(project: Path, name: str) -> "dict[str, type[Node]]":
    from flowllm.core.node import Node

    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        message = f"the module `{name}` of [tool.flowllm] modules cannot be imported: {error}"
        raise SetupError(
            "missing_extra", message, hint="its name is given as in an import, from the project's folder"
        ) from error
    own = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Node) and value is not Node
    )
    return {kind_name(node): node for node in own if node.__module__ == module.__name__}


def kind_name(node: "type[Node]") -> str:
    """The word after ``kind:`` for a class: its ``kind`` if it has one, else its name in lower case."""
    return str(getattr(node, "kind", "") or node.__name__.lower())
