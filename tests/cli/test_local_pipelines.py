"""The shipped pipelines with models of this machine, by overrides alone: real graphs, a process for each command."""

import json

import pytest

from tests.cli.command import run_apart
from tests.local_models.encoders import write_embedder
from tests.local_models.scripted import ANSWER, LAYOUTS, SHIPPED, SUMMARY, write_writer


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Writers of both layouts and an embedder."""
    folder = tmp_path_factory.mktemp("models")
    for layout in LAYOUTS:
        write_writer(folder / layout, SHIPPED, layout)
    write_embedder(folder / "tiny")
    return folder


@pytest.fixture
def apart(models, tmp_path):
    """Run a command in an empty project."""
    (tmp_path / "pyproject.toml").write_text("")

    def run(*words, **more):
        folders = {"FLOWLLM_MODELS": str(models), "XDG_DATA_HOME": str(tmp_path), "FLOWLLM_CACHE_DIR": str(tmp_path)}
        return run_apart(*words, cwd=tmp_path, **folders, **more)

    return run


WAYS = [
    ("concat", {}),
    ("shared", {"FLOWLLM_MODEL_ISOLATION": "process"}),
]


@pytest.mark.parametrize(("layout", "settings"), WAYS)
def test_a_summary(apart, layout, settings):
    done = apart("run", "summarize", f"model=local/{layout}", "embedder=local/tiny", "--json", **settings)
    assert done.status == 0, done.err
    assert done.data["outputs"] == {"summary": SUMMARY, "engine": f"local/{layout}"}
    assert done.data["cost"]["total"] == "0"
    assert done.data["nodes"]["vectors"]["input"] > 100


@pytest.mark.parametrize(("layout", "settings"), WAYS)
def test_an_answer_with_its_sources(apart, layout, settings):
    done = apart("run", "answer", f"model=local/{layout}", "embedder=local/tiny", "--json", **settings)
    assert done.status == 0, done.err
    assert done.data["outputs"] == {**ANSWER, "engine": f"local/{layout}"}
    assert done.data["cost"]["total"] == "0"


def test_an_answer_that_names_what_was_not_given_is_bad_output(apart):
    docs = json.dumps([{"id": "pets", "text": "Dogs stay on deck."}])
    done = apart("run", "answer", "model=local/concat", "-i", "question=When?", "-i", f"docs={docs}")
    assert done.status == 5
    assert "it names a source that was not given" in done.err


PIPELINE = """\
flowllm: 1
model: local/concat
nodes: {say: {kind: call, prompt: "Rewrite it."}}
outputs: {said: say.text}
"""


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_text_comes_token_by_token(apart, tmp_path, isolation):
    (tmp_path / "say.yaml").write_text(PIPELINE)
    done = apart("run", "say.yaml", "--events", FLOWLLM_MODEL_ISOLATION=isolation)
    events = [json.loads(line) for line in done.out.splitlines()]
    deltas = [event["delta"] for event in events if event["event"] == "DeltaReceived"]
    texts = [delta["text"] for delta in deltas if delta["type"] == "Text"]
    assert "".join(texts) == SUMMARY
    assert len(texts) > 100


def test_a_stream_is_the_text(apart, tmp_path):
    (tmp_path / "say.yaml").write_text(PIPELINE)
    assert apart("run", "say.yaml", "--stream").out == f"{SUMMARY}\n"
