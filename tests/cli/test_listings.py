"""What the lists of models and providers say of each other, and where completion finds them."""

from pathlib import Path

import pytest

from flowllm.cli import completion

CARD = """\
name: acme
base_url: https://acme.example/v1
wire: {chat: openai_chat}
auth: {scheme: none}
models: {tall: {}}
"""


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A project with a provider of its own, seen from a folder inside."""
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text(CARD)
    (folder / "deep/er").mkdir(parents=True)
    monkeypatch.chdir(folder / "deep/er")


@pytest.mark.usefixtures("own")
def test_providers_and_models_agree_on_what_can_be_asked_for(flowllm):
    providers = {row["name"]: row["tasks"] for row in flowllm("providers", "list", "--json").data["providers"]}
    models = flowllm("models", "list", "--json").data["models"]
    assert providers["builtin"] == ["embed", "rerank"]
    assert providers["acme"] == ["chat"]
    unlisted = [row["model"] for row in models if {*(row["tasks"] or ())} - {*providers[row["model"].split("/")[0]]}]
    assert unlisted == []


@pytest.mark.usefixtures("own")
def test_completion_finds_what_the_project_has():
    assert completion.models(None, [], "acme/") == ["acme/tall"]
    assert completion.models(None, [], "builtin/") == ["builtin/lexical"]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("list_of", "row"), [("providers", "name"), ("models", "model")])
def test_a_broken_provider_is_told_beside_the_sound_ones(flowllm, folder, list_of, row):
    (folder / "providers/broken.yaml").write_text("name: broken\nbase_urll: x\n")
    shown = flowllm(list_of, "list", "--json")
    names = {found[row].split("/")[0] for found in shown.data[list_of]}
    assert {"acme", "openai"} <= names
    assert "broken" not in names
    assert shown.status == 0
    assert "broken.yaml:2:1" in shown.err
    assert "warning[unknown_field]" in shown.err


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("words", [("providers", "show", "broken"), ("models", "list", "--provider", "broken")])
def test_a_broken_provider_that_is_asked_for_is_an_error(flowllm, folder, words):
    (folder / "providers/broken.yaml").write_text("name: broken\nbase_urll: x\n")
    shown = flowllm(*words)
    assert shown.status == 2
    assert "broken.yaml:2:1" in shown.err
    assert "error[unknown_field]" in shown.err
