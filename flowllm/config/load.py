"""A pipeline's file, with everything that it names, to a `PipelineSpec`."""

import os
from collections.abc import Sequence
from pathlib import Path

from flowllm.config.compose import Rules, read_configuration
from flowllm.config.files import read_text_file, resolve
from flowllm.config.from_mapping import cycle
from flowllm.config.parse import Source, parse
from flowllm.config.parsing import Parsing
from flowllm.config.shapes import Shapes
from flowllm.core.errors import FlowError, PipelineInvalid, Problem
from flowllm.core.kinds import Kinds
from flowllm.core.origin import Origin
from flowllm.core.packaged import packaged
from flowllm.core.spec import PipelineSpec

_SIGNS = ("pyproject.toml", ".git", "conf")
_REOPENS_TARGETS = "HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE"


def load(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    kinds: Kinds,
    project: Path | None = None,
    trusted: bool = True,
) -> PipelineSpec:
    """The spec of a pipeline's file, its defaults, overrides and sub-pipelines included.

    ``project`` is the folder that files named in YAML must stay in; default: the nearest folder above
    with a pyproject.toml, .git or conf, else the file's own. ``trusted`` False holds for libraries.
    Findings that did not stop the parse stand in ``spec.problems``; `PipelineInvalid` holds those that
    did, `UsageError` says that the file cannot be read.

    The environment variable HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE is removed from the whole process: it
    would let Hydra make objects that a file names.
    """
    os.environ.pop(_REOPENS_TARGETS, None)
    path = Path(file)
    text = read_text_file(path)
    real = Path(os.path.realpath(path))
    root = Path(os.path.realpath(project)) if project else project_of(real)
    folders = tuple(folder for folder in (root / "conf", packaged("conf")) if folder.is_dir())
    rules = Rules(Shapes(kinds), tuple(dict.fromkeys(folders)), trusted)
    return _Loader(rules, root).load(text, real, str(file), overrides)


def project_of(file: Path) -> Path:
    """The project's folder: the nearest above the file that looks like one, else the file's own."""
    for folder in file.parents:
        if any((folder / sign).exists() for sign in _SIGNS):
            return folder
    return file.parent


class _Loader:
    """Loads a file and its sub-pipelines, each once."""

    def __init__(self, rules: Rules, root: Path) -> None:
        self._rules = rules
        self._root = root
        self._loaded: dict[Path, PipelineSpec | None] = {}
        self._open: list[tuple[Path, str, str]] = []
        self._cycles: list[Problem] = []

    def load(self, text: str, real: Path, shown: str, overrides: Sequence[str] = (), use: str = "") -> PipelineSpec:
        """One file; ``use`` is how the pipeline that uses it names it."""
        parsing = Parsing(self._rules.shapes, lambda path: self._read(path, real, shown))
        if not self._open:
            parsing.problems = self._cycles
        self._open.append((real, shown, use))
        try:
            value, marks = read_configuration(text, shown, overrides, self._rules, parsing.problems.append)
            source = Source(value, marks, real.stem, shown, str(real.parent))
            return parse(source, parsing, lambda use, where, at: self._find(parsing, use, where, at))
        except PipelineInvalid as error:
            raise PipelineInvalid([*error.problems, *parsing.problems]) from None
        finally:
            self._open.pop()

    def _read(self, path: str, real: Path, shown: str) -> tuple[str, str]:
        text = read_text_file(path, under=self._root, base=real.parent)
        return text, _beside(shown, path)

    def _find(self, parsing: Parsing, use: str, where: str, origin: Origin) -> PipelineSpec | None:
        if not use.startswith((".", "/")) and not use.endswith((".yaml", ".yml")):
            message, hint = f"libraries like `{use}` cannot be used yet", f"use: ./{use}.yaml"
            parsing.wrong("not_available_yet", message, where, origin, hint)
            return None
        here, shown, _ = self._open[-1]
        try:
            real = resolve(use, under=self._root, base=here.parent)
            if any(path == real for path, _, _ in self._open):
                self._cycles.append(self._cycle(real, use, where, origin))
                return None
            if real not in self._loaded:
                self._loaded[real] = None
                text = read_text_file(use, under=self._root, base=here.parent)
                self._loaded[real] = self.load(text, real, _beside(shown, use), use=use)
        except PipelineInvalid as error:
            parsing.problems.extend(problem.within(use) for problem in error.problems)
            return None
        except FlowError as error:
            parsing.wrong("sub_pipeline", error.message, where, origin, error.hint)
            return None
        return self._loaded[real]

    def _cycle(self, real: Path, use: str, where: str, origin: Origin) -> Problem:
        names = [name or f"./{path.name}" for path, _, name in self._open]
        first = next(index for index, (path, _, _) in enumerate(self._open) if path == real)
        source = self._open[-1][2]
        return cycle([*names[first:], use], where, origin, source)


def _beside(shown: str, path: str) -> str:
    """How a path that a file names is shown: as seen from where the user stands."""
    return os.path.normpath(os.path.join(os.path.dirname(shown), path))  # noqa: PTH118, PTH120  text, not a file
