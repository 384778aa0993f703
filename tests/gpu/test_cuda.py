"""What an NVIDIA GPU has to show: `python -m pytest -m gpu -s -n 0 tests/gpu`, with the extra `gpu`.

Models are made here, of random weights and the sizes of all-MiniLM-L6-v2 and of a Llama of 19 million parameters.
Ours on the GPU must answer as ours on the processor. Throughput is printed and asserted nowhere.
"""

import asyncio
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest

from flowllm.backends.local.batching import Limits
from flowllm.backends.local.devices import PROVIDERS, Device, lacking
from flowllm.backends.local.encoders import Encoder
from flowllm.backends.local.generation.graph import read_decoder
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.backends.local.shapes import LENGTHS, profiles
from flowllm.core.scope import Scope
from tests.bench.generation import MODEL
from tests.local_models.bert import Shape, graph, random_weights
from tests.local_models.encoders import POSITIONS, WORDS, write_embedder
from tests.unit.backends.local.generation.decoders_made import LAYOUTS
from tests.unit.backends.local.generation.engine_made import engine, writing, written

pytestmark = pytest.mark.gpu

EXACT = {"use_tf32": False}
CPU = Device(provider="cpu")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TENSORRT = Device(provider="tensorrt", options=profiles(INPUTS, LENGTHS, 512, POSITIONS))
DEVICES = {
    "cuda": Device(provider="cuda", options=EXACT),
    "cuda, graphs": Device(provider="cuda", graphs=True, options=EXACT),
    "tensorrt": TENSORRT,
}
ENCODER = Shape(width=384, heads=12, layers=6, inner=1536)
PROMPT, TOKENS = 64, 48


@dataclass
class Made:
    """What is written into a folder of a model."""

    shape: Shape

    def graph(self):
        """The ONNX model."""
        return graph(random_weights(self.shape), self.shape)


def require(device):
    """Skip where the device cannot be used."""
    why = lacking(device.provider)
    if why:
        pytest.skip(f"no {device.provider} here: {why}")


def texts(count):
    """Of 1 to 29 words."""
    return [" ".join(WORDS[(7 * i + j) % len(WORDS)] for j in range(1 + i * i % 29)) for i in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_embedder(tmp_path_factory.mktemp("encoder"), Made(ENCODER))


async def vectors(folder, device, given, limits):
    """Three times over: unbound, bound, and where there are graphs from a recorded one."""
    found = describe(folder)
    model = Encoder(found, open_session(found.file, device), limits)
    try:
        return model.provider, [(await model.embed(given, model.wanted({}), Scope()))[0] for _ in range(3)]
    finally:
        model.close()


@pytest.mark.parametrize("name", DEVICES)
async def test_vectors_of_a_gpu_are_those_of_the_processor(folder, name):
    device = DEVICES[name]
    require(device)
    given = texts(100)
    _, (known, *_) = await vectors(folder, CPU, given, Limits())
    provider, found = await vectors(folder, device, given, Limits(512, lengths=LENGTHS))
    assert provider == PROVIDERS[device.provider]
    for rows in found:
        assert (rows * known).sum(1).min() >= 0.9999


@pytest.mark.parametrize("layout", ["shared", "concat"])
async def test_tokens_of_a_gpu_are_those_of_the_processor(tmp_path, layout):
    device = DEVICES["cuda"]
    require(device)
    answers = [await tokens(tmp_path, one, layout) for one in (CPU, device)]
    assert answers[0] == answers[1]


async def tokens(place, device, layout, rows=4):
    """What answers of several prompts are, written side by side."""
    path = LAYOUTS[layout](place / f"{device.provider}.onnx", MODEL)
    operators = {"GroupQueryAttention"} if layout == "shared" else set()
    session = open_session(path, device).session
    running, _ = engine(read_decoder(session, operators, device.provider), layout, chunk=PROMPT)
    prompts = [[(row * 7 + at) % MODEL.vocabulary for at in range(PROMPT)] for row in range(rows)]
    begun = time.perf_counter()
    found = await asyncio.gather(*(written(running, writing(prompt, TOKENS)) for prompt in prompts))
    spent = time.perf_counter() - begun
    running.close()
    rate = rows * TOKENS / spent
    read = path.stat().st_size * TOKENS / spent / 1e9
    say(f"{layout} on {device.provider}: {rate:.0f} tokens/s of {rows} answers, {read:.1f} GB/s of weights")
    return found


@pytest.mark.parametrize("name", ["cuda", "cuda, graphs"])
async def test_throughput_of_vectors_is_printed(folder, name):
    device = DEVICES[name]
    require(device)
    found = describe(folder)
    model = Encoder(found, open_session(found.file, device), Limits(16384, lengths=LENGTHS))
    given = texts(8192)
    for _ in range(3):
        begun = time.perf_counter()
        rows, used = await model.embed(given, model.wanted({}), Scope())
        spent = time.perf_counter() - begun
    model.close()
    assert np.isfinite(rows).all()
    say(f"{name}: {len(given) / spent:.0f} texts/s, {used / spent:.0f} tokens/s (windows of {POSITIONS})")


def say(line):
    """For who runs it with ``-s``."""
    sys.stdout.write(f"{line}\n")
