"""Models from Python: what is known, which one suits, what a usage costs. The registry here is one of the test."""

import json
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

import flowllm
from flowllm.api import Environment, models
from flowllm.api.model_bill import _other_times, usage_of_mapping, usage_of_words
from flowllm.api.model_facts import model_of
from flowllm.api.model_sent import usage_of_bytes
from flowllm.api.models import Need
from flowllm.cli.models_price import _money
from flowllm.core.delta import Usage
from flowllm.core.errors import UsageError
from flowllm.core.prices import Hours, Prices
from flowllm.pricing.cost import pricing_of
from flowllm.pricing.rates import Table

HEAD = {"table": "made", "version": "1", "as_of": "2026-11-20", "licence": "MIT"}
CHEAP = [["input", "0.000001"], ["output", "0.000002"], ["cached_input", "0.0000001"]]
STEPS = [*CHEAP, ["input", "0.000002", {"above": 1000}], ["output", "0.000004", {"above": 1000}],
         ["input", "0.0000007", {"service": "flex"}], ["cache_write", "0.000003", {"lifetime": "1h"}]]  # fmt: skip
TABLE = {
    "sees": {"context": 200_000, "output": 8_000, "mode": "chat", "supports": ["images", "tools"], "prices": CHEAP},
    "dear": {"context": 1_000_000, "mode": "chat", "supports": ["images", "tools"],
             "prices": [["input", "0.00005"], ["output", "0.0001"]]},
    "blind": {"context": 200_000, "mode": "chat", "supports": ["tools"], "lacks": ["images"], "prices": CHEAP},
    "unsaid": {"context": 200_000, "mode": "chat", "supports": ["tools"], "prices": CHEAP},
    "reads": {"context": 200_000, "mode": "chat", "supports": ["tools"], "reads": ["text", "image"], "prices": CHEAP},
    "unpriced": {"context": 200_000, "mode": "chat", "supports": ["images", "tools"]},
    "windowless": {"mode": "chat", "supports": ["images", "tools"], "prices": CHEAP},
    "old": {"context": 200_000, "mode": "chat", "supports": ["images", "tools"], "prices": CHEAP,
            "deprecated": "2026-11-22"},
    "ending": {"context": 200_000, "mode": "chat", "supports": ["images", "tools"], "prices": CHEAP,
               "deprecated": "2026-12-22"},
    "zero": {"context": 200_000, "mode": "chat", "supports": ["images", "tools"],
             "prices": [["input", "0"], ["output", "0"]]},
    "vectors": {"context": 8_000, "mode": "embed", "prices": [["input", "0.00000002"]]},
    "ranks": {"context": 8_000, "mode": "rerank", "prices": [["input", "0"], ["output", "0"], ["queries", "0.002"]]},
    "sonar": {"context": 200_000, "mode": "chat", "lacks": ["images"],
              "prices": [*CHEAP, ["searches", "0.005", {"variant": "low"}], ["searches", "0.01", {"variant": "high"}]]},
    "sings": {"context": 200_000, "mode": "chat", "lacks": ["images"],
              "prices": [["input", "0"], ["output", "0"], ["output_images", "0.04"]]},
    "eu/sees": {"mode": "chat", "prices": [["input", "0.000009"], ["output", "0.000009"]]},
    "stepped": {"context": 9_000, "mode": "chat", "prices": STEPS, "source": "https://acme.example/prices",
                "multipliers": [["1.1", {"region": "eu"}]],
                "hours": [{"start": "16:30", "end": "23:00", "weekdays": [0, 1, 2, 3, 4, 5, 6],
                           "prices": [["input", "0.0000005"]]}]},
}  # fmt: skip
CARD = """\
name: acme
base_url: https://acme.example/v1
wire: {chat: openai_chat, embed: openai_embeddings, rerank: rerank}
auth: {scheme: bearer, env: ACME_KEY}
models: {own: {context: 10, output: 5, supports: [tools, url_context], price: {input: 1, output: 2}}}
"""
CLAUDE = "name: cla\nbase_url: https://cla.example\nwire: {chat: anthropic_messages}\nauth: {scheme: none}\n"
OTHER_WAY = "name: aaa\nregistry: cla\nbase_url: https://a.example\nwire: {chat: openai_chat}\nauth: {scheme: none}\n"
FREE = "name: here\nbase_url: http://localhost:1/v1\nwire: {chat: openai_chat}\nauth: {scheme: none}\nfree: true\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    (project / "providers/models").mkdir(parents=True)
    for name, text in (("acme", CARD), ("cla", CLAUDE), ("here", FREE), ("aaa", OTHER_WAY)):
        (project / f"providers/{name}.yaml").write_text(text)
    for name, table in (
        ("acme", TABLE),
        ("cla", {"one": TABLE["sees"], "one-2025-01-31": TABLE["sees"]}),
        ("tabled", {"far": TABLE["sees"]}),
    ):
        (project / f"providers/models/{name}.json").write_text(json.dumps({**HEAD, "models": table}))
    return Environment(project=project, today=date(2026, 11, 22))


def names(found):
    return [one.model.name.removeprefix("acme/") for one in found]


def need(**more):
    return Need(**{"provider": "acme", "supports": ("images",), **more})


@pytest.mark.parametrize("model", ["gpt-oss:20b-cloud", "glm-4.6:cloud"])
@pytest.mark.parametrize("provider", ["ollama", "ollama-native"])
def test_what_a_server_of_one_s_own_asks_of_a_cloud_is_neither_free_nor_here(tmp_path, provider, model):
    shipped = Environment(project=tmp_path, today=date(2026, 11, 22))
    assert models.price(f"{provider}/llama3.1", {"input": 10}, environment=shipped).cost.total == 0
    assert not model_of(shipped.catalog, f"{provider}/{model}").free
    assert pricing_of(shipped.catalog)(f"{provider}/{model}", Usage(10, 10)).total is None
    found = models.recommend(Need(provider=provider, unknown=True), limit=None, environment=shipped)
    here = {one.model.name.endswith("cloud"): "answers on this machine" in dict(map(reversed, one.reasons))
            for one in found}  # fmt: skip
    assert here == {True: False, False: True}


def test_the_module_is_there_at_first_use():
    assert flowllm.models is sys.modules["flowllm.api.models"]
    assert "models" in dir(flowllm)
    assert set(models.__all__) == set(dir(models))


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        ("OWN", {}, ["acme/own"]),
        ((), {"provider": "cla"}, ["cla/one", "cla/one-2025-01-31"]),
        (["acme/", "e"], {"provider": "acme"}, None),
        ("far", {}, []),
        ("far", {"every": True}, ["tabled/far"]),
        ("eu/sees", {"every": True}, []),
    ],
)
def test_a_list_holds_what_is_asked_for(world, words, options, expected):
    found = [model.name for model in models.list(words, environment=world, **options)]
    if expected is None:
        assert len(found) > 3
        assert all("e" in name for name in found)
    else:
        assert [name for name in found if name.partition("/")[0] in ("acme", "cla", "tabled")] == expected


def test_a_list_without_words_is_what_provider_files_name(world):
    found = [model.name for model in models.list(environment=world)]
    assert "acme/own" in found
    assert "acme/sees" not in found


def test_all_that_is_known_is_shown_and_unknown_is_null(world):
    facts = models.show("acme/stepped", environment=world).facts()
    assert (facts["context"], facts["output"], facts["family"], facts["released"]) == (9_000, None, None, None)
    assert set(facts["capabilities"].values()) == {None}
    assert facts["prices"][3] == {
        "item": "input", "unit": "token", "amount": "0.000002", "per_million": "2", "above": 1000, "inclusive": False,
        "service": "", "lifetime": "", "variant": "",
    }  # fmt: skip
    assert (facts["source"], facts["prices_from"], facts["prices_as_of"]) == (
        "https://acme.example/prices", "made 1", "2026-11-20")  # fmt: skip
    assert (facts["multipliers"], facts["hours"][0]["start"]) == (
        [{"factor": "1.1", "region": "eu", "speed": ""}], "16:30")  # fmt: skip
    sees = models.show("acme/sees", environment=world)
    assert (sees.can("images"), sees.can("pdf"), sees.places) == (True, None, ("eu",))
    assert models.show("acme/blind", environment=world).can("images") is False
    assert models.show("acme/reads", environment=world).can("images") is True
    own = models.show("acme/own", environment=world).facts()["capabilities"]
    assert (own["url_context"], own["images"]) == (True, False)
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        ("acme/seas", "unknown_model", "did you mean `acme/sees`?"),
        ("acme/xyz123", "unknown_model", "flowllm models list --provider acme"),
        ("own", "unknown_model", "did you mean `acme/own`?"),
        ("vectors", "unknown_model", "did you mean `acme/vectors`?"),
        ("acmee/sees", "unknown_provider", "did you mean `acme`?"),
        ("", "unknown_model", "provider/model"),
        ("acme/", "unknown_model", "provider/model"),
    ],
)
def test_a_name_that_leads_nowhere_has_a_hint(world, name, code, hint):
    with pytest.raises(UsageError) as caught:
        models.show(name, environment=world)
    assert caught.value.code == code
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (need(), ["ending", "reads", "sees", "windowless", "dear", "unpriced"]),
        (need(supports=("vision,tools",)), ["ending", "reads", "sees", "windowless", "dear", "unpriced"]),
        (need(supports="vision"), ["ending", "reads", "sees", "windowless", "dear", "unpriced"]),
        (need(context=200_000), ["ending", "reads", "sees", "dear", "unpriced"]),
        (need(context=200_001), ["dear"]),
        (need(output=8_000), ["sees"]),
        (need(max_input_price="1"), ["ending", "reads", "sees", "windowless"]),
        (need(max_input_price="0.99"), []),
        (need(max_output_price=2), ["ending", "reads", "sees", "windowless"]),
        (need(max_output_price=Decimal("1.99")), []),
        (need(deprecated=True), ["ending", "old", "reads", "sees", "windowless", "dear", "unpriced"]),
        (need(context=200_001, unknown=True), ["dear", "windowless"]),
        (need(max_input_price="1", context=1, unknown=True),
         ["ending", "reads", "sees", "stepped", "unpriced", "unsaid", "windowless"]),
        (need(supports=(), task="embeddings"), ["vectors"]),
        (need(supports=("url_context",)), ["own"]),
        (need(provider="tabled"), ["tabled/far"]),
        (need(provider="here"), []),
    ],
)  # fmt: skip
def test_what_fits_is_found_and_unknown_never_counts_as_fitting(world, wanted, expected):
    found = [name for name in names(models.find(wanted, environment=world)) if name != "zero"]
    assert (sorted(found) if wanted.unknown else found) == expected


def test_what_is_unknown_of_a_match_is_named(world):
    found = models.find(need(max_input_price=1, context=5, unknown=True), environment=world)
    told = {one.model.name: one.unknown for one in found}
    assert told["acme/sees"] == ()
    assert (told["acme/unsaid"], told["acme/unpriced"]) == (("images",), ("input price",))
    assert told["acme/windowless"] == ("context",)
    assert [len(one.unknown) for one in found] == sorted(len(one.unknown) for one in found)


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        (need(supports=("visoin",)), "did you mean `vision`?"),
        (need(supports=("telepathy",)), "known: tools"),
        (need(task="chatt"), "did you mean `chat`?"),
        (need(provider="acmee"), "did you mean `acme`?"),
        (need(max_input_price="cheap"), "--max-input-price"),
        (need(max_output_price="-1"), "--max-output-price"),
        (need(max_output_price="nan"), "--max-output-price"),
        (need(max_output_price=True), "--max-output-price"),
        (need(max_input_price="1e-400000000"), "--max-input-price"),
        (need(max_input_price="1e-300"), "--max-input-price"),
        (need(max_input_price="1e99999999999999999"), "--max-input-price"),
        (need(max_input_price=10**5_000), "--max-input-price"),
        (need(supports=None), "supports=tools"),
        (need(supports=[None]), "supports=tools"),
        (need(supports={"tools": True}), "supports=tools"),
        (need(supports=3), "supports=tools"),
        (need(task=None), "task=chat"),
        (need(provider=None), "provider=openai"),
        (need(provider=3), "provider=openai"),
        (need(context=None), "--context 200000"),
        (need(context=10**5_000), "--context 200000"),
    ],
)
def test_a_need_that_cannot_be_read_is_refused(world, wanted, hint):
    with pytest.raises(UsageError) as caught:
        models.find(wanted, environment=world)
    assert hint in caught.value.hint


def test_a_recommendation_is_the_sum_of_its_reasons(world):
    found = models.recommend(need(unknown=True), limit=None, environment=world)
    assert all(one.score == sum(points for points, _ in one.reasons) for one in found)
    assert all(points >= 0 for one in found for points, _ in one.reasons)
    score = {one.model.name: one.score for one in found if not one.unknown}
    assert score["acme/sees"] > score["acme/dear"] > 0
    assert score["acme/sees"] > score["acme/unpriced"] == score["acme/zero"]
    assert "acme/old" not in score
    reasons = {one.model.name: one.reasons for one in found}
    assert (0, "no price is known") in reasons["acme/unpriced"]
    assert (0, "its table tells a price of $0") in reasons["acme/zero"]
    assert (0, "ends on 2026-12-22") in reasons["acme/ending"]
    assert score["acme/sees"] > score["acme/ending"]
    assert [len(one.unknown) for one in found] == sorted(len(one.unknown) for one in found)
    assert len(models.recommend(need(), limit=2, environment=world)) == 2


def test_dated_forms_and_other_ways_to_a_provider_are_not_recommended_beside_the_model(world):
    found = models.recommend(Need(supports=("images", "tools")), limit=None, environment=world)
    names = [one.model.name for one in found]
    assert [name for name in names if name.partition("/")[0] in ("aaa", "cla")] == ["cla/one"]
    there = models.recommend(Need(supports=("images", "tools"), provider="aaa"), environment=world)
    assert [one.model.name for one in there] == ["aaa/one"]


def test_models_side_by_side(world):
    plain = models.compare(["acme/sees", "acme/dear", "acme/sees"], environment=world)
    assert [(one.model.name, one.bill) for one in plain] == [("acme/sees", None), ("acme/dear", None)]
    priced = models.compare(["acme/sees", "acme/dear"], {"input": 10, "output": 1}, environment=world)
    assert [one.bill.cost.total for one in priced] == [Decimal("0.000012"), Decimal("0.0006")]


PRICED = [
    ({"input": 1000, "output": 10}, "0.00102", []),
    ({"input": 1001, "output": 10}, "0.002042", ["whole request"]),
    ({"input": 1000, "cached_input": 900}, "0.00019", []),
    ({"input": 100, "service": "flex"}, "0.00007", []),
    ({"input": 100, "output": 10, "service": "batch"}, "0.00006", []),
    ({"input": 100, "cache_write": 10, "cache_write.1h": 10}, "0.00012", []),
    ({"input": 100, "cache_write.1h": 10}, "0.00012", []),
    ({"output": 10, "reasoning": 4}, "0.00002", ["`reasoning` has no price of its own"]),
    ({"input": 100, "region": "eu"}, "0.00011", []),
    ({"input": 100, "at": "2026-11-22T17:00"}, "0.00005", []),
    ({"input": 100, "at": "2026-11-22T17:00-08:00"}, "0.0001", []),
    ({"input": 100, "pages": 2}, None, ["no price is known for `pages`"]),
    ({"input": 100, "service": "royal"}, "0.0001", []),
    ({"input": 1, "cached_input": 5}, "0.0000001", ["were cut"]),
    ({"input": 9001}, "0.018002", ["the prompt is longer than the longest that it reads, 9,000 tokens"]),
]


@pytest.mark.parametrize(("usage", "total", "rules"), PRICED)
def test_lines_sum_to_the_total_and_the_rules_are_told(world, usage, total, rules):
    bill = models.price("acme/stepped", usage, environment=world)
    data = bill.to_data()
    assert (data["total"] and Decimal(data["total"])) == (total and Decimal(total))
    if total is not None:
        assert sum(Decimal(line["amount"]) for line in data["lines"]) == Decimal(data["total"])
    assert all(any(rule in said for said in bill.rules) for rule in rules)
    assert (data["version"], data["source"]) == ("made 1", "https://acme.example/prices")
    assert bill.cost == models.price("acme/stepped", usage, environment=world).cost


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [((0, 1, 2, 3, 4, 5, 6), " UTC;"), ((0, 4), " UTC on Mondays, Fridays;"), ((5,), " UTC on Saturdays;")],
)
def test_the_time_that_is_given_as_an_example_has_the_other_prices(weekdays, days):
    prices = Prices((), hours=(Hours("16:30", "23:00", (), weekdays),))
    (said,) = _other_times(prices)
    assert f"from 16:30 to 23:00{days}" in said
    _, at = usage_of_words([word for word in said.split() if word.startswith("at=")])
    assert Table(prices).moment(at) == 0


@pytest.mark.parametrize(
    ("name", "total", "rule"),
    [
        ("acme/unpriced", None, "no price of this model is known"),
        ("here/whatever", "0", "it costs nothing"),
        ("mock/echo", "0", "it costs nothing"),
        ("tabled/far", "0.00001", ""),
    ],
)
def test_what_has_no_price_is_not_free_and_what_is_free_is_not_unknown(world, name, total, rule):
    bill = models.price(name, Usage(input=10, output=0), environment=world)
    assert bill.cost.total == (total and Decimal(total))
    assert (not rule and not bill.rules) or rule in bill.rules[0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["inptu=3"], "did you mean `input`?"),
        (["input"], "input=300000"),
        (["input=-1"], "input=1000"),
        (["input=1.5"], "input=1000"),
        (["input=many"], "input=1000"),
        (["input=1e5000"], "input=1000"),
        (["input=1e16"], "input=1000"),
        (["pages=1e-5000"], "pages=1000"),
        (["input=0e999999999999999999999"], "input=1000"),
        (["input=" + "9" * 5000], "input=1000"),
        (["input=10", "input=20"], "input=10"),
        (["cache_write.1h=10", "cache-write_1h=20"], "cache_write.1h=10"),
        (["at=noon"], "at=2026"),
    ],
)
def test_words_that_tell_no_usage_are_refused(words, hint):
    with pytest.raises(UsageError) as caught:
        usage_of_words(words)
    assert caught.value.code == "bad_usage"
    assert hint in caught.value.hint
    assert len(caught.value.message) < 200


def test_the_longest_prompt_and_an_unknown_one_are_not_too_long(world):
    for name, count in (("acme/stepped", 9000), ("acme/windowless", 10**9), ("acme/nothing", 10**9)):
        rules = models.price(name, {"input": count}, environment=world).rules
        assert not any("longer" in rule for rule in rules)


def test_of_a_window_that_is_not_known_it_is_not_known_whether_it_is_whole(world):
    told = [models.show(f"acme/{name}", environment=world).facts() for name in ("windowless", "sees")]
    assert [(facts["context"], facts["context_is_whole"]) for facts in told] == [(None, None), (200_000, True)]


@pytest.mark.parametrize(
    ("name", "usage", "total", "rule"),
    [
        ("acme/ranks", {"input": 10}, None, "each query is paid and none is told, as in: queries=1"),
        ("acme/ranks", {"input": 10, "queries": 2}, "0.004", ""),
        ("acme/sings", {"input": 10, "output": 5}, None, "each image is paid and none is told, as in: output_images=1"),
        ("acme/sings", {"output_images": 2}, "0.08", ""),
        ("acme/sonar", {"input": 10}, "0.00001", "each search is paid and none is told, as in: searches=1 variant=low"),
        ("acme/sonar", {"searches": 0}, "0", ""),
        ("acme/sonar", {"searches": 1, "variant": "low"}, "0.005", ""),
        ("acme/sees", Usage(10, None), None, "`output` is not told"),
        ("acme/sees", Usage(None, 10), None, "`input` is not told"),
    ],
)
def test_what_is_paid_and_was_not_told_is_said(world, name, usage, total, rule):
    bill = models.price(name, usage, environment=world)
    assert bill.cost.total == (total and Decimal(total))
    assert bill.rules == ((rule,) if rule else ())


@pytest.mark.parametrize(
    ("wanted", "model", "reason"),
    [
        (Need(provider="acme", task="rerank"), "acme/ranks", "$0.002 for each query is paid beside tokens"),
        (Need(provider="acme"), "acme/sonar", "$0.005 for each search is paid beside tokens"),
        (Need(provider="acme"), "acme/sings", "$0.04 for each image is paid beside tokens"),
    ],
)
def test_what_is_paid_beside_tokens_is_named_and_never_fits_a_price_of_tokens(world, wanted, model, reason):
    found = {one.model.name: one for one in models.recommend(wanted, limit=None, environment=world)}
    assert (0, reason) in found[model].reasons
    assert found[model].model.facts()["beside"]
    for bound in ({"max_input_price": 5}, {"max_output_price": 5}):
        assert model in {one.model.name for one in models.find(wanted, environment=world)}
        assert model not in {one.model.name for one in models.find(replace(wanted, **bound), environment=world)}
        unsure = models.find(replace(wanted, unknown=True, **bound), environment=world)
        assert model in {one.model.name for one in unsure}


def test_a_table_s_price_of_nothing_is_no_cheapest_one(world):
    found = names(models.find(Need(context=200_000), environment=world))
    assert found.index("sees") < found.index("dear") < found.index("zero")


def test_a_model_is_found_once_but_among_all(world):
    every = ["aaa/one", "aaa/one-2025-01-31", "cla/one", "cla/one-2025-01-31"]
    for more, expected in (({}, ["cla/one"]), ({"every": True}, every), ({"provider": "aaa"}, ["aaa/one"])):
        found = [one.model.name for one in models.find(Need(supports=("images",), **more), environment=world)]
        assert sorted(name for name in found if name.startswith(("aaa/", "cla/"))) == expected


@pytest.mark.parametrize("said", [200_000, "200000", "200_000", "200,000", "200k", "0.2m", "2e5", " 200K "])
def test_a_length_is_taken_as_it_is_written(world, said):
    assert names(models.find(need(context=said), environment=world)) == names(
        models.find(need(context=200_000), environment=world)
    )
    assert "stepped" not in names(models.find(Need(provider="acme", context=said), environment=world))


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: models.show(None, environment=world),
        lambda world: models.find(Need(context=-5), environment=world),
        lambda world: models.find(Need(context="1.5"), environment=world),
        lambda world: models.find(Need(context="20,0"), environment=world),
        lambda world: models.find(Need(output=True), environment=world),
        lambda world: models.find(Need(supports=[","]), environment=world),
        lambda world: models.find(Need(), limit=-1, environment=world),
        lambda world: models.recommend(Need(), limit=-1, environment=world),
        lambda world: models.price("acme/sees", {"input": None}, environment=world),
        lambda world: models.price("acme/sees", {"input": 10**5_000}, environment=world),
        lambda world: models.price("acme/sees", {}, environment=world),
    ],
)
def test_what_says_nothing_is_refused_with_a_hint(world, ask):
    with pytest.raises(UsageError) as caught:
        ask(world)
    assert caught.value.hint


def test_money_is_shown_with_all_of_its_digits():
    amount = Decimal("12345678901234567890.123456789012345678901234567890")
    assert _money(amount) == f"{amount:f}".rstrip("0")


def test_words_tell_every_class():
    words = ["input=300_000", "cache-write.1h=5", "input_audio=7", "output_seconds=1.5", "speed=fast", "variant=1080p"]
    usage, at = usage_of_words(words)
    assert usage == Usage(input=300_000, output=0, classes={"input_audio": 7}, written={"1h": 5},
                          units={"output_seconds": Decimal("1.5")}, speed="fast", variant="1080p")  # fmt: skip
    assert at is None
    told = {"input": 5, "classes": {"input_image": 2}, "written": {"5m": 1}, "units": {"pages": 3}, "reasoning": None}
    assert usage_of_mapping(told)[0] == Usage(
        input=5, output=0, classes={"input_image": 2}, written={"5m": 1}, units={"pages": 3}
    )


OPENAI = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}
CLAUDES = {"input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 5}
ANSWER = {"id": "x", "object": "chat.completion", "model": "m", "usage": OPENAI,
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]}  # fmt: skip
STREAM = (
    'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
    f'data: {{"choices":[],"usage":{json.dumps(OPENAI)}}}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        ("acme/sees", {"input": 10, "output": 4, "cached_input": 3}, (10, 4, 3)),
        ("acme/sees", OPENAI, (10, 4, 3)),
        ("acme/sees", {"usage": OPENAI}, (10, 4, 3)),
        ("acme/sees", ANSWER, (10, 4, 3)),
        ("acme/sees", STREAM, (10, 4, 3)),
        ("acme/sees", {"input_tokens": 10, "output_tokens": 4}, (10, 4, None)),
        ("cla/one", CLAUDES, (15, 4, 5)),
        ("cla/one", {"usage": CLAUDES}, (15, 4, 5)),
        ("cla/one", ANSWER, (10, 4, 3)),
        ("tabled/far", OPENAI, (10, 4, 3)),
        ("gemini/x", {"promptTokenCount": 10, "candidatesTokenCount": 4}, (10, 4, None)),
        ("bedrock/x", {"inputTokens": 10, "outputTokens": 4}, (10, 4, None)),
        ("cohere/x", {"tokens": {"input_tokens": 10, "output_tokens": 4}}, (10, 4, None)),
    ],
)
def test_a_usage_is_read_from_what_providers_send(world, name, told, expected):
    data = told if isinstance(told, str) else json.dumps(told)
    usage = usage_of_bytes(world, name, data.encode()).usage
    assert (usage.input, usage.output, usage.cached_input) == expected


DEEP = b'{"prompt_tokens": 1, "x": ' + b'{"a": ' * 500 + b"1" + b"}" * 501
LARGEST = 2**64 - 1


@pytest.mark.parametrize(
    ("name", "told", "wire", "unused"),
    [
        ("acme/sees", {"input": 10, "output": 4, "cached_input": 3}, "", ()),
        ("acme/sees", OPENAI, "openai_chat", ()),
        ("acme/sees", {**OPENAI, "total_tokens": 14}, "openai_chat", ()),
        ("acme/sees", CLAUDES, "openai_responses", ("cache_read_input_tokens",)),
        ("acme/sees", {"usage": CLAUDES}, "openai_responses", ("cache_read_input_tokens",)),
        (
            "acme/sees",
            {**OPENAI, "more": {"odd_tokens": 7, "none": 0, "is": True}},
            "openai_chat",
            ("more.odd_tokens",),
        ),
        ("acme/sees", {**ANSWER, "created": 123, "usage": {**OPENAI, "odd": 7}}, "openai_chat", ("odd",)),
        ("acme/sees", {**OPENAI, "odd": LARGEST, "even": 1}, "openai_chat", ("odd", "even")),
        ("acme/sees", {f"odd_{n}": 1 for n in range(90)} | OPENAI, "openai_chat", tuple(f"odd_{n}" for n in range(50))),
        ("acme/sees", STREAM, "openai_chat", ()),
        ("cla/one", CLAUDES, "anthropic_messages", ()),
    ],
)
def test_the_format_that_was_read_and_what_it_did_not_use_are_said(world, name, told, wire, unused):
    sent = usage_of_bytes(world, name, (told if isinstance(told, str) else json.dumps(told)).encode())
    assert (sent.wire, sent.unused) == (wire, unused)
    assert (f"it was read as `{wire}`" in sent.rules) == bool(wire)
    assert all(any(f"`{count}`" in rule for rule in sent.rules) for count in unused)


@pytest.mark.parametrize("data", [b"", b"[]", b"not json", b'{"usage": {}}', b'{"choices": []}', b"\xff", DEEP])
def test_what_tells_no_usage_is_refused(world, data):
    with pytest.raises(UsageError, match="no usage is told there"):
        usage_of_bytes(world, "acme/sees", data)


@pytest.mark.parametrize(("told", "day"), [("2026-01-02", date(2026, 1, 2)), ("", None)])
def test_the_day_is_that_of_the_environment(monkeypatch, told, day):
    monkeypatch.setenv("FLOWLLM_TODAY", told)
    assert Environment(today=date(2020, 2, 2)).day == date(2020, 2, 2)
    assert Environment().day == day if day else Environment().day > date(2020, 1, 1)


def test_a_day_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("FLOWLLM_TODAY", "soon")
    with pytest.raises(UsageError, match="FLOWLLM_TODAY"):
        _ = Environment().day


@pytest.mark.parametrize(
    ("wanted", "first", "said"),
    [
        (need(context=10**9), ("context of at least 1,000,000,000 tokens", 0), "none of "),
        (need(max_input_price="0.0000001", max_output_price="0.0000001", context=5),
         ("a price of input of at most $0.0000001 a million", 1), "each alone is met by: "),
        (need(supports=("computer_use",)), ("computer_use", 0), "is known to have computer_use"),
        (need(task="speech", supports=()), ("the task speech", 0), "the task speech"),
        (Need(provider="acme", supports=("pdf",), unknown=True, context=10**9),
         ("context of at least 1,000,000,000 tokens", None), ""),
    ],
)  # fmt: skip
def test_the_strictest_condition_is_told_where_no_model_fits(world, wanted, first, said):
    found = models.excluded(wanted, environment=world)
    condition, number = first
    assert found.among == len(models.list(provider="acme", environment=world))
    assert found.met[0][0] == condition
    assert number is None or found.met[0][1] == number
    assert said in found.sentence
    assert [count for _, count in found.met] == sorted(count for _, count in found.met)
    assert found.to_data()["met"][0]["condition"] == condition


@pytest.mark.parametrize(
    "wanted", [need(context=200_000), need(max_input_price=1), need(supports=("tools",), unknown=True)]
)
def test_each_condition_alone_leaves_what_find_finds_with_it_alone(world, wanted):
    one = Need(provider="acme", supports=wanted.supports, unknown=wanted.unknown, deprecated=True, every=True)
    alone = dict(models.excluded(wanted, environment=world).met)
    assert alone[wanted.supports[0]] >= len(models.find(one, environment=world)) > 0


@pytest.mark.parametrize(
    ("name", "near"),
    [("acme/sess", "acme/sees"), ("acme/steped", "acme/stepped"), ("acme/zzzzzz", ""), ("acme/sees", "")],
)
def test_a_mistyped_model_is_priced_as_unknown_with_the_nearest_one(world, name, near):
    rules = models.price(name, {"input": 1}, environment=world).rules
    assert [rule for rule in rules if "did you mean" in rule] == (
        [f"nothing is known of this model; did you mean `{near}`?"] if near else []
    )


def test_a_mistyped_model_without_its_provider_is_told_the_nearest_of_a_provider_file(world):
    with pytest.raises(UsageError) as refused:
        models.show("gpt-5.4-mni", environment=world)
    assert refused.value.hint == "did you mean `openai/gpt-5.4-mini`?"


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: models.list(provider="opnai", environment=world),
        lambda world: models.show("opnai/sees", environment=world),
        lambda world: models.find(Need(provider="opnai"), environment=world),
        lambda world: models.recommend(Need(provider="opnai"), environment=world),
        lambda world: models.compare(["acme/sees", "opnai/sees"], environment=world),
        lambda world: models.price("opnai/sees", {"input": 1}, environment=world),
    ],
)
def test_a_mistyped_provider_is_told_the_nearest(world, ask):
    with pytest.raises(UsageError) as refused:
        ask(world)
    assert (refused.value.code, refused.value.hint) == ("unknown_provider", "did you mean `openai`?")


@pytest.mark.parametrize(
    ("told", "usual"),
    [
        ({"service": "FLEX"}, {"service": "flex"}),
        ({"service": "default"}, {}),
        ({"region": "EU"}, {"region": "eu"}),
        ({"region": "global"}, {}),
    ],
)
def test_terms_are_told_in_any_case_and_the_usual_ones_are_none(world, told, usual):
    bills = [models.price("acme/stepped", {"input": 100, **words}, environment=world) for words in (told, usual)]
    assert bills[0].cost == bills[1].cost


@pytest.mark.parametrize("at", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"])
def test_a_time_outside_of_the_calendar_is_no_time(world, at):
    with pytest.raises(UsageError, match="is no time"):
        models.price("acme/stepped", {"input": 1, "at": at}, environment=world)


@pytest.mark.parametrize(
    ("weigh", "first"),
    [
        ({}, "acme/reads"),
        ({"price": 1}, "acme/reads"),
        ({"price": 0, "context": 9}, "acme/dear"),
    ],
)
def test_points_count_as_often_as_is_said(world, weigh, first):
    found = models.recommend(need(weigh=weigh), environment=world)
    assert found[0].model.name == first
    assert all(one.score == sum(points for points, _ in one.reasons) for one in found)


@pytest.mark.parametrize(
    ("weigh", "hint"),
    [({"prize": 2}, "did you mean `price`?"), ({"price": None}, "--weigh price=2"), ({"price": -1}, "--weigh price=2"),
     ({"price": 1.5}, "--weigh price=2"), ({"price": True}, "--weigh price=2"), ({"end": 100}, "--weigh end=2"),
     ({"": 2}, "known: needs"), ({3: 2}, "known: needs"), ("price=2", 'weigh={"price": 2}'),
     ({"price": 10**5_000}, "--weigh price=2"), (None, 'weigh={"price": 2}')],
)  # fmt: skip
def test_a_weight_that_is_none_is_refused(world, weigh, hint):
    with pytest.raises(UsageError) as refused:
        models.recommend(need(weigh=weigh), environment=world)
    assert hint in refused.value.hint
