"""Ctrl-C, SIGTERM and readers that leave: one line, the right status, nothing left running."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from flowllm.cli.interrupts import run_async
from flowllm.cli.main import Stopped
from tests.cli.command import PATIENCE, PYTHON, environment, start_apart
from tests.faults.server import STREAM, FaultServer, event, send, silence

PIPELINE = """\
flowllm: 1
model: compatible/m
nodes: {a: {kind: call, prompt: hi}, b: {kind: call, prompt: ho}}
outputs: {o: a.text, p: b.text}
"""


async def ended(process) -> tuple[int, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
async def test_a_signal_in_mid_run(tmp_path: Path, number, status, word):
    (tmp_path / "two.yaml").write_text(PIPELINE)
    async with FaultServer([send(STREAM, event("first ")), silence]) as server:
        override = f"providers.compatible.base_url={server.base_url}"
        process = await start_apart("run", "two.yaml", override, "--no-stream", "--quiet", cwd=tmp_path)
        while len(server.requests) < 2:  # noqa: ASYNC110  the server counts, it does not tell
            await asyncio.sleep(0.01)
        process.send_signal(number)
        found, out, err = await ended(process)
        await asyncio.wait_for(server.gone.wait(), 5)
        for _ in range(200):
            if not server.open:
                break
            await asyncio.sleep(0.01)
        assert server.open == 0, "its connections are closed"
    assert (found, out) == (status, "")
    assert err == f"flowllm: {word}\n"
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.parametrize(("end", "status"), [(KeyboardInterrupt, 130), (Stopped, 143)])
@pytest.mark.parametrize("as_json", [True, False])
def test_with_json_a_run_that_was_ended_is_one_object(flowllm, echo, monkeypatch, as_json, end, status):
    def ended_at_once(*words):
        raise end

    monkeypatch.setattr("flowllm.cli.opening.open_flow", ended_at_once)
    outcome = flowllm("run", echo, "-i", "text=x", *(["--json"] if as_json else []))
    assert outcome.status == status
    if as_json:
        assert outcome.data["exit"] == status
        assert [problem["code"] for problem in outcome.data["errors"]] == ["interrupted"]
    else:
        assert outcome.out == ""


def test_sigterm_cancels_the_work_in_order():
    """The loop takes the signal: nothing is torn down in the middle of a line."""
    came, done = [], []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append("the process's own handler"))

    async def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        finally:
            await asyncio.sleep(0)
            done.append("put away")

    try:
        with pytest.raises(Stopped):
            run_async(work())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (came, done) == ([], ["put away"])


async def test_a_reader_that_leaves_is_no_error(tmp_path: Path):
    (tmp_path / "big.yaml").write_text(
        "flowllm: 1\nmodel: mock/echo\ninputs: {t: string}\nnodes: {a: {kind: call, prompt: '{{ inputs.t }}'}}\n"
        "outputs: {o: a.text}\n"
    )
    (tmp_path / "big.txt").write_text("many words " * 200_000)
    words = ["run", "big.yaml", "-i", "t=@big.txt", "--quiet", "--no-stream"]
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *PYTHON, *words, cwd=tmp_path, env=environment(), stdout=writer, stderr=asyncio.subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, err.decode()) == (1, "")
