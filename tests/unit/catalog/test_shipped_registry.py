"""The registry files that come with flowllm: each is what its generator would write, and prices as its table does."""

import json
from decimal import Decimal

import pytest

from flowllm.catalog import Registry, packaged_providers
from flowllm.catalog.importing.names import PROVIDERS
from flowllm.catalog.importing.writing import file_text
from flowllm.catalog.registry import NAME, read_file
from flowllm.catalog.registry_rows import row_of
from flowllm.core.card import Catalog, ProviderCard
from flowllm.core.delta import Usage
from flowllm.pricing.cost import pricing_of

FOLDER = packaged_providers() / "models"
FILES = sorted(FOLDER.glob("*.json"))
OWN = {path.stem for path in packaged_providers().glob("*.yaml")}
NOT_OURS = {"codestral", "inception"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_reads_back_as_it_is_written(path):
    head, rows = read_file(path)
    cards = Registry([FOLDER]).models(path.stem)
    assert {id_: row_of(card) for id_, card in cards.items()} == rows
    assert path.read_text("utf-8") == file_text(head, rows)
    assert NAME.fullmatch(path.stem)
    assert path.stat().st_size < 1_000_000
    assert (head.table, bool(head.version), len(head.as_of), "MIT" in head.licence) == ("litellm", True, 10, True)


def test_there_are_thousands_with_a_price():
    cards = [card for path in FILES for card in Registry([FOLDER]).models(path.stem).values()]
    assert len(cards) > 4000
    assert sum(card.prices is not None for card in cards) > 3900


def test_companies_are_called_as_their_provider_files_are():
    assert {*PROVIDERS.values()} <= OWN | NOT_OURS
    assert {path.stem.replace("_", "-") for path in FILES} & OWN == {path.stem for path in FILES} & OWN
    assert len({path.stem for path in FILES} & OWN) > 25


def test_no_number_in_a_price_is_binary():
    def refuse(digits):
        raise AssertionError(digits)

    for path in FILES:
        json.loads(path.read_text("utf-8"), parse_float=refuse)


GOLDEN = [
    ("openai/gpt-5.4", Usage(input=300_000, output=1_000), "1.5225"),
    ("openai/gpt-5.4", Usage(input=272_000, output=1_000), "0.695"),
    ("anthropic/claude-sonnet-4-5", Usage(input=10_000, output=100, cached_input=9_000), "0.0072"),
    ("vertex/gemini-2.5-pro", Usage(input=262_960, output=1_744, cached_input=257_955), "0.10316125"),
    ("openai/o3", Usage(input=1_000, output=5_000, reasoning=4_000), "0.042"),
    ("openai/o3", Usage(input=1_000, output=1_000, service="flex"), "0.005"),
    ("openai/whisper-1", Usage(units={"input_seconds": 60}), "0.006"),
    ("openai/gpt-nobody-knows", Usage(input=1, output=1), None),
]


@pytest.mark.parametrize(("model", "usage", "total"), GOLDEN)
def test_vectors(model, usage, total):
    provider = model.partition("/")[0]
    priced = pricing_of(Catalog({provider: ProviderCard(provider)}, Registry([FOLDER])))
    assert priced(model, usage).total == (None if total is None else Decimal(total))


@pytest.mark.parametrize(
    ("model", "settings", "total", "remark"),
    [
        ("vertex-anthropic/claude-fable-5", {"location": "us-east5"}, "11", False),
        ("vertex-anthropic/claude-fable-5", {"location": "global"}, "10", False),
        ("bedrock/meta.llama3-70b-instruct-v1:0", {"region": "us-east-1"}, "2.65", False),
        ("bedrock/meta.llama3-70b-instruct-v1:0", {"region": "sa-east-1"}, "4.45", False),
        ("bedrock/meta.llama3-70b-instruct-v1:0", {"region": "eu-central-1"}, "2.65", True),
        ("bedrock/anthropic.claude-v2:1", {"region": "sa-east-1"}, "8", False),
    ],
)
def test_a_place_has_its_price_or_the_cost_says_that_it_is_anothers(model, settings, total, remark):
    provider = model.partition("/")[0]
    catalog = Catalog({provider: ProviderCard(provider, settings=settings)}, Registry([FOLDER]))
    cost = pricing_of(catalog)(model, Usage(1_000_000, 0))
    assert (cost.total, "no price for" in cost.source) == (Decimal(total), remark)
