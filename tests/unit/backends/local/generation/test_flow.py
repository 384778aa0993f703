import pytest

from flowllm.api import Environment, Flow, RunOptions
from flowllm.api import local as api
from flowllm.api.counting import count
from flowllm.core.errors import BadOutput, FlowError
from tests.unit.backends.local.generation.folders_made import folder

CALLS = {
    "name": "calls",
    "inputs": {"question": "string"},
    "model": "local/tiny",
    "nodes": {
        "ask": {"kind": "call", "prompt": "{{ inputs.question }}", "max_output_tokens": 6},
        "pick": {"kind": "call", "prompt": "{{ inputs.question }}?", "choices": ["yes", "no"]},
        "shape": {
            "kind": "call",
            "prompt": "{{ inputs.question }}!",
            "schema": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
                "required": ["n"],
                "additionalProperties": False,
            },
        },
    },
    "outputs": {"text": "ask.text", "usage": "ask.usage", "choice": "pick.choice", "value": "shape.value"},
}


@pytest.fixture
def environment(tmp_path):
    folder(tmp_path / "models" / "tiny")
    return Environment(project=tmp_path)


def test_calls_of_a_pipeline_are_answered_side_by_side(environment):
    found = Flow.of(CALLS, environment=environment).run({"question": "hello"}).outputs
    assert found["choice"] in ("yes", "no")
    assert 0 <= found["value"]["n"] <= 9
    assert found["usage"]["output"] == 6


def test_a_prompt_beyond_the_window_is_the_failure_of_its_node(environment):
    with pytest.raises(FlowError) as caught:
        Flow.of(CALLS, environment=environment).run({"question": "word " * 200})
    assert caught.value.code == "context_too_long"
    assert caught.value.exit == 4


def test_an_answer_cut_short_is_bad_output(environment):
    nodes = {**CALLS["nodes"], "shape": {**CALLS["nodes"]["shape"], "max_output_tokens": 2}}
    with pytest.raises(BadOutput, match="cut at max_output_tokens"):
        Flow.of({**CALLS, "nodes": nodes}, environment=environment).run({"question": "hello"})


def test_an_answer_that_fills_the_window_says_so(environment):
    schema = {"type": "array", "items": {"const": 1}, "minItems": 200}
    nodes = {"ask": {"kind": "call", "prompt": "{{ inputs.question }}", "schema": schema}}
    flow = Flow.of({**CALLS, "nodes": nodes, "outputs": {"value": "ask.value"}}, environment=environment)
    with pytest.raises(BadOutput, match="cut at the end of the model's window of 96 tokens before its JSON ended"):
        flow.run({"question": "hello"})


def test_a_rehearsal_asks_no_model_and_counts_by_the_models_tokenizer(environment):
    nodes = {**CALLS["nodes"], "shape": {**CALLS["nodes"]["shape"], "max_output_tokens": 2}}
    flow = Flow.of({**CALLS, "nodes": nodes}, environment=environment)
    text = "incomprehensibilities " * 3
    found = flow.run({"question": text}, RunOptions(rehearse=True)).outputs
    assert (found["text"], found["choice"], found["value"]) == (text, "yes", {"n": 0})
    tokens, exact = count(text, "local/tiny", environment=environment)
    assert exact
    assert tokens <= found["usage"]["input"] <= tokens + 10
    assert api.loaded_models(environment) == []


def test_log_probabilities_are_read_from_the_port(environment):
    ask = {**CALLS["nodes"]["ask"], "logprobs": 2}
    flow = {**CALLS, "nodes": {"ask": ask}, "outputs": {"text": "ask.text", "likely": "ask.logprobs"}}
    found = Flow.of(flow, environment=environment).run({"question": "hello"}).outputs["likely"]
    assert len(found) == 6
    assert all(len(row["top"]) == 2 and row["logprob"] <= 0 for row in found)
    assert [row["token"] for row in found] == [row["top"][0]["token"] for row in found]  # it is greedy
    with pytest.raises(FlowError, match="logprobs"):
        Flow.of({**flow, "nodes": {"ask": CALLS["nodes"]["ask"]}}, environment=environment).run({"question": "hello"})
