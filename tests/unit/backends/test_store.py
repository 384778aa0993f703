"""The store on disk: what it keeps, what it refuses, what it survives."""

import contextlib
import gc
import os
import pickle
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends import store as module
from flowllm.backends.disk import Tampered
from flowllm.backends.envelope import Unreadable, pack, unpack
from flowllm.backends.memory import Memory
from flowllm.backends.store import DiskStore, erase, shared_store
from flowllm.core.errors import SetupError

KEY, OTHER, LARGE = "a" * 64, "b" * 64, "c" * 64
CALL = {"kind": "call", "model": "acme/m", "text": "hello"}


class Boom:
    """Unpickling it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def make(tmp_path, warnings):
    made = []

    def build(**options):
        made.append(DiskStore(tmp_path, warn=warnings.append, **options))
        return made[-1]

    yield build
    for store in made:
        store.close()


def plant(store, statement, *values):
    with contextlib.closing(sqlite3.connect(store.folder / "cache.db")) as connection, connection:
        connection.execute(statement, values)


def seeded(make, value=CALL):
    """A folder with one entry on disk, written by a store that is closed."""
    store = make()
    store.put(KEY, value)
    store.close()
    return store


data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(data)
def test_envelope_gives_back_what_it_took(value):
    assert unpack(KEY, pack(KEY, value)) == value


@pytest.mark.parametrize("name", ["type", "lc", "_target_", "__class__", "__reduce__", "$bytes"])
def test_no_key_of_a_mapping_means_anything(name, make):
    value = {name: "os.system", "args": ["true"]}
    seeded(make, value)
    assert make().get(KEY) == value


@given(st.data())
def test_envelope_notices_every_changed_bit(drawn):
    packed = bytearray(pack(KEY, {"text": "hello", "vector": b"\x00\x01"}))
    bit = drawn.draw(st.integers(0, len(packed) * 8 - 1))
    packed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Unreadable):
        unpack(KEY, bytes(packed))


def test_entry_of_another_key_is_not_taken():
    with pytest.raises(Unreadable):
        unpack(OTHER, pack(KEY, 1))


@pytest.mark.parametrize(
    "value", [CALL, [1, "x", None, True], "text", 7, {"vector": b"\x00" * 8}, {"big": "x" * 50_000}]
)
def test_kept_between_stores(make, value):
    seeded(make, value)
    again = make()
    assert again.get(KEY) == value
    assert again.get(OTHER) is None
    assert (again.stats().memory_hits, again.stats().disk_hits, again.stats().misses) == (0, 1, 1)


def test_a_put_is_read_back_before_it_is_written(make, monkeypatch):
    gate = threading.Event()
    write = DiskStore._write
    monkeypatch.setattr(DiskStore, "_write", lambda self, batch: gate.wait(10) and write(self, batch))
    store = make(memory_limit=0)
    store.put(KEY, CALL)
    assert store.get(KEY) == CALL
    gate.set()
    store.flush()
    assert store.get(KEY) == CALL


def test_a_value_is_a_fresh_copy(make):
    store = make()
    store.put(KEY, {"a": [1]})
    store.get(KEY)["a"].append(2)
    assert store.get(KEY) == {"a": [1]}


def test_memory_stays_under_its_limit(make):
    store = make(memory_limit=1000)
    for number in range(50):
        store.put(f"{number:064x}", "x" * 100)
    assert store._memory._size <= 1000
    store.flush()
    assert all(store.get(f"{number:064x}") == "x" * 100 for number in range(50))


def test_what_is_larger_than_all_memory_takes_no_other_entrys_place():
    memory = Memory(10)
    memory.put(KEY, b"12345", None)
    memory.put(OTHER, b"1", None)
    memory.put(OTHER, b"x" * 11, None)
    assert (memory.get(KEY), memory.get(OTHER)) == (b"12345", None)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}, 2**70])
def test_what_is_no_data_is_not_kept(make, warnings, value):
    store = make()
    store.put(KEY, value)
    assert store.get(KEY) is None
    assert "was not cached" in warnings[0]


@pytest.mark.parametrize("closed", [False, True])
def test_expiry(make, monkeypatch, closed):
    store = make()
    store.put(KEY, CALL, ttl=60)
    store.flush()
    if closed:
        store = make()
    assert store.get(KEY) == CALL
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert store.get(KEY) is None


def test_remove(make):
    store = seeded(make)
    store = make()
    assert store.remove(KEY)
    assert not store.remove(KEY)
    assert store.get(KEY) is None


def test_stats_clear_and_explain(make, monkeypatch):
    store = make()
    store.put(KEY, CALL)
    store.put(OTHER, {"kind": "embed", "model": "acme/e", "vector": b"1234"})
    store.put(LARGE, {**CALL, "model": "acme/n", "text": "x" * 100_000})
    stats = store.stats()
    assert stats.entries == 3
    assert stats.size > 100_000
    assert set(stats.groups) == {("call", "acme/m"), ("embed", "acme/e"), ("call", "acme/n")}
    entry = store.explain(KEY[:12])
    assert (entry.key, entry.kind, entry.model, entry.value, entry.expires) == (KEY, "call", "acme/m", CALL, None)
    assert store.explain("f" * 64) is None
    assert store.clear(older_than=3600) == 0
    assert store.clear(model="acme/e") == 1
    assert store.get(OTHER) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    assert store.clear(older_than=3600) == 2
    assert store.get(KEY) is None
    store.put(KEY, CALL)
    assert store.clear() == 1
    assert list(store.folder.glob("??/??/*")) == []


def test_a_value_whose_file_is_gone_is_a_miss(make, warnings):
    store = seeded(make, "x" * 50_000)
    (found,) = store.folder.glob("??/??/*.val")
    found.unlink()
    assert make().get(KEY) is None
    assert warnings == []


# T-CACHE-1 to T-CACHE-7


@pytest.fixture
def no_pickle(monkeypatch):
    """T-CACHE-4: whoever unpickles or pickles fails the test."""

    def refuse(*_):
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "dump", "dumps"):
        monkeypatch.setattr(pickle, name, refuse)


@pytest.fixture
def poison(tmp_path):
    mark = tmp_path / "mark"
    yield pickle.dumps(Boom(str(mark)))
    assert not mark.exists()


def test_cache_1_a_pickled_value_is_not_loaded(make, poison, no_pickle, warnings):
    store = seeded(make)
    plant(store, "UPDATE Cache SET mode = 4, value = ?", poison)
    again = make()
    assert again.get(KEY) is None
    assert "mode 4" in warnings[0]
    assert list(again.folder.glob("cache.db.corrupt-*"))
    again.put(KEY, CALL)
    again.flush()
    assert make().get(KEY) == CALL


def test_cache_1_a_pickled_value_in_a_file_is_not_loaded(make, poison, no_pickle):
    store = seeded(make)
    name = "aa/bb/" + "0" * 28 + ".val"
    (store.folder / name).parent.mkdir(parents=True)
    (store.folder / name).write_bytes(poison)
    for mode in (2, 4):
        plant(store, "UPDATE Cache SET mode = ?, filename = ?, value = NULL", mode, name)
        assert make().get(KEY) is None
        store = seeded(make)


def test_cache_2_a_pickled_key_is_not_loaded(make, poison, no_pickle):
    store = seeded(make)
    plant(store, "UPDATE Cache SET raw = 0, key = ?", poison)
    again = make()
    assert again.get(KEY) is None
    database = again._open()
    with pytest.raises(Tampered):
        list(database.iterkeys())
    assert again.explain("") is None
    assert again.clear() == 1


@pytest.mark.parametrize("way", ["get", "delete", "cull", "clear", "overwrite", "clear_model", "expire"])
@pytest.mark.parametrize("absolute", [True, False])
def test_cache_3_no_file_outside_is_read_or_removed(make, tmp_path, warnings, way, absolute):
    outside = tmp_path / "outside.val"
    outside.write_bytes(pack(KEY, "stolen"))
    store = seeded(make)
    name = str(outside) if absolute else "../outside.val"
    plant(store, "UPDATE Cache SET mode = 2, filename = ?, value = NULL, size = ?, expire_time = ?", name, 2**40,
          1.0 if way == "expire" else None)  # fmt: skip
    again = make()
    match way:
        case "get":
            assert again.get(KEY) is None
            assert "leads elsewhere" in warnings[0]
        case "delete":
            again.remove(KEY)
        case "cull":
            again._open().cull()
        case "expire":
            again._open().expire()
        case "clear":
            again.clear()
        case "clear_model":
            again.clear(model="acme/m")
        case "overwrite":
            again.put(KEY, "new")
            again.flush()
    assert outside.exists()


def test_cache_4_nothing_is_pickled(make, no_pickle):
    store = make()
    for number, value in enumerate([CALL, True, None, [1], {"v": b"1"}, 1.5, "x" * 40_000]):
        store.put(f"{number:064x}", value)
    store.flush()
    again = make()
    assert again.get(f"{1:064x}") is True
    assert store.stats().entries == 7


@pytest.mark.parametrize("garbage", [b"garbage" * 1000, b"", b"SQLite format 3\0" + b"\xff" * 5000])
def test_cache_5_a_broken_database_is_put_aside(make, warnings, garbage):
    store = seeded(make)
    for name in ("cache.db-wal", "cache.db-shm"):
        (store.folder / name).unlink(missing_ok=True)
    (store.folder / "cache.db").write_bytes(garbage)
    again = make()
    assert again.get(KEY) is None
    again.put(KEY, CALL)
    again.flush()
    assert make().get(KEY) == CALL
    if garbage:
        assert "put aside" in warnings[0]
        assert len(list(store.folder.glob("cache.db.corrupt-*"))) == 1


@pytest.mark.parametrize("seed", range(12))
def test_cache_5_flipped_bits_are_a_miss_or_the_truth(make, seed):
    store = make()
    values = {f"{number:064x}": {"text": f"{number}" * 50} for number in range(40)}
    for key, value in values.items():
        store.put(key, value)
    store.close()
    path, dice = store.folder / "cache.db", random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(20):
        content[dice.randrange(100, len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    again = make()
    assert all(again.get(key) in (None, value) for key, value in values.items())


@pytest.mark.parametrize("name", ["_directory", "sqlite_temp_store_directory", "disk_x"])
def test_cache_5_planted_settings_are_not_believed(make, warnings, name):
    store = seeded(make)
    plant(store, "INSERT INTO Settings VALUES (?, ?)", name, "/")
    again = make()
    assert again.get(KEY) is None
    assert "settings" in warnings[0]


def test_cache_6_nobody_else_can_look(make, tmp_path):
    store = seeded(make, {"big": "x" * 50_000})
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "cache.db").stat().st_mode) == 0o600
    store.folder.chmod(0o755)
    make().get(KEY)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_cache_7_two_processes_share(make, tmp_path):
    code = f"""
import pathlib
from flowllm.backends.store import DiskStore
store = DiskStore(pathlib.Path({str(tmp_path)!r}))
for number in range(200):
    store.put(f"{{number:064x}}", {{"text": "x" * number}})
"""
    store = make()
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    for number in range(200, 300):
        store.put(f"{number:064x}", {"text": "x" * number})
    assert [other.wait(60) for other in others] == [0, 0]
    store.flush()
    again = make()
    assert all(again.get(f"{number:064x}") == {"text": "x" * number} for number in range(300))


def test_a_locked_database_is_left_alone(make, warnings, monkeypatch):
    seeded(make)
    monkeypatch.setattr("flowllm.backends.disk.OPEN_WAIT", 0.01)
    store = make()
    connection = sqlite3.connect(store.folder / "cache.db", isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        assert store.get(KEY) is None
        store.put(OTHER, CALL)
        assert store.get(OTHER) == CALL
        assert warnings == [f"the cache in {store.folder} is not used: another process holds it"]
        assert not list(store.folder.glob("cache.db.corrupt-*"))
    finally:
        connection.close()
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.PAUSE + 1)
    assert store.get(KEY) == CALL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_not_used(make, tmp_path, warnings):
    tmp_path.chmod(0o500)
    store = make()
    store.put(KEY, CALL)
    store.flush()
    tmp_path.chmod(0o700)
    assert store.get(KEY) == CALL
    assert "is not used" in warnings[0]


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database or disk is full"), OSError(28, "No space left on device")]
)
def test_a_full_disk_turns_the_store_off(make, warnings, monkeypatch, error):
    store = make()
    store.get(KEY)

    def full(*_, **__):
        raise error

    monkeypatch.setattr(store._database, "set", full)
    store.put(KEY, CALL)
    store.flush()
    assert len(warnings) == 1
    assert "is not used" in warnings[0]
    assert store.get(KEY) == CALL
    assert store.get(OTHER) is None
    assert not list(store.folder.glob("cache.db.corrupt-*"))


def test_a_folder_in_the_place_of_the_cache(make, tmp_path, warnings):
    (tmp_path / "answers").write_text("a file")
    store = make()
    assert store.get(KEY) is None
    assert "is not used" in warnings[0]


def test_a_linked_folder_is_not_used(make, tmp_path, warnings):
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "answers").symlink_to(target)
    store = make()
    store.put(KEY, CALL)
    store.flush()
    assert list(target.iterdir()) == []
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_another_version_is_refused_until_cleared(make, tmp_path):
    store = seeded(make)
    (store.folder / "VERSION").write_text("flowllm cache 99\n")
    with pytest.raises(SetupError, match="flowllm cache 99") as caught:
        make()
    assert caught.value.hint == "flowllm cache clear"
    erase(tmp_path)
    assert make().get(KEY) is None


def test_erase_goes_on_when_a_closing_database_removes_its_files_first(tmp_path, make, monkeypatch):
    store = make()
    store.put(KEY, CALL)
    store.flush()
    remove, asked = module.shutil.rmtree, []

    def race(path):
        asked.append(path)
        if len(asked) == 1:
            raise FileNotFoundError("cache.db-wal")
        remove(path)

    monkeypatch.setattr(module.shutil, "rmtree", race)
    erase(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shared", [True, False])
def test_what_still_has_the_store_of_an_erased_folder_finds_and_keeps_nothing(tmp_path, make, shared):
    store = shared_store(tmp_path) if shared else make()
    store.put(KEY, CALL)
    erase(tmp_path)
    assert store._database is None
    store.put(OTHER, CALL)
    store.flush()
    assert (store.get(KEY), store.get(OTHER)) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_erase_leaves_other_folders_stores(tmp_path, make):
    store = make()
    store.put(KEY, CALL)
    erase(tmp_path / "other")
    assert store.get(KEY) == CALL
    assert not store.closed


def test_erase_does_not_follow_a_link(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").write_text("")
    (tmp_path / "answers").symlink_to(target)
    erase(tmp_path)
    assert (target / "kept").exists()
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize(("own", "ends"), [("mine", "mine"), ("", "flowllm")])
def test_location(monkeypatch, own, ends):
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", own)
    assert module.location().name == ends


def test_what_was_put_is_there_after_the_process_ended(tmp_path, make):
    code = f"""
import pathlib
from flowllm.backends.store import DiskStore
DiskStore(pathlib.Path({str(tmp_path)!r})).put({KEY!r}, 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert make().get(KEY) == 1


FORK = """
import os, pathlib, signal, sys, threading
from flowllm.backends import store as module
from flowllm.backends.store import DiskStore, shared_store
KEY, OTHER, LATER = "a" * 64, "b" * 64, "c" * 64
gate, begun = threading.Event(), threading.Event()
write = DiskStore._write
def wait(self, batch):
    begun.set()
    gate.wait(60)
    write(self, batch)
folder = pathlib.Path(sys.argv[1])
store = shared_store(folder)
store.put(KEY, 1)
store.flush()
DiskStore._write = wait
store.put(OTHER, 2)
begun.wait(60)
held = {"_news": store._news, "_opening": store._opening, "_memory": store._memory._lock, "nothing": threading.Lock()}
taken, over = threading.Event(), threading.Event()
def hold():
    with held[sys.argv[2]]:
        taken.set()
        over.wait(60)
threading.Thread(target=hold).start()
taken.wait(60)
child = os.fork()
if child == 0:
    DiskStore._write = write
    signal.alarm(20)
    assert shared_store(folder) is store
    assert (store._pending, store._database) == ({}, None)
    assert (store.get(KEY), store.get(OTHER)) == (1, 2)
    store.put(LATER, 3)
    store.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
over.set()
gate.set()
store.close()
os._exit(0 if status == 0 else 1)
"""


@pytest.mark.parametrize("held", ["nothing", "_news", "_opening", "_memory"])
def test_a_forked_child_waits_for_no_thread_of_its_parent(tmp_path, make, held):
    """Whatever thread has a lock at that moment, and whatever waits to be written; both processes' values are kept."""
    done = subprocess.run([sys.executable, "-Wignore", "-c", FORK, str(tmp_path), held], check=False, timeout=60)
    assert done.returncode == 0
    store = make()
    assert [store.get(key) for key in (KEY, OTHER, LARGE)] == [1, 2, 3]


# One store for each folder and process


def writers():
    return [thread for thread in threading.enumerate() if thread.name == "flowllm-cache"]


def test_a_folder_has_one_store_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(tmp_path / "own"))
    (tmp_path / "link").symlink_to(tmp_path / "own")
    mine = shared_store()
    assert [shared_store(tmp_path / name) is mine for name in ("own", "link", "own/../own", "other")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_many_threads_get_one_store(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(shared_store(tmp_path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(store) for store in found}) == 1


@pytest.mark.parametrize("how", ["closed", "erased"])
def test_a_store_that_is_over_is_not_shared(tmp_path, how):
    old = shared_store(tmp_path)
    old.put(KEY, CALL)
    old.flush()
    if how == "closed":
        old.close()
    else:
        erase(tmp_path)
    new = shared_store(tmp_path)
    assert new is not old
    assert new.get(KEY) == (CALL if how == "closed" else None)


def test_an_idle_writer_ends_and_the_next_put_is_written_too(make, monkeypatch):
    monkeypatch.setattr(module, "LINGER", 0)
    store = make()
    for key in (KEY, OTHER):
        store.put(key, CALL)
        writer = store._writer
        store.flush()
        if writer is not None:
            writer.join(60)
        assert store._writer is None
    assert [make().get(key) for key in (KEY, OTHER)] == [CALL, CALL]


def test_a_store_is_let_go_with_the_last_who_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LINGER", 0)
    store = shared_store(tmp_path)
    store.put(KEY, CALL)
    store.flush()
    for thread in writers():
        thread.join(60)
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    assert shared_store(tmp_path).get(KEY) == CALL
