"""Completion as a shell asks for it, in this process."""

import os

import pytest

from flowllm.cli.completion import Outline
from flowllm.cli.main import main

PIPELINE = """\
flowllm: 1
inputs:
  text: string
  words: {type: integer}
vars: {tone: dry}
model: null
nodes:
  ask:
    kind: call
    prompt: "nodes: {{ inputs.text }}"
  cut: {kind: truncate, in: {text: ask.text}}
outputs: {o: cut.text}
"""


@pytest.fixture
def complete(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    for name in ("sum.yaml", "sum.test.yaml", "other.yaml", "notes.txt"):
        (tmp_path / "pipelines" / name).write_text(PIPELINE)

    def carry_out(*words: str) -> list[str]:
        monkeypatch.setenv("_FLOWLLM_COMPLETE", "complete_zsh")
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", " ".join(["flowllm", *words]))
        with pytest.raises(SystemExit):
            main([])
        out, err = capsys.readouterr()
        assert err == ""
        return [
            line.split(":")[0].strip('"')
            for line in out.removeprefix("_arguments '*: :((").removesuffix("))'\n").split()
        ]

    return carry_out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("run", "pipelines/s"), ["pipelines/sum.yaml"]),
        (("run", "pip"), ["pipelines/"]),
        (("check", "pipelines/o"), ["pipelines/other.yaml"]),
        (("run", "pipelines/sum.yaml", "nodes."), ["nodes.ask.", "nodes.cut."]),
        (("run", "pipelines/sum.yaml", "nodes.cut.max"), ["nodes.cut.max_tokens="]),
        (("run", "pipelines/sum.yaml", "nodes.ask.temp"), ["nodes.ask.temperature="]),
        (("run", "pipelines/sum.yaml", "nodes.ask.ret"), ["nodes.ask.retry="]),
        (("run", "pipelines/sum.yaml", "input."), ["input.text=", "input.words="]),
        (("run", "pipelines/sum.yaml", "vars."), ["vars.tone="]),
        (("run", "pipelines/sum.yaml", "mod"), ["model="]),
        (("run", "pipelines/sum.yaml", "model=mock/e"), ["model=mock/echo"]),
        (("run", "pipelines/sum.yaml", "providers.moc"), ["providers.mock.base_url="]),
        (("run", "pipelines/sum.yaml", "--refresh", "a"), ["ask"]),
        (("cache", "clear", "--model", "mock/"), ["mock/echo"]),
        (("run", "pipelines/sum.yaml", "-i", "te"), ["text="]),
        (("run", "pipelines/sum.yaml", "model=compatible"), ["model=compatible/"]),
        (("graph", "pipelines/sum.yaml", "--as", "m"), ["mermaid"]),
        (("init", "new", "-t", "e"), ["extract"]),
        (("schema", "--kind", "tr"), ["truncate"]),
        (("run", "nowhere/x"), [""]),
        (("run", "nothing.yaml", "nodes."), [""]),
    ],
)
def test_what_is_offered(complete, words, offered):
    found = complete(*words)
    assert [word for word in offered if word and word not in found] == []
    if "" in offered:
        assert "nodes" not in " ".join(found)


@pytest.mark.parametrize(
    ("line", "offered"),
    [("model = mock/e", "mock/echo"), ("model =", "mock/echo"), ("model=mock/e", "model=mock/echo")],
)
def test_bash_takes_the_equals_sign_for_a_word(complete, monkeypatch, capsys, line, offered):
    words = ["flowllm", "run", "pipelines/sum.yaml", *line.split()]
    monkeypatch.setenv("_FLOWLLM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert offered in capsys.readouterr().out.split()


def test_tests_and_other_files_are_not_offered(complete):
    assert complete("run", "pipelines/") == ["pipelines/other.yaml", "pipelines/sum.yaml"]


def test_outline_reads_keys_off_the_indentation():
    outline = Outline(PIPELINE)
    assert outline.inputs == ["text", "words"]
    assert outline.nodes == {"ask": "call", "cut": "truncate"}
    assert outline.variables == ["tone"]
    assert Outline("nodes: {a: {kind: call, in: {x: [1, 2]}}, b: {kind: map}}").nodes == {"a": "call", "b": "map"}


@pytest.mark.parametrize("text", ["", "\x00", "nodes: {a: {kind: x", "nodes:\n\tq", ":\n  :\n", "a:\n  b:\n c:"])
def test_outline_of_anything(text):
    assert isinstance(Outline(text).nodes, dict)


def test_completion_is_silent_when_everything_is_broken(complete, monkeypatch):
    monkeypatch.setattr(os, "getcwd", lambda: 1 / 0)
    complete("run", "pipelines/sum.yaml", "model=")
