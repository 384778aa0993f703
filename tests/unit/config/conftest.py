"""Kinds that stand for every form of a field; nothing of them runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from flowllm.config import load
from flowllm.core.kinds import Kinds
from flowllm.core.node import Lately, Node, Prompted, Slotted, Templated
from flowllm.core.spec import PipelineSpec


class Call(Node):
    calls = "chat"
    prompt: Prompted = None
    temperature: float | None = None
    choices: list[str] | None = None
    schema_: Any = Field(None, alias="schema")


class Route(Node):
    control = "route"
    switch: Slotted = None
    cases: Lately = None
    default: Slotted = None


class Retry(Node):
    control = "retry"
    of: Slotted = None
    attempts: int = 3


class Map(Node):
    control = "map"
    over: Slotted = None
    of: Slotted = None
    as_: str = Field("item", alias="as")
    at_once: int = 8
    keep_going: bool = False


class Validate(Node):
    rules: Lately = None
    late_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"rules": ("value",)}


class Pipeline(Node):
    control = "pipeline"
    use: str = ""


class Prompt(Node):
    text: Templated = None
    messages: Prompted = None
    file: str | None = None


class Fake(Node):
    size: int = 0


@pytest.fixture(scope="session")
def kinds() -> Kinds:
    return Kinds(
        {
            "call": Call,
            "route": Route,
            "retry": Retry,
            "map": Map,
            "validate": Validate,
            "pipeline": Pipeline,
            "prompt": Prompt,
            "fake": Fake,
        }
    )


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Writes files by name and gives the first one's path; the folder is a project."""
    (tmp_path / "pyproject.toml").touch()

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / next(iter(files))

    return write


@pytest.fixture
def loaded(project: Callable[..., Path], kinds: Kinds) -> Callable[..., PipelineSpec]:
    """Loads a pipeline's text with overrides and further files."""

    def read(text: str, *overrides: str, files: dict[str, str] | None = None, trusted: bool = True) -> PipelineSpec:
        path = project({"p.yaml": text} | (files or {}))
        return load(path, overrides, kinds=kinds, trusted=trusted)

    return read
