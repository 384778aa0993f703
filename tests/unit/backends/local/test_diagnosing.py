import pytest

from flowllm.backends.local import diagnosing, libraries
from flowllm.backends.local.devices import Device, parse_device
from flowllm.backends.local.diagnosing import devices, running, wheels
from flowllm.core.errors import SetupError
from flowllm.core.origin import Origin

WHEELS = [
    ({}, "not installed (extras: local, gpu)", True, ""),
    ({"onnxruntime": "1"}, "onnxruntime 1", True, ""),
    ({"onnxruntime-gpu": "2"}, "onnxruntime-gpu 2", True, ""),
    (
        {"onnxruntime": "1", "onnxruntime-gpu": "2"},
        "onnxruntime 1 and onnxruntime-gpu 2 wrote over each other's files",
        False,
        "--force-reinstall onnxruntime-gpu",
    ),
]


@pytest.mark.parametrize(("installed", "value", "ok", "hint"), WHEELS)
def test_two_wheels_over_each_other_are_found_and_mended(installed, value, ok, hint):
    look = wheels(installed.get)
    assert (look.value, look.ok) == (value, ok)
    assert look.hint.endswith(hint)


def test_devices_here():
    assert [(look.name, look.value) for look in devices() if look.name == "cpu"] == [("cpu", "can be used")]


def test_what_was_compiled_in_and_cannot_be_used(monkeypatch):
    class Gpu:
        InferenceSession = None

        @staticmethod
        def get_available_providers():
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(libraries, "onnxruntime", lambda: Gpu)
    monkeypatch.setattr(diagnosing, "lacking", lambda word: "" if word == "cpu" else "libcuda.so.1 cannot be loaded")
    assert [look.value for look in devices()] == ["can be used", "cannot be used: libcuda.so.1 cannot be loaded"]


def test_a_broken_package_is_one_finding(monkeypatch):
    def broken():
        raise SetupError("missing_extra", "it is broken", hint="mend it")

    monkeypatch.setattr(libraries, "onnxruntime", broken)
    (look,) = devices()
    assert (look.ok, look.value, look.hint) == (False, "it is broken", "mend it")


def test_what_really_runs():
    (look,) = running(Device, "auto")
    assert look.value.startswith("auto, which runs on ")
    (refused,) = running(lambda: Device(provider="cuda"), "mine")
    assert not refused.ok
    assert refused.value.startswith("mine: models cannot run on cuda here")


def test_every_mistake_in_a_device_file_is_a_finding():
    def place(steps, part):
        return Origin("bad.yaml", 1, len(steps[0]))

    looks = list(running(lambda: parse_device({"provider": "cdua", "memory": "lots"}, "bad", place), "bad"))
    assert [(look.value.partition(" ")[0], look.hint, look.ok) for look in looks] == [
        ("bad.yaml:1:8:", "did you mean `cuda`?", False),
        ("bad.yaml:1:6:", "memory: 8GB", False),
    ]
