"""Kinds and schemas of a project's own: the modules that its pyproject.toml names in ``[tool.flowllm] modules``."""

import importlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flowllm.core.errors import SetupError, UsageError
from flowllm.core.origin import Origin

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flowllm.core.node import Node

SETTINGS = "pyproject.toml"
_EXAMPLE = '[tool.flowllm] modules = ["my_kinds"]'


Own = tuple["dict[str, type[Node]]", "dict[str, type[BaseModel]]"]


def project_classes(project: Path) -> Own:
    """The kinds of the project's modules by name, and their other pydantic models by the names of their classes.

    Raises `UsageError` where pyproject.toml is broken, `SetupError` where a module cannot be imported.
    """
    kinds: dict[str, type[Node]] = {}
    schemas: dict[str, type[BaseModel]] = {}
    for name in _modules(project):
        more_kinds, more_schemas = _classes(_imported(project, name))
        kinds.update(more_kinds)
        schemas.update(more_schemas)
    return kinds, schemas


def kind_name(node: "type[Node]") -> str:
    """The word after ``kind:`` for a class: its ``kind`` if it has one, else its name in lower case."""
    return str(getattr(node, "kind", "") or node.__name__.lower())


def _modules(project: Path) -> list[str]:
    settings = project / SETTINGS
    if not settings.is_file():
        return []
    from flowllm.config import read_text_file

    text = read_text_file(settings)
    if "flowllm" not in text:
        return []
    table: Any = _parsed(text, settings)
    for key in ("tool", "flowllm"):
        table = table.get(key, {}) if isinstance(table, Mapping) else {}
    names = table.get("modules", []) if isinstance(table, Mapping) else []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        example = f'["{names}"]' if isinstance(names, str) else '["my_kinds"]'
        message = "`modules` of [tool.flowllm] is a list of module names"
        raise UsageError("bad_value", message, hint=f"modules = {example}", origin=_place(text, settings))
    return names


def _parsed(text: str, settings: Path) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = str(error).partition(" (at ")[0]
        raise UsageError(
            "bad_value",
            f"{SETTINGS} is no TOML: {why[:1].lower()}{why[1:]}",
            hint=f"mend the line; modules are named as {_EXAMPLE}",
            origin=_broken_at(text, str(error), settings),
        ) from None


def _broken_at(text: str, words: str, settings: Path) -> Origin:
    """Where TOML breaks; the parser says it in words alone."""
    import re

    found = re.search(r"line (\d+), column (\d+)", words)
    lines = text.rstrip("\n").split("\n")
    line, column = (int(found[1]), int(found[2])) if found else (len(lines), len(lines[-1]) + 1)
    return Origin(str(settings), line, column)


def _place(text: str, settings: Path) -> Origin:
    """The line that gives ``modules``."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip().partition("=")[0].strip().rpartition(".")[2] == "modules":
            return Origin(str(settings), number, line.index("modules") + 1)
    return Origin(str(settings))


def _imported(project: Path, name: str) -> ModuleType:
    folder = str(project.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a module must not end the command
        raise _unusable(project, name, error) from error


def _classes(module: ModuleType) -> Own:
    """The kinds that a module makes itself, and its other pydantic models."""
    from pydantic import BaseModel

    from flowllm.core.node import Node

    values = [value for value in vars(module).values() if isinstance(value, type)]
    own = [value for value in values if issubclass(value, BaseModel) and value.__module__ == module.__name__]
    kinds = {kind_name(value): value for value in own if issubclass(value, Node)}
    return kinds, {value.__name__: value for value in own if not issubclass(value, Node)}


def _unusable(project: Path, name: str, error: BaseException) -> SetupError:
    """Why a module gives no kinds: it is not there, or what it says when it is imported, and where."""
    message = f"the module `{name}` of [tool.flowllm] modules cannot be imported: "
    if isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition(".")[0]):
        hint = "its name is given as in an import, from the project's folder"
        return SetupError("missing_extra", f"{message}{error}", hint=hint)
    place = _raised_at(project, error)
    if isinstance(error, ImportError):
        absent = isinstance(error, ModuleNotFoundError)
        hint = f"install what gives `{error.name}`" if absent else f"mend the import: {name}"
        return SetupError("missing_extra", f"{message}{error}", hint=hint, origin=place)
    words = f"{type(error).__name__}: {getattr(error, 'msg', '') or error}".rstrip(": ")
    return SetupError("bad_module", message + words, hint=f'python -c "import {name}" shows the same', origin=place)


def _raised_at(project: Path, error: BaseException) -> Origin:
    """The last line of the project that the error came through, else the last of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return Origin(error.filename, error.lineno or 0, error.offset or 0)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).is_file()]
    own = [one for one in frames if Path(one.filename).resolve().is_relative_to(project.resolve())]
    last = next(reversed(own or frames), None)
    return Origin(last.filename, last.lineno or 0, (last.colno or 0) + 1) if last else Origin()
