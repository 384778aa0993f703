import asyncio
import importlib.util
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from flowllm.backends.local.devices import Device
from flowllm.backends.local.generation import genai, writer
from flowllm.backends.local.generation.engine import Engine
from flowllm.backends.local.layout import describe
from flowllm.core.errors import SetupError
from tests.unit.backends.local.generation.decoders_made import LLAMA, greedy, reference
from tests.unit.backends.local.generation.engine_made import writing, written
from tests.unit.backends.local.generation.folders_made import SHAPE, folder

PROMPTS = [[1, 5, 9, 3, 7, 7, 2], [4], list(range(20))]


@dataclass
class Generator:
    """As the library's, over the numpy reference."""

    model: object
    params: dict
    tokens: list = field(default_factory=list)

    def append_tokens(self, tokens):
        assert tokens.dtype == np.int32
        self.tokens += tokens.tolist()
        assert len(self.tokens) <= self.params["max_length"]

    def get_logits(self):
        return reference(LLAMA, self.tokens)[None, -1:].astype(np.float32)


class Params(dict):
    def __init__(self, model):
        super().__init__()

    def set_search_options(self, **given):
        self.update(given)


class Config:
    def __init__(self, folder):
        self.folder, self.providers, self.options = folder, ["as written"], {}

    @property
    def device_type(self):
        """That of the model, which is its config here."""
        return (self.providers or ["CPU"])[-1].upper()

    def set_provider_option(self, provider, option, value):
        assert [provider] == self.providers
        self.options[option] = value

    def clear_providers(self):
        self.providers.clear()

    def append_provider(self, name):
        self.providers.append(name)


@pytest.fixture
def library(monkeypatch):
    made = SimpleNamespace(Generator=Generator, GeneratorParams=Params, Config=Config, Model=lambda config: config)
    monkeypatch.setitem(sys.modules, genai.MODULE, made)
    return made


async def test_rows_of_generators_write_as_any_cache(library):
    running = Engine(lambda: genai.GenaiCache(None), chunk=8)
    found = await asyncio.gather(*(written(running, writing(prompt, 10)) for prompt in PROMPTS))
    assert found == [greedy(LLAMA, prompt, 10) for prompt in PROMPTS]


ARENA = {"memory": "2GB", "arena": "as_needed", "graphs": True}


@pytest.mark.parametrize(
    ("device", "providers", "options"),
    [
        (Device(provider="cpu"), [], {}),
        (Device(provider="cuda"), ["cuda"], {"device_id": "0", "do_copy_in_default_stream": "1"}),
        (
            Device(provider="cuda", memory=1000),
            ["cuda"],
            {"device_id": "0", "do_copy_in_default_stream": "1", "gpu_mem_limit": "1000"},
        ),
        (
            Device(provider="cuda", streams=2, **ARENA),
            ["cuda"],
            {
                "device_id": "0", "do_copy_in_default_stream": "0", "max_mem": "2000000000",
                "arena_extend_strategy": "1", "enable_cuda_graph": "1",
            },
        ),
        (
            Device(provider="cuda", arena="double", options={"cudnn_conv_algo_search": "DEFAULT"}),
            ["cuda"],
            {
                "device_id": "0", "do_copy_in_default_stream": "1", "arena_extend_strategy": "0",
                "cudnn_conv_algo_search": "DEFAULT",
            },
        ),
    ],
)  # fmt: skip
def test_a_model_is_opened_on_its_device_alone_by_the_options_of_its_file(
    library, tmp_path, device, providers, options
):
    opened = genai.open_genai(describe(folder(tmp_path / "m", layout="genai")), device)
    assert (opened.providers, opened.options) == (providers, options)


def test_a_model_that_runs_elsewhere_than_it_was_asked_to_is_an_error(library, tmp_path, monkeypatch):
    monkeypatch.setattr(Config, "device_type", "CPU")
    with pytest.raises(SetupError, match="runs the model on CPU instead") as caught:
        genai.open_genai(describe(folder(tmp_path / "m", layout="genai")), Device(provider="cuda"))
    assert caught.value.code == "device_unavailable"


@pytest.mark.parametrize(
    ("layout", "device", "installed", "serves"),
    [
        ("genai", Device(provider="cuda"), True, True),
        ("genai", Device(provider="cuda"), False, False),
        ("genai", Device(provider="cuda", index=1), True, False),
        ("genai", Device(provider="cpu"), True, False),
        ("genai", Device(provider="tensorrt"), True, False),
        ("optimum", Device(provider="cuda"), True, False),
    ],
)
def test_where_it_serves(tmp_path, monkeypatch, layout, device, installed, serves):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    assert genai.serves(describe(folder(tmp_path / "m", layout=layout)), device) is serves


def test_a_writer_takes_it_where_it_serves(library, tmp_path, monkeypatch):
    model = {"decoder": {"filename": "model.onnx"}, "vocab_size": SHAPE.vocabulary, "eos_token_id": 1}
    found = describe(folder(tmp_path / "m", layout="genai", genai_config={"model": model}))
    monkeypatch.setattr(genai, "serves", lambda description, device: True)
    monkeypatch.setattr(writer, "settled", lambda device: device)
    runner = writer.open_runner(found, Device(provider="cuda"))
    assert (runner.provider, runner.vocabulary) == ("CUDAExecutionProvider", SHAPE.vocabulary)
    assert isinstance(runner.cache(), genai.GenaiCache)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ({"model": {"decoder": {"session_options": {"custom_ops_library": "/x.so"}}}}, "bad_model_file", "native code"),
        ({"model": {"decoder": {"pipeline": [{"custom_ops_library": 1}]}}}, "capability_mismatch", "further models"),
        ({"model": {"vision": {"filename": "../x.onnx"}}}, "capability_mismatch", "further models"),
        ({"model": {"list": [{"a_custom_ops_path": "x"}]}}, "bad_model_file", "native code"),
    ],
)
def test_a_config_that_names_more_than_a_decoder_is_refused(library, tmp_path, more, code, said):
    found = replace(describe(folder(tmp_path / "m", layout="genai")), genai=more)
    with pytest.raises(SetupError, match=said) as caught:
        genai.open_genai(found, Device(provider="cpu"))
    assert caught.value.code == code


def test_what_it_cannot_open_is_a_typed_error(library, tmp_path, monkeypatch):
    def fail(config):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(library, "Model", fail)
    with pytest.raises(SetupError, match="no kernel"):
        genai.open_genai(describe(folder(tmp_path / "m", layout="genai")), Device(provider="cpu"))


def test_without_the_package_a_typed_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, genai.MODULE, None)
    with pytest.raises(SetupError, match="not installed") as caught:
        genai.open_genai(describe(folder(tmp_path / "m", layout="genai")), Device(provider="cpu"))
    assert "[genai]" in caught.value.hint
    with pytest.raises(SetupError, match="how large its vocabulary is"):
        genai.vocabulary(describe(folder(tmp_path / "m", layout="genai")))


@pytest.mark.peers
async def test_the_real_library_writes_what_the_reference_writes(tmp_path):
    pytest.importorskip(genai.MODULE)
    names = {"past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value"}
    given = {"present_key_names": "present.%d.key", "present_value_names": "present.%d.value"}
    decoder = {
        "filename": "model.onnx", "session_options": {}, "head_size": LLAMA.head, "hidden_size": LLAMA.width,
        "num_attention_heads": LLAMA.heads, "num_key_value_heads": LLAMA.kv_heads, "num_hidden_layers": LLAMA.layers,
        "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask", **names},
        "outputs": {"logits": "logits", **given},
    }  # fmt: skip
    sizes = {"vocab_size": LLAMA.vocabulary, "context_length": LLAMA.window, "type": "llama"}
    ends = {"bos_token_id": 0, "eos_token_id": 63, "pad_token_id": 0}
    search = {"past_present_share_buffer": True, "max_length": LLAMA.window}
    config = {"model": {**sizes, **ends, "decoder": decoder}, "search": search}
    model = genai.open_genai(
        describe(folder(tmp_path / "m", LLAMA, layout="genai", genai_config=config)), Device(provider="cpu")
    )
    running = Engine(lambda: genai.GenaiCache(model), chunk=8)
    found = await asyncio.gather(*(written(running, writing(prompt, 10)) for prompt in PROMPTS))
    assert found == [greedy(LLAMA, prompt, 10) for prompt in PROMPTS]
