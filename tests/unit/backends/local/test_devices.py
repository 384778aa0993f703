import pytest

from flowllm.backends.local import devices
from flowllm.backends.local.devices import Device, lacking, parse_device, provider_options, settled, size
from flowllm.core.errors import PipelineInvalid, SetupError

ALL = frozenset(devices.PROVIDERS.values())

SIZES = [("8GB", 8 * 10**9), ("512 MiB", 512 * 2**20), (1000, 1000), ("1.5kb", 1500), ("0", 0)]


@pytest.mark.parametrize(("text", "expected"), SIZES)
def test_sizes(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "8 giga", "-1", "1e9", "GB", True, None, "i"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="no size"):
        size(text)


OPTIONS = [
    ({"provider": "cpu"}, {}),
    ({"provider": "cuda"}, {"device_id": "0", "do_copy_in_default_stream": "1"}),
    (
        {"provider": "cuda", "index": 2, "memory": "2GB", "arena": "as_needed", "streams": 2, "graphs": True},
        {
            "device_id": "2",
            "do_copy_in_default_stream": "0",
            "gpu_mem_limit": "2000000000",
            "arena_extend_strategy": "kSameAsRequested",
            "enable_cuda_graph": "1",
        },
    ),
    ({"provider": "cuda", "arena": "double"}, {"arena_extend_strategy": "kNextPowerOfTwo"}),
    ({"provider": "cuda", "options": {"use_tf32": False, "device_id": 3}}, {"use_tf32": "0", "device_id": "3"}),
    (
        {"provider": "tensorrt", "engines": "kept", "memory": 5, "streams": 2, "precision": "fp16", "graphs": True},
        {
            "trt_fp16_enable": "1",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": "kept",
            "trt_timing_cache_path": "kept",
            "trt_max_workspace_size": "5",
            "trt_auxiliary_streams": "2",
            "trt_cuda_graph_enable": "1",
        },
    ),
    ({"provider": "migraphx", "index": 1}, {"device_id": "1"}),
    ({"provider": "directml"}, {"device_id": "0"}),
    ({"provider": "coreml", "options": {"ModelFormat": "MLProgram"}}, {"ModelFormat": "MLProgram"}),
]


@pytest.mark.parametrize(("data", "expected"), OPTIONS)
def test_options_in_the_words_of_the_provider(data, expected):
    found = provider_options(parse_device(data, "x"))
    assert found.items() >= expected.items()
    if not expected:
        assert found == {}


def test_rocm_is_migraphx():
    assert parse_device({"provider": "rocm"}, "x").execution_provider == "MIGraphXExecutionProvider"


WRONG = [
    ({"provider": "cdua"}, "device/x.provider"),
    ({"memory": "lots"}, "device/x.memory"),
    ({"threads": -1}, "device/x.threads"),
    ({"fallback": "gpu"}, "device/x.fallback"),
    ({"gpu": 1}, "device/x.gpu"),
    (["cuda"], "device/x"),
]


@pytest.mark.parametrize(("data", "where"), WRONG)
def test_mistakes_in_a_device_file_have_a_place(data, where):
    with pytest.raises(PipelineInvalid) as caught:
        parse_device(data, "x")
    assert caught.value.problems[0].where.startswith(where)


LACKING = [
    ("cpu", frozenset(), (), ""),
    ("cuda", frozenset(), ("libcuda.so.1",), "the installed onnxruntime has no CUDAExecutionProvider"),
    ("cuda", ALL, (), "libcuda.so.1, libcublasLt.so.13, libcudnn.so.9 cannot be loaded"),
    ("cuda", ALL, ("libcuda.so.1", "libcublasLt.so.13"), "libcudnn.so.9 cannot be loaded"),
    ("cuda", ALL, ("libcuda.so.1", "libcublasLt.so.13", "libcudnn.so.9"), ""),
    ("tensorrt", ALL, ("libcuda.so.1",), "libnvinfer.so.10, libnvonnxparser.so.10 cannot be loaded"),
    ("rocm", frozenset(), (), "the installed onnxruntime has no MIGraphXExecutionProvider"),
]


@pytest.mark.parametrize(("word", "compiled", "there", "expected"), LACKING)
def test_what_a_wheel_was_compiled_with_proves_nothing(word, compiled, there, expected):
    assert lacking(word, compiled, there.__contains__) == expected


def test_the_libraries_are_those_of_the_wheel_s_own_cuda(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "cuda_version", "12.8")
    assert lacking("cuda", ALL, ("libcuda.so.1", "libcudnn.so.9").__contains__) == "libcublasLt.so.12 cannot be loaded"


def test_the_wheel_here_has_no_cuda_and_says_so():
    assert lacking("cuda")


SETTLED = [
    ({"provider": "auto"}, {"cuda"}, "cuda"),
    ({"provider": "auto"}, {"coreml", "directml"}, "coreml"),
    ({"provider": "auto"}, {"tensorrt"}, "cpu"),
    ({"provider": "cuda"}, {"cuda"}, "cuda"),
    ({"provider": "cuda", "fallback": "cpu"}, set(), "cpu"),
    ({"provider": "cpu"}, set(), "cpu"),
]


@pytest.mark.parametrize(("data", "working", "word"), SETTLED)
def test_what_is_settled_on(data, working, word):
    found = settled(Device(**data), lambda asked: "" if asked in {*working, "cpu"} else "no")
    assert found.provider == word


def test_falling_back_leaves_behind_what_only_the_other_device_knows():
    device = Device(provider="cuda", fallback="cpu", memory=5, options={"use_tf32": 0}, threads=3)
    found = settled(device, lambda asked: "no")
    assert (found.options, found.memory, found.threads) == ({}, None, 3)


def test_a_device_that_cannot_be_used_is_an_error():
    with pytest.raises(SetupError) as caught:
        settled(Device(provider="cuda"), lambda asked: "libcuda.so.1 cannot be loaded")
    assert caught.value.code == "device_unavailable"
    assert caught.value.message == "models cannot run on cuda here: libcuda.so.1 cannot be loaded"
    assert "fallback: cpu" in caught.value.hint
