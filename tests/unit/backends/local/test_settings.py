from dataclasses import replace

import pytest

from flowllm.backends.local import generation, settings
from flowllm.backends.local.batching import BUDGET
from flowllm.backends.local.devices import Device
from flowllm.backends.local.layout import describe
from flowllm.backends.local.settings import Settings
from flowllm.backends.local.shapes import LENGTHS
from tests.local_models.encoders import Encoder, write_embedder


class Opened:
    """A session that says what runs it."""

    inputs = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), "tensor(int64)")

    def __init__(self, provider):
        self.provider = provider

    def close(self):
        pass


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The device that was opened, and the limits of batches."""
    found = describe(write_embedder(tmp_path, Encoder()))
    asked = []

    def make(device, runs_on, **words):
        monkeypatch.setattr(settings, "open_session", lambda file, device: asked.append(device) or Opened(runs_on))
        model = settings._Loader(Settings(**words), device)(found)
        model.close()
        return asked[-1], model._batcher._limits

    return make


CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
WAYS = [
    (Device(provider="cpu"), CPU, (), BUDGET),
    (Device(provider="cpu", graphs=True), CPU, LENGTHS, BUDGET),
    (Device(provider="cuda"), CUDA, LENGTHS, 16384),
    (Device(provider="cuda", fallback="cpu"), CPU, (), BUDGET),
]


@pytest.mark.parametrize(("device", "runs_on", "lengths", "budget"), WAYS)
def test_shapes_are_few_where_a_device_prepares_for_them(load, device, runs_on, lengths, budget):
    opened, limits = load(device, runs_on)
    assert opened == device
    assert (limits.lengths, limits.budget) == (lengths, budget)


def test_tensorrt_is_told_the_shapes_of_batches(load):
    opened, _ = load(Device(provider="tensorrt"), TENSORRT, budget=64)
    shapes = "input_ids:4x16,attention_mask:4x16,token_type_ids:4x16,input_ids:2x32,attention_mask:2x32"
    assert opened.options["trt_profile_max_shapes"].startswith(shapes)
    assert opened.options["trt_profile_min_shapes"].startswith("input_ids:1x16,")


def test_shapes_that_the_file_of_a_device_says_win(load):
    own = {"trt_profile_max_shapes": "input_ids:1x32"}
    opened, _ = load(Device(provider="tensorrt", options=own), TENSORRT)
    assert opened.options["trt_profile_max_shapes"] == "input_ids:1x32"
    assert "trt_profile_min_shapes" in opened.options


def test_graphs_are_not_recorded_of_decoders(tmp_path, monkeypatch):
    found = replace(describe(write_embedder(tmp_path, Encoder())), task="chat")
    monkeypatch.setattr(generation, "open_writer", lambda found, device, room: (device, room))
    device = Device(provider="cuda", graphs=True, index=1)
    opened = settings._Loader(Settings(memory=found.size + 5), device)(found)
    assert opened == (Device(provider="cuda", index=1), 5)  # what it keeps of prompts has what its files leave
