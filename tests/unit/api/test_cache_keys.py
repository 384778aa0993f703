"""Two runs share an answer only where the same rules or the same server would have given it."""

import pytest

from flowllm.api import Environment, Flow

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
