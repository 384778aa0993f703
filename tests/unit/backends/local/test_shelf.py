import asyncio
import gc
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from flowllm.backends.local import made_of
from flowllm.backends.local import shelf as shelves
from flowllm.backends.local.made_of import LOOK
from flowllm.backends.local.manifest import write_manifest
from flowllm.backends.local.places import Places
from flowllm.backends.local.settings import MEMORY, Settings, parse_settings
from flowllm.backends.local.shelf import Shelf
from flowllm.core.errors import SetupError
from tests.local_models.encoders import Encoder, write_embedder

ROOT = Path(__file__).resolve().parents[4]


class Model:
    provider = "CPUExecutionProvider"

    def __init__(self, description, ending):
        self.description = description
        self.closed = False
        self.ending = ending
        self.kept = 0

    def forget(self):
        self.kept = 0

    def close(self):
        assert self.ending.wait(10)
        self.closed = True


class Opened:
    """Opens models that do nothing, and counts."""

    def __init__(self):
        self.models = []
        self.tries, self.slow, self.failure = 0, "", None
        self.before = lambda: None
        self.gate, self.ending = threading.Event(), threading.Event()
        self.gate.set()
        self.ending.set()

    def __call__(self, description):
        self.tries += 1
        assert self.slow not in ("", description.folder.name) or self.gate.wait(20)
        self.before()
        if self.failure:
            raise self.failure
        self.models.append(Model(description, self.ending))
        return self.models[-1]

    def check(self):
        """There is always something to load with."""

    def names(self, *, closed):
        return [model.description.folder.name for model in self.models if model.closed == closed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    for name in ("a", "b", "c", "acme/d"):
        write_embedder(folder / name)
    return folder


@pytest.fixture
def opened():
    return Opened()


@pytest.fixture
def shelf(folder, opened):
    return Shelf(Places(folder.parent, (folder,)), opened, MEMORY)


def size(folder):
    return (folder / "a" / "model.onnx").stat().st_size


def ended():
    """Wait for what is unloaded beside."""
    for thread in threading.enumerate():
        if thread.name == "flowllm unloading":
            thread.join(30)


async def use(shelf, name):
    async with shelf.held(name) as model:
        return model


async def test_a_model_is_loaded_once_for_all(shelf, opened):
    models = await asyncio.gather(*(use(shelf, "a") for _ in range(20)))
    assert len(opened.models) == 1
    assert all(model is opened.models[0] for model in models)
    assert [(held.name, held.users) for held in shelf.loaded()] == [("a", 0)]


async def test_the_one_used_longest_ago_goes_first(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, 2 * size(folder) + 10)
    for name in ("a", "b", "a", "c"):
        await use(shelf, name)
    assert opened.names(closed=True) == ["b"]
    assert sorted(opened.names(closed=False)) == ["a", "c"]


@pytest.mark.parametrize(
    ("kept", "left", "closed"),
    [
        ({"a": 9, "b": 1}, {"a": 9, "b": 1}, []),  # ten bytes are to spare
        ({"a": 10, "b": 1}, {"a": 0, "b": 1}, []),  # what was used longest ago goes first
        ({"a": 1, "b": 11}, {"a": 0, "b": 0}, []),
        ({"a": 1, "b": 1, "c": 1}, {"b": 0, "c": 1}, ["a"]),  # three are too many, whatever they keep
    ],
)
async def test_what_models_keep_counts_and_goes_before_they_do(folder, opened, kept, left, closed):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, 2 * size(folder) + 10)
    for name, count in kept.items():
        async with shelf.held(name) as model:
            model.kept = count
    assert opened.names(closed=True) == closed
    assert {held.name: held.size - size(folder) for held in shelf.loaded()} == left


async def test_what_a_model_in_use_keeps_goes_too(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, size(folder) + 10)
    async with shelf.held("a") as model:
        model.kept = 11
        await use(shelf, "b")
        assert (model.kept, opened.names(closed=True)) == (0, ["b"])


async def test_what_is_in_use_stays_whatever_the_limit(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, size(folder) + 10)
    async with shelf.held("a"), shelf.held("b"):
        assert opened.names(closed=True) == []
        assert [held.users for held in shelf.loaded()] == [1, 1]
    assert len(shelf.loaded()) == 1


async def test_who_leaves_a_model_does_not_wait_for_its_end(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, size(folder) + 10)
    opened.ending.clear()
    async with shelf.held("a"):
        async with shelf.held("b"):
            pass
        assert [held.name for held in shelf.loaded()] == ["a"]
        assert opened.names(closed=True) == []
        opened.ending.set()
        await asyncio.to_thread(ended)
        assert opened.names(closed=True) == ["b"]


async def test_a_model_larger_than_the_limit_is_told(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, 10)
    with pytest.raises(SetupError) as caught:
        await use(shelf, "a")
    assert caught.value.code == "device_unavailable"
    assert caught.value.message == f"`local/a` has {size(folder) / 1000:.1f} kB, and models may take 10 bytes"
    assert caught.value.hint == f"FLOWLLM_MODEL_MEMORY={size(folder)}"
    assert shelf.loaded() == []


async def test_unload_spares_what_is_in_use(shelf, opened):
    shelf.preload("a", "b")
    async with shelf.held("a"):
        assert shelf.unload() == ["b"]
    assert opened.names(closed=False) == ["a"]
    assert shelf.unload("a") == ["a"]
    assert shelf.loaded() == []


async def test_a_failure_leaves_nothing_behind_and_the_next_try_loads(shelf, opened):
    with pytest.raises(SetupError):
        await use(shelf, "nothing")
    assert (await use(shelf, "a")).description.task == "embed"
    assert [held.name for held in shelf.loaded()] == ["a"]


async def test_a_load_that_fails_fails_all_who_wait_and_nobody_after_them(shelf, opened):
    opened.failure = MemoryError("no room")
    opened.gate.clear()
    tasks = [asyncio.ensure_future(use(shelf, "a")) for _ in range(5)]
    await asyncio.sleep(0)
    opened.gate.set()
    assert [str(found) for found in await asyncio.gather(*tasks, return_exceptions=True)] == ["no room"] * 5
    assert (shelf.loaded(), shelf._entries, opened.tries) == ([], [], 1)
    opened.failure = None
    await use(shelf, "a")
    assert [(held.name, held.users) for held in shelf.loaded()] == [("a", 0)]


async def test_who_waits_for_a_model_takes_no_thread_from_others(shelf, opened):
    opened.slow = "a"
    opened.gate.clear()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    tasks = [asyncio.ensure_future(use(shelf, "a")) for _ in range(64)]
    async with asyncio.timeout(20):
        assert (await use(shelf, "b")).description.folder.name == "b"
        assert await asyncio.to_thread(lambda: "a thread") == "a thread"
    opened.gate.set()
    assert len(set(await asyncio.gather(*tasks))) == 1


def test_a_loop_that_ends_while_a_model_loads_leaves_no_user(shelf, opened):
    opened.gate.clear()

    async def begin():
        asyncio.ensure_future(use(shelf, "a"))  # noqa: RUF006  ended with its loop
        await asyncio.sleep(0)

    asyncio.run(begin())
    opened.gate.set()
    shelf.preload("a")
    assert [(held.name, held.users) for held in shelf.loaded()] == [("a", 0)]


def hold_and_vanish(shelf):
    """Use a model in a loop that is closed in the middle, without a word to its tasks."""

    async def answer():
        async with shelf.held("a"):
            yield "a delta"

    async def hold():
        # A generator of a loop that is closed is never finished, not even when it is collected.
        async for _ in answer():
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    held = loop.create_task(hold())
    while not shelf.loaded():
        loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert [held.users for held in shelf.loaded()] == [1]
    loop.close()
    del held


def test_a_loop_that_is_closed_while_a_model_is_used_leaves_no_user(shelf):
    hold_and_vanish(shelf)
    gc.collect()
    assert [held.users for held in shelf.loaded()] == [0]
    assert shelf.unload() == ["a"]


async def test_one_that_is_put_out_at_once_was_there_to_be_asked(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, size(folder) + 10)
    async with shelf.held("b"):
        with shelf.in_use("a") as model:
            assert not model.closed
        assert opened.names(closed=True) == ["a"]


async def test_a_caller_that_goes_while_it_loads_holds_nothing(shelf, opened):
    opened.gate.clear()
    task = asyncio.ensure_future(use(shelf, "a"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    opened.gate.set()
    shelf.preload("a")
    await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    assert shelf.unload() == ["a"]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def pass_a_look(self):
        self.time += LOOK


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def own(tmp_path, opened, clock):
    """A folder of one's own with the model `m`, and its shelf."""
    write_embedder(tmp_path / "m")
    return Shelf(Places(tmp_path, (tmp_path,)), opened, MEMORY, now=clock)


def replaced(folder):
    shutil.rmtree(folder)
    write_embedder(folder, Encoder(seed=8))


def rewritten(folder):
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-1] + b"x")


def listed(folder):
    write_manifest(folder)


def templated(folder):
    (folder / "chat_template.jinja").write_text("x")


def touched(folder):
    os.utime(folder / "tokenizer.json", (1, 1))


def lessened(folder):
    (folder / "1_Pooling" / "config.json").unlink()


def renamed(folder):
    """A file of the same length and time in another's place: only its number and the time of that differ."""
    file, other = folder / "tokenizer.json", folder / "other"
    other.write_bytes(file.read_bytes()[::-1])
    found = file.stat()
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.rename(file)


@pytest.mark.parametrize("change", [replaced, rewritten, listed, templated, touched, lessened])
async def test_a_model_of_other_files_is_another(own, opened, tmp_path, clock, change):
    first, before = await use(own, "m"), own.identity("m")
    change(tmp_path / "m")
    clock.pass_a_look()
    after = own.identity("m")
    second = await use(own, "m")
    assert (second is first, before == after, own.identity("m")) == (False, False, after)
    await asyncio.to_thread(ended)
    assert opened.models == [first, second]
    assert [model.closed for model in opened.models] == [True, False]
    assert [held.name for held in own.loaded()] == ["m"]


async def test_a_file_of_the_same_length_and_time_is_another(own, tmp_path, clock):
    first = await use(own, "m")
    renamed(tmp_path / "m")
    clock.pass_a_look()
    assert await use(own, "m") is not first


async def test_between_two_looks_the_model_that_is_there_answers_under_its_own_identity(own, tmp_path, clock):
    first, before = await use(own, "m"), own.identity("m")
    replaced(tmp_path / "m")
    clock.time += 0.9 * LOOK
    assert (await use(own, "m"), own.identity("m")) == (first, before)
    clock.time += 0.1 * LOOK
    assert own.identity("m") != before
    assert await use(own, "m") is not first


async def never_loaded(shelf):
    shelf.identity("m")


async def loaded(shelf):
    await use(shelf, "m")


async def unloaded(shelf):
    await use(shelf, "m")
    shelf.unload()


@pytest.mark.parametrize("bring", [never_loaded, loaded, unloaded])
async def test_files_are_looked_at_once_in_a_while(own, clock, monkeypatch, bring):
    await bring(own)
    looks, stamps = [], made_of._stamps
    monkeypatch.setattr(made_of, "_stamps", lambda names: looks.append(1) or stamps(names))
    monkeypatch.setattr(shelves, "describe", lambda *found: pytest.fail("the files were read again"))
    for passed, looked in ((0, 0), (0.9 * LOOK, 0), (0.1 * LOOK, 2), (0, 2), (LOOK, 4)):
        clock.time += passed
        assert len({own.identity("m") for _ in range(3)}) == 1
        assert len(looks) == looked


async def test_a_model_that_never_was_in_memory_has_the_identity_of_its_files(own, clock, tmp_path):
    before = own.identity("m")
    replaced(tmp_path / "m")
    assert own.identity("m") == before
    clock.pass_a_look()
    assert own.identity("m") != before


def test_a_model_whose_files_are_being_replaced_has_no_identity(own, monkeypatch):
    def gone(name):
        raise FileNotFoundError(2, "No such file or directory", f"{name}/model.onnx")

    monkeypatch.setattr(own, "describe", gone)
    assert own.identity("m") == ""


async def test_a_model_is_loaded_from_the_files_that_lie_there_whatever_was_seen(own, opened, tmp_path):
    before = own.identity("m")
    replaced(tmp_path / "m")
    await use(own, "m")
    assert own.identity("m") != before


def noted(folder):
    (folder / "notes.txt").write_text("x")


async def test_a_file_that_no_model_reads_changes_nothing(own, opened, tmp_path, clock):
    first, before = await use(own, "m"), own.identity("m")
    noted(tmp_path / "m")
    clock.pass_a_look()
    assert (await use(own, "m"), own.identity("m")) == (first, before)
    assert (first.closed, opened.tries) == (False, 1)


async def test_who_uses_the_old_one_keeps_it(own, tmp_path, clock):
    async with own.held("m") as old:
        replaced(tmp_path / "m")
        clock.pass_a_look()
        async with own.held("m") as new:
            assert new is not old
            assert [(held.name, held.users) for held in own.loaded()] == [("m", 1), ("m", 1)]
            assert own.unload() == []
        assert not old.closed
    await asyncio.to_thread(ended)
    assert (old.closed, new.closed, len(own.loaded())) == (True, False, 1)


async def test_the_identity_is_of_the_files_whether_it_is_loaded_or_not(own, opened):
    before = own.identity("m")
    await use(own, "m")
    assert own.identity("m") == before
    assert own.identity("nothing") == ""


async def test_files_that_go_take_the_model_along(own, tmp_path, clock):
    await use(own, "m")
    shutil.rmtree(tmp_path / "m")
    clock.pass_a_look()
    with pytest.raises(SetupError) as caught:
        await use(own, "m")
    assert (caught.value.code, own.loaded(), own.identity("m")) == ("missing_model_file", [], "")


async def test_files_that_change_while_it_loads_are_told(own, opened, tmp_path):
    opened.before = lambda: replaced(tmp_path / "m")
    with pytest.raises(SetupError, match="changed while the model was loaded") as caught:
        await use(own, "m")
    assert (caught.value.code, own.loaded(), opened.models[0].closed) == ("bad_model_file", [], True)
    opened.before = lambda: None
    await use(own, "m")


async def test_what_came_for_nobody_makes_room_again(folder, opened):
    shelf = Shelf(Places(folder.parent, (folder,)), opened, size(folder) + 10)
    async with shelf.held("a"):
        opened.gate.clear()
        task = asyncio.ensure_future(use(shelf, "b"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        opened.gate.set()
        for thread in threading.enumerate():
            if thread.name == "flowllm opening":
                await asyncio.to_thread(thread.join, 30)
        assert opened.names(closed=True) == ["b"]
        assert [held.name for held in shelf.loaded()] == ["a"]


async def test_a_changed_file_is_told_before_it_is_opened(tmp_path, opened):
    write_embedder(tmp_path / "m")
    write_manifest(tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    shelf = Shelf(Places(tmp_path, (tmp_path,)), opened, MEMORY)
    with pytest.raises(SetupError) as caught:
        await use(shelf, "m")
    assert (caught.value.code, opened.models) == ("bad_model_file", [])


FOUND = [("a", "a"), ("acme/d", "acme/d"), ("./{folder}/b", "b")]


@pytest.mark.parametrize(("name", "path"), FOUND)
def test_names_and_paths(folder, name, path):
    places = Places(folder.parent, (folder,))
    assert places.find(name.replace("{folder}", folder.name)).resolve() == (folder / path).resolve()


LOST = [
    ("e", "there is no model `local/e` on this machine", "flowllm pull OWNER/e fetches one, flowllm models list"),
    ("qwen/qwen", "there is no model `local/qwen/qwen`", "flowllm pull qwen/qwen fetches one, flowllm models list"),
    ("acme/e", "there is no model `local/acme/e`", "did you mean `local/acme/d`?"),
    ("../a", "is not under the project", "FLOWLLM_MODELS"),
    ("./../a", "is not under the project", "FLOWLLM_MODELS"),
    ("/etc", "is not under the project", "FLOWLLM_MODELS"),
    ("~/a", "is not under the project", "FLOWLLM_MODELS"),
    ("a/../b", "is no name of a local model", ""),
    ("./nothing", "there is no folder", ""),
    ("", "is no name", ""),
]


@pytest.mark.parametrize(("name", "words", "hint"), LOST)
def test_names_that_lead_nowhere(folder, name, words, hint):
    with pytest.raises(SetupError) as caught:
        Places(folder.parent, (folder,)).find(name)
    assert caught.value.code == "missing_model_file"
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_list_of_models(folder, tmp_path):
    write_embedder(tmp_path / "a")
    found = dict(Places(folder, (tmp_path, folder, tmp_path / "not there")).listed())
    assert list(found) == ["a", "acme/d", "b", "c"] or sorted(found) == ["a", "acme/d", "b", "c"]
    assert found["a"] == tmp_path / "a"


def test_settings(tmp_path):
    found = parse_settings(
        {"memory": "2GB", "wait": "5ms", "budget": "512", "device": "cuda", "models": "/x"}, tmp_path
    )
    assert (found.memory, found.wait, found.budget, found.device) == (2 * 10**9, 0.005, 512, "cuda")
    assert found.folders[:2] == (tmp_path / "models", Path("/x"))
    plain = parse_settings({"memory": "", "device": " "}, tmp_path)
    assert (plain.memory, plain.wait, plain.budget, plain.device) == (MEMORY, Settings().wait, None, "auto")


def test_a_folder_is_named_from_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_settings({"models": "own"}, Path("/project")).folders[1] == tmp_path / "own"


@pytest.mark.parametrize(("isolation", "patience"), [("process", "90s"), ("unlisted", "2m")])
def test_settings_of_isolation(tmp_path, isolation, patience):
    found = parse_settings({"isolation": isolation, "patience": patience}, tmp_path)
    assert (found.isolation, found.patience) == (isolation, {"90s": 90.0, "2m": 120.0}[patience])
    assert (parse_settings({}, tmp_path).isolation, parse_settings({}, tmp_path).patience) == ("none", 300.0)


def test_a_process_is_given_some_time(tmp_path):
    with pytest.raises(SetupError, match="more time than none") as caught:
        parse_settings({"patience": "0s"}, tmp_path)
    assert caught.value.hint == "FLOWLLM_MODEL_PATIENCE=5m"


@pytest.mark.parametrize("word", ["memory", "wait", "budget", "patience", "isolation"])
def test_settings_that_cannot_be_read(tmp_path, word):
    with pytest.raises(SetupError) as caught:
        parse_settings({word: "plenty"}, tmp_path)
    assert f"the setting `{word}` of the provider `local`: `plenty`" in caught.value.message
    name, _, value = caught.value.hint.partition("=")
    assert name == f"FLOWLLM_MODEL_{word.upper()}"
    parse_settings({word: value}, tmp_path)


UNLOADED = """
import os, sys
from pathlib import Path
from flowllm.backends.local.places import Places
from flowllm.backends.local.settings import Settings, _Loader
from flowllm.backends.local.devices import Device
from flowllm.backends.local.shelf import Shelf

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20

folder = Path(sys.argv[1])
shelf = Shelf(Places(folder, (folder,)), _Loader(Settings(), Device(provider="cpu", threads=1)), 10**9)
for turn in range(3):
    before = resident()
    shelf.preload("m")
    loaded = resident()
    shelf.unload()
    print(before, loaded, resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of a process from /proc")
def test_unloading_returns_the_memory(tmp_path):
    folder = write_embedder(tmp_path / "m")
    model = onnx.load(folder / "model.onnx")
    big = onnx.numpy_helper.from_array(np.ones((5000, 5000), np.float32), "big")
    model.graph.initializer.append(big)
    output = onnx.helper.make_tensor_value_info("huge", onnx.TensorProto.FLOAT, [5000, 5000])
    model.graph.output.append(output)
    # A product of two weights would be folded; the shape of the input keeps it a weight.
    nodes = [
        onnx.helper.make_node("Cast", ["length"], ["long"], to=1),
        onnx.helper.make_node("Mul", ["big", "long"], ["huge"]),
    ]
    model.graph.node.extend(nodes)
    onnx.save(model, folder / "model.onnx")
    command = [sys.executable, "-P", "-c", UNLOADED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)})
    turns = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    # 95 MiB of weights; the first turn also brings the libraries.
    before, loaded, after = turns[1]
    assert loaded - before > 80, turns
    assert after - before < 16, turns
