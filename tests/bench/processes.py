"""Processes as they are measured: on our core, with compiled modules kept apart, CPU and memory from the kernel."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (sys.executable, "-P")


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds and the largest resident set in MB of one process that has ended."""

    cpu: float
    megabytes: float
    status: int


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to run in and what the processes find in their environment."""

    folder: Path
    environment: Mapping[str, str]

    def spend(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> Spent:
        """Run a command to its end; its output is dropped."""
        process = subprocess.Popen(
            words,
            cwd=self.folder,
            env={**self.environment, **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        scale = 2**20 if sys.platform == "darwin" else 2**10
        return Spent(used.ru_utime + used.ru_stime, used.ru_maxrss / scale, process.returncode)

    def seconds(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> float:
        """CPU of a command that must end well."""
        spent = self.spend(words, more)
        assert spent.status == 0, (spent.status, words)
        return spent.cpu


@contextmanager
def place() -> Iterator[Place]:
    """An empty folder. Bytecode is written as an installation has it, whatever this process was told."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")}
        own |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        own |= {"FLOWLLM_CACHE_DIR": str(folder / "cache")}
        (folder / "here").mkdir()
        yield Place(folder / "here", own)
