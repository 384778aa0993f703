"""Commands of a page: in this process where the line is one flowllm command, else by a shell."""

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
from unittest import mock

from flowllm.cli.main import main
from tests.docs.blocks import ROOT

NAMES = ("flowllm", "bin/flowllm")
_SHELL = re.compile(r"[|<>;&$`*?]")
_GIVEN = re.compile(r"[A-Z_]+=")


class Shell:
    """Runs lines in ``folder``; keeps the last status for ``$ echo $?``."""

    def __init__(self, folder):
        self.folder = folder
        self.status = 0
        self._bin = folder.parent / "bin"
        self._bin.mkdir(exist_ok=True)
        command = self._bin / "flowllm"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m flowllm "$@"\n')
        command.chmod(0o755)

    def run(self, line):
        """What the line prints, stdout and stderr as a terminal shows them."""
        if line == "echo $?":
            return f"{self.status}\n"
        bare = re.sub(r"'[^']*'|\"[^\"$`]*\"", "", line)
        words = shlex.split(line)
        given = dict(word.split("=", 1) for word in itertools.takewhile(_GIVEN.match, words))
        if words[len(given)] in NAMES and not _SHELL.search(bare):
            return self._here(words[len(given) + 1 :], given)
        return self._apart(line)

    def _here(self, words, given):
        printed = io.StringIO()
        with (
            mock.patch.dict(os.environ, given),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            self.status = main(words)
        return printed.getvalue()

    def _apart(self, line):
        environment = {**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["sh", "-c", line.replace("bin/flowllm", "flowllm")],
            cwd=self.folder, env=environment, text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.status = done.returncode
        return done.stdout


def steps_of(text):
    """The commands of a console block, each with the lines that it is said to print."""
    steps = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.startswith("> ") and steps and steps[-1][0].endswith("\\"):
            steps[-1] = (steps[-1][0][:-1] + line[2:], [])
        else:
            steps[-1][1].append(line)
    return [(command, lines) for command, lines in steps]


def shows(expected, printed):
    """Whether what was printed is as shown; ``...`` stands for anything, alone on a line for any lines."""
    parts = []
    for line in (line.rstrip() for line in expected):
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(map(re.escape, line.split("..."))) + r"[ ]*\n")
    text = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    return re.fullmatch("".join(parts), text) is not None
