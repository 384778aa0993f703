"""`flowllm pull` against a small hub on this machine."""

import asyncio
import errno
import os
import shutil
import socket
from pathlib import Path

import onnx
import pytest

from flowllm.backends.local import hub as hubs
from tests.cli.command import start_apart
from tests.local_models.encoders import write_embedder
from tests.local_models.hub import COMMIT, files_of, serving_hub

CANARY = "hf_canaryCANARY0123456789"
EMBED = """\
flowllm: 1
inputs: {text: string}
nodes: {rows: {kind: embed, in: {text: inputs.text}, model: local/acme/tiny}}
outputs: {rows: rows.vectors}
"""


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    write_embedder(tmp_path / "origin")
    others = dict.fromkeys(("evil.py", "pytorch_model.bin", "model.safetensors", "onnx/model_q4.onnx"), b"no")
    with serving_hub(files_of(tmp_path / "origin") | others) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", CANARY)
        monkeypatch.setenv("FLOWLLM_MODELS", str(folder / "shelf"))
        monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
        yield found


@pytest.fixture
def there(folder):
    return folder / "shelf" / "acme" / "tiny"


def test_a_model_is_pulled_listed_and_not_pulled_again(flowllm, hub, there):
    done = flowllm("pull", "acme/tiny@main")
    assert (done.status, done.out) == (0, "local/acme/tiny\n"), done.err
    assert "  model.onnx  " in done.err
    assert f"commit {COMMIT}" in done.err
    wanted = {name for name in hub.files if not name.endswith((".py", ".bin", ".safetensors", "_q4.onnx"))}
    assert files_of(there).keys() == wanted | {"manifest.json"}
    assert [path.name for path in there.parent.iterdir()] == ["tiny"]
    assert "local/acme/tiny  embed" in flowllm("models", "list", "--local").out
    before = len(hub.asked) + len(hub.asked_beside)
    again = flowllm("pull", "acme/tiny@main", "--json").data
    assert (again["fetched"], len(hub.asked) + len(hub.asked_beside)) == (0, before + 1)
    assert flowllm("pull", f"acme/tiny@{COMMIT}").status == 0
    assert len(hub.asked) + len(hub.asked_beside) == before + 1, "a commit that is there needs no question"


def test_the_token_goes_to_the_hub_alone(flowllm, hub):
    done = flowllm("pull", "acme/tiny")
    assert {headers.get("authorization") for _, headers in hub.asked} == {f"Bearer {CANARY}"}
    assert hub.asked_beside, "graphs come from another server"
    assert CANARY not in repr(hub.asked_beside) + done.out + done.err


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_is_gone_on_with(flowllm, hub, ranges):
    size = len(hub.files["model.onnx"])
    hub.ranges = ranges
    hub.cuts["model.onnx"] = [size // 2]
    assert flowllm("pull", "acme/tiny").status == 0
    asked = [headers.get("range") for path, headers in hub.asked_beside if path == "/model.onnx"]
    assert asked == [None, f"bytes={size // 2}-"]


def test_what_broke_off_for_good_is_kept_for_the_next_pull(flowllm, hub, there):
    size = len(hub.files["model.onnx"])
    hub.cuts["model.onnx"] = [size // 2, 0]
    broken = flowllm("pull", "acme/tiny")
    assert (broken.status, "truncated" in broken.err) == (4, True)
    assert f"{size // 2} of {size} bytes of model.onnx are kept" in " ".join(broken.err.split())
    assert "goes on where it broke off" in broken.err
    assert not there.exists()
    assert "acme" not in flowllm("models", "list", "--local").out
    hub.asked_beside.clear()
    assert flowllm("pull", "acme/tiny").status == 0
    assert hub.asked_beside[0][1]["range"] == f"bytes={size // 2}-"


@pytest.mark.parametrize(
    ("fault", "words", "status", "said"),
    [
        ({"status": 404, "code": "RepoNotFound"}, [], 3, "the hub has no model acme/tiny@main"),
        ({"status": 404, "code": "RevisionNotFound"}, [], 3, "acme/tiny has no revision `main`"),
        ({"status": 401}, [], 4, "flowllm keys set HF_TOKEN"),
        ({"status": 403, "code": "GatedRepo"}, [], 4, "which is gated"),
        ({"status": 429}, [], 4, "rate_limited"),
        ({"status": 503}, [], 4, "server_error"),
        ({"status": 500}, [], 4, "provider: 127.0.0.1 (status 500)"),
        ({"files": {"config.json": b"{}"}}, [], 3, "holds no ONNX graph"),
        ({"files": {"model.onnx": b"1", "../x.json": b"{}"}}, [], 3, "a file outside of its folder: '../x.json'"),
        ({"files": {"model.onnx": b"1", "/x.json": b"{}"}}, [], 3, "a file outside of its folder: '/x.json'"),
        ({"files": {"model.onnx": b"1", "Model.onnx": b"2"}}, [], 3, "twice"),
        ({}, ["--precision", "fp16"], 3, "no graph of precision fp16"),
        ({}, ["--max-size", "1KB"], 2, "--max-size"),
        ({}, ["--name", "../x"], 2, "is no name of a local model"),
        ({}, ["--name", ""], 2, "is no name of a local model"),
    ],
)
def test_what_cannot_be_pulled_says_why_and_leaves_nothing(flowllm, hub, folder, fault, words, status, said):
    for name, value in fault.items():
        setattr(hub, name, value)
    refused = flowllm("pull", "acme/tiny@main", *words)
    assert (refused.status, said in " ".join(refused.err.split())) == (status, True), refused.err
    assert not (folder / "shelf").exists()


def test_a_plain_graph_of_another_precision_than_was_asked_for_is_not_kept(flowllm, hub, there, tmp_path):
    assert flowllm("pull", "acme/tiny@main", "--precision", "fp32", "--name", "whole").status == 0
    hub.files = files_of(write_embedder(tmp_path / "half", half=True))
    refused = flowllm("pull", "acme/tiny@main", "--precision", "fp32")
    said = (
        "model.onnx of acme/tiny@main is fp16, not fp32, and nothing of it was kept hint: flowllm pull acme/tiny@main"
    )
    assert (refused.status, said in " ".join(refused.err.split())) == (3, True), refused.err
    assert list(there.parent.iterdir()) == []
    assert flowllm("pull", "acme/tiny@main").status == 0


def test_a_folder_of_the_builder_has_no_choice_of_precisions(flowllm, hub, folder):
    hub.files = {"genai_config.json": b"{}", "model.onnx": b"no"}
    refused = flowllm("pull", "acme/tiny@main", "--precision", "int4")
    assert (refused.status, "`int4` cannot be chosen" in " ".join(refused.err.split())) == (3, True), refused.err
    assert not (folder / "shelf").exists()


@pytest.mark.parametrize("words", ["../x", "a/b/c", "acme/tiny@", "-x/y", "http://acme/tiny", "acme/..", ""])
def test_words_that_are_no_repository(flowllm, hub, words):
    refused = flowllm("pull", "--", words)
    assert (refused.status, hub.asked) == (2, [])


def test_no_token_and_no_access(flowllm, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    hub.status = 401
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, "flowllm keys set HF_TOKEN" in refused.err) == (3, True)
    assert "authorization" not in hub.asked[0][1]


def test_a_token_that_no_header_can_carry(flowllm, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_caf\u00e9\nX-Other: 1")
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, "flowllm keys set HF_TOKEN" in refused.err, hub.asked) == (3, True, [])


@pytest.mark.parametrize("name", ["model.onnx", "config.json"])
def test_other_bytes_than_were_told(flowllm, hub, there, name):
    hub.fakes[name] = bytes(len(hub.files[name]))
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, f"the file {name} of acme/tiny@main is not what" in refused.err) == (3, True), refused.err
    assert not there.exists()
    assert not list(there.parent.glob(f".*/{name}")), "nothing of it is kept"
    hub.fakes.clear()
    assert flowllm("pull", "acme/tiny").status == 0


def test_more_bytes_than_were_told(flowllm, hub, there):
    hub.fakes["model.onnx"] = hub.files["model.onnx"] + b"more"
    assert flowllm("pull", "acme/tiny").status == 3
    assert not there.exists()


def test_a_place_that_is_taken(flowllm, hub, there):
    there.mkdir(parents=True)
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, "--name OTHER" in refused.err) == (3, True)
    assert flowllm("pull", "acme/tiny", "--name", "other").out == "local/other\n"


def test_a_model_that_was_changed_is_not_called_whole(flowllm, hub, there):
    assert flowllm("pull", "acme/tiny").status == 0
    (there / "config.json").write_text("{}")
    refused = flowllm("pull", "acme/tiny").err
    assert "bad_model_file" in refused
    assert f"hint: remove the folder {there}, then get the model again" in " ".join(refused.split())
    shutil.rmtree(there)
    assert flowllm("pull", "acme/tiny").status == 0


def with_weights(hub, tmp_path, place):
    """The graph again, its weights in a file of that name."""
    model = onnx.load(tmp_path / "origin" / "model.onnx")
    folder = tmp_path / "apart"
    folder.mkdir()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location=place, size_threshold=0)
    hub.files |= files_of(folder)


@pytest.mark.parametrize("place", ["model.onnx_data", "weights.bin"])
def test_weights_beside_the_graph_come_too(flowllm, hub, there, tmp_path, place):
    with_weights(hub, tmp_path, place)
    assert flowllm("pull", "acme/tiny").status == 0
    assert (there / place).read_bytes() == hub.files[place]
    assert "local/acme/tiny  embed" in flowllm("models", "list", "--local").out


@pytest.mark.parametrize("place", ["model.onnx_data", "weights.bin"])
def test_weights_beside_the_graph_count_for_the_limit(flowllm, hub, there, tmp_path, place):
    with_weights(hub, tmp_path, place)
    others = sum(len(data) for name, data in hub.files.items() if name.endswith((".json", ".jinja", "model.onnx")))
    refused = flowllm("pull", "acme/tiny", "--max-size", str(others + len(hub.files[place]) - 1))
    assert (refused.status, "--max-size" in refused.err, there.exists()) == (2, True, False), refused.err
    assert f"/{place}" not in [path for path, _ in (*hub.asked, *hub.asked_beside)]
    assert flowllm("pull", "acme/tiny", "--max-size", str(others + len(hub.files[place]))).status == 0


@pytest.mark.parametrize(("place", "kept", "said"), [("w.bin", False, "lacks"), ("w.py", True, "the program 'w.py'")])
def test_weights_that_cannot_be_had(flowllm, hub, there, tmp_path, place, kept, said):
    with_weights(hub, tmp_path, place)
    if not kept:
        del hub.files[place]
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, said in " ".join(refused.err.split())) == (3, True), refused.err
    assert not there.exists()
    assert not list(there.parent.rglob(place))


def test_two_pulls_at_once(flowllm, hub, there):
    fcntl = pytest.importorskip("fcntl")
    part = there.parent / f".tiny-{COMMIT[:12]}.part"
    part.mkdir(parents=True)
    held = os.open(part, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    refused = flowllm("pull", "acme/tiny")
    os.close(held)
    assert (refused.status, "another process pulls" in refused.err) == (3, True)
    assert flowllm("pull", "acme/tiny").status == 0


def test_a_full_disk(flowllm, hub, there, monkeypatch):
    def full(self, *words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, "the disk is full" in refused.err, there.exists()) == (3, True, False)
    assert "is kept" not in refused.err


def test_a_disk_with_too_little_room_is_told_before(flowllm, hub, folder, monkeypatch):
    from shutil import _ntuple_diskusage as usage

    monkeypatch.setattr("shutil.disk_usage", lambda place: usage(10, 1, 9))
    assert "has 9 left" in " ".join(flowllm("pull", "acme/tiny").err.split())
    assert not (folder / "shelf").exists()


async def test_a_pull_that_is_killed_leaves_no_half_model(flowllm, hub, folder, there):
    hub.held = "model.onnx"
    process = await start_apart("pull", "acme/tiny", cwd=folder)
    assert await asyncio.to_thread(hub.in_middle.wait, 60)
    process.kill()
    await process.communicate()
    assert not there.exists()
    assert (await asyncio.to_thread(flowllm, "models", "list", "--local")).out == ""
    hub.held = ""
    assert (await asyncio.to_thread(flowllm, "pull", "acme/tiny")).status == 0
    assert files_of(there)["model.onnx"] == hub.files["model.onnx"]


def test_a_run_never_pulls(flowllm, hub, folder, monkeypatch):
    def refuse(*words):
        raise AssertionError(words)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (folder / "embed.yaml").write_text(EMBED)
    refused = flowllm("run", "embed.yaml", "input.text=fish")
    assert (refused.status, hub.asked) == (3, [])
    assert "there is no model `local/acme/tiny`" in " ".join(refused.err.split())


@pytest.mark.parametrize(
    ("url", "location"),
    [("https://hub.test/x", "http://hub.test/y"), ("http://hub.test/x", "file:///etc/passwd"), ("http://a.test", "")],
)
def test_redirects_that_are_not_followed(url, location):
    from flowllm.core.errors import ProviderFailure

    with pytest.raises(ProviderFailure, match="sends a request on"):
        hubs._next(url, location)


@pytest.mark.parametrize("address", ["http://hub.test", "ftp://hub.test", "hub.test", "https://me:word@hub.test"])
def test_addresses_that_get_no_token(flowllm, hub, monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    refused = flowllm("pull", "acme/tiny")
    assert (refused.status, "HF_ENDPOINT" in refused.err, "word" in refused.err) == (2, True, False)
