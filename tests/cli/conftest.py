import functools
from pathlib import Path

import pytest

from tests.cli.command import run_here

ECHO = """\
flowllm: 1
name: echo
inputs: {text: string}
model: mock/echo
nodes:
  say: {kind: call, prompt: "{{ inputs.text }}"}
outputs: {said: say.text}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, a project of its own, with a cache of its own."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "work"


@pytest.fixture
def flowllm(folder: Path, capsys: pytest.CaptureFixture):
    """Run the command in this process, in the working folder."""
    return functools.partial(run_here, capsys)


@pytest.fixture
def echo(folder: Path) -> Path:
    """A pipeline that says its input back."""
    (folder / "echo.yaml").write_text(ECHO)
    return folder / "echo.yaml"
