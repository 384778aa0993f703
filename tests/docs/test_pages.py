"""Every block of every page: commands and programs are run, files are checked, outputs are compared.

Pages that are generated are left to test_generated, which makes them again. Blocks listed in
docs/not-run.md are not run; a row that leads to no block, and a block with no way to be checked, fail.
"""

import contextlib
import io
import itertools
import shutil

import pytest

from flowllm.api import Environment, Flow
from flowllm.cli.schema import node_schema, pipeline_schema
from flowllm.config import load_yaml
from flowllm.config.words import TOP_LEVEL
from flowllm.core.kinds import Kinds
from flowllm.text.json_schema import validator
from tests.docs.blocks import ROOT, blocks_of, name_of, not_run, pages
from tests.docs.generate import PAGES
from tests.docs.shell import Shell, shows, steps_of
from tests.local_models.encoders import Encoder, write_classifier, write_embedder
from tests.local_models.scripted import SHIPPED, write_writer

PLAIN = frozenset({"output", "text", "mermaid"})
NOT_RUN_AT_MOST = 12
WRITTEN = [page for page in pages() if name_of(page) not in PAGES]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A folder like a clone: the shipped pipelines, a project file, no keys, a cache of its own."""
    folder = tmp_path / "work"
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    (folder / "pyproject.toml").write_text("")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OLLAMA_HOST", "http://localhost:11434/v1")
    return folder


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_the_blocks_of_a_page(page, world):
    skipped = not_run()
    if page.name == "local-models.md":
        write_models(world / "models")
    shell, names = Shell(world), {"__name__": "page"}
    found = list(blocks_of(page))
    for block, following in itertools.zip_longest(found, found[1:]):
        if (block.page, block.first) in skipped:
            continue
        if block.title:
            path = world / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        if block.language == "console":
            run_console(block, shell)
        elif block.language == "yaml":
            check_yaml(block, world)
        elif block.language == "python" and not block.title:
            said = following.text if following and following.language == "output" else None
            run_python(block, names, said)
        else:
            assert block.title or block.language in PLAIN, f"{block}: nobody checks `{block.language}`"


def write_models(folder):
    """The models that the page on local models names."""
    write_embedder(folder / "tiny")
    write_classifier(folder / "cross", Encoder(labels=1), ["LABEL_0"])
    write_writer(folder / "writer", SHIPPED, "shared")


def run_console(block, shell):
    steps = steps_of(block.text)
    for position, (command, lines) in enumerate(steps):
        printed = shell.run(command)
        asked = position + 1 < len(steps) and steps[position + 1][0] == "echo $?"
        assert shell.status == 0 or asked or command == "echo $?", (
            f"{block}: `{command}` ends with {shell.status}\n{printed}"
        )
        if lines:
            assert shows(lines, printed), f"{block}: `{command}` prints\n{printed}"


def run_python(block, names, said):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, str(block), "exec"), names)
    if said is not None:
        assert shows(said.splitlines(), printed.getvalue()), f"{block} prints\n{printed.getvalue()}"


def check_yaml(block, world):
    value, _ = load_yaml(block.text, str(block))
    if block.title:
        return  # the commands after it read it
    if isinstance(value, dict) and {"nodes", "outputs"} <= value.keys():
        (world / "whole.yaml").write_text(block.text, "utf-8")
        Flow.load(world / "whole.yaml", environment=Environment(project=world)).check()
    elif isinstance(value, dict) and value.keys() <= {*TOP_LEVEL}:
        schema = pipeline_schema(Kinds()) | {"required": []}
        assert not validator(schema)(value), f"{block}: {validator(schema)(value)}"
    else:
        assert isinstance(value, dict), f"{block}: neither a pipeline, nor top-level keys, nor nodes"
        for name, node in value.items():
            errors = validator(node_schema(node["kind"], Kinds().find(node["kind"])))(node)
            assert not errors, f"{block}: {name}: {errors}"


def test_the_table_of_blocks_that_are_not_run_is_right():
    rows = not_run()
    there = {(block.page, block.first) for page in WRITTEN for block in blocks_of(page)}
    assert not [row for row in rows if row not in there]
    assert all(rows.values()), "each with its reason"
    assert 0 < len(rows) <= NOT_RUN_AT_MOST


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a", "b"], "a\nb\n", True),
        (["a"], "a\nb\n", False),
        (["a", "..."], "a\nb\nc\n", True),
        (["...", "c"], "a\nb\nc\n", True),
        (["a ... s"], "a 0.3 s\n", True),
        (["a ... s"], "a 0.3 m\n", False),
        (["a"], "A\n", False),
        ([], "a\n", False),
    ],
)
def test_outputs_are_compared(expected, printed, same):
    assert shows(expected, printed) is same
