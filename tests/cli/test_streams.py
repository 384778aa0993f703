"""stdout and stderr that are closed, full or left: the result is not lost, and no end is a fault."""

import errno
import io
import json
import os

import pytest

from flowllm.cli.main import main


class Broken(io.StringIO):
    """A stream that refuses what is written once something was asked of it."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self._code = code

    def flush(self) -> None:
        raise OSError(self._code, os.strerror(self._code))


@pytest.fixture
def run(echo, monkeypatch):
    """Run the command with streams of the test's own; the status and what each took."""

    def carry_out(out, err, *words):
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        status = main([str(word) for word in (words or ("run", echo, "-i", "text=hello"))])
        return status, *("" if stream is None else stream.getvalue() for stream in (out, err))

    return carry_out


@pytest.mark.parametrize("words", [(), ("--help",), ("cache", "stats")])
def test_a_closed_stdout_is_said(run, words):
    status, _, told = run(None, io.StringIO(), *words)
    assert status == 1
    assert told.splitlines()[-1] == "flowllm: stdout could not be written: Bad file descriptor"
    assert run(None, None, *words) == (1, "", "")


def test_a_closed_stderr_leads_to_nowhere(run):
    assert run(io.StringIO(), None) == (0, "hello\n", "")


def test_a_closed_stdout_is_no_matter_to_what_writes_nothing(run, echo):
    assert run(None, io.StringIO(), "check", echo)[0] == 0


def test_an_error_has_its_status_where_nobody_can_be_told(run, echo):
    assert run(None, None, "run", echo) == (2, "", "")


@pytest.mark.parametrize("words", [("run", "echo.yaml", "-i", "text=x"), ("--help",), ("doctor",), ("cache", "stats")])
def test_a_full_stdout_is_one_plain_line(run, words):
    status, _, told = run(Broken(errno.ENOSPC), io.StringIO(), *words)
    assert status == 1
    assert told.splitlines()[-1] == "flowllm: stdout could not be written: No space left on device"
    assert "fault" not in told


def test_a_full_stderr_does_not_lose_the_result(run):
    assert run(io.StringIO(), Broken(errno.ENOSPC))[:2] == (0, "hello\n")


def test_events_whose_reader_left_end_the_run_quietly(run, echo):
    err = io.StringIO()
    assert run(Broken(errno.EPIPE), err, "run", echo, "-i", "text=x", "--events", "--quiet")[0] == 1
    assert err.getvalue() == ""


SLOW = """\
flowllm: 1
model: mock/m
nodes: {a: {kind: call, prompt: a}, b: {kind: call, prompt: "{{ a.text }}"}}
outputs: {o: b.text}
"""


class Left(io.StringIO):
    """A reader that leaves after a few lines."""

    def flush(self) -> None:
        if self.getvalue().count("\n") > 3:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_run_whose_events_nobody_reads_asks_nothing_more(run, folder):
    (folder / "slow.yaml").write_text(SLOW)
    (folder / "r.yaml").write_text(json.dumps([{"reply": "x"}]))
    status, said, told = run(Left(), io.StringIO(), "run", "slow.yaml", "--mock", "r.yaml", "--events", "--quiet")
    assert (status, told) == (1, "")
    events = [json.loads(line) for line in said.splitlines()]
    assert len(events) == 4
    assert "RunFinished" not in {event["event"] for event in events}


def test_json_has_what_came_of_an_answer_that_broke_off(run, folder):
    (folder / "slow.yaml").write_text(SLOW)
    (folder / "r.yaml").write_text(json.dumps([{"reply": "one two three four five six seven", "cut": 700}]))
    out = io.StringIO()
    status, _, _ = run(out, io.StringIO(), "run", "slow.yaml", "--mock", "r.yaml", "--json", "--quiet")
    data = json.loads(out.getvalue())
    assert (status, data["errors"][0]["code"]) == (4, "stream_interrupted")
    assert "one two three four five six seven".startswith(data["partial_text"])
    assert data["partial_text"]
