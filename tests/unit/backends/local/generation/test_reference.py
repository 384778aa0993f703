"""The chain of proof: transformers wrote the golden file, the reference meets it, the engine meets the reference."""

import json

import pytest

from tests.unit.backends.local.generation.decoders_made import SHAPES, greedy, reference
from tests.unit.backends.local.generation.engine_made import WAYS, decoder, engine, writing, written
from tests.unit.backends.local.generation.transformers_oracle import COUNT, GOLDEN, PROMPTS

KNOWN = json.loads(GOLDEN.read_text("utf-8"))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_the_reference_writes_what_transformers_writes(name, number):
    known = KNOWN[name][number]
    assert greedy(SHAPES[name], known["prompt"], COUNT) == known["tokens"]
    assert reference(SHAPES[name], known["prompt"])[-1, :8] == pytest.approx(known["logits"], abs=1e-3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SHAPES)
async def test_the_engine_writes_what_transformers_writes(tmp_path, name, way):
    running, _ = engine(decoder(tmp_path, SHAPES[name], way), way)
    for known in KNOWN[name]:
        assert await written(running, writing(known["prompt"], COUNT)) == known["tokens"]
