"""What a node asks of a model against what is known of it; what is unknown is passed over in silence."""

from datetime import date

import pytest

from flowllm.compiler import compile_spec
from flowllm.compiler.capabilities import last_day
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.errors import PipelineInvalid
from flowllm.core.kinds import Kinds

TODAY = date(2026, 11, 22)
NONE = frozenset()
LISTED = {
    "thinker": ModelCard("thinker", supports=frozenset({"reasoning"})),
    "plain": ModelCard("plain", supports=frozenset({"tools"})),
    "deaf": ModelCard("deaf", supports=NONE, quirks={"drop": ("reasoning_effort",)}),
    "small": ModelCard("small", context=1_000, output=100),
    "wide": ModelCard("wide", context=100_000, output=5_000),
    "claude-opus-4-8": ModelCard("claude-opus-4-8", context=1_000),
    "boundless": ModelCard("boundless"),
    "split": ModelCard("split", context=2_000, max_input=1_000, output=1_000),
    "old": ModelCard("old", deprecated="2026-11-22"),
    "older": ModelCard("older", deprecated="2020-01-01"),
    "soon": ModelCard("soon", deprecated="2026-11-23"),
    "later": ModelCard("later", deprecated="2027-02-20"),
    "far": ModelCard("far", deprecated="2027-02-21"),
    "vague": ModelCard("vague", deprecated="next year"),
}
TABLED = {
    "mute": ModelCard("mute", supports=NONE, lacks=frozenset({"tools", "reasoning", "images", "json_schema"})),
    "unsaid": ModelCard("unsaid", supports=frozenset({"tools"}), lacks=NONE),
    "plain": ModelCard("plain", supports=frozenset({"reasoning"}), lacks=NONE),
    "tabled": ModelCard("tabled", max_input=1_000, output=500),
    "vague": ModelCard("vague", max_input=1_000, output=500),
}
LONG = "word " * 1_500


class Table:
    """A registry that says what it was asked for."""

    def __init__(self):
        self.asked = []

    def names(self):
        return ["acme"]

    def models(self, provider):
        return TABLED if provider == "acme" else {}

    def find(self, provider, model, region=""):
        self.asked.append(f"{provider}/{model}")
        return self.models(provider).get(model)


def ask(model, **more):
    return {"kind": "call", "prompt": "x", "model": f"acme/{model}", **more}


def found(node, today=None, registry=None, **more):
    """Codes and messages of everything that is said of one node."""
    written = {"nodes": {"ask": node}, "outputs": {"o": "ask.text"}, **more}
    providers = {"acme": ProviderCard("acme", models=LISTED), "mock": ProviderCard("mock", local=True)}
    catalog = Catalog(providers, registry or Table())
    spec = parse_mapping(written, kinds=Kinds())
    try:
        compiled = compile_spec(spec, kinds=Kinds(), catalog=catalog, today=today)
    except PipelineInvalid as invalid:
        return [f"{problem.code} {problem.where}: {problem.message}" for problem in invalid.problems]
    return [f"{one.code} {one.where}: {one.message}" for one in (*compiled.warnings, *compiled.notes)]


def spoken(wire, node):
    """The same of a provider that speaks a format, beside one that speaks chat completions."""
    written = {"nodes": {"ask": {**node, "model": "odd/m"}}, "outputs": {"o": "ask.text"}}
    known = {"m": ModelCard("m", supports=frozenset({"tools"}))}
    providers = {
        "odd": ProviderCard("odd", models=known, wire={"chat": wire}),
        "other": ProviderCard("other", models=known, wire={"chat": "openai_chat"}),
    }
    try:
        compile_spec(parse_mapping(written, kinds=Kinds()), kinds=Kinds(), catalog=Catalog(providers))
    except PipelineInvalid as invalid:
        return [(problem.code, problem.where, problem.message, problem.hint) for problem in invalid.problems]
    return []


TOOLS = [{"name": "f"}]
SHAPE = {"type": "object"}


@pytest.mark.parametrize(
    ("wire", "more", "words"),
    [
        ("anthropic_messages", {"logprobs": 0}, "`logprobs`"),
        ("anthropic_messages", {"tools": TOOLS, "parallel_tool_calls": False}, None),
        ("anthropic_messages", {}, None),
        ("gemini_generate", {"tools": TOOLS, "parallel_tool_calls": False}, "`parallel_tool_calls: false`"),
        ("gemini_generate", {"tools": TOOLS, "parallel_tool_calls": True}, None),
        ("gemini_generate", {"parallel_tool_calls": False}, None),
        ("gemini_generate", {"logprobs": 3}, None),
        (
            "bedrock_converse",
            {"tools": TOOLS, "parallel_tool_calls": False, "logprobs": 1},
            "`logprobs` or `parallel_tool_calls: false`",
        ),
        ("openai_chat", {"tools": TOOLS, "parallel_tool_calls": False, "logprobs": 1}, None),
    ],
)
def test_what_the_format_of_a_provider_cannot_say_is_an_error_before_anything_runs(wire, more, words):
    message = f"the format of `odd` cannot say {words}"
    expected = [("capability_mismatch", "ask.model", message, "model: other/m")] if words else []
    assert spoken(wire, {"kind": "call", "prompt": "x", **more}) == expected


@pytest.mark.parametrize(
    ("node", "lacks"),
    [
        (ask("thinker", reasoning="high"), None),
        (ask("boundless", reasoning="high", tools=TOOLS, schema=SHAPE), None),
        (ask("plain", reasoning="none"), None),
        (ask("plain", tools=TOOLS), None),
        (ask("thinker", tools=TOOLS), "tools"),
        (ask("plain", reasoning="low"), "`reasoning`"),
        (ask("deaf", reasoning="low"), None),
        (ask("mute", tools=TOOLS), "tools"),
        (ask("mute", schema=SHAPE), "`schema`"),
        (ask("mute", reasoning="minimal"), "`reasoning`"),
        (ask("mute"), None),
        (ask("unsaid", reasoning="low", schema=SHAPE, tools=TOOLS), None),
        (ask("unlisted", reasoning="low", schema=SHAPE, tools=TOOLS), None),
        (ask("unsaid", tools=TOOLS, fallback=["acme/mute"]), "tools"),
    ],
)
def test_what_a_model_is_known_not_to_do_is_an_error_and_what_is_unknown_is_silent(node, lacks):
    name = "acme/mute" if "fallback" in node else node["model"]
    where = "ask.fallback" if "fallback" in node else "ask.model"
    expected = [f"capability_mismatch {where}: `{name}` takes no {lacks}"] if lacks else []
    assert found(node) == expected


@pytest.mark.parametrize(
    ("node", "codes"),
    [
        (ask("small", max_output_tokens=100), []),
        (ask("small", max_output_tokens=101), ["over_output_limit"]),
        (ask("boundless", max_output_tokens=10**6), []),
        (ask("wide", max_output_tokens=101, fallback=["acme/small"]), ["over_output_limit"]),
        (ask("wide", max_output_tokens=5_000, prompt=LONG), []),
        (ask("boundless", prompt=LONG), []),
        (ask("small", prompt=LONG), ["over_window"]),
        (ask("small", prompt=LONG * 2), ["context_too_long"]),
        (ask("small", prompt="ҿ" * 500), ["over_window"]),
        (ask("wide", prompt=LONG * 2, fallback=["acme/small"]), ["context_too_long"]),
        (ask("small", prompt="word " * 500, max_output_tokens=90), []),
        (ask("small", prompt="word " * 1_000, max_output_tokens=90), ["over_window"]),
        (ask("tabled", prompt="word " * 900, max_output_tokens=500), []),
        (ask("vague", prompt="word " * 900, max_output_tokens=500), []),
        (ask("tabled", prompt=LONG), ["over_window"]),
        (ask("tabled", prompt=LONG * 2), ["context_too_long"]),
        (ask("small", prompt="word " * 870, fallback=["acme/tabled"], max_output_tokens=100), []),
        (ask("small", prompt="word " * 1_000, fallback=["acme/tabled"], max_output_tokens=100), ["over_window"]),
        (ask("small", prompt="word " * 800), []),
        (ask("split", prompt="word " * 900, max_output_tokens=1_000), []),
        (ask("split", prompt="word " * 1_100, max_output_tokens=100), ["over_window"]),
        (ask("split", prompt="word " * 2_100), ["context_too_long"]),
        (ask("claude-opus-4-8", prompt="word " * 800), ["over_window"]),
        (ask("small", prompt=LONG + "{% if true %}{% endif %}"), []),
    ],
)
def test_lengths_are_held_against_what_each_model_takes(node, codes):
    assert [said.partition(" ")[0] for said in found(node)] == codes


@pytest.mark.parametrize(("model", "answer"), [("small", " and the answer may have 100"), ("tabled", "")])
def test_an_answer_is_counted_where_a_provider_file_says_the_window(model, answer):
    (said,) = found(ask(model, prompt=LONG, max_output_tokens=100))
    assert said.endswith(f" tokens{answer}, the window of `acme/{model}` 1,000")


def test_the_hint_of_a_length_says_what_the_model_writes():
    said = "over_output_limit ask.max_output_tokens: `max_output_tokens` is 9,000, and `acme/wide` writes at most 5,000"
    assert found(ask("wide", max_output_tokens=9_000)) == [said]


def test_a_group_is_held_to_each_of_its_models():
    node = {**ask("small", max_output_tokens=300), "model": "both"}
    said = found(node, models={"both": {"among": ["acme/wide", "acme/small"]}})
    assert [one for one in said if "over_output_limit" in one and "acme/small" in one]
    assert not [one for one in said if "acme/wide" in one]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("older", "model_ended ask.model: `acme/older` is deprecated since 2020-01-01 and may answer no more"),
        ("old", "model_ended ask.model: `acme/old` is deprecated since 2026-11-22 and may answer no more"),
        ("soon", "model_ends ask.model: `acme/soon` is deprecated from 2026-11-23 on, in 1 day"),
        ("later", "model_ends ask.model: `acme/later` is deprecated from 2027-02-20 on, in 90 days"),
        ("far", None),
        ("vague", None),
        ("small", None),
    ],
)
def test_a_model_that_ends_is_spoken_of(model, said):
    assert found(ask(model), TODAY) == ([said] if said else [])
    assert found(ask(model)) == []


def test_two_calls_of_the_pipelines_model_say_it_once():
    spec = {
        "model": "acme/older",
        "nodes": {"a": {"kind": "call", "prompt": "x"}, "b": {"kind": "call", "prompt": "y"}},
    }
    catalog = Catalog({"acme": ProviderCard("acme", models=LISTED)})
    parsed = parse_mapping({**spec, "outputs": {"a": "a.text", "b": "b.text"}}, kinds=Kinds())
    warnings = compile_spec(parsed, kinds=Kinds(), catalog=catalog, today=TODAY).warnings
    assert [(one.code, one.where) for one in warnings] == [("model_ended", "model")]


def test_a_sub_pipeline_speaks_of_its_models():
    inner = {"nodes": {"ask": ask("older")}, "outputs": {"o": "ask.text"}}
    outer = {"nodes": {"sub": {"kind": "pipeline", "use": "./s.yaml"}}, "outputs": {"o": "sub.o"}}
    spec = parse_mapping(outer, kinds=Kinds(), pipelines={"./s.yaml": inner})
    catalog = Catalog({"acme": ProviderCard("acme", models=LISTED)})
    assert [one.code for one in compile_spec(spec, kinds=Kinds(), catalog=catalog, today=TODAY).warnings] == [
        "model_ended"
    ]


def test_models_of_this_process_open_no_registry():
    table = Table()
    assert found({"kind": "call", "prompt": "x", "model": "mock/echo"}, TODAY, table) == []
    assert table.asked == []
    found(ask("unsaid"), TODAY, table)
    assert set(table.asked) == {"acme/unsaid"}


def test_without_a_day_nothing_is_said():
    assert last_day("acme/older", LISTED["older"], None) is None
