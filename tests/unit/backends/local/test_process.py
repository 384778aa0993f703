"""A process as seen from here: nobody waits for one that says what cannot be taken, and what was taken is forgotten."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from flowllm.backends.local import frames, process
from flowllm.backends.local.process import Died, Process
from flowllm.backends.local.surroundings import known_variables

SAYS = """
import sys
from flowllm.backends.local import frames
{}
sys.stdin.buffer.read()
"""
HELLO = "frames.write(sys.stdout.buffer, {'a': 1})"
ECHO = """
while True:
    frames.write(sys.stdout.buffer, *frames.read(sys.stdin.buffer))
"""


@pytest.fixture
def started(monkeypatch):
    """Starts a process that runs a program of this test."""
    processes = []

    def start(program, hear=None):
        command = [sys.executable, "-c", SAYS.format(program)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        monkeypatch.setattr(process, "_started", lambda: child)
        processes.append(Process(hear))
        return processes[-1]

    yield start
    for one in processes:
        one.stop("the test is over")
        one.end()


def ended(running):
    """How an answer of a process ends that nobody should have to wait for."""
    heard = []

    def ask():
        try:
            heard.append(running.answer(5.0))
        except Died as death:
            heard.append(str(death))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(30)
    assert heard, "who asks waits for ever"
    return heard[0]


@pytest.mark.parametrize("error", [MemoryError, OverflowError, RecursionError, SyntaxError])
@pytest.mark.parametrize("heard", [False, True])
def test_what_cannot_be_taken_ends_it(started, monkeypatch, error, heard):
    def read(_):
        raise error

    monkeypatch.setattr(frames, "read", read)
    told = []
    running = started(HELLO, (lambda _, header: told.append(header)) if heard else None)
    running.send({})
    assert ended(running) == f"sent what cannot be taken ({error.__name__}) and was ended"
    assert not running.alive
    assert told == [None] * heard


@pytest.mark.parametrize("second", [HELLO, "frames.write(sys.stdout.buffer, {'taken': True})"])
def test_who_hears_may_fail_and_taking_what_was_not_sent_ends_it(started, second):
    gone = threading.Event()

    def hear(_, header):
        if header is None:
            gone.set()
        else:
            raise KeyError(header["a"])

    running = started(f"{HELLO}\n{second}", hear)
    running.send({})
    assert running.answer(30.0) == ({"a": 1}, {})
    assert gone.wait(30)
    assert ended(running).startswith("sent what cannot be taken (")


def test_each_answer_tells_that_a_message_was_taken(started):
    running = started(ECHO)
    for number in range(5):
        running.send({"n": number}, {"rows": np.arange(number)})
        assert running.silence > 0
        header, arrays = running.answer(30.0)
        assert (header, arrays["rows"].tolist()) == ({"n": number}, list(range(number)))
        assert running.silence == 0


@pytest.mark.parametrize("held", [10**30, {1: 2}, "\ud800"])
def test_what_cannot_be_sent_is_not_waited_for(started, held):
    running = started(ECHO)
    with pytest.raises(frames.Unsendable):
        running.send({"n": held})
    assert running.silence == 0
    running.send({"n": 1})
    assert running.answer(30.0) == ({"n": 1}, {})
    assert running.silence == 0


def test_it_knows_no_key(monkeypatch):
    given, popen = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *words, env, **more: given.append(env) or popen(*words, **more))
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "FLOWLLM_X", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "secret")
    running = Process()
    running.stop("the test is over")
    running.end()
    assert given[0].keys() <= {*known_variables(), "PYTHONPATH"}
    assert {"PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH"} <= given[0].keys()
    assert not given[0].keys() & {"OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "FLOWLLM_X"}
    assert "OPENAI_API_KEY" in os.environ
