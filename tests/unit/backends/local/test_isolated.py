import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from flowllm.api import Environment, Flow
from flowllm.api import local as api
from flowllm.backends.local import frames
from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder as Loaded
from flowllm.backends.local.isolated import Isolated
from flowllm.backends.local.layout import describe
from flowllm.backends.local.manifest import write_manifest
from flowllm.backends.local.process import Process
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, embedding, write_embedder

CPU = Device(provider="cpu", threads=1)
ROOT = Path(__file__).resolve().parents[4]
TEXTS = ["the red fox", "birds fly"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_embedder(tmp_path_factory.mktemp("isolated") / "m")


@pytest.fixture
def isolated(folder):
    session = Isolated(folder / "model.onnx", CPU, 60.0)
    yield session
    session.close()


async def rows_of(model):
    return (await model.embed(TEXTS, model.wanted({}), Scope()))[0]


async def test_answers_are_the_same_and_the_next_call_starts_a_dead_process_anew(folder, isolated):
    model = Loaded(describe(folder), isolated)
    expected = np.stack([embedding(Encoder(), text) for text in TEXTS])
    first = isolated.pid
    assert first not in (None, os.getpid())
    assert np.abs(await rows_of(model) - expected).max() < 1e-5

    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(isolated._process._child.wait)
    assert isolated.pid is None
    assert np.abs(await rows_of(model) - expected).max() < 1e-5
    assert isolated.pid not in (None, first)

    model.close()
    assert isolated.pid is None


async def test_who_closes_it_while_a_process_starts_ends_that_one_too(folder, isolated):
    os.kill(isolated.pid, signal.SIGKILL)
    isolated._process._child.wait()
    started = isolated._started

    def closing():
        found = started()
        isolated._closed.set()
        return found

    isolated._started = closing
    model = Loaded(describe(folder), isolated)
    with pytest.raises(ProviderFailure) as caught:
        await rows_of(model)
    assert (caught.value.code, isolated.pid) == ("worker_died", None)
    assert isolated._process._child.poll() is not None


@pytest.fixture
def stopped(folder, isolated):
    """A model whose process is stopped: it takes what it is sent and says nothing."""
    os.kill(isolated.pid, signal.SIGSTOP)
    return Loaded(describe(folder), isolated)


@pytest.fixture
def under_way(isolated, monkeypatch):
    """Waits until the process of now was sent something; it is given as many seconds as ``patience`` has then."""
    entered, patience, answer = threading.Event(), [60.0], isolated._process.answer

    def watched(_):
        entered.set()
        return answer(patience[0])

    async def wait():
        assert await asyncio.to_thread(entered.wait, 10)

    monkeypatch.setattr(isolated._process, "answer", watched)
    wait.patience = patience
    return wait


async def test_a_process_killed_in_mid_batch_fails_that_batch_alone(stopped, isolated, under_way):
    task = asyncio.ensure_future(rows_of(stopped))
    await under_way()
    os.kill(isolated.pid, signal.SIGKILL)
    with pytest.raises(ProviderFailure) as caught:
        await task
    assert (caught.value.code, caught.value.retryable) == ("worker_died", True)
    assert "the process of the model in m ended (-9) while it worked" in caught.value.message
    assert len(await rows_of(stopped)) == 2
    stopped.close()


async def test_a_process_that_hangs_is_ended_also_where_nobody_waits_for_its_batch(stopped, isolated, under_way):
    under_way.patience[0] = 0.5
    first = isolated.pid
    gone = asyncio.ensure_future(rows_of(stopped))
    await under_way()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert len(await rows_of(stopped)) == 2  # waits behind the batch that hangs, and is answered by the next process
    assert isolated.pid != first
    stopped.close()


async def test_who_waits_for_a_process_that_hangs_is_told(stopped, under_way):
    under_way.patience[0] = 0.5
    with pytest.raises(ProviderFailure, match=r"said nothing for 0.5 s and was ended while it worked"):
        await rows_of(stopped)
    assert len(await rows_of(stopped)) == 2
    stopped.close()


async def test_unloading_ends_a_process_that_hangs_in_a_batch(stopped, isolated, under_way):
    task, child = asyncio.ensure_future(rows_of(stopped)), isolated._process._child
    await under_way()
    await asyncio.wait_for(asyncio.to_thread(stopped.close), 30)
    assert child.returncode == -9
    with pytest.raises(ProviderFailure, match="ended"):
        await task
    with pytest.raises(RuntimeError, match="unloaded"):
        isolated.run({})


STARTS = """
import sys, time
from pathlib import Path
from flowllm.backends.local.isolated import Isolated
from flowllm.backends.local.devices import Device
session = Isolated(Path(sys.argv[1]), Device(provider="cpu", threads=1), 60.0)
print(session.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["at rest", "stopped"])
def test_it_ends_with_the_process_that_started_it(folder, stopped):
    command = [sys.executable, "-P", "-c", STARTS, str(folder / "model.onnx")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    child = int(parent.stdout.readline())
    if stopped:
        os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.communicate()
    if stopped:
        os.kill(child, signal.SIGCONT)
    until = time.monotonic() + 60
    while running(child):
        assert time.monotonic() < until
        time.sleep(0.01)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_failing_run_is_an_error_and_the_process_stays(isolated):
    before = isolated.pid
    wrong = {name: np.zeros((1, 99), np.int64) for name in isolated.inputs}
    with pytest.raises(RuntimeError):
        isolated.run(wrong)
    os.kill(isolated.pid, signal.SIGINT)  # the keyboard's, which is for this process alone
    assert isolated.pid == before
    ids = np.array([[2, 5, 3]])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    assert np.allclose(isolated.run(feeds)[0][0], Encoder().hidden(ids[0]), atol=1e-5)


def test_what_cannot_be_opened_is_told_as_it_is_in_this_process(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(SetupError) as caught:
        Isolated(tmp_path / "model.onnx", CPU, 60.0)
    assert caught.value.code == "bad_model_file"
    with pytest.raises(SetupError) as caught:
        Isolated(tmp_path / "model.onnx", Device(provider="cuda"), 60.0)
    assert caught.value.code == "device_unavailable"


@pytest.mark.parametrize(
    ("sign", "patience", "said"),
    [(signal.SIGKILL, 60.0, "ended (-9)"), (signal.SIGSTOP, 0.2, "said nothing for 0.2 s and was ended")],
    ids=["killed", "hangs"],
)
def test_a_process_that_ends_while_it_opens_is_no_fault_of_the_files(folder, monkeypatch, sign, patience, said):
    stopped_at_opening(monkeypatch, sign)
    with pytest.raises(ProviderFailure) as caught:
        Isolated(folder / "model.onnx", CPU, patience)
    assert (caught.value.code, caught.value.retryable) == ("worker_died", True)
    assert caught.value.message == f"the process of the model in m {said} while it opened it"


def test_a_run_goes_on_where_a_process_ended_while_it_opened(tmp_path, monkeypatch):
    write_embedder(tmp_path / "models" / "m")
    stopped_at_opening(monkeypatch, signal.SIGKILL)
    providers = {"local": {"settings": {"isolation": "process"}}}
    environment = Environment(project=tmp_path, cache_folder=tmp_path / "cache", providers=providers)
    rows = {"kind": "embed", "in": {"text": {"const": TEXTS}}, "model": "local/m", "retry": {"attempts": 2, "base": 0}}
    result = Flow.of({"nodes": {"rows": rows}, "outputs": {"rows": "rows.vectors"}}, environment=environment).run({})
    assert np.allclose(result.outputs["rows"][0], embedding(Encoder(), TEXTS[0]), atol=1e-5)
    assert api.unload(environment) == ["m"]


@pytest.mark.parametrize("told", [{}, {"provider": 1}, {"provider": "x"}, {"provider": "x", "inputs": {}}])
def test_a_process_that_does_not_say_what_it_opened_is_ended(folder, monkeypatch, told):
    asked = []

    def answer(process, patience):
        asked.append(process)
        return told, {}

    monkeypatch.setattr(Process, "answer", answer)
    with pytest.raises(ProviderFailure, match="sent what is no answer and was ended while it opened it"):
        Isolated(folder / "model.onnx", CPU, 60.0)
    asked[0]._child.wait(30)
    assert not asked[0].alive


def test_all_arrays_of_a_message_share_one_limit(monkeypatch):
    stream = io.BytesIO()
    frames.write(stream, {}, {"a": np.zeros(8, np.uint8), "b": np.zeros(8, np.uint8)})
    for limit, fits in ((16, True), (15, False)):
        monkeypatch.setattr(frames, "_LIMIT", limit)
        stream.seek(0)
        if fits:
            assert frames.read(stream)[1].keys() == {"a", "b"}
        else:
            with pytest.raises(frames.Ended, match="too large"):
                frames.read(stream)


def stopped_at_opening(monkeypatch, sign):
    """The first process to come is stopped before it is told what to open, and gets a signal."""
    send = Process.send

    def once(process, header, arrays=None):
        monkeypatch.setattr(Process, "send", send)
        os.kill(process.pid, signal.SIGSTOP)
        send(process, header, arrays)
        os.kill(process.pid, sign)

    monkeypatch.setattr(Process, "send", once)


@pytest.mark.parametrize(
    ("isolation", "listed", "apart"),
    [("process", True, True), ("unlisted", True, False), ("unlisted", False, True), ("none", False, False)],
)
def test_which_models_run_apart(tmp_path, isolation, listed, apart):
    folder = write_embedder(tmp_path / "models" / "m")
    if listed:
        write_manifest(folder)
    providers = {"local": {"settings": {"isolation": isolation}}}
    environment = Environment(project=tmp_path, cache_folder=tmp_path / "cache", providers=providers)
    nodes = {"rows": {"kind": "embed", "in": {"text": {"const": TEXTS}}, "model": "local/m"}}
    result = Flow.of({"nodes": nodes, "outputs": {"rows": "rows.vectors"}}, environment=environment).run({})
    assert np.allclose(result.outputs["rows"][0], embedding(Encoder(), TEXTS[0]), atol=1e-5)
    with api.shelf_of(environment).in_use("m") as model:
        assert isinstance(model.opened, Isolated) == apart
    assert api.unload(environment) == ["m"]


ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.zeros((0, 4), np.int64),
    "c": np.array([True, False]),
    "d": np.ones((1,), np.float16),
}


def test_frames_come_as_they_went():
    stream = io.BytesIO()
    frames.write(stream, {"word": "x"}, ARRAYS)
    frames.write(stream, {})
    stream.seek(0)
    header, arrays = frames.read(stream)
    assert header == {"word": "x"}
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)
    assert frames.read(stream) == ({}, {})
    with pytest.raises(frames.Ended):
        frames.read(stream)


def framed(header):
    return len(header).to_bytes(4, "big") + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x00\x05{",
        b"\xff\xff\xff\xff",
        framed(b"[]"),
        framed(b"{}"),
        framed(b'{"arrays": [["a", "|O", [1]]]}') + bytes(8),
        framed(b'{"arrays": [["a", "<f4", [-1]]]}'),
        framed(b'{"arrays": [["a", "<f4", [99999, 99999]]]}'),
        framed(b'{"arrays": [["a", "<f4", [2]]]}') + bytes(7),
        framed(b'{"arrays": [["a", "what", [2]]]}'),
        framed(b'{"arrays": [["a", "|S4", [1]]]}') + bytes(4),
        framed(b'{"arrays": [["a", "%s", [1]]]}' % (b"(" * 3000)) + bytes(4),
        framed(b'{"arrays": [["a", "<f4", [1e308, 1e308]]]}') + bytes(64),
        framed(b'{"arrays": [["a", "<f4", [%s]]]}' % b",".join([b"1"] * 65)) + bytes(64),
        framed(b'{"arrays": [["a", "<f4", [0, 9223372036854775807]]]}'),
        framed(b'{"arrays": [["a", "<f4", [0, %s]]]}' % b",".join([b"4294967296"] * 31)),
    ],
)
def test_what_is_no_message_ends_it(content):
    with pytest.raises(frames.Ended):
        frames.read(io.BytesIO(content))
