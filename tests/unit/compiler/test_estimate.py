"""What a plan would cost, read off the plan."""

from decimal import Decimal

import pytest

from flowllm.compiler import compile_spec
from flowllm.compiler.estimate import Estimate, between, foreseen, totalled
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.kinds import Kinds
from flowllm.core.prices import Prices, Rate, per_million
from flowllm.core.request import Chat, Message, Text
from flowllm.pricing.cost import pricing_of
from flowllm.text.image_tokens import image_tokens
from flowllm.text.token_families import family_of
from flowllm.text.tokens import count_message, count_request, count_tokens

DEAR = per_million({"input": Decimal(10), "output": Decimal(100)})
CHEAP = per_million({"input": Decimal(1), "output": Decimal(10)})
LARGE = per_million({"input": Decimal(1), "output": Decimal(1)})
PER_QUERY = Prices((Rate("input", Decimal(0)), Rate("output", Decimal(0)), Rate("queries", Decimal("0.002"))))
THINKS = Prices(
    (
        Rate("input", Decimal("0.00001")),
        Rate("output", Decimal("0.0001")),
        Rate("reasoning", Decimal("0.0003")),
        Rate("cache_write", Decimal("0.00002"), lifetime="1h"),
    )
)
CATALOG = Catalog(
    {
        "acme": ProviderCard(
            "acme",
            models={
                "dear": ModelCard("dear", context=1000, output=100, prices=DEAR),
                "cheap": ModelCard("cheap", context=1000, output=100, prices=CHEAP),
                "large": ModelCard("large", context=100_000, output=1000, prices=LARGE),
                "wide": ModelCard("wide", output=100, prices=CHEAP),
                "vectors": ModelCard("vectors", prices=per_million({"input": Decimal(1)}), tasks=frozenset({"embed"})),
                "ranks": ModelCard("ranks", prices=PER_QUERY, tasks=frozenset({"rerank"})),
                "thinks": ModelCard("thinks", context=1000, output=100, prices=THINKS),
                "unpriced": ModelCard("unpriced", context=1000, output=100),
            },
        ),
        "builtin": ProviderCard("builtin", local=True),
        "mock": ProviderCard("mock", local=True),
    }
)
ASK = {"kind": "call", "prompt": "{{ inputs.x }}", "model": "acme/dear"}
WORDS = "words " * 100
SENT = count_tokens([{"role": "user", "content": WORDS}], "acme/dear").n
AROUND = count_tokens([{"role": "user", "content": ""}], "acme/large").n
"""Tokens that stand around the one message of a request."""
MICRO = Decimal("0.000001")
TOOL = {"name": "search", "description": "Search the web for pages about a topic.", "parameters": {"type": "object"}}
SHAPE = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
COST = ("low", "expected", "high")
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
    assert row.low == (None if rate is None else SENT * Decimal(rate) / 1_000_000)


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


def test_ranking_costs_its_queries_at_least():
    node = {"kind": "rerank", "in": {"query": "inputs.x", "items": "inputs.xs"}, "model": "acme/ranks"}
    (row,) = rows({"ask": node}, "ask.items")
    assert (row.low, row.expected, row.high) == (Decimal("0.002"), Decimal("0.002"), None)
    assert row.why == "how much is sent depends on the data"


MARKED = [{"system": "x", "prompt_cache": "1h"}, {"user": "y"}]


@pytest.mark.parametrize(("prompt", "high"), [("x", "0.04"), (MARKED, "0.05")])
def test_the_most_is_thought_and_written_to_the_cache(prompt, high):
    (row,) = rows({"ask": {"kind": "call", "prompt": prompt, "model": "acme/thinks"}}, "ask.text")
    assert row.high == Decimal(high)


def test_what_never_runs_costs_nothing():
    assert [row.node for row in rows({"ask": ASK, "idle": ASK}, "ask.text")] == ["ask"]


def test_the_data_of_a_row():
    (row,) = rows({"ask": {**ASK, "prompt": WORDS, "each": {"const": [1, 2]}}}, "ask.items")
    assert row.to_data() == {
        "node": "ask/ask",
        "models": ["acme/dear"],
        "calls": {"low": 2, "high": 2},
        "tokens": {"input": 2000, "output": 200},
        "cost": {
            "low": f"{SENT * Decimal('0.000020'):f}",
            "expected": "0.040000",
            "high": "0.040000",
        },
        "reached": True,
    }


@pytest.mark.parametrize(
    ("node", "calls", "tokens", "cost"),
    [
        (
            {**ASK, "each": "inputs.xs"},
            {"low": 0, "high": None},
            (None, None),
            {"low": "0", "expected": "0.2", "high": None},
        ),
        ({**ASK, "model": "acme/unpriced"}, {"low": 1, "high": 1}, (1000, 100), dict.fromkeys(COST)),
        (
            {**ASK, "model": "acme/wide"},
            {"low": 1, "high": 1},
            (None, None),
            {"low": "0", "expected": "0.002007", "high": None},
        ),
        ({**ASK, "model": "acme/wide", "max_output_tokens": 9}, {"low": 1, "high": 1}, (None, None), None),
        ({**ASK, "max_output_tokens": 9}, {"low": 1, "high": 1}, (1000, 9), None),
        ({**ASK, "fallback": ["acme/cheap"], "max_output_tokens": 9}, {"low": 1, "high": 1}, (1000, 9), None),
    ],
)
def test_what_is_unknown_is_null_in_the_data(node, calls, tokens, cost):
    (row,) = rows({"ask": node}, "ask.items" if "each" in node else "ask.text")
    data = row.to_data()
    assert (data["calls"], data["tokens"]) == (calls, dict(zip(("input", "output"), tokens, strict=True)))
    assert (
        cost is None
        or {side: amount and str(Decimal(amount).normalize()) for side, amount in data["cost"].items()} == cost
    )


def test_a_row_that_says_nothing_adds_nothing():
    assert totalled([]) == totalled([Estimate("a"), Estimate("b")]) == Estimate("total")
    assert Estimate("a").to_data()["calls"] == {"low": 0, "high": 0}
    assert Estimate("a").to_data()["tokens"] == {"input": 0, "output": 0}
    assert Estimate("a").to_data()["cost"] == dict.fromkeys(COST, "0")


def test_the_total_adds_each_column_and_is_unknown_where_a_row_is():
    one = Estimate("a", ("m",), 1, 2, 30, 40, Decimal(5), Decimal(6))
    two = Estimate("b", ("m",), 100, 200, 300, 400, Decimal(500), Decimal(600))
    assert totalled([one, two]) == Estimate("total", (), 101, 202, 330, 440, Decimal(505), Decimal(606))
    unknown = Estimate("c", (), 1, None, None, None, None, None)
    assert totalled([one, unknown]) == Estimate("total", (), 2, None, None, None, None, None)


ROUTED = ["way.value", "other.text"]


@pytest.mark.parametrize(
    ("nodes", "output", "expected"),
    [
        ({"ask": {**ASK, "model": "acme/large"}}, "ask.text", 1_500 + AROUND),
        ({"ask": {**ASK, "model": "acme/large", "max_output_tokens": 10}}, "ask.text", 1_010 + AROUND),
        ({"ask": {**ASK, "model": "acme/large", "each": "inputs.xs"}}, "ask.items", 10 * (1_500 + AROUND)),
        ({"ask": {**ASK, "model": "acme/large", "each": {"const": [1, 2]}}}, "ask.items", 2 * (1_500 + AROUND)),
        ({"ask": {**ASK, "model": "acme/large", "fallback": ["acme/dear"]}}, "ask.text", 1_500 + AROUND),
        ({"ask": {**ASK, "model": "acme/large", "fallback": ["acme/unpriced"]}}, "ask.text", 1_500 + AROUND),
        ({"ask": {**ASK, "model": "acme/unpriced"}}, "ask.text", None),
        ({"ask": {"kind": "embed", "in": {"text": "inputs.x"}, "model": "acme/vectors"}}, "ask.vector", "0.001"),
        (retried(), "sure.value", "0.02"),
        (chosen(), "way.value", "0.02"),
        (chosen(), ROUTED, "0.022"),
        ({"ask": {"kind": "call", "prompt": "x", "model": "mock/m", "each": "inputs.xs"}}, "ask.items", "0"),
        ({"ask": {**ASK, "each": {"const": []}}}, "ask.items", "0"),
    ],
)
def test_what_is_expected_rests_on_what_is_assumed(nodes, output, expected):
    found = rows(nodes, output)
    expected = expected * MICRO if isinstance(expected, int) else expected
    assert totalled(found).expected == (None if expected is None else Decimal(expected))
    for row in found:
        assert row.expected is None or row.low is None or row.expected >= row.low
        assert row.expected is None or row.high is None or row.expected <= row.high


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [(1, 2, 3, 2), (1, 0, 3, 1), (1, 4, 3, 3), (None, 4, 3, 3), (1, 4, None, 4), (1, None, 3, None)],
)
def test_what_is_expected_lies_within_the_bounds(low, value, high, expected):
    assert between(low, value, high) == expected


PICTURE = {"const": "https://pictures.example/one.png"}
SEEN = image_tokens({"url": PICTURE["const"]}, family_of("acme/large").images)[0]
OFFERED = count_tokens([], "acme/large", tools=[TOOL]).n - count_tokens([], "acme/large").n
FOREIGN = {**SHAPE, "description": "回答は日本語で書いてください。"}


def as_sent(schema=None):
    """Tokens of the request, as a rehearsal counts it."""
    return count_request(Chat("acme/large", (Message("user", (Text(WORDS),)),), schema=schema))


TURN = [{"system": WORDS}, {"user": "{{ inputs.x }}"}]


@pytest.mark.parametrize(
    ("node", "least", "usual"),
    [
        ({"prompt": "{{ inputs.x }}"}, 0, AROUND),
        ({"prompt": WORDS}, SENT, SENT),
        ({"prompt": TURN}, SENT, SENT + count_message({"content": ""})),
        ({"prompt": WORDS, "tools": [TOOL]}, SENT + OFFERED, SENT + OFFERED),
        ({"prompt": WORDS}, as_sent(), as_sent()),
        ({"prompt": WORDS, "schema": SHAPE}, as_sent(SHAPE), as_sent(SHAPE)),
        ({"prompt": WORDS, "schema": FOREIGN}, as_sent(FOREIGN), as_sent(FOREIGN)),
        ({"prompt": WORDS, "images": [PICTURE]}, SENT + SEEN, SENT + SEEN),
        ({"prompt": WORDS, "images": ["inputs.x"]}, SENT, SENT + SEEN),
    ],
)
def test_what_is_sent_is_counted_with_what_stands_around_it(node, least, usual):
    (row,) = rows({"ask": {"kind": "call", "model": "acme/large", **node}}, "ask.text")
    assert (row.low, row.expected) == (least * MICRO, (usual + 1_000 + 500) * MICRO)
