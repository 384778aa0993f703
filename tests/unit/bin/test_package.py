"""The wheel holds everything, runs from an empty folder, and puts no code into other programs' start-up."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
INSIDE = [
    "flowllm/py.typed",
    "flowllm/text/frequent_words.zlib",
    "flowllm/_data/conf/",
    "flowllm/_data/pipelines/summarize.yaml",
    "flowllm/_data/providers/openai.yaml",
    "flowllm/_data/providers/models/openai.json",
    "flowllm/_data/providers/models/NOTICE",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("flowllm_pipelines-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert [start for start in INSIDE if not any(name.startswith(start) for name in names)] == []
    assert [name for name in names if name.endswith(".pth") or not name.startswith("flowllm")] == []


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_environment_and_an_empty_folder(wheel, tmp_path):
    python = tmp_path / "venv/bin/python"
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    lock = ROOT / "bin/requirements"
    for arguments in (
        ["-r", lock / "build.txt"],
        ["--no-build-isolation", "-r", lock / "core.txt"],
        ["--no-deps", wheel],
    ):
        subprocess.run([python, "-m", "pip", "install", "-q", *arguments], check=True)
    command = [tmp_path / "venv/bin/flowllm", "run", "summarize"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    assert (done.returncode, list(empty.iterdir())) == (0, [])
    assert done.stdout.strip()
