"""`flowllm models sync`, and that the registry is read by nothing that does not ask about its models."""

import json
import subprocess
import sys

import pytest

from flowllm.api import Environment, Flow
from tests.cli.command import PATIENCE, ROOT, environment

ROW = {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 9, "input_cost_per_token": 1e-6}
ASKING = """\
flowllm: 1
nodes: {{ask: {{kind: call, model: {model}, prompt: Hello}}}}
outputs: {{text: ask.text}}
"""


@pytest.fixture
def table(folder, monkeypatch):
    (folder / "pyproject.toml").write_text("")
    monkeypatch.chdir(folder)

    def write(**rows):
        (folder / "table.json").write_text(json.dumps(rows))

    write(one=ROW, two=ROW)
    return write


def sync(flowllm, *words):
    return flowllm("models", "sync", "--from", "table.json", "--release", "1", "--as-of", "2026-11-22", *words)


def test_it_writes_into_the_project_and_says_what_changed(flowllm, folder, table):
    shown = sync(flowllm)
    assert (shown.status, shown.err) == (0, f"1 files changed in {folder / 'providers' / 'models'}\n")
    assert shown.out.startswith("litellm 1 of 2026-11-22: 2 entries, 2 models of 1 providers\nadded: 2\n  openai/one\n")
    assert "no_source (no page that tells its facts): 2\n  one\n  two\n" in shown.out
    table(one=ROW, two={**ROW, "input_cost_per_token": 3e-6})
    assert "  openai/two: price of input: 0.000001 -> 0.000003\n" in sync(flowllm).out
    assert sync(flowllm).err.startswith("nothing changed in ")


def test_a_dry_run_writes_nothing_and_says_what_would_be_refused(flowllm, folder, table):
    assert sync(flowllm, "--dry-run").err == "nothing was written\n"
    assert not (folder / "providers").exists()
    sync(flowllm)
    table()
    assert sync(flowllm, "--dry-run").err.startswith("nothing was written; it would be refused: the table has 0 models")
    assert sync(flowllm, "--dry-run", "--json").data["refused"].startswith("the table has 0 models")
    refused = sync(flowllm)
    assert (refused.status, "hint: look at the file; --allow-shrink" in refused.err) == (2, True)
    assert sync(flowllm, "--allow-shrink").status == 0


@pytest.mark.usefixtures("table")
def test_json_has_everything(flowllm, folder):
    data = sync(flowllm, "--json", "--into", folder / "here").data
    assert data | {"faults": 0, "skipped": 0} == {
        "into": str(folder / "here"), "dry_run": False, "table": "litellm", "version": "1", "as_of": "2026-11-22",
        "entries": 2, "models": 2, "providers": 1, "added": ["openai/one", "openai/two"], "removed": [],
        "changed": [], "vanished": [], "refused": "", "files": ["openai.json"], "faults": 0, "skipped": 0,
    }  # fmt: skip


def test_the_projects_own_files_count(flowllm, folder, table):
    table(one=ROW | {"max_input_tokens": 7, "input_cost_per_token": 2e-6})
    sync(flowllm)
    known = Environment(project=folder).catalog.model("openai/one")
    assert (known.context, known.max_input, str(known.prices.rates[0].amount)) == (None, 7, "0.000002")
    assert Environment(project=folder).catalog.model("openai/gpt-4o") is not None


def test_a_refreshed_registry_changes_no_key_of_a_cache(flowllm, folder, table):
    (folder / "p.yaml").write_text(ASKING.format(model="openai/one"))
    found = []
    for tokens in (9, 5):
        table(one=ROW | {"max_input_tokens": tokens, "supports_vision": True, "max_output_tokens": tokens}, two=ROW)
        sync(flowllm)
        world = Environment(project=folder)
        plan = Flow.load(folder / "p.yaml", environment=world).plan
        found.append((world.catalog.model("openai/one").max_input, world.catalog.facts("openai/one"), plan.digest))
    assert [longest for longest, *_ in found] == [9, 5]
    assert found[0][1:] == found[1][1:]


WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, words: seen.append(str(words[0])) if event == "open" else None)
{code}
print([path.rpartition("/")[2] for path in seen if "providers/models/" in path])
"""
RUN = "from flowllm.cli.main import main; status = main({words!r}); assert status == 0"


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("import flowllm", []),
        (RUN.format(words=["--help"]), []),
        (RUN.format(words=["models", "--help"]), []),
        (RUN.format(words=["run", "{folder}/mock.yaml", "--quiet"]), []),
        (RUN.format(words=["check", "{folder}/mock.yaml"]), []),
        (RUN.format(words=["run", "{folder}/far.yaml", "--dry-run", "--quiet"]), ["openai.json"]),
    ],
)
def test_only_who_asks_about_a_model_reads_its_file(tmp_path, code, read):
    (tmp_path / "mock.yaml").write_text(ASKING.format(model="mock/echo"))
    (tmp_path / "far.yaml").write_text(ASKING.format(model="openai/gpt-4o"))
    text = WATCHED.format(code=code.replace("{folder}", tmp_path.as_posix()))
    command = [sys.executable, "-P", "-c", text]
    done = subprocess.run(
        command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(read)), done.stderr
