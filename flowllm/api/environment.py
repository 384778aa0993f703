"""What pipelines run in: kinds, providers, keys, a cache. Nothing of it is touched before it is used."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.api.housed import Housed
from flowllm.api.modules import kind_name, project_classes
from flowllm.config import load_yaml, packaged, read_text_file
from flowllm.core.card import Catalog, ProviderCard
from flowllm.core.errors import UsageError
from flowllm.core.kinds import Kinds
from flowllm.core.origin import Origin
from flowllm.core.packaged import installed
from flowllm.text.wording import shortened

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flowllm.backends.auth.keys import KeySource
    from flowllm.backends.router import Backends
    from flowllm.backends.store import DiskStore
    from flowllm.core.node import Node
    from flowllm.core.scope import Call
    from flowllm.text.misfits import Part, Steps

__all__ = ["Environment", "kind_name"]


_SHAPES = (
    ("mock", Sequence, '[{"match": "(?i)hello", "reply": "Hi there"}]'),
    ("providers", Mapping, '{"openai": {"base_url": "https://..."}}'),
    ("registered", Mapping, '{"shout": shout}'),
    ("schemas", Mapping, '{"reply": Reply}'),
)


@dataclass(frozen=True)
class Environment:
    """Where pipelines find their world.

    ``project`` is the folder whose ``conf``, ``providers``, ``.env`` and modules count; ``mock`` are
    rules of the mock provider; ``providers`` overrides provider files (``{"openai": {"base_url":
    ...}}``), ``provider_words`` are the words of a command line that say the same; ``cache_folder``
    replaces the user's cache folder; ``registered`` are kinds of one's own, functions too; ``schemas`` are
    pydantic models that pipelines name as ``schemas.NAME``. Folders may be given as text. ``today`` is the day by
    which models count as deprecated; None is the one that the variable FLOWLLM_TODAY names, else that of the clock.
    """

    project: Path = field(default_factory=Path.cwd)
    mock: Sequence[Mapping[str, Any]] = ()
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cache_folder: Path | None = None
    registered: "Mapping[str, type[Node] | Callable[..., Any]]" = field(default_factory=dict)
    provider_words: Sequence[str] = ()
    schemas: "Mapping[str, type[BaseModel]]" = field(default_factory=dict)
    today: date | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "project", Path(self.project))
        if self.cache_folder is not None:
            object.__setattr__(self, "cache_folder", Path(self.cache_folder))
        for name, kind, hint in _SHAPES:
            given = getattr(self, name)
            if not isinstance(given, kind) or (kind is Sequence and isinstance(given, str)):
                shape = "list" if kind is Sequence else "mapping"
                message = f"`{name}` of an Environment is a {shape}, not `{shortened(repr(given))}`"
                raise UsageError("bad_value", message, hint=f"{name}={hint}")
        rules: Sequence[Any] = self.mock
        for rule in rules:
            if not isinstance(rule, Mapping):
                message = f"a rule in `mock` of an Environment is a mapping, not `{shortened(repr(rule))}`"
                raise UsageError("bad_value", message, hint=f"mock={_SHAPES[0][2]}")

    @cached_property
    def kinds(self) -> Kinds:
        """Every kind and schema: registered here, offered by the project's modules, built in, installed."""
        registered = {name: _own_kind(name, kind) for name, kind in self.registered.items()}
        kinds, schemas = project_classes(self.project)
        return Kinds({**kinds, **registered}, {**schemas, **self.schemas})

    def without_modules(self) -> "Environment":
        """The same environment for a project whose own kinds cannot be known."""
        plain = replace(self)
        registered = {name: _own_kind(name, kind) for name, kind in self.registered.items()}
        vars(plain)["kinds"] = Kinds(registered, self.schemas)
        return plain

    @cached_property
    def catalog(self) -> Catalog:
        """Every provider: the project's own, then those that came with flowllm, then those of installed packages."""
        from flowllm.backends.wire import check_quirks
        from flowllm.catalog import Registry, load_catalog

        own = dict.fromkeys((self.project / "providers", packaged("providers")))
        folders = chain(own, installed("flowllm.providers"))
        variables = self.keys.variables()
        known = load_catalog(folders, _read_card, self.providers, check_quirks, variables, self._place)
        providers = Housed(self, known.providers)
        return replace(known, providers=providers, registry=Registry(folder / "models" for folder in own))

    def _place(self, file: Path | None, name: str, steps: "Steps", part: "Part") -> Origin:
        """Where a setting of the provider ``name`` was written: on the command line, in Python or in its file."""
        way = ".".join(map(str, (name, *steps)))
        for word in self.provider_words:
            key = word.partition("=")[0]
            if way == key or way.startswith(f"{key}.") or (not steps and key.startswith(f"{name}.")):
                return Origin(note=f"command line: providers.{word}")
        if file is None or _given(self.providers.get(name), steps):
            return Origin(note=f"Environment(providers=...): {way}")
        marks = load_yaml(read_text_file(file), str(file))[1].at(*steps)
        return marks.key if part == "key" else marks.text

    @property
    def day(self) -> date:
        """Today, in UTC."""
        if self.today is not None:
            return self.today
        told = os.environ.get("FLOWLLM_TODAY", "")
        try:
            return date.fromisoformat(told) if told else datetime.now(UTC).date()
        except ValueError:
            hint = "FLOWLLM_TODAY=2026-11-22"
            raise UsageError("bad_value", f"FLOWLLM_TODAY is no day: `{told}`", hint=hint) from None

    @cached_property
    def keys(self) -> "KeySource":
        """Keys from the environment, the project's ``.env`` and the user's store."""
        from flowllm.backends.auth.keys import KeySource

        return KeySource(dotenv=self.project / ".env")

    def connect(self) -> "Backends":
        """Backends for every model, with connections of their own; close them with ``aclose``."""
        from flowllm.backends.lexical import answer
        from flowllm.backends.mock import MockBackend
        from flowllm.backends.router import Backends

        local: dict[str, Call] = {"builtin": answer, "mock": MockBackend(self.mock)}
        return Backends(self.catalog.providers.__getitem__, self.keys, local, house=self._house)

    def _house(self, card: ProviderCard) -> "Call":
        from flowllm.api.local import shelf_of
        from flowllm.backends.local.backend import LocalBackend

        return LocalBackend(shelf_of(self, card))

    @cached_property
    def store(self) -> "DiskStore":
        """The cache on disk, one for all environments of a folder; opened when it is first read or written."""
        from flowllm.backends.store import shared_store

        return shared_store(self.cache_folder)


def _read_card(path: Path) -> Any:
    value, _ = load_yaml(read_text_file(path), str(path))
    return value


def _given(settings: Any, steps: "Steps") -> bool:
    """Whether settings hold what ``steps`` lead to."""
    for step in steps:
        if not isinstance(settings, Mapping) or step not in settings:
            return False
        settings = settings[step]
    return bool(steps)


def _own_kind(name: str, kind: object) -> "type[Node]":
    """A registered kind; a plain function becomes one."""
    from flowllm.core.node import Node, node_from_function

    if isinstance(kind, type) and issubclass(kind, Node):
        return kind
    if not callable(kind) or isinstance(kind, type):
        message = f"the kind `{name}` is registered with {kind!r}; it takes a function or a subclass of Node"
        raise UsageError("bad_value", message, hint=f'registered={{"{name}": a_function}}')
    return node_from_function(kind, name)
