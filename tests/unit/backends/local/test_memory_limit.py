"""What the process of an isolated model may take, seen on real processes."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from flowllm.api import Environment
from flowllm.api import local as api
from flowllm.backends.local import memory_limit
from flowllm.backends.local.devices import Device
from flowllm.backends.local.isolated import Isolated
from flowllm.backends.local.memory_limit import limit_memory
from tests.local_models.encoders import write_embedder
from tests.unit.backends.local.generation.folders_made import folder

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads of processes from /proc")

CPU = Device(provider="cpu", threads=1)
MIB = 2**20


@pytest.fixture
def greedy(tmp_path):
    """A graph that makes as many numbers of four bytes as it is told to, and counts them."""
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["many"]), helper.make_node("Size", ["many"], ["count"])]
    inputs = [helper.make_tensor_value_info("n", TensorProto.INT64, [1])]
    outputs = [helper.make_tensor_value_info("count", TensorProto.INT64, [])]
    graph = helper.make_graph(nodes, "greedy", inputs, outputs)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx"
    )
    return tmp_path / "model.onnx"


def test_a_run_that_asks_for_too_much_fails_and_the_next_one_does_not(greedy):
    isolated = Isolated(greedy, CPU, 60.0, 64 * MIB)
    try:
        before, threads = isolated.pid, 1 + (os.cpu_count() or 1) + 8
        too_many = (64 * MIB + threads * 80 * MIB + 512 * MIB) // 4
        with pytest.raises(RuntimeError, match="allocate"):
            isolated.run({"n": np.array([too_many])})
        assert isolated.run({"n": np.array([1000])}) == [1000]
        assert isolated.pid == before
    finally:
        isolated.close()


def most_of(pid):
    """The addresses that a process may have, None for any number."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in lines if line.startswith("Max address space")).split()[3:5]
    assert soft == hard
    return None if soft == "unlimited" else int(soft)


def write_decoder(place):
    return folder(place)


@pytest.mark.parametrize("write", [write_embedder, write_decoder])
def test_a_process_may_take_what_all_models_may(tmp_path, write):
    write(tmp_path / "models" / "m")
    found = []
    for memory in ("1GB", "3GB"):
        providers = {"local": {"settings": {"isolation": "process", "memory": memory}}}
        environment = Environment(project=tmp_path, cache_folder=tmp_path / "cache", providers=providers)
        with api.shelf_of(environment).in_use("m") as model:
            found.append(most_of(getattr(model, "opened", model).pid))
        api.unload(environment)
    assert found[0] > 10**9
    assert abs(found[1] - found[0] - 2 * 10**9) < 64 * MIB


@pytest.fixture
def limits(monkeypatch):
    made = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: made.append(pair))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return made


def test_threads_are_no_part_of_it(limits, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for threads in (1, 3, 0):
        limit_memory(CPU.model_copy(update={"threads": threads}), 0)
    least = [most for most, _ in limits]
    thread = 80 * MIB
    assert [round((most - least[0]) / thread) for most in least] == [0, 2, 3]


@pytest.mark.parametrize(
    ("more", "provider", "own"),
    [
        (None, "cpu", resource.RLIM_INFINITY),
        (10**9, "cuda", resource.RLIM_INFINITY),  # a driver reserves more addresses than there is memory
        (10**9, "cpu", 10**8),  # the user's own limit is lower
    ],
)
def test_where_none_is_set(limits, monkeypatch, more, provider, own):
    monkeypatch.setattr(memory_limit, "settled", lambda device: device)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (own, own))
    limit_memory(Device(provider=provider), more)
    assert limits == []
