"""Two runs share an answer only where the same rules or the same server would have given it."""

import pytest

from flowllm.api import Environment, Flow

REGION = """
flowllm: 1
inputs: {m: {type: string, enum: [mock/m, mock/n], default: mock/m}}
models: {any: {among: [mock/m, mock/n]}}
nodes:
  ask: {kind: call, %s, prompt: hello}
  sure: {kind: retry, around: [ask], of: ask.text, attempts: 1}
  kept: {kind: cache, around: [sure], of: sure.value}
outputs: {text: kept.value, hit: kept.hit}
"""
PIPELINE = """
flowllm: 1
nodes:
  ask: {kind: call, model: mock/m, prompt: hello, cache: true}
outputs: {text: ask.text, by: ask.model}
"""


@pytest.mark.parametrize(("second", "expected"), [("one", "one"), ("two", "two")])
def test_answers_of_other_mock_rules_are_not_taken(tmp_path, second, expected):
    (tmp_path / "p.yaml").write_text(PIPELINE)
    hits = []
    for reply in ("one", second, "one"):
        environment = Environment(project=tmp_path, mock=[{"reply": reply}], cache_folder=tmp_path / "cache")
        result = Flow.load(tmp_path / "p.yaml", environment=environment).run()
        hits.append((result.outputs["text"], result.outputs["by"]))
        environment.store.flush()
    assert hits == [("one", "mock/m"), (expected, "mock/m"), ("one", "mock/m")]


@pytest.mark.parametrize("model", ["model: mock/m", 'model: "{{ inputs.m }}"', "model: any"])
@pytest.mark.parametrize(("second", "expected"), [("one", ("one", True)), ("two", ("two", False))])
def test_a_cache_region_takes_no_value_of_other_mock_rules(tmp_path, model, second, expected):
    (tmp_path / "p.yaml").write_text(REGION % model)
    found = []
    for reply in ("one", second, "one"):
        environment = Environment(project=tmp_path, mock=[{"reply": reply}], cache_folder=tmp_path / "cache")
        outputs = Flow.load(tmp_path / "p.yaml", environment=environment).run().outputs
        found.append((outputs["text"], outputs["hit"]))
        environment.store.flush()
    assert found == [("one", False), expected, ("one", True)]
