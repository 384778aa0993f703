"""How much Claude may think in an answer, and the sampling that it takes: one table for all of its formats."""

import orjson
import pytest

from flowllm.backends.wire import find_wire
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message, Sampling, Text

NAME = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
WIRES = ("anthropic_messages", "bedrock_converse", "bedrock_invoke")
BUDGET = {"thinking": "budget"}
UNSAMPLED = {"unsampled": ["sonnet-4-5"]}


def body(wire, quirks, output=None, **more):
    models = {NAME: ModelCard(NAME, output=output)}
    card = ProviderCard("acme", "https://acme.example", {"chat": wire}, quirks=quirks, models=models)
    chat = Chat(f"acme/{NAME}", (Message("user", (Text("hi"),)),), **more)
    return orjson.loads(find_wire(wire, card).encode(chat).body)


def parts(wire, told):
    """Thinking, sampling and the length, wherever the format has them."""
    if wire == "bedrock_converse":
        config = told.get("inferenceConfig", {})
        return told.get("additionalModelRequestFields", {}).get("thinking"), config, config.get("maxTokens")
    return told.get("thinking"), told, told.get("max_tokens")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("effort", "said", "output", "budget", "length"),
    [
        ("minimal", None, None, 1024, 9216),
        ("low", None, None, 2048, 10240),
        ("high", None, None, 24576, 32768),
        ("high", None, 16384, 8192, 16384),
        ("high", None, 4096, 2048, 4096),
        ("minimal", 2048, None, 1024, 2048),
        ("high", 2049, None, 1024, 2049),
        ("high", 4096, None, 2048, 4096),
        ("medium", 16384, None, 8192, 16384),
        ("high", 16385, None, 8193, 16385),
        ("high", 30000, None, 21808, 30000),
        ("high", 64000, None, 24576, 64000),
    ],
)
def test_a_budget_leaves_room_for_the_answer(wire, effort, said, output, budget, length):
    told = body(wire, BUDGET, output, reasoning=effort, sampling=Sampling(max_output_tokens=said))
    thinking, _, most = parts(wire, told)
    assert (thinking, most) == ({"type": "enabled", "budget_tokens": budget}, length)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("said", "output"), [(1, None), (1024, None), (2047, None), (None, 2047)])
def test_a_length_that_leaves_no_least_budget_is_refused(wire, said, output):
    with pytest.raises(ProviderFailure) as found:
        body(wire, BUDGET, output, reasoning="low", sampling=Sampling(max_output_tokens=said))
    assert (found.value.code, found.value.hint) == ("bad_request", "max_output_tokens: 2048")
    assert f"max_output_tokens: {said or output}" in found.value.message


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("effort", [None, "none"])
def test_a_short_answer_without_thinking_is_asked_for_as_it_is(wire, effort):
    told = body(wire, BUDGET, reasoning=effort, sampling=Sampling(max_output_tokens=7))
    thinking, _, most = parts(wire, told)
    assert (thinking, most) == ({"type": "disabled"} if effort else None, 7)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("quirks", "more", "refused"),
    [
        ({}, {"sampling": Sampling(0.2, 0.5)}, ""),
        ({}, {"sampling": Sampling(0.2, 0.5), "reasoning": "none"}, ""),
        ({}, {"sampling": Sampling(1, 0.95), "reasoning": "low"}, ""),
        ({}, {"sampling": Sampling(0.0), "reasoning": "low"}, "temperature: 0.0"),
        ({}, {"sampling": Sampling(top_p=0.94), "reasoning": "low"}, ": 0.94"),
        (BUDGET, {"sampling": Sampling(0.2), "reasoning": "low"}, "temperature: 0.2"),
        (BUDGET | {"sampling": "always"}, {"sampling": Sampling(0.2, 0.5), "reasoning": "low"}, ""),
        ({"sampling": "never"}, {"sampling": Sampling(0.2)}, "temperature: 0.2"),
        (UNSAMPLED, {"sampling": Sampling(1.0, 0.99)}, ""),
        (UNSAMPLED, {"sampling": Sampling(0.2)}, "temperature: 0.2"),
        (UNSAMPLED, {"sampling": Sampling(top_p=0.98)}, ": 0.98"),
        (UNSAMPLED | {"sampling": "always"}, {"sampling": Sampling(0.2)}, ""),
        ({"unsampled": ["opus-5"]}, {"sampling": Sampling(0.2)}, ""),
    ],
)
def test_sampling_that_the_vendor_refuses_is_refused_before_it_is_sent(wire, quirks, more, refused):
    if not refused:
        sent = parts(wire, body(wire, quirks, **more))[1]
        said = more["sampling"]
        assert (sent.get("temperature"), sent.get("top_p", sent.get("topP"))) == (said.temperature, said.top_p)
        return
    with pytest.raises(ProviderFailure) as found:
        body(wire, quirks, **more)
    assert found.value.code == "bad_request"
    assert f"{refused}`" in found.value.message


@pytest.mark.parametrize(
    ("wire", "extra"),
    [
        ("anthropic_messages", {"top_k": 5}),
        ("bedrock_invoke", {"top_k": 5}),
        ("bedrock_converse", {"additionalModelRequestFields": {"top_k": 5}}),
    ],
)
def test_what_stands_in_extra_counts(wire, extra):
    assert body(wire, {}, extra=extra)
    for more in ({"reasoning": "low"}, {"quirks": UNSAMPLED}):
        with pytest.raises(ProviderFailure, match="top_k: 5"):
            body(wire, **{"quirks": {}, "extra": extra} | more)


@pytest.mark.parametrize(("wire", "top_p"), [("anthropic_messages", "top_p"), ("bedrock_converse", "topP")])
def test_who_drops_sampling_sends_none(wire, top_p):
    told = body(wire, UNSAMPLED | {"drop": ["temperature", top_p]}, sampling=Sampling(0.2, 0.5, 99))
    _, sent, length = parts(wire, told)
    assert (sent.get("temperature"), sent.get(top_p), length) == (None, None, 99)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("length", "refused"), [(24575, True), (24576, True), (24577, False)])
def test_extra_words_may_not_take_the_answer_from_its_thinking(wire, length, refused):
    extra = {"inferenceConfig": {"maxTokens": length}} if wire == "bedrock_converse" else {"max_tokens": length}
    if not refused:
        assert parts(wire, body(wire, BUDGET, reasoning="high", extra=extra))[2] == length
        return
    with pytest.raises(ProviderFailure, match=f"24576 tokens of thinking in an answer of {length}"):
        body(wire, BUDGET, reasoning="high", extra=extra)


@pytest.mark.parametrize("name", ["inferenceConfig", "additionalModelRequestFields"])
def test_extra_words_of_converse_keep_its_mappings(name):
    with pytest.raises(ProviderFailure, match=f"`{name}` of this format is a mapping") as found:
        body("bedrock_converse", {}, extra={name: "x"})
    assert found.value.code == "bad_request"
