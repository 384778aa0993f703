"""What a plan would cost, read off the plan."""

from decimal import Decimal

import pytest

from flowllm.compiler import compile_spec
from flowllm.compiler.estimate import foreseen, totalled
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.kinds import Kinds
from flowllm.pricing.cost import pricing_of
from flowllm.text.tokens import count

DEAR = {"input": Decimal(10), "output": Decimal(100)}
CHEAP = {"input": Decimal(1), "output": Decimal(10)}
CATALOG = Catalog(
    {
        "acme": ProviderCard(
            "acme",
            models={
                "dear": ModelCard("dear", context=1000, output=100, price=DEAR),
                "cheap": ModelCard("cheap", context=1000, output=100, price=CHEAP),
                "wide": ModelCard("wide", output=100, price=CHEAP),
                "vectors": ModelCard("vectors", price={"input": Decimal(1)}, tasks=frozenset({"embed"})),
                "unpriced": ModelCard("unpriced", context=1000, output=100),
            },
        ),
        "builtin": ProviderCard("builtin", local=True),
        "mock": ProviderCard("mock", local=True),
    }
)
ASK = {"kind": "call", "prompt": "{{ inputs.x }}", "model": "acme/dear"}
WORDS = "words " * 100
DEAR_CALL, CHEAP_CALL = Decimal("0.02"), Decimal("0.002")


def rows(nodes, output, **more):
    spec = parse_mapping(
        {"inputs": {"x": "string", "xs": "array"}, "nodes": nodes, "outputs": {"o": output}, **more}, kinds=Kinds()
    )
    plan = compile_spec(spec, kinds=Kinds(), catalog=CATALOG).plan
    return list(foreseen(plan, CATALOG, pricing_of(CATALOG)))


def retried(attempts=None):
    region = {"kind": "retry", "around": ["ask"], "of": "ask.text", "until": "{{ sure.attempt > 1 }}"}
    return {"ask": ASK, "sure": {**region, **({"attempts": attempts} if attempts else {})}}


def chosen(**of_route):
    cases = {"a": "ask.text", "b": "other.text"}
    route = {"kind": "route", "switch": "inputs.x", "cases": cases, "default": "inputs.x", **of_route}
    return {"ask": ASK, "other": {**ASK, "model": "acme/cheap"}, "way": route}


@pytest.mark.parametrize(
    ("nodes", "output", "calls", "high"),
    [
        ({"ask": ASK}, "ask.text", (1, 1), DEAR_CALL),
        ({"ask": {**ASK, "max_output_tokens": 10}}, "ask.text", (1, 1), Decimal("0.011")),
        ({"ask": {**ASK, "fallback": ["acme/cheap"]}}, "ask.text", (1, 1), DEAR_CALL),
        ({"ask": {**ASK, "model": "acme/cheap", "fallback": ["acme/dear"]}}, "ask.text", (1, 1), DEAR_CALL),
        ({"ask": {**ASK, "model": "acme/cheap"}}, "ask.text", (1, 1), CHEAP_CALL),
        (retried(), "sure.value", (1, 3), 3 * DEAR_CALL),
        (retried(5), "sure.value", (1, 5), 5 * DEAR_CALL),
        ({"ask": {**ASK, "each": {"const": [1, 2]}}}, "ask.items", (2, 2), 2 * DEAR_CALL),
        ({"ask": {**ASK, "each": ["inputs.x", "inputs.x"]}}, "ask.items", (2, 2), 2 * DEAR_CALL),
        ({"ask": {**ASK, "each": "inputs.xs"}}, "ask.items", (0, None), None),
        (chosen(), "way.value", (0, 1), DEAR_CALL),
        (
            chosen(cases={"a": "ask.text", "b": "{{ other.text ~ ask.text }}"}),
            "way.value",
            (0, 2),
            DEAR_CALL + CHEAP_CALL,
        ),
        (chosen(), ["way.value", "other.text"], (1, 2), DEAR_CALL + CHEAP_CALL),
        ({**chosen(), "then": {**ASK, "prompt": "{{ way.value }}"}}, "then.text", (1, 2), 2 * DEAR_CALL),
        (chosen(switch={"const": "b"}), "way.value", (1, 1), CHEAP_CALL),
        ({"ask": {"kind": "call", "prompt": "x", "model": "mock/m", "each": "inputs.xs"}}, "ask.items", (0, None), 0),
        ({"ask": {"kind": "embed", "in": {"text": "inputs.x"}}}, "ask.vector", (1, 1), 0),
        ({"ask": {**ASK, "model": "acme/unpriced"}}, "ask.text", (1, 1), None),
        ({"ask": {**ASK, "fallback": ["acme/unpriced"]}}, "ask.text", (1, 1), None),
        ({"ask": {**ASK, "model": "acme/wide"}}, "ask.text", (1, 1), None),
        ({"first": {**ASK, "when_failed": {"text": "ask.text"}}, "ask": ASK}, "first.text", (1, 2), 2 * DEAR_CALL),
    ],
)
def test_calls_and_the_most_that_they_cost(nodes, output, calls, high):
    total = totalled(rows(nodes, output))
    assert ((total.calls, total.most_calls), total.high) == (calls, high)


@pytest.mark.parametrize(
    ("node", "rate"),
    [
        (ASK, 0),
        ({**ASK, "prompt": WORDS + "{{ inputs.x }}"}, 10),
        ({**ASK, "prompt": WORDS, "fallback": ["acme/cheap"]}, 1),
        ({**ASK, "prompt": WORDS, "each": "inputs.xs"}, 0),
        ({**ASK, "prompt": WORDS, "model": "acme/unpriced"}, None),
    ],
)
def test_the_least_is_what_every_run_sends(node, rate):
    (row,) = rows({"ask": node}, "ask.items" if "each" in node else "ask.text")
    assert row.low == (None if rate is None else count(WORDS) * Decimal(rate) / 1_000_000)


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ({"kind": "call", "prompt": "x"}, "no model is chosen"),
        ({**ASK, "fallback": ["acme/unpriced"]}, "no price is known for acme/unpriced"),
        ({**ASK, "each": "inputs.xs"}, "how often it is asked depends on the data"),
        (
            {**ASK, "model": "acme/wide"},
            "the longest prompt or answer is not known; max_output_tokens bounds the answer",
        ),
        (
            {"kind": "embed", "in": {"text": "inputs.x"}, "model": "acme/vectors"},
            "how much is sent depends on the data",
        ),
        (ASK, ""),
    ],
)
def test_what_has_no_bound_says_why(node, why):
    output = {"embed": "ask.vector"}.get(node["kind"], "ask.items" if "each" in node else "ask.text")
    (row,) = rows({"ask": node}, output)
    assert row.why == why


def test_what_never_runs_costs_nothing():
    assert [row.node for row in rows({"ask": ASK, "idle": ASK}, "ask.text")] == ["ask"]
