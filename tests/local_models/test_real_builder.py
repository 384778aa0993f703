"""`flowllm export` with the builder of onnxruntime-genai, in the environment of `bin/oracle builder`.

Small random models of many families write here what they write in transformers, and in fewer bits what
onnxruntime-genai writes with the same folder.
"""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from flowllm.backends.local.devices import Device
from flowllm.backends.local.generation.engine import Engine
from flowllm.backends.local.generation.writer import open_runner
from flowllm.backends.local.layout import describe
from tests.cli.command import run_here
from tests.local_models.builder_oracle import COUNT, FAMILIES, PROMPTS
from tests.local_models.sentence_oracle import ROOT
from tests.unit.backends.local.generation.engine_made import writing, written

PYTHON = ROOT / ".oracles/builder/bin/python"
CPU = Device(provider="cpu", threads=1)
ROUGH = [("llama", "int4"), ("qwen2", "int4"), ("gemma3", "int4"), ("mistral, window", "int4"), ("phi3", "int8")]
pytestmark = [pytest.mark.peers, pytest.mark.skipif(not PYTHON.exists(), reason="needs `bin/oracle builder`")]


def ask(*words):
    """What the oracle prints."""
    command = [str(PYTHON), "-m", "tests.local_models.builder_oracle", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every family as transformers has it, and what it writes."""
    folder = tmp_path_factory.mktemp("families")
    ask(folder)
    return folder


@pytest.fixture
def export(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FLOWLLM_EXPORTER", str(PYTHON))
    monkeypatch.setenv("FLOWLLM_MODELS", str(tmp_path / "shelf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def start(name, *words):
        done = run_here(capsys, "export", models / name, "--name", "made", "--json", *words)
        assert done.status == 0, done.err
        assert (done.data["exporter"], done.data["task"]) == ("builder", "chat")
        return Path(done.data["folder"])

    return start


async def answers(folder):
    """What our loop writes: one after another, and all side by side."""
    running = Engine(open_runner(describe(folder), CPU).cache)
    alone = [await written(running, writing(prompt, COUNT)) for prompt in PROMPTS]
    beside = await asyncio.gather(*(written(running, writing(prompt, COUNT)) for prompt in PROMPTS))
    running.close()
    assert beside == alone
    return alone


@pytest.mark.parametrize("name", FAMILIES)
async def test_a_family_writes_what_transformers_writes(models, export, name):
    folder = export(name)
    known = json.loads((models / f"{name}.json").read_text())
    assert [one["prompt"] for one in known] == PROMPTS
    assert await answers(folder) == [one["tokens"] for one in known]


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
async def test_half_precision_runs_on_the_processor(export, name):
    folder = export(name, "--precision", "fp16")
    assert describe(folder).precision == "fp16"
    assert [len(tokens) for tokens in await answers(folder)] == [COUNT] * len(PROMPTS)


@pytest.mark.parametrize(("name", "precision"), ROUGH)
async def test_fewer_bits_write_what_genai_writes(export, name, precision):
    folder = export(name, "--precision", precision)
    assert describe(folder).precision == precision
    for ours, theirs in zip(await answers(folder), json.loads(ask("written", folder)), strict=True):
        assert theirs == ours[: len(theirs)]
        assert len(theirs) > 1
