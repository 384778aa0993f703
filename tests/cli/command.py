"""The command, run in this process or in one of its own."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowllm.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120
"""Seconds until a process counts as hanging: other work may share the machine."""
PYTHON = [sys.executable, "-P", "-m", "flowllm"]


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def data(self):
        """stdout as JSON."""
        return json.loads(self.out)


def run_here(capsys: pytest.CaptureFixture, *words: str) -> Outcome:
    """Run in this process."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    return Outcome(status, *capsys.readouterr())


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the package on the path; neither UTF-8 nor unbuffered output is promised."""
    ours = {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONUNBUFFERED": ""}
    return {**os.environ, **ours, **more}


def run_apart(*words: str, cwd: Path, stdin: bytes = b"", timeout: float = PATIENCE, **more: str) -> Outcome:
    """Run in a process of its own."""
    command, env = [*PYTHON, *map(str, words)], environment(**more)
    done = subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=timeout, check=False)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


async def start_apart(*words: str, cwd: Path, **more: str) -> asyncio.subprocess.Process:
    """Start in a process of its own, to be watched while it runs."""
    pipe = asyncio.subprocess.PIPE
    command = [*PYTHON, *map(str, words)]
    return await asyncio.create_subprocess_exec(*command, cwd=cwd, env=environment(**more), stdout=pipe, stderr=pipe)
