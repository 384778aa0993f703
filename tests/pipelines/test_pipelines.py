"""The pipelines as a newcomer runs them, and the templates of `init` by their NAME.test.yaml."""

import shlex
from pathlib import Path

import pytest

from flowllm.cli.init import TEMPLATES, template_folder
from flowllm.cli.main import main
from flowllm.config import load_yaml
from tests.pipelines.test_shipped import NAMES, outcome

ROOT = Path(__file__).resolve().parents[2]
ALONE = {"summarize": "extractive", "answer": "extractive"}
"""Pipelines that answer without a model, and the engine that they then name."""


def cases(template: str):
    file = template_folder(template) / f"{template}.test.yaml"
    return load_yaml(file.read_text(), str(file))[0]["cases"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates(template, monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(tmp_path))
    assert cases(template)
    for case in cases(template):
        assert outcome(template_folder(template) / f"{template}.yaml", case, monkeypatch) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_newcomers_first_command(name, capsys, monkeypatch, tmp_path):
    """Its sample alone: an answer, or the one setting that is missing, with the way to give it."""
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(tmp_path))
    file = ROOT / f"pipelines/{name}.yaml"
    assert main(["check", str(file), "--quiet"]) == 0
    capsys.readouterr()
    status = main(["run", str(file)])
    out, err = capsys.readouterr()
    if name in ALONE:
        assert (status, f"engine: {ALONE[name]}" in err.splitlines()) == (0, True)
        assert len(out.split()) > 10
    else:
        assert (status, out) == (3, "")
        assert "error[no_model]" in err or "error[missing_key]" in err
        assert "\nhint: " in err


@pytest.mark.parametrize("name", NAMES)
def test_every_pipeline_can_be_tried_offline(name, capsys, monkeypatch, tmp_path):
    """By a command that its page writes, and that the hint names where a model is missing."""
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    page = (ROOT / f"pipelines/{name}.md").read_text()
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("flowllm run ")]
    offline = [words for words in commands if name in ALONE or "mock/" in " ".join(words)]
    assert main([*offline[0], "--quiet"]) == 0
    assert capsys.readouterr().out.strip()
    if "--mock" in offline[0]:
        assert main(["run", f"pipelines/{name}.yaml"]) == 3
        assert shlex.join(offline[0][2:]) in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_of_it(name):
    assert f"pipelines/{name}.yaml" in (ROOT / f"pipelines/{name}.md").read_text()
