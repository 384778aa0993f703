"""A copied tree in which code may be broken, and the tests that run there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("flowllm", "tests", "conf", "pipelines", "providers", "pyproject.toml")
PASSED, FAILED = 0, 1
OUT_OF_TIME = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of tests ended: pytest's status, or `OUT_OF_TIME`; and what it printed."""

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of the working tree."""

    root: Path

    @contextmanager
    def holding(self, path: str, text: str) -> Iterator[None]:
        """One file has another text for a while."""
        file = self.root / path
        before = file.read_text("utf-8")
        file.write_text(text, "utf-8")
        try:
            yield
        finally:
            file.write_text(before, "utf-8")

    def test(self, words: Sequence[str], timeout: float) -> Outcome:
        """Run pytest with these words; a run that takes longer than ``timeout`` seconds is ended."""
        command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        own |= {"PYTHONPATH": str(self.root), "PYTHONPYCACHEPREFIX": str(self.root / ".bytecode")}
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            done = subprocess.run(
                [*command, *words], cwd=self.root, env=own, timeout=timeout, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcome(OUT_OF_TIME, "")
        return Outcome(done.returncode, done.stdout + done.stderr)


def copy_into(folder: Path) -> Tree:
    """The working tree as it is, without what tools left behind."""
    skip = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=skip)
        elif source.exists():
            shutil.copy2(source, folder / name)
    return Tree(folder)
