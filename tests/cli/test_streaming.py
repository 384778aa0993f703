"""Text is shown as it comes, and a broken stream is a provider's failure."""

import asyncio
import contextlib

import pytest

from tests.cli.command import PATIENCE, run_apart, start_apart
from tests.faults.server import DONE, STREAM, FaultServer, event, fin, rst, send, wait_for_go

PIPELINE = """\
flowllm: 1
model: compatible/m
nodes: {a: {kind: call, prompt: hi, retry: {attempts: 1}}}
outputs: {o: a.text}
"""


@pytest.fixture
def words(tmp_path):
    (tmp_path / "p.yaml").write_text(PIPELINE)
    return lambda server: ("run", "p.yaml", f"providers.compatible.base_url={server.base_url}", "--stream")


async def test_the_first_delta_is_shown_before_the_last_is_sent(tmp_path, words):
    last = event(" last") + event(finish="stop") + DONE
    async with FaultServer([send(STREAM, event("first")), wait_for_go, send(last), fin]) as server:
        process = await start_apart(*words(server), cwd=tmp_path)
        # The server sends nothing more until this was read.
        assert await asyncio.wait_for(process.stdout.read(5), PATIENCE) == b"first"
        server.go.set()
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, out) == (0, b" last\n"), err


@pytest.mark.parametrize("end", [fin, rst])
async def test_a_stream_without_its_end_mark(tmp_path, words, end):
    async with FaultServer([send(STREAM, event("half a ")), end]) as server:
        process = await start_apart(*words(server), cwd=tmp_path)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 4
    assert b"error[stream_interrupted]" in err


async def test_every_split_of_a_character_is_whole(tmp_path, words):
    data = event("\u00e9\u2028\U0001f600\r") + event(finish="stop") + DONE
    pieces = [data[i : i + 1] for i in range(len(data))]
    async with FaultServer([send(STREAM, *pieces), fin]) as server:
        process = await start_apart(*words(server), cwd=tmp_path)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert out.decode() == "\u00e9\u2028\U0001f600\r\n"


def test_an_answer_that_begins_anew_says_so(tmp_path):
    (tmp_path / "p.yaml").write_text(
        "flowllm: 1\nmodel: mock/m\nnodes: {a: {kind: call, prompt: hi, fallback: [mock/n], retry: {attempts: 1}}}\n"
        "outputs: {o: a.text}\n"
    )
    (tmp_path / "r.yaml").write_text("- {model: m, reply: one two three four, cut: 300}\n- {model: n, reply: anew}\n")
    outcome = run_apart("run", "p.yaml", "--mock", "r.yaml", "--stream", cwd=tmp_path)
    assert outcome.status == 0
    assert outcome.out.endswith("anew\n")
    if outcome.out != "anew\n":
        assert "forget what stands above" in outcome.err


def test_nothing_of_the_run_is_left_on_disk_but_the_cache(tmp_path):
    (tmp_path / "p.yaml").write_text(PIPELINE.replace("compatible/m", "mock/echo"))
    run_apart("run", "p.yaml", cwd=tmp_path, FLOWLLM_CACHE_DIR=str(tmp_path / "cache"))
    with contextlib.suppress(FileNotFoundError):
        assert {path.name for path in tmp_path.iterdir()} <= {"p.yaml", "cache"}
