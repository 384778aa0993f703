"""Looking models up: which file is read when, and whose word counts."""

import json
import sys
from dataclasses import replace
from decimal import Decimal

import pytest

from flowllm.catalog import Registry
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Usage
from flowllm.core.errors import UsageError
from flowllm.core.prices import Prices, Rate, per_million
from flowllm.pricing.cost import pricing_of

HEAD = {"table": "t", "version": "1", "as_of": "2026-11-22"}
INPUT = [["input", "0.000001"]]


def write(folder, provider, models, **head):
    folder.mkdir(exist_ok=True)
    (folder / f"{provider}.json").write_text(json.dumps({**HEAD, **head, "models": models}))


def catalog(tmp_path, rows, provider="acme", **card):
    write(tmp_path / "shipped", provider, rows)
    return Catalog({provider: ProviderCard(provider, **card)}, Registry([tmp_path / "shipped"]))


def test_a_model_of_the_registry(tmp_path):
    known = catalog(tmp_path, {"m": {"context": 10, "mode": "chat", "prices": INPUT, "source": "https://x.example"}})
    prices = Prices(
        (Rate("input", Decimal("0.000001")),), source="https://x.example", as_of="2026-11-22", version="t 1"
    )
    assert known.model("acme/m") == ModelCard(
        "m", context=10, mode="chat", prices=prices, source="https://x.example", checked="2026-11-22"
    )


@pytest.mark.parametrize("name", ["acme/n", "other/m", "acme", "acme/", "", "../x/m", "ACME/m"])
def test_of_others_nothing_is_known(tmp_path, name):
    assert catalog(tmp_path, {"m": {}}).model(name) is None


def test_the_first_folder_goes_before_the_second_entry_by_entry(tmp_path):
    write(tmp_path / "own", "acme", {"m": {"context": 1}}, table="own")
    write(tmp_path / "shipped", "acme", {"m": {"context": 2, "output": 3}, "n": {"context": 4}})
    registry = Registry([tmp_path / "own", tmp_path / "shipped", tmp_path / "none"])
    found = {id_: (card.context, card.output) for id_, card in registry.models("acme").items()}
    assert (found, registry.names()) == ({"m": (1, None), "n": (4, None)}, ["acme"])


ROW = {
    "context": 10,
    "output": 5,
    "supports": ["images", "pdf"],
    "lacks": ["tools", "sound"],
    "prices": INPUT,
    "mode": "embed",
}


@pytest.mark.parametrize(
    ("said", "fact", "value"),
    [
        ({}, "context", 10),
        ({"context": 20}, "context", 20),
        ({"context": 20}, "output", 5),
        ({}, "prices", "the registry's"),
        ({"prices": per_million({"input": Decimal(7)})}, "prices", per_million({"input": Decimal(7)})),
        ({"prices": per_million({"input": Decimal("1.00")})}, "prices", "the registry's"),
        ({"quirks": {"a": 1}}, "quirks", {"a": 1}),
        ({}, "tasks", {"embed"}),
        ({"tasks": frozenset({"chat"})}, "tasks", {"chat"}),
        ({}, "supports", {"images", "pdf"}),
        ({"supports": frozenset({"tools"})}, "supports", {"tools", "pdf"}),
        ({"supports": frozenset({"tools"})}, "lacks", {"images", "json_schema", "reasoning", "sound"}),
        ({"supports": frozenset({"tools"}), "lacks": frozenset({"pdf"})}, "supports", {"tools", "images"}),
    ],
)
def test_the_providers_file_wins_fact_by_fact(tmp_path, said, fact, value):
    known = catalog(tmp_path, {"m": ROW}, models={"m": ModelCard("m", **said)}).model("acme/m")
    expected = Registry([tmp_path / "shipped"]).models("acme")["m"].prices if value == "the registry's" else value
    assert getattr(known, fact) == expected


@pytest.mark.parametrize(
    ("own", "tabled", "whole", "prompt"),
    [
        ({}, {"max_input": 10, "output": 5}, None, 10),
        ({"context": 15}, {"max_input": 10, "output": 5}, 15, 10),
        ({"context": 15, "output": 5}, {"max_input": 10}, 15, 10),
        ({"context": 10}, {"max_input": 10, "output": 5}, 10, 10),
        ({"context": 8}, {"max_input": 10, "output": 5}, 8, 8),
        ({"context": 100}, {"max_input": 10, "output": 5}, 100, 100),
        ({"context": 100, "max_input": 20}, {"max_input": 10, "output": 5}, 100, 20),
        ({"max_input": 20}, {"max_input": 10}, None, 20),
    ],
)
def test_the_longest_prompt_of_a_table_holds_in_the_window_of_a_file_that_it_fits(tmp_path, own, tabled, whole, prompt):
    known = catalog(tmp_path, {"m": tabled}, models={"m": ModelCard("m", **own)}).model("acme/m")
    assert (known.context, known.longest_prompt, known.window) == (whole, prompt, whole or prompt)


@pytest.mark.parametrize(
    ("card", "word", "can"),
    [
        ({}, "tools", None),
        ({"supports": frozenset({"tools"})}, "tools", True),
        ({"supports": frozenset({"tools"})}, "images", False),
        ({"supports": frozenset({"tools"})}, "pdf", None),
        ({"supports": frozenset(), "lacks": frozenset()}, "images", None),
        ({"supports": frozenset(), "lacks": frozenset({"images"})}, "images", False),
    ],
)
def test_what_a_model_can_is_known_or_not(card, word, can):
    assert ModelCard("m", **card).can(word) is can


BASE = {"context": 9, "prices": INPUT, "deprecated": "2026-01-01", "supports": ["tools"]}


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("us.anthropic.claude-x", "anthropic.claude-x"),
        ("us-gov.anthropic.claude-x", "anthropic.claude-x"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-x-20251001", "claude-x"),
        ("claude-x@20251001", "claude-x"),
        ("claude-x-latest", "claude-x"),
        ("eu.anthropic.claude-x-20251001", "anthropic.claude-x"),
    ],
)
def test_a_form_of_a_model_has_its_facts_and_no_price(tmp_path, asked, listed):
    known = catalog(tmp_path, {listed: BASE}).model(f"acme/{asked}")
    assert (known.id, known.context, known.supports, known.prices, known.deprecated) == (asked, 9, {"tools"}, None, "")


@pytest.mark.parametrize("asked", ["us.claude", "gpt-4o-mini", "gpt-4o-2024", "xx.anthropic.claude-x", "us-latest"])
def test_another_name_is_another_model(tmp_path, asked):
    assert (
        catalog(tmp_path, {"claude": BASE, "gpt-4o": BASE, "anthropic.claude-x": BASE, "": BASE}).model(f"acme/{asked}")
        is None
    )


@pytest.mark.parametrize(
    ("settings", "amount"),
    [({}, "1"), ({"region": "eu-west-1"}, "3"), ({"location": "eu-west-1"}, "3"), ({"region": "x"}, "1")],
)
def test_a_region_with_an_entry_has_its_own_price(tmp_path, settings, amount):
    rows = {"m": {"context": 9, "prices": [["input", "1"]]}, "eu-west-1/m": {"prices": [["input", "3"]]}}
    known = catalog(tmp_path, rows, settings=settings).model("acme/m")
    assert (known.id, known.context, str(known.prices.rates[0].amount)) == ("m", 9, amount)


@pytest.mark.parametrize(("price", "rates"), [("1", 2), ("3", 1)])
def test_further_prices_hold_in_a_region_that_agrees(tmp_path, price, rates):
    rows = {
        "m": {"prices": [["input", "1"], ["input", "0.5", {"service": "batch"}]]},
        "eu/m": {"prices": [["input", price]]},
    }
    known = catalog(tmp_path, rows, settings={"region": "eu"}).model("acme/m")
    assert len(known.prices.rates) == rates


def test_a_region_without_a_price_has_none(tmp_path):
    rows = {"m": {"prices": INPUT}, "eu/m": {"context": 1}}
    assert catalog(tmp_path, rows, settings={"region": "eu"}).model("acme/m").prices is None


@pytest.mark.parametrize(
    ("place", "others", "unpriced"),
    [
        ({"region": "eu-central-1"}, {"sa-east-1": "2"}, "eu-central-1"),
        ({"region": "eu-central-1"}, {"sa-east-1": "0.000001"}, ""),
        ({"region": "eu-central-1"}, {}, ""),
        ({"region": "us-west-2"}, {"sa-east-1": "2"}, ""),
        ({"region": "sa-east-1"}, {"sa-east-1": "2"}, ""),
        ({}, {"sa-east-1": "2"}, ""),
    ],
)
def test_a_region_whose_prices_are_not_known_is_named_where_prices_differ_by_region(tmp_path, place, others, unpriced):
    rows = {f"{region}/m": {"prices": [["input", amount]]} for region, amount in others.items()}
    known = catalog(tmp_path, {"m": {"prices": [*INPUT, ["output", "0"]]}, **rows}, settings=place)
    if others and "0.000001" in others.values():
        known = catalog(tmp_path, {"m": {"prices": INPUT}, **rows}, settings=place)
    prices = known.model("acme/m").prices
    assert prices.unpriced_region == unpriced
    if unpriced:
        said = pricing_of(known)("acme/m", Usage(1, 1))
        assert said.source.endswith("no price for eu-central-1 is known; the standard one")
        assert said.total is not None


def test_a_provider_may_have_the_entries_of_another(tmp_path):
    known = catalog(tmp_path, {"m": {"context": 9}}, provider="acme")
    dated = replace(known, providers={"dated": ProviderCard("dated", registry="acme")})
    assert dated.model("dated/m").context == 9


def opened_by(work):
    """Registry files that were opened meanwhile."""
    seen, on = [], [True]

    def hook(event, words):
        if on[0] and event == "open" and "/shipped/" in str(words[0]):
            seen.append(str(words[0]).rpartition("/")[2])

    sys.addaudithook(hook)
    work()
    on[0] = False
    return seen


def test_a_file_is_read_once_and_only_for_its_provider(tmp_path):
    write(tmp_path / "shipped", "other", {"m": {}})
    known = catalog(tmp_path, {"m": {}, "n": {}})
    assert opened_by(known.registry.names) == []
    assert opened_by(lambda: [known.model(f"acme/{name}") for name in "mnomno"]) == ["acme.json"]


def test_models_of_this_process_are_not_looked_up(tmp_path):
    known = catalog(tmp_path, {"m": {"context": 9}}, local=True, models={"m": ModelCard("m")})
    assert opened_by(lambda: known.model("acme/m")) == []
    assert known.model("acme/m").context is None


def test_names_that_are_made_do_not_fill_the_memory(tmp_path):
    known = catalog(tmp_path, {"m": {}})
    for number in range(10_005):
        known.model(f"acme/{number}")
    assert len(known.kept) < 10_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is no JSON"),
        ("{", "it is no JSON"),
        ("[]", "it needs `table`"),
        ('{"models": []}', "it needs `table`"),
        ('{"models": {}, "table": 1}', "it needs `table`"),
        ('{"models": {"m": {"prices": [["input", 1]]}}}', "m: an amount is a plain decimal text"),
        (" " * (8 * 1024 * 1024 + 1), "larger than 8 MiB"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, text, told):
    (tmp_path / "acme.json").write_text(text)
    with pytest.raises(UsageError, match=told) as caught:
        Registry([tmp_path]).find("acme", "m")
    assert (caught.value.code, str(tmp_path / "acme.json") in str(caught.value)) == ("file_refused", True)
