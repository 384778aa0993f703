import sys
import types

import numpy as np
import onnx
import pytest

from flowllm.backends.local import libraries, sessions
from flowllm.backends.local.devices import Device
from flowllm.backends.local.sessions import open_session
from flowllm.core.errors import SetupError
from tests.local_models.encoders import Encoder, write_embedder

CPU = Device(provider="cpu", threads=1)


@pytest.fixture
def file(tmp_path):
    return write_embedder(tmp_path / "m") / "model.onnx"


def test_a_session_says_what_runs_it(file):
    opened = open_session(file, CPU)
    assert (opened.provider, opened.fell_back) == ("CPUExecutionProvider", False)
    assert opened.inputs == dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), "tensor(int64)")
    ids = np.array([[2, 5, 3]])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    assert np.allclose(opened.run(feeds)[0][0], Encoder().hidden(ids[0]), atol=1e-5)


def test_auto_runs_on_something_that_works(file):
    assert open_session(file, Device(threads=1)).provider


def test_cuda_is_refused_where_it_is_not(file):
    with pytest.raises(SetupError) as caught:
        open_session(file, Device(provider="cuda"))
    assert caught.value.code == "device_unavailable"


def test_cuda_with_a_fallback_runs_on_the_processor(file):
    assert open_session(file, Device(provider="cuda", fallback="cpu", threads=1)).provider == "CPUExecutionProvider"


class Options:
    def __init__(self):
        self.entries = {}

    def add_session_config_entry(self, word, value):
        self.entries[word] = value


class Fake:
    """An onnxruntime that quietly runs on the processor whatever it is asked for."""

    SessionOptions = Options
    made = None

    class InferenceSession:
        def __init__(self, path, sess_options, providers):
            Fake.made = (path, sess_options, providers)

        def get_inputs(self):
            return []

        get_outputs = get_inputs

        def get_providers(self):
            return ["CPUExecutionProvider"]


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(libraries, "onnxruntime", lambda: Fake)
    monkeypatch.setattr(sessions.devices, "settled", lambda device: device)


def test_a_quiet_fall_back_is_an_error(quiet, file):
    with pytest.raises(SetupError) as caught:
        open_session(file, Device(provider="cuda"))
    assert caught.value.message == "models cannot run on cuda here: onnxruntime runs model.onnx on cpu instead"


def test_a_quiet_fall_back_that_is_allowed_is_seen(quiet, file):
    assert open_session(file, Device(provider="cuda", fallback="cpu")).fell_back


def test_what_reaches_onnxruntime(quiet, file):
    device = Device(
        provider="tensorrt", fallback="cpu", threads=3, arena="off", session={"session.use_env_allocators": True}
    )
    open_session(file, device)
    path, options, providers = Fake.made
    assert path == str(file)
    assert providers[-1] == "CPUExecutionProvider"
    assert [name for name, _ in providers[:-1]] == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    assert (options.intra_op_num_threads, options.enable_cpu_mem_arena, options.log_severity_level) == (3, False, 4)
    assert options.entries["session.intra_op.allow_spinning"] == "0"
    assert options.entries["session.use_env_allocators"] == "1"


BEHIND = [
    (Device(provider="tensorrt", index=1, memory="1kb", graphs=True, options={"trt_int8_enable": True}),
     {"device_id": "1", "do_copy_in_default_stream": "1", "gpu_mem_limit": "1000"}),
    (Device(provider="cuda"), None),
    (Device(provider="cpu"), None),
]  # fmt: skip


@pytest.mark.parametrize(("device", "options"), BEHIND)
def test_what_tensorrt_cannot_run_stays_on_the_gpu(quiet, file, device, options):
    open_session(file, device.model_copy(update={"fallback": "cpu"}))
    found = [dict(given) for name, given in Fake.made[2][1:-1] if name == "CUDAExecutionProvider"]
    assert found == ([] if options is None else [options])


def test_spinning_only_where_it_is_written(quiet, file):
    open_session(file, Device(provider="cpu", spinning=True))
    assert Fake.made[1].entries["session.intra_op.allow_spinning"] == "1"


class Recorded:
    """Stands in for what runs a session with buffers."""

    def __init__(self, session, index, *, graphs):
        self.opened_with = (index, graphs)

    def run(self, feeds, outputs):
        return [self.opened_with, feeds, outputs]


BOUND = [("CUDAExecutionProvider", True), ("TensorrtExecutionProvider", True), ("DmlExecutionProvider", False)]


@pytest.mark.parametrize(("provider", "bound"), BOUND)
def test_runs_on_an_nvidia_gpu_have_buffers_there(quiet, file, monkeypatch, provider, bound):
    word = next(word for word, name in sessions.PROVIDERS.items() if name == provider)
    monkeypatch.setattr(Fake.InferenceSession, "get_providers", lambda session: [provider])
    monkeypatch.setattr(sessions, "Bound", Recorded)
    opened = open_session(file, Device(provider=word, index=2, graphs=True))
    assert (opened.bound is not None) == bound
    if bound:
        assert opened.run({"x": 1}, ("y",)) == [(2, True), {"x": 1}, ("y",)]


WORD = "optimization.disable_specified_optimizers"
FUSIONS = [
    (Device(provider="cpu"), "SkipLayerNormFusion"),
    (Device(provider="cpu", session={WORD: "GeluFusion"}), "GeluFusion"),
    (Device(provider="cuda", fallback="cpu"), None),
]


@pytest.mark.parametrize(("device", "expected"), FUSIONS)
def test_a_fusion_that_is_slower_on_a_processor_is_off_there(quiet, file, device, expected):
    open_session(file, device)
    assert Fake.made[1].entries.get(WORD) == expected


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def unknown_operator(path):
    model = onnx.load(path)
    model.graph.node[0].op_type = "Shap"
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("spoil", [cut, unknown_operator, lambda path: path.write_bytes(b"x")])
def test_broken_files_are_typed_errors(file, capfd, spoil):
    spoil(file)
    with pytest.raises(SetupError) as caught:
        open_session(file, CPU)
    assert caught.value.code == "bad_model_file"
    assert str(file) in caught.value.message
    assert len(caught.value.message) < 400 + len(str(file))
    assert capfd.readouterr() == ("", "")


def test_a_package_that_is_not_installed_names_its_extra(monkeypatch, file):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SetupError) as caught:
        open_session(file, CPU)
    assert caught.value.code == "missing_extra"
    assert "pip install 'flowllm-pipelines[local]'" in caught.value.hint


def test_two_wheels_over_each_other_name_the_repair(monkeypatch, file):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(SetupError) as caught:
        open_session(file, CPU)
    assert "is broken: it has no InferenceSession" in caught.value.message
    assert "--force-reinstall" in caught.value.hint


def test_nothing_heavy_is_imported_before_it_is_used():
    import subprocess

    code = (
        "import sys, flowllm.backends.local.backend, flowllm.backends.local.settings, flowllm.api.local;"
        "print([m for m in ('onnxruntime', 'tokenizers', 'numpy', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
