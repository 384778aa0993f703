"""`flowllm export` with optimum itself, in the environment of `bin/oracle peers`: it answers as the peers do."""

import json
import os
from math import log
from pathlib import Path

import onnxruntime
import pytest

from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder
from flowllm.backends.local.generation.graph import read_decoder
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.core.scope import Scope
from tests.cli.command import run_here
from tests.local_models.ranking import require_ranking, vectors_of
from tests.local_models.safetensors import write_safetensors
from tests.local_models.sentence_oracle import CROSS, GOLDEN, ROOT, model_folder, pytorch_folder
from tests.local_models.texts import PAIRS
from tests.unit.backends.local.generation.decoders_made import SHAPES
from tests.unit.backends.local.generation.engine_made import engine, writing, written
from tests.unit.backends.local.generation.tokenizers_made import byte_level
from tests.unit.backends.local.generation.transformers_oracle import COUNT, sizes, state
from tests.unit.backends.local.generation.transformers_oracle import GOLDEN as WRITTEN

PYTHON = os.environ.get("FLOWLLM_EXPORTER") or str(ROOT / ".oracles/peers/bin/python")
CPU = Device(provider="cpu", threads=1)
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not Path(PYTHON).exists() or model_folder() is None, reason="needs `bin/oracle peers`"),
]


@pytest.fixture
def export(tmp_path, capsys, monkeypatch):
    """Export a folder; its place on the shelf."""
    monkeypatch.setenv("FLOWLLM_EXPORTER", PYTHON)
    monkeypatch.setenv("FLOWLLM_MODELS", str(tmp_path / "shelf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def start(source, *words):
        done = run_here(capsys, "export", source, "--json", *words)
        assert done.status == 0, done.err
        assert done.data["doubts"] == []
        return Path(done.data["folder"])

    return start


def loaded(folder):
    found = describe(folder)
    return Encoder(found, open_session(found.file, CPU))


async def test_the_real_model_ranks_as_sentence_transformers_does(export):
    whole = loaded(export(model_folder(), "--name", "minilm"))
    vectors, queries = await vectors_of(whole)
    whole.close()
    require_ranking(vectors, queries)
    small = loaded(export(model_folder(), "--name", "small", "--precision", "int8"))
    rough, _ = await vectors_of(small)
    small.close()
    cosines = (rough * vectors).sum(1)
    assert cosines.mean() >= 0.99
    assert cosines.min() >= 0.97


async def test_a_cross_encoder_scores_as_transformers_does(export, tmp_path):
    model = loaded(export(pytorch_folder(tmp_path / "cross", CROSS, sentences=False)))
    assert model.description.task == "rerank"
    scores = [(await model.score(first, [second], Scope()))[0][0] for first, second in PAIRS]
    model.close()
    logits = json.loads(GOLDEN.read_text())["logits"]
    assert [-log(1 / score - 1) for score in scores] == pytest.approx(logits, abs=1e-3)


def decoder_folder(source, shape):
    source.mkdir()
    kind = "Qwen2ForCausalLM" if shape.bias else "LlamaForCausalLM"
    config = {"model_type": kind.removesuffix("ForCausalLM").lower(), "architectures": [kind], **sizes(shape)}
    config.pop("rope_parameters")  # optimum's transformers takes `rope_theta` alone
    (source / "config.json").write_text(json.dumps(config))
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    byte_level().save(str(source / "tokenizer.json"))
    write_safetensors(source / "model.safetensors", state(shape))
    return source


def running_over(found):
    session = onnxruntime.InferenceSession(str(found.file), providers=["CPUExecutionProvider"])
    return engine(read_decoder(session, set()))[0]


@pytest.mark.parametrize("name", SHAPES)
async def test_a_decoder_writes_what_transformers_writes(export, tmp_path, name):
    running = running_over(describe(export(decoder_folder(tmp_path / name, SHAPES[name]))))
    for known in json.loads(WRITTEN.read_text())[name]:
        assert await written(running, writing(known["prompt"], COUNT)) == known["tokens"]
    running.close()


async def test_a_decoder_in_four_bits_writes(export, tmp_path):
    found = describe(export(decoder_folder(tmp_path / "llama", SHAPES["llama"]), "--precision", "int4"))
    assert (found.precision, found.file.name) == ("int4", "model_int4.onnx")
    running = running_over(found)
    assert len(await written(running, writing([1, 5, 9], COUNT))) == COUNT
    running.close()
