"""A project of its own for each test, and the two ways into it: the Python API and the command."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flowllm.api import Environment, Flow, RunOptions
from flowllm.cli.main import main
from flowllm.core.errors import FlowError, PipelineInvalid
from tests.cli.command import Outcome as Ended
from tests.cli.command import run_apart
from tests.faults.oracle import CANARY, Outcome, judge

PATIENCE = 120.0
"""Seconds after which a command counts as hung; far more than any of them needs."""


class Fault(NamedTuple):
    """One finding: its code and place, and words of its message and hint."""

    code: str
    line: int
    column: int
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Project:
    """Files in a folder, with a canary in the environment that nothing may repeat."""

    folder: Path

    def write(self, name: str, text: str | bytes) -> Path:
        """A file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def environment(self, mock: Sequence[Any] = ()) -> Environment:
        """Where the API finds its world."""
        return Environment(project=self.folder, mock=mock, cache_folder=self.folder / "cache")

    async def load(self, file: Path, *words: str, deadline: float = PATIENCE) -> Outcome:
        """Load and compile through the API, judged."""

        async def work() -> object:
            return Flow.load(file, words, environment=self.environment()).check()

        return await self.judged(work, deadline)

    async def run(self, flow: Flow, inputs: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        """Run through the API, judged."""
        return await self.judged(lambda: flow.arun(inputs, RunOptions(**options)))

    async def judged(self, work: Any, deadline: float = PATIENCE) -> Outcome:
        """What came of ``work``, which left nothing behind and showed nothing."""
        outcome, wrong = await judge(work, deadline)
        assert wrong == []
        return outcome

    def command(self, *words: str | Path, stdin: bytes = b"", **more: str) -> Ended:
        """The command in a process of its own, which ends, also where it could hang or crash."""
        more = {"FLOWLLM_CACHE_DIR": str(self.folder / "cache"), "CANARY": CANARY, **more}
        return _clean(run_apart(*map(str, words), cwd=self.folder, stdin=stdin, timeout=PATIENCE, **more))

    def command_here(self, *words: str | Path, stdin: bytes = b"") -> Ended:
        """The command in this process, where it can only be wrong."""
        out, err, given = (io.TextIOWrapper(io.BytesIO(data), encoding="utf-8") for data in (b"", b"", stdin))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr("sys.stdin", given)
            patch.setenv("FLOWLLM_CACHE_DIR", str(self.folder / "cache"))
            patch.setenv("CANARY", CANARY)
            patch.chdir(self.folder)
            status = main(list(map(str, words)))
            for stream in (out, err):
                stream.flush()
            return _clean(Ended(status, *(stream.buffer.getvalue().decode() for stream in (out, err))))


def _clean(ended: Ended) -> Ended:
    assert CANARY not in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert "internal" not in ended.err
    return ended


def faults_of(failure: BaseException | None) -> list[tuple[str, int, int, str, str]]:
    """What a load or a compile found, in the order shown."""
    assert isinstance(failure, FlowError), failure
    found = failure.problems if isinstance(failure, PipelineInvalid) else (failure,)
    return [(p.code, p.origin.line, p.origin.column, p.message, p.hint) for p in found]


def compare(found: Sequence[tuple[str, int, int, str, str]], expected: Sequence[Fault]) -> None:
    """Exactly the expected findings, none beside them."""
    assert [Fault(*one)[:3] for one in found] == [one[:3] for one in expected], found
    for (_, _, _, message, hint), fault in zip(found, expected, strict=True):
        assert fault.message in message
        assert fault.hint in hint
