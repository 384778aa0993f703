"""Pipelines written as Python mappings: no files, no YAML, no ``${}``."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowllm.config.files import read_text_file
from flowllm.config.keys import check_keys
from flowllm.config.marks import Marks
from flowllm.config.parse import Source, parse
from flowllm.config.parsing import Parsing
from flowllm.config.shapes import Shapes
from flowllm.core.errors import Problem
from flowllm.core.kinds import Kinds
from flowllm.core.origin import Origin
from flowllm.core.spec import PipelineSpec

Mappings = Mapping[str, Mapping[str, Any]]


def parse_mapping(
    mapping: Mapping[str, Any],
    *,
    kinds: Kinds,
    name: str = "",
    folder: str = "",
    pipelines: Mappings | None = None,
) -> PipelineSpec:
    """The spec of a pipeline given as plain data; findings stand in ``spec.problems``.

    ``pipelines`` gives sub-pipelines by their ``use``; ``folder`` is where files that prompts name
    are looked for. ``${...}`` is literal text here: there is no configuration to resolve.
    """
    return _Family(Shapes(kinds), folder, pipelines or {}).parse(mapping, name)


class _Family:
    """A pipeline and its sub-pipelines, each parsed once."""

    def __init__(self, shapes: Shapes, folder: str, written: Mappings) -> None:
        self._shapes = shapes
        self._folder = folder
        self._written = written
        self._parsed: dict[str, PipelineSpec] = {}
        self._open: list[str] = []
        self._cycles: list[Problem] = []

    def parse(self, mapping: Mapping[str, Any], name: str) -> PipelineSpec:
        parsing = Parsing(self._shapes, self._read)
        if not self._open:
            parsing.problems = self._cycles
        value = check_keys(dict(mapping), Marks(), parsing.problems.append)
        source = Source(value, name=name, folder=self._folder)
        return parse(source, parsing, lambda use, where, origin: self._find(parsing, use, where, origin))

    def _read(self, path: str) -> tuple[str, str]:
        return read_text_file(path, under=self._folder or "."), path

    def _find(self, parsing: Parsing, use: str, where: str, origin: Origin) -> PipelineSpec | None:
        if use in self._open:
            way = [*self._open[self._open.index(use) :], use]
            self._cycles.append(cycle(way, where, origin, self._open[-1]))
            return None
        if use not in self._written:
            parsing.wrong("sub_pipeline", f"there is no pipeline `{use}`", where, origin, "use: ./other.yaml")
            return None
        if use not in self._parsed:
            self._open.append(use)
            self._parsed[use] = self.parse(self._written[use], use)
            self._open.pop()
        return self._parsed[use]


def cycle(way: Sequence[str], where: str, origin: Origin, source: str) -> Problem:
    """The finding that a pipeline comes to use itself on this ``way``; ``source`` is the one that closes it."""
    message = f"the pipeline uses itself: {' -> '.join(way)}"
    hint = f"drop `use: {way[-1]}` from `{where.rpartition('.')[0]}`"
    return Problem("cycle", message, where, origin, hint, source=source)
