"""Kinds of nodes by name: built-in ones are files of ``flowllm/nodes``, others are registered or installed.

An installed package offers kinds by the entry point group ``flowllm.nodes`` (name = kind, object = a
subclass of `Node`), and pydantic models that stand for schemas by ``flowllm.schemas``. Both are imported
when they are first used.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flowllm.core.node import Node

PACKAGE = "flowllm.nodes"
GROUP = "flowllm.nodes"
SCHEMAS = "flowllm.schemas"
MODEL = "x-model"
"""The key of a schema that says by which registered model it was given."""


class Kinds:
    """What ``kind:`` can name, and ``schemas.`` beside a pipeline's own schemas.

    ``registered`` kinds win over built-in ones, those over installed ones; ``schemas`` are pydantic
    models by name and win over installed ones.
    """

    def __init__(
        self,
        registered: "Mapping[str, type[Node]] | None" = None,
        schemas: "Mapping[str, type[BaseModel]] | None" = None,
    ) -> None:
        self._found: dict[str, type[Node] | None] = dict(registered or {})
        self._registered = frozenset(self._found)
        self._schemas = dict(schemas or {})

    def with_kinds(self, registered: "Mapping[str, type[Node]]") -> "Kinds":
        """The same kinds, and these before all others."""
        own = {name: self._found[name] for name in self._registered}
        return Kinds({**own, **registered}, self._schemas)  # type: ignore[dict-item]

    def schema(self, name: str) -> "type[BaseModel] | None":
        """The pydantic model that is registered or installed by that name."""
        return self._schemas.get(name) or _installed(SCHEMAS, name)

    def schema_names(self) -> tuple[str, ...]:
        """Every name that `schema` knows, sorted."""
        from importlib.metadata import entry_points

        return tuple(sorted({*self._schemas, *(point.name for point in entry_points(group=SCHEMAS))}))

    def find(self, name: str) -> "type[Node] | None":
        """The kind's class, or None when there is none of that name."""
        if name not in self._found:
            self._found[name] = _built_in(name) or _installed(GROUP, name)
        return self._found[name]

    def names(self) -> tuple[str, ...]:
        """Every name that `find` knows, sorted."""
        from importlib.metadata import entry_points

        files = {path.stem for path in _folder().glob("*.py")} - {"__init__"}
        installed = {point.name for point in entry_points(group=GROUP)}
        return tuple(sorted(self._registered | files | installed))


def _folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations or ["."])))


def _built_in(name: str) -> "type[Node] | None":
    if not name.isidentifier() or name.startswith("_") or not (_folder() / f"{name}.py").is_file():
        return None
    module = importlib.import_module(f"{PACKAGE}.{name}")
    return _node_class(module.__dict__, module.__name__)


def _node_class(names: Mapping[str, object], module: str) -> "type[Node]":
    from flowllm.core.node import Node

    return next(o for o in names.values() if isinstance(o, type) and issubclass(o, Node) and o.__module__ == module)


def _installed(group: str, name: str) -> Any:
    from importlib.metadata import entry_points

    return next((point.load() for point in entry_points(group=group, name=name)), None)
