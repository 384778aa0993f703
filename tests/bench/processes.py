"""Processes as they are measured: on our core, with compiled modules kept apart, CPU from the kernel."""

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
_PEAK = """
import os, re, resource
status = "/proc/self/status"
peak = re.search(r"VmHWM:\\s*(\\d+)", open(status).read())[1] if os.path.exists(status) else None
print(int(peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to run in and what the processes find in their environment."""

    folder: Path
    environment: Mapping[str, str]

    def seconds(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> float:
        """CPU of a command, which must end well; its output is dropped."""
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
        assert process.returncode == 0, (process.returncode, words)
        return used.ru_utime + used.ru_stime

    def megabytes(self, script: str, *words: str) -> float:
        """The largest resident set of a script, by its own account: the kernel's counts the parent's too."""
        command = [*PYTHON, "-c", script + _PEAK, *words]
        done = subprocess.run(
            command, cwd=self.folder, env=dict(self.environment), capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[-1])


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
