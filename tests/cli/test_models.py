"""`flowllm models`: list, show, find, compare, recommend, price."""

import io
import json
import re
from decimal import Decimal

import pytest

from tests.cli.command import run_apart

HEAD = {"table": "made", "version": "1", "as_of": "2026-08-20", "licence": "MIT"}
PRICES = [["input", "0.000001"], ["output", "0.000002"], ["input", "0.000002", {"above": 1000}]]
TABLE = {
    "sees": {"context": 200_000, "output": 8_000, "mode": "chat", "supports": ["images", "tools"], "lacks": ["pdf"],
             "prices": PRICES, "source": "https://acme.example/prices"},
    "unpriced": {"context": 100_000, "mode": "chat", "supports": ["images"], "lacks": ["tools"]},
    "old": {"context": 200_000, "mode": "chat", "supports": ["images"], "prices": PRICES, "deprecated": "2020-01-01"},
}  # fmt: skip
CARD = """\
name: acme
base_url: https://acme.example/v1
wire: {chat: openai_chat}
auth: {scheme: none}
models: {own: {context: 10, price: {input: 1, output: 2}}}
"""


@pytest.fixture
def acme(folder):
    (folder / "providers/models").mkdir(parents=True)
    (folder / "providers/acme.yaml").write_text(CARD)
    (folder / "providers/models/acme.json").write_text(json.dumps({**HEAD, "models": TABLE}))
    return folder


pytestmark = pytest.mark.usefixtures("acme")


def test_a_plain_list_is_short_and_says_where_the_others_are(flowllm):
    done = flowllm("models", "list")
    assert "acme/own" in done.out
    assert "acme/sees" not in done.out
    assert "a word, --provider NAME or --all shows others" in done.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("acme/",), ["acme/own", "acme/sees", "acme/unpriced", "acme/old"]),
        (("--provider", "acme"), ["acme/own", "acme/sees", "acme/unpriced", "acme/old"]),
        (("acme", "SEE"), ["acme/sees"]),
    ],
)
def test_a_word_or_a_provider_lists_all_that_is_known(flowllm, words, expected):
    rows = flowllm("models", "list", *words, "--json").data["models"]
    assert [row["model"] for row in rows] == expected
    keys = {"model", "tasks", "context", "context_is_whole", "max_input", "output", "supports", "price", "beside",
            "checked", "deprecated", "free"}  # fmt: skip
    assert all(set(row) == keys for row in rows)
    assert [line.split()[0] for line in flowllm("models", "list", *words).out.splitlines()[1:]] == expected


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (("tabled",), "; `flowllm models list --provider tabled` shows those of `tabled`"),
        (("zzzz",), "; `flowllm models list --all WORD` looks among all"),
        (("zzzz", "--all"), ""),
        (("zzzz", "--provider", "acme"), ""),
    ],
)
def test_where_no_name_holds_a_word_another_place_is_named_that_was_not_looked_at(flowllm, acme, words, more):
    (acme / "providers/models/tabled.json").write_text(json.dumps({**HEAD, "models": {}}))
    done = flowllm("models", "list", *words)
    assert (done.status, done.out, done.err.strip()) == (0, "", f"no model's name holds {words[0]}{more}")


def test_a_long_list_is_cut_and_says_so(flowllm):
    done = flowllm("models", "list", "acme/", "--limit", "2")
    assert len(done.out.splitlines()) == 3
    assert "2 of 4 models are shown; --limit 0 shows all" in done.err
    assert len(flowllm("models", "list", "acme/", "--limit", "0").out.splitlines()) == 5
    assert "no model's name holds zzz" in flowllm("models", "list", "zzz").err


def test_all_lists_providers_that_have_no_file(flowllm, acme):
    (acme / "providers/models/tabled.json").write_text(json.dumps({**HEAD, "models": {"far-off": TABLE["sees"]}}))
    assert flowllm("models", "list", "far-off", "--json").data["models"] == []
    (row,) = flowllm("models", "list", "far-off", "--all", "--json").data["models"]
    assert row["model"] == "tabled/far-off"
    assert "no: its provider has no file" in flowllm("models", "show", "tabled/far-off").out


@pytest.mark.parametrize(
    ("row", "shown", "told"),
    [
        ({"context": 9_000, "output": 500}, ("9,000", "9,000", "500"), (9_000, True, 9_000, 500)),
        ({"max_input": 9_000, "output": 500}, ("at least 9,000", "9,000", "500"), (9_000, False, 9_000, 500)),
        ({"context": 9_000, "max_input": 8_000}, ("9,000", "8,000", "unknown"), (9_000, True, 8_000, None)),
        ({"mode": "chat"}, ("unknown", "unknown", "unknown"), (None, None, None, None)),
    ],
)
def test_the_window_and_the_longest_prompt_and_answer_are_told_apart(flowllm, acme, row, shown, told):
    (acme / "providers/models/acme.json").write_text(json.dumps({**HEAD, "models": {"m": row}}))
    lines = dict(line.split("  ", 1) for line in flowllm("models", "show", "acme/m").out.splitlines())
    assert tuple(lines[name].strip() for name in ("context", "max input", "max output")) == shown
    facts = flowllm("models", "show", "acme/m", "--json").data
    assert tuple(facts[name] for name in ("context", "context_is_whole", "max_input", "output")) == told


def test_a_model_is_shown_whole(flowllm):
    lines = dict(line.split("  ", 1) for line in flowllm("models", "show", "acme/sees").out.splitlines())
    told = {name: value.strip() for name, value in lines.items()}
    assert (told["supports"], told["lacks"]) == ("tools, images", "pdf")
    assert "reasoning" in told["unknown"]
    assert (told["released"], told["family"], told["context"]) == ("unknown", "unknown", "200,000")
    assert told["price of input"] == "$2 per million tokens, prompts above 1,000 tokens"
    assert (told["source"], told["prices from"], told["prices as of"]) == (
        "https://acme.example/prices", "made 1", "2026-08-20")  # fmt: skip
    assert re.search("(?m)^price +unknown$", flowllm("models", "show", "acme/unpriced").out)
    facts = flowllm("models", "show", "acme/sees", "--json").data
    assert (facts["capabilities"]["pdf"], facts["capabilities"]["images"], facts["capabilities"]["reasoning"]) == (
        False, True, None)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--supports", "vision"), ["acme/sees", "acme/unpriced"]),
        (("--supports", "vision,tools"), ["acme/sees"]),
        (("--supports", "vision", "--supports", "tools"), ["acme/sees"]),
        (("--supports", "vision", "--context", "150000"), ["acme/sees"]),
        (("--supports", "vision", "--max-input-price", "1"), ["acme/sees"]),
        (("--supports", "vision", "--max-input-price", "1", "--unknown"), ["acme/sees", "acme/own", "acme/unpriced"]),
        (("--supports", "vision", "--max-output-price", "1.9"), []),
        (("--supports", "vision", "--deprecated"), ["acme/old", "acme/sees", "acme/unpriced"]),
        (("--supports", "vision", "--limit", "1"), ["acme/sees"]),
        (("--task", "embed"), []),
    ],
)
def test_models_are_found_by_what_they_can_do(flowllm, words, expected):
    found = flowllm("models", "find", "--provider", "acme", *words, "--json").data
    assert [row["model"] for row in found["models"]] == expected
    shown = flowllm("models", "find", "--provider", "acme", *words)
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == expected
    assert f"of {found['total']} models that fit" in shown.err or not expected


def test_models_are_compared_and_differences_are_marked(flowllm):
    lines = flowllm("models", "compare", "acme/sees", "acme/unpriced", "--usage", "input=1000,output=1000").out
    split = [(line[:1], re.split(" {2,}", line[1:].strip())) for line in lines.splitlines()[1:]]
    rows = {name: (mark, *told) for mark, (name, *told) in split}
    assert rows["images"] == (" ", "yes", "yes")
    assert rows["tools"] == ("*", "yes", "no")
    assert rows["pdf"] == ("*", "no", "?")
    assert rows["input $"] == ("*", "1", "?")
    assert rows["cost"] == ("*", "$0.003000", "unknown")
    told = flowllm(
        "models", "compare", "acme/sees", "acme/unpriced", "--usage", "input=1000,output=1000", "--json"
    ).data
    assert [one["bill"]["total"] for one in told["models"]] == ["0.003000", None]
    assert {"tools", "pdf", "cost"} <= set(told["differ"])
    assert "images" not in told["differ"]


@pytest.mark.parametrize("weigh", ["context=5,price=0", " Context = 5 , price=0", "PRICE=0,context=5"])
def test_weights_are_read_in_any_case_and_with_blanks(flowllm, weigh):
    words = ("models", "recommend", "--provider", "openai", "--supports", "tools", "--json", "--weigh")
    found = [flowllm(*words, one).data["models"] for one in (weigh, "price=0,context=5", "price=1")]
    assert found[0] == found[1] != found[2]


def test_a_recommendation_gives_its_reasons(flowllm):
    done = flowllm("models", "recommend", "--supports", "images", "--provider", "acme", "--json").data["models"]
    assert [one["model"] for one in done] == ["acme/sees", "acme/unpriced"]
    assert all(one["score"] == sum(reason["points"] for reason in one["reasons"]) for one in done)
    assert {"points": 0, "reason": "no price is known"} in done[1]["reasons"]
    text = flowllm("models", "recommend", "--supports", "images", "--provider", "acme").out
    assert "supports images (+10)" in text
    assert "no model is known that fits" in flowllm("models", "recommend", "--provider", "acme", "--task", "embed").err


@pytest.mark.parametrize(
    ("words", "total"), [(("input=1000", "output=10"), "0.00102"), (("input=1001", "output=10"), "0.002022")]
)
def test_lines_of_a_price_sum_to_its_total(flowllm, words, total):
    found = flowllm("models", "price", "acme/sees", *words, "--json").data
    assert Decimal(found["total"]) == Decimal(total) == sum(Decimal(line["amount"]) for line in found["lines"])
    shown = flowllm("models", "price", "acme/sees", *words)
    assert shown.out.splitlines()[-1].split() == ["total", total]
    assert "prices of 2026-08-20; made 1; https://acme.example/prices" in shown.err


def test_an_unknown_price_is_said_and_strictness_refuses_it(flowllm):
    done = flowllm("models", "price", "acme/unpriced", "input=5")
    assert (done.status, done.out.splitlines()[-1].split()) == (0, ["total", "unknown"])
    assert "no price of this model is known" in done.err
    assert flowllm("models", "price", "acme/unpriced", "input=5", "--json").data["total"] is None
    assert flowllm("models", "price", "acme/unpriced", "input=5", "--strict").status == 2


def test_a_price_of_what_a_provider_sent(flowllm, acme, monkeypatch):
    usage = {"usage": {"prompt_tokens": 1000, "completion_tokens": 10, "cost": 0.5}}
    (acme / "answer.json").write_text(json.dumps(usage))
    done = flowllm("models", "price", "acme/sees", "--usage", "answer.json")
    assert done.out.splitlines()[-1].split() == ["total", "0.00102"]
    assert "the provider itself says $0.5" in done.err
    assert "it was read as `openai_chat`" in done.err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"input": 1000, "output": 10}')))
    assert flowllm("models", "price", "acme/sees", "--usage", "-", "--json").data["total"] == "0.001020"


def test_the_price_of_a_model_of_which_nothing_is_known_is_unknown(flowllm):
    for more, status in (((), 0), (("--strict",), 2)):
        done = flowllm("models", "price", "acme/seas", "input=3", *more)
        assert (done.status, done.out.splitlines()[-1].split()) == (status, ["total", "unknown"])
        assert "nothing is known of this model" in done.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("show", "acme/seas"), "did you mean `acme/sees`?"),
        (("show", "sees"), "did you mean `acme/sees`?"),
        (("price", "acme/sees"), "flowllm models price acme/sees input=300000"),
        (("price", "acme/sees", "inptu=3"), "did you mean `input`?"),
        (("price", "acme/sees", "input=3", "--usage", "x.json"), "input=300000"),
        (("price", "acme/sees", "--usage", "missing.json"), "missing.json"),
        (("compare", "acme/sees", "acme/seas"), "did you mean `acme/sees`?"),
        (("compare", "acme/sees", "--usage", "inptu=3"), "did you mean `input`?"),
        (("compare", "acme/sees"), "flowllm models compare acme/sees MODEL"),
        (("compare", "acme/sees", "acme/sees"), "flowllm models compare acme/sees MODEL"),
        (("find", "--supports", ""), "known: "),
        (("find", "--supports", ",,"), "known: "),
        (("find", "--context", "many"), "--context 200000"),
        (("find", "--output", "-5"), "--output 200000"),
        (("find", "--supports", "visoin"), "did you mean `vision`?"),
        (("find", "--max-input-price", "cheap"), "--max-input-price 1.50"),
        (("find", "--max-input-price", "1e-400000000"), "--max-input-price 1.50"),
        (("recommend", "--weigh", ""), "--weigh price=2"),
        (("recommend", "--weigh", ",,"), "--weigh price=2"),
        (("recommend", "--weigh", "price"), "--weigh price=2"),
        (("recommend", "--weigh", "end=100"), "--weigh end=2"),
        (("recommend", "--weigh", "price=3,price=0"), "--weigh price=0"),
        (("recommend", "--weigh", "prize=3"), "did you mean `price`?"),
        (("recommend", "--task", "chatt"), "did you mean `chat`?"),
        (("list", "--provider", "acmee"), "did you mean `acme`?"),
    ],
)
def test_a_wrong_word_ends_with_2_and_a_hint(flowllm, words, hint):
    done = flowllm("models", *words)
    assert done.status == 2
    assert hint in done.err
    assert "Traceback" not in done.err


PIPELINE = """\
nodes:
  ask: {{kind: call, model: {model}, prompt: Hello}}
outputs: {{said: ask.text}}
"""


def test_check_and_plan_use_what_is_known(flowllm, acme):
    (acme / "p.yaml").write_text(PIPELINE.format(model="acme/old"))
    done = flowllm("check", "p.yaml")
    assert (done.status, "warning[model_ended]: `acme/old` is deprecated since 2020-01-01" in done.err) == (0, True)
    assert flowllm("check", "p.yaml", "--strict").status == 2
    plan = flowllm("plan", "p.yaml", "nodes.ask.model=acme/sees").out.splitlines()
    assert plan[1].split()[3:6] == ["acme/sees", "200,000", "1/2"]
    assert flowllm("plan", "p.yaml", "nodes.ask.model=acme/zzz").out.splitlines()[1].split()[4:6] == ["?", "?/?"]


def test_a_mock_model_reads_no_registry(acme):
    (acme / "p.yaml").write_text(PIPELINE.format(model="mock/echo"))
    (acme / "providers/models/mock.json").write_text("broken")
    for command in (("check",), ("run", "--no-cache"), ("run", "--dry-run"), ("plan",)):
        assert run_apart(command[0], "p.yaml", *command[1:], cwd=acme).status == 0


@pytest.mark.parametrize("command", ["find", "recommend"])
def test_where_nothing_fits_the_strictest_condition_is_said(flowllm, command):
    asked = ("models", command, "--provider", "acme", "--context", "900m")
    done = flowllm(*asked)
    assert done.out == ""
    assert "models is known to have context of at least 900,000,000 tokens" in done.err
    told = flowllm(*asked, "--json").data
    assert told["models"] == []
    assert told["excluded"]["met"][0] == {"condition": "context of at least 900,000,000 tokens", "models": 0}
    assert "excluded" not in flowllm("models", command, "--provider", "acme", "--json").data
