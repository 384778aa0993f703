"""A process that used local models and forks: the child has models of its own, the parent keeps its own."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.local_models.encoders import write_embedder
from tests.unit.backends.local.generation.folders_made import SHAPE, folder

ROOT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = tmp_path_factory.mktemp("forking")
    write_embedder(project / "models" / "tiny")
    folder(project / "models" / "m", replace(SHAPE, layers=1))
    return project


ASKING = """
import asyncio, os, signal, sys, time
from pathlib import Path
from flowllm.api import Environment
from flowllm.api import local as api
from flowllm.core.request import Chat, Embed, Message, Sampling, Text
from flowllm.core.scope import Scope

def environment():
    return Environment(project=Path(sys.argv[1]), cache_folder=Path(sys.argv[1]) / "cache")

async def asked(call):
    return [str(delta) async for delta in call(REQUESTS[sys.argv[2]], Scope())]

REQUESTS = {
    "tiny": Embed("local/tiny", ("the red fox",)),
    "m": Chat("local/m", (Message("user", (Text("hello world"),)),), Sampling(max_output_tokens=5)),
}
first = environment()
call = first.connect()
answer = asyncio.run(asked(call))
child = os.fork()
"""

BOTH = """
if child == 0:
    signal.alarm(60)
    assert api.loaded_models(first) == []
    assert asyncio.run(asked(call)) == answer
    assert asyncio.run(asked(environment().connect())) == answer
    assert [held.name for held in api.loaded_models(first)] == [sys.argv[2]]
    api.unload(first)
    # ONNX Runtime itself cannot be taken down in a process that was forked from one that had it.
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert [(held.name, held.users) for held in api.loaded_models(first)] == [(sys.argv[2], 0)]
assert asyncio.run(asked(call)) == answer
"""


def environment_of(isolation):
    return {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "FLOWLLM_MODEL_ISOLATION": isolation}


@pytest.mark.parametrize("isolation", ["none", "process"])
@pytest.mark.parametrize("name", ["tiny", "m"])
def test_parent_and_child_both_answer(project, name, isolation):
    command = [sys.executable, "-P", "-Wignore", "-c", ASKING + BOTH, str(project), name]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=environment_of(isolation)
    )
    assert done.returncode == 0, done.stderr


LEFT = """
if child == 0:
    os.close(1)
    time.sleep(60)
    os._exit(0)
with api.shelf_of(first).in_use(sys.argv[2]) as model:
    worker = (model.opened if sys.argv[2] == "tiny" else model).pid
print(worker, child, flush=True)
time.sleep(60)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads of processes from /proc")
@pytest.mark.parametrize("name", ["tiny", "m"])
def test_a_child_that_lives_on_keeps_no_process_of_its_parent(project, name):
    command = [sys.executable, "-P", "-Wignore", "-c", ASKING + LEFT, str(project), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment_of("process")) as parent:
        worker, child = map(int, parent.stdout.readline().split())
        assert is_running(worker)
        parent.kill()
        parent.wait()
        try:
            until = time.monotonic() + 30
            while is_running(worker) and time.monotonic() < until:
                time.sleep(0.02)
            assert (is_running(worker), is_running(child)) == (False, True)
        finally:
            os.kill(child, signal.SIGKILL)
