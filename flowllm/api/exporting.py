"""Models of transformers on this machine, made into ONNX models on the shelf."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from flowllm.api.environment import Environment
from flowllm.api.pulling import shelf_folder
from flowllm.backends.local.converting import TASKS
from flowllm.backends.local.exporting import PRECISIONS, Exported, Order, export
from flowllm.backends.local.pulling import named_well
from flowllm.core.errors import UsageError


def order_of(
    environment: Environment,
    source: str,
    *,
    to: str = "",
    name: str | None = None,
    task: str = "",
    precision: str = "fp32",
) -> Order:
    """What to export, and where to; `UsageError` for words that say no such thing.

    Without ``to`` (a folder) it is the folder ``name`` of the shelf, called as the source where that is not said.
    The exporter is the process's own FLOWLLM_EXPORTER: a project's file must not choose what is run.
    """
    if name and to:
        raise UsageError("bad_usage", "--to and --name both say where the model goes", hint="--name acme/tiny")
    _one_of("--task", task, ("", *TASKS))
    _one_of("--precision", precision, PRECISIONS)
    folder = Path(source).expanduser()
    called = folder.resolve().name if name is None else name
    if not to and not named_well(called):
        raise UsageError("bad_usage", f"`{called}` is no name of a local model", hint="--name acme/tiny")
    target = Path(to).expanduser().resolve() if to else shelf_folder(environment) / called
    python = _exporter(os.environ.get("FLOWLLM_EXPORTER", "").strip()) or sys.executable
    return Order(folder, target, task, precision, python)


def _exporter(typed: str) -> str:
    """An interpreter as it is typed: a path from the working folder, or a name that is looked up as commands are."""
    is_path = any(mark in typed for mark in (os.sep, os.altsep, "~") if mark)
    return str(Path(typed).expanduser().absolute()) if is_path else typed


def export_model(order: Order, begin: Callable[[], None] = lambda: None) -> Exported:
    """Make the model; blocks for seconds to minutes once ``begin`` was called. Raises `SetupError`."""
    return export(order, begin)


def reference_to(environment: Environment, folder: Path) -> str:
    """How pipelines call the model in a folder; empty where it is neither on the shelf nor in the project."""
    for place, front in ((shelf_folder(environment), ""), (environment.project.resolve(), "./")):
        if folder.is_relative_to(place):
            return f"local/{front}{folder.relative_to(place).as_posix()}"
    return ""


def _one_of(option: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        known = [one for one in words if one]
        raise UsageError(
            "bad_usage", f"{option} is one of {', '.join(known)}, not `{word}`", hint=f"{option} {known[0]}"
        )
