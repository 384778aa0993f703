"""Each check finds its fault in a small tree made for it, and nothing in a clean one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shape import checks

ROOT = Path(__file__).resolve().parents[2]
SMALL = '"""A module."""\n\n\ndef work(self, a, b, c, d, e, f):\n    return None\n'
AT_HOME = "/" + "home/somebody/pipeline.yaml"
FAULTS = [
    (checks.long_files, "flowllm/a.py", "pass\n" * 401),
    (checks.long_functions, "flowllm/a.py", "def f():\n" + "    pass\n" * 50),
    (checks.long_median, "flowllm/a.py", "def f():\n" + "    pass\n" * 9),
    (checks.wide_functions, "flowllm/a.py", "def f(self, a, b, c, d, e, f, g): ...\n"),
    (checks.wide_functions, "flowllm/a.py", "async def f(a, b, /, c, d, *, e, f, g): ...\n"),
    (checks.keyword_trains, "flowllm/a.py", "def f(**rest): ...\n"),
    (checks.vague_names, "flowllm/text/utils.py", ""),
    (checks.vague_names, "flowllm/helpers/__init__.py", ""),
    (checks.vague_names, "flowllm/base_node.py", ""),
    (checks.unfinished_words, "flowllm/a.py", "# TO" + "DO later\n"),
    (checks.unfinished_words, "flowllm/a.py", "raise NotImplemented" + "Error\n"),
    (checks.unsafe_imports, "flowllm/a.py", "def f():\n    import pickle\n"),
    (checks.unsafe_imports, "flowllm/a.py", "from marshal import loads\n"),
    (checks.unsafe_imports, "flowllm/a.py", "from hydra.utils import instantiate\n"),
    (checks.unsafe_imports, "flowllm/a.py", "from yaml import load\n"),
    (checks.unsafe_calls, "flowllm/a.py", "x = eval('1')\n"),
    (checks.unsafe_calls, "flowllm/a.py", "exec('1')\n"),
    (checks.unsafe_calls, "flowllm/a.py", "hydra.utils.get_method('os.system')\n"),
    (checks.unsafe_calls, "flowllm/a.py", "yaml.load(text, Loader=yaml.Loader)\n"),
    (checks.built_statements, "flowllm/a.py", "db.execute(f'select {x}')\n"),
    (checks.built_statements, "flowllm/a.py", "db.execute('select %s' % x)\n"),
    (checks.built_statements, "flowllm/a.py", "db.execute('select ' + x)\n"),
    (checks.built_statements, "flowllm/a.py", "db.execute('select {}'.format(x))\n"),
    (checks.large_files, "docs/picture.svg", "x" * 1_000_001),
    (checks.home_paths, "docs/how-to.md", f"Open {AT_HOME}\n"),
    (checks.lock_addresses, "bin/requirements/core.txt", "--index-url x\n"),
    (checks.lock_addresses, "bin/requirements/core.txt", "a @ https://example.org/a.whl\n"),
    (checks.lock_addresses, "uv.lock", ""),
    (checks.ruff_findings, "flowllm/a.py", "import os\n"),
    (checks.mypy_findings, "flowllm/a.py", "def f(a):\n    return a\n"),
    (
        checks.unmet_requirements,
        "left-1.dist-info/METADATA",
        "Name: left\nVersion: 1\nRequires-Dist: absent-one\n",
    ),
]
LAYERS = [
    ("core/a.py", "import flowllm.text", "layers"),
    ("text/a.py", "import flowllm.pricing", "layers"),
    ("nodes/a.py", "import flowllm.backends", "layers"),
    ("config/a.py", "def f():\n    import flowllm.runtime", "layers"),
    ("stranger.py", "", "layers"),
    ("nodes/b.py", "import flowllm.nodes.c", "leaves"),
    ("backends/wire/a.py", "import flowllm.backends.wire.b", "leaves"),
    ("runtime/b.py", "import httpx", "http"),
    ("backends/mock.py", "import aiohttp", "http"),
    ("runtime/c.py", "import networkx", "graph"),
    ("catalog/a.py", "from yaml import safe_load", "configuration"),
    ("compiler/a.py", "import omegaconf", "configuration"),
    ("runtime/a.py", "import structlog", "terminal"),
    ("api.py", "import rich", "terminal"),
    ("nodes/d.py", "import onnxruntime", "onnx"),
    ("core/b.py", "import pickle", "nowhere"),
    ("backends/a.py", "import torch", "nowhere"),
]


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def tree(tmp_path):
    """A small house in which nothing is wrong."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    write(tmp_path, "flowllm/__init__.py", '"""A package."""\n')
    return tmp_path


@pytest.mark.parametrize(("check", "name", "text"), FAULTS)
def test_finds(check, name, text, tree, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tree))
    assert not check(tree)
    write(tree, name, text)
    assert check(tree)


def test_limits_are_inclusive(tree):
    write(tree, "flowllm/a.py", SMALL)
    assert not checks.wide_functions(tree)
    write(tree, "flowllm/a.py", "def f():\n" + "    pass\n" * 49)
    assert not checks.long_functions(tree)


@pytest.mark.parametrize(
    ("lock", "old", "new"),
    [
        ("core", "httpx==", "httpy=="),
        ("dev", r"(?m)^pydantic==\S+", "pydantic==1.0"),
        ("count", "tiktoken==", "tictoken=="),
    ],
)
def test_finds_stale_locks(lock, old, new, tree):
    shutil.copytree(ROOT / "bin", tree / "bin")
    assert not checks.stale_locks(tree)
    path = tree / "bin/requirements" / f"{lock}.txt"
    path.write_text(re.sub(old, new, path.read_text()))
    assert checks.stale_locks(tree)


def test_finds_an_extra_that_setup_does_not_know(tree):
    shutil.copytree(ROOT / "bin", tree / "bin")
    write(tree, "pyproject.toml", (ROOT / "pyproject.toml").read_text().replace("genai = ", "images = "))
    assert checks.stale_locks(tree) == ["bin/setup.sh does not list the extras of pyproject.toml"]


@pytest.fixture
def layered(tree):
    """The layers as empty packages."""
    layers = "core text pricing nodes policies backends backends/wire catalog compiler config sinks runtime cli"
    for layer in layers.split():
        write(tree, f"flowllm/{layer}/__init__.py", "")
    write(tree, "flowllm/api.py", "import flowllm.compiler\n")
    write(tree, "flowllm/nodes/c.py", "import flowllm.core\n")
    write(tree, "flowllm/__init__.py", "if False:\n    from flowllm.api import Flow\n")
    write(tree, "flowllm/runtime/version.py", "from flowllm import __version__\n")
    write(tree, "flowllm/backends/http.py", "import aiohttp\nimport httpx\n")
    write(tree, "flowllm/backends/wire/b.py", "")
    return tree


def test_layers_pass_when_kept(layered):
    assert not checks.broken_layers(layered)


@pytest.mark.parametrize(("name", "text", "contract"), LAYERS)
def test_finds_broken_layers(name, text, contract, layered):
    write(layered, f"flowllm/{name}", text + "\n")
    code = f"from importlinter.cli import lint_imports_command as run; run(['--no-cache', '--contract', '{contract}'])"
    assert checks.run_tool(layered, "-c", code)


@pytest.mark.parametrize(("text", "found"), [("import json\n", False), ("from networkx import Graph\n", True)])
def test_finds_eager_imports(text, found, tree):
    write(tree, "flowllm/a.py", text)
    assert bool(checks.eager_imports(tree, "flowllm.a", {"networkx"})) is found
