"""What is foreseen of requests, and what is made of what models' backends say of them."""

import pytest

from flowllm.compiler import compile_spec
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard, Refusal
from flowllm.core.errors import PipelineInvalid
from flowllm.core.kinds import Kinds
from flowllm.core.request import Chat, Embed, Message, Rerank, Sampling, Text, Tool

WINDOW = 100


class Told:
    """A backend that refuses what it is told to, counts as it is told, and remembers what it was asked."""

    def __init__(self, *refused, tokens=None, most=None):
        self.refused, self.counted, self.most = refused, tokens, most
        self.requests, self.counts = [], 0

    def refusals(self, request):
        self.requests.append(request)
        return iter(self.refused)

    def tokens(self, request):
        self.counts += 1
        return self.counted

    def most_tokens(self, request):
        return self.most


def catalog(**models):
    tasks = frozenset({"chat", "embed", "rerank"})
    cards = {name: ModelCard(name, context=WINDOW, tasks=tasks, foresight=told) for name, told in models.items()}
    return Catalog({"acme": ProviderCard("acme", models={**cards, "plain": ModelCard("plain", tasks=tasks)})})


def found(models, node, output="text", **more):
    """What is said of one node: severity, code, place and message."""
    written = {"inputs": {"x": "string"}, "nodes": {"a": node}, "outputs": {"o": f"a.{output}"}, **more}
    try:
        compiled = compile_spec(parse_mapping(written, kinds=Kinds()), kinds=Kinds(), catalog=models)
    except PipelineInvalid as invalid:
        return [(one.severity, one.code, one.where, one.message) for one in invalid.problems]
    return [(one.severity, one.code, one.where, one.message) for one in compiled.warnings]


def message(role, text):
    return Message(role, (Text(text),))


CALL = {"kind": "call", "prompt": "hi", "model": "acme/m"}
PARTLY = [{"system": "{{ inputs.x }}"}, {"user": "Say {{ inputs.x }} twice"}, {"assistant": " {{ inputs.x }} "}]
FORESEEN = [
    (CALL, "text", Chat("acme/m", (message("user", "hi"),), stream=True)),
    ({**CALL, "prompt": PARTLY}, "text", Chat("acme/m", (message("user", "Say  twice"),), stream=True)),
    ({**CALL, "prompt": "{{ inputs.x }}"}, "text", Chat("acme/m", (), stream=True)),
    ({**CALL, "seed": 3, "extra": {"k": 1}, "tools": [{"name": "f", "parameters": {}}], "tool_choice": "auto"}, "text",
     Chat("acme/m", (message("user", "hi"),), Sampling(seed=3), tools=(Tool("f", "", {}),), extra={"k": 1},
          tool_choice="auto", stream=True)),
    ({"kind": "embed", "in": {"text": "inputs.x"}, "model": "acme/m", "dimensions": 4, "extra": {"k": 1}}, "model",
     Embed("acme/m", (), 4, {"k": 1})),
    ({"kind": "rerank", "in": {"query": "inputs.x", "items": {"const": ["a"]}}, "model": "acme/m", "k": 2}, "indexes",
     Rerank("acme/m", "", (), 2)),
]  # fmt: skip


@pytest.mark.parametrize(("node", "output", "request_"), FORESEEN)
def test_a_backend_is_asked_about_what_is_surely_sent(node, output, request_):
    told = Told()
    assert found(catalog(m=told), node, output) == []
    assert told.requests == [request_]


def test_a_kind_that_foresees_nothing_asks_nobody():
    assert found(catalog(m=Told()), {"kind": "split", "in": {"text": "inputs.x"}}, "parts") == []


EXTRA = Refusal("unknown_field", "`acme/m` knows no `k`", "leave it out", ("extra", "k"), is_key=True)
CHOICE = Refusal("capability_mismatch", "`acme/m` cannot be held to it", "", ("tool_choice",))
WHOLE = Refusal("bad_value", "`acme/m` takes no such thing")
SAID = {
    EXTRA: ("unknown_field", "a.extra.k", "`acme/m` knows no `k`"),
    CHOICE: ("capability_mismatch", "a.tool_choice", "`acme/m` cannot be held to it"),
    WHOLE: ("bad_value", "a", "`acme/m` takes no such thing"),
}
SPARE = "`acme/m` knows no `k`, so that as a fallback it would not answer"


@pytest.mark.parametrize("refusal", SAID)
@pytest.mark.parametrize("more", [{}, {"fallback": ["acme/plain"]}, {"fallback": ["acme/m"]}])
def test_what_a_node_s_own_model_refuses_is_an_error(refusal, more):
    assert found(catalog(m=Told(refusal)), {**CALL, "extra": {"k": 1}, **more}) == [("error", *SAID[refusal])]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (EXTRA, ("warning", "unknown_field", "a.extra.k", SPARE)),
        (CHOICE, ("error", *SAID[CHOICE])),
        (WHOLE, ("error", *SAID[WHOLE])),
    ],
)
def test_what_a_fallback_refuses_of_extra_is_a_warning(refusal, said):
    node = {**CALL, "model": "acme/plain", "extra": {"k": 1}, "fallback": ["acme/m"]}
    assert found(catalog(m=Told(refusal)), node) == [said]


LONG = "the fixed text has 101 tokens with the model's chat template, and `acme/m` reads 100"


@pytest.mark.parametrize(
    ("tokens", "most", "said", "counts"),
    [
        (101, None, [("error", "context_too_long", "a.prompt", LONG)], 1),
        (101, 101, [("error", "context_too_long", "a.prompt", LONG)], 1),
        (100, 101, [], 1),
        (99, 100, [], 0),
        (None, None, [], 1),
    ],
)
def test_tokens_are_counted_where_they_may_be_too_many(tokens, most, said, counts):
    told = Told(tokens=tokens, most=most)
    assert found(catalog(m=told), CALL) == said
    assert told.counts == counts
