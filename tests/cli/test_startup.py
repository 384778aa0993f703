"""Help, version and completion import typer and what is ours; a run imports what it uses."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from flowllm.cli import start
from tests.cli.command import PATIENCE, ROOT, environment, run_apart

HEAVY = [
    "hydra",
    "omegaconf",
    "networkx",
    "httpx",
    "aiohttp",
    "numpy",
    "rich",
    "structlog",
    "jinja2",
    "yaml",
    "diskcache",
]
LATER = [*HEAVY, "asyncio", "orjson", "jsonschema"]
"""pydantic is not among them: typer imports it to read the words of a command."""

PROBE = """
import sys
sys.argv = ["flowllm", *{words!r}]
from flowllm.cli.main import main
status = main()
print(sorted(set({names!r}) & set(sys.modules)), file=sys.stderr)
"""


def imported(words: list[str], names: list[str], **more: str) -> str:
    code = PROBE.format(words=words, names=names)
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        command, env=environment(**more), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["keys", "--help"], []])
def test_help_imports_little(words):
    assert imported(words, LATER) == "[]"


@pytest.mark.parametrize(
    "word", ["flowllm r", "flowllm run pipelines/s", "flowllm run pipelines/summarize.yaml nodes.c"]
)
def test_completion_imports_little(word):
    completing = {
        "_FLOWLLM_COMPLETE": "complete_bash",
        "COMP_WORDS": word,
        "COMP_CWORD": str(len(word.split()) - 1),
    }
    shown = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "flowllm"],
        env=environment(**completing), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert shown.stdout.strip()
    names = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines() if line.startswith("import time")}
    assert not names & {*HEAVY, "pydantic"}


ECHO = "flowllm: 1\nmodel: mock/echo\nnodes: {a: {kind: call, prompt: hi}}\noutputs: {o: a.text}\n"
UNUSED = ["hydra", "omegaconf", "httpx", "aiohttp", "numpy", "rich", "structlog", "networkx", "jinja2"]
STORE = ["sqlite3", "diskcache", "platformdirs", "flowllm.backends.store"]
REHEARSAL = ["flowllm.backends.rehearsal", "flowllm.api.rehearsed"]
ELSEWHERE = ["configparser", "flowllm.core.aws_profile", "flowllm.backends.wire.openai_embeddings"]
"""What no file of one call needs: profiles of AWS, embeddings."""
UNASKED = ["flowllm.backends.mock_rules", "flowllm.policies.timeout"]
PROBLEMS = ["flowllm.cli.excerpt", "flowllm.cli.formats"]
COUNTS = ["flowllm.text.tokens", "flowllm.text.token_estimate", "flowllm.text.image_tokens", "flowllm.text.counting"]
STREAMS = ["flowllm.runtime.streams", "flowllm.api.stream"]
WIRES = ["flowllm.backends.wire.openai_chat", "flowllm.backends.failures"]
RUNTIME = [
    "asyncio", "flowllm.runtime", "flowllm.backends.router", "flowllm.sinks.log", "flowllm.sinks.ledger",
    "flowllm.api.running",
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "unused"), [("run", [*COUNTS, *STREAMS, *PROBLEMS]), ("check", [*RUNTIME, *WIRES, *STREAMS])]
)
def test_a_command_imports_what_it_uses(tmp_path, command, unused):
    (tmp_path / "echo.yaml").write_text(ECHO)
    names = [*UNUSED, *STORE, *REHEARSAL, *ELSEWHERE, *UNASKED, *unused]
    assert imported([command, str(tmp_path / "echo.yaml")], names) == "[]"


BUILT = """
import sys
sys.argv = ["flowllm", *{words!r}]
from flowllm.cli.main import main
status = main()
from flowllm.backends.wire.openai_chat import Quirks
from flowllm.catalog import entries
parts = [Quirks, *(found for name, found in vars(entries).items() if name.endswith("Entry"))]
print(sorted(part.__name__ for part in parts if part.__pydantic_complete__), file=sys.stderr)
"""


def test_what_checks_parts_that_a_provider_file_has_not_is_not_built(tmp_path):
    (tmp_path / "echo.yaml").write_text(ECHO)
    code = BUILT.format(words=["run", str(tmp_path / "echo.yaml")])
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "['ModelEntry', 'ProviderEntry']"


def test_a_run_that_keeps_answers_opens_the_store(tmp_path):
    (tmp_path / "echo.yaml").write_text(ECHO.replace("prompt: hi", "prompt: hi, cache: {ttl: 1d}"))
    words = ["run", str(tmp_path / "echo.yaml")]
    assert imported(words, ["diskcache"], FLOWLLM_CACHE_DIR=str(tmp_path / "cache")) == "['diskcache']"


def test_text_is_utf_8_in_every_locale(tmp_path):
    (tmp_path / "echo.yaml").write_text(
        "flowllm: 1\nmodel: mock/echo\nnodes: {a: {kind: call, prompt: Grüße \U0001f600}}\noutputs: {o: a.text}\n",
        "utf-8",
    )
    assert run_apart("run", "echo.yaml", cwd=tmp_path).out == "Grüße \U0001f600\n"


def test_stdin_is_an_input(tmp_path):
    (tmp_path / "echo.yaml").write_text(
        "flowllm: 1\nmodel: mock/echo\ninputs: {t: string}\nnodes: {a: {kind: call, prompt: '{{ inputs.t }}'}}\n"
        "outputs: {o: a.text}\n"
    )
    assert run_apart("run", "echo.yaml", "-i", "t=@-", cwd=tmp_path, stdin="über\n".encode()).out == "über\n"
    broken = run_apart("run", "echo.yaml", "-i", "t=@-", cwd=tmp_path, stdin=b"12345\xff")
    assert broken.status == 2
    assert "5" in broken.err
    assert "UTF-8" in broken.err


COLLECTED = """
import gc, runpy, sys
sys.argv = ["flowllm", *{words!r}]
usual, seen = gc.get_threshold(), []
from flowllm.cli import start
end = start.end
start.end = lambda: (seen.append(gc.get_threshold() == usual), end())
try:
    runpy.run_module("flowllm", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code
print(seen, gc.get_threshold() == usual, gc.get_freeze_count() > 10_000, file=sys.stderr)
"""


GROUPED = f"defaults: [{{retry@policies.retry: standard}}, _self_]\n{ECHO}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "pipelines/answer.yaml"], "[False] True True"),
        (["run", "pipelines/summarize.yaml"], "[False, True] True True"),
        (["run", "GROUPED", "--log-json", "--log-level", "debug"], "[False, True] True True"),
    ],
)
def test_no_garbage_is_looked_for_before_the_work_begins(tmp_path, words, said):
    (tmp_path / "grouped.yaml").write_text(GROUPED)
    words = [str(tmp_path / "grouped.yaml") if word == "GROUPED" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-P", "-c", COLLECTED.format(words=words)],
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == said


NOTES = """
log = open("notes.txt", "a")
def note(text: str) -> str:
    log.write(text)
    return text
"""
KIND = f"from flowllm.core.node import node_from_function{NOTES}Note = node_from_function(note)\n"
NOTED = "flowllm: 1\nmodel: mock/echo\nnodes: {a: {kind: call, prompt: hi}%s}\noutputs: {o: %s}\n"
BY_KIND = NOTED % (", b: {kind: note, in: {text: a.text}}", "b.value")
BY_NOBODY = NOTED % ("", "a.text")
AS_EVER = "import runpy; runpy.run_module('flowllm', run_name='__main__')\n"
INSTALLED = {
    "kinds.py": KIND,
    "kinds-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: kinds\nVersion: 1\n",
    "kinds-1.dist-info/entry_points.txt": "[flowllm.nodes]\nnote = kinds:Note\n",
}
PROJECT = {"kinds.py": KIND, "pyproject.toml": '[tool.flowllm]\nmodules = ["kinds"]\n'}


@pytest.mark.parametrize(
    ("files", "pipeline", "code"),
    [
        (INSTALLED, BY_KIND, AS_EVER),
        (PROJECT, BY_KIND, AS_EVER),
        ({"sitecustomize.py": NOTES + "note('hi')\n"}, BY_NOBODY, AS_EVER),
        ({}, BY_NOBODY, f"{NOTES}note('hi'); {AS_EVER}"),
    ],
    ids=["an installed kind", "a kind of the project", "what starts with Python", "who starts flowllm"],
)
def test_a_file_that_others_keep_open_is_written_in_the_end(tmp_path, files, pipeline, code):
    for name, text in {**files, "noted.yaml": pipeline}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "run", "noted.yaml"],
        env=environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"), cwd=tmp_path,
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert done.stdout == "hi\n"
    assert (tmp_path / "notes.txt").read_text() == "hi"


@pytest.mark.parametrize(
    ("folder", "left"), [(Path(os.__file__).parent, "frozen"), (Path(os.__file__).parent / "others", "unfrozen")]
)
def test_what_a_distribution_puts_beside_python_is_python_s(monkeypatch, folder, left):
    module = ModuleType("sitecustomize")
    module.__file__ = str(folder / "sitecustomize.py")
    names = {name: sys.modules[name] for name in ("sys", "flowllm")}
    done = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", {**names, "__main__": ModuleType("__main__"), "sitecustomize": module})
        patch.setattr("flowllm.cli.start.gc.unfreeze", lambda: done.append("unfrozen"))
        start.leave()
    assert (done or ["frozen"]) == [left]


def test_what_a_process_prints_is_written_before_it_ends(tmp_path):
    (tmp_path / "echo.yaml").write_text(ECHO.replace("prompt: hi", f"prompt: {'hi ' * 50_000}"))
    assert len(run_apart("run", "echo.yaml", cwd=tmp_path).out) == 150_000
