"""What LiteLLM's cost functions once billed, against our importer and our engine; LiteLLM is not needed."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from flowllm.catalog.importing.table import read_table
from flowllm.catalog.registry_rows import Head
from flowllm.core.delta import Usage
from flowllm.pricing.cost import priced
from flowllm.pricing.rates import Table
from tests.oracle import vectors

GOLDEN = Path(__file__).with_name("golden") / "prices.json"
TOLD = json.loads(GOLDEN.read_text(encoding="utf-8"))
ENTRIES = {one["name"]: one for one in TOLD["entries"]}
NEAR = Decimal("1e-12")
"""How far their binary floats may be from the exact amount, as a share of it."""


def card_of(name, row):
    """The entry as `flowllm models sync` takes it."""
    table = read_table(json.dumps({name: row}).encode(), Head("litellm", "1", "2026-11-22"))
    (models,) = table.models.values()
    (card,) = models.values()
    return card


def totals_of(name, row, bills):
    """Our totals beside theirs. One table prices all usages of an entry, as it does in a run."""
    card = card_of(name, row)
    table, answers = Table(card.prices), "chat" in card.tasks
    for told, theirs in bills:
        usage = Usage(**{word: value for word, value in told.items() if word != "at"})
        yield told, theirs, priced(table, usage, answers=answers, at=told.get("at")).total


def differs(total, theirs):
    return total is None or abs(total - Decimal(theirs)) > NEAR * Decimal(theirs)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bill_is_theirs(name):
    bills = totals_of(**ENTRIES[name])
    assert [(told, theirs, ours) for told, theirs, ours in bills if differs(ours, theirs)] == []


def test_what_was_asked_is_what_would_be_asked():
    """When `vectors` changes, LiteLLM is to be asked again."""
    assert {name: [told for told, _ in one["bills"]] for name, one in ENTRIES.items()} == {
        name: vectors.usages(one["row"]) for name, one in ENTRIES.items()
    }
    assert len(ENTRIES) > 100
    assert GOLDEN.stat().st_size < 100_000


def test_every_kind_of_price_decides_on_a_bill():
    """Each price that a kind of entry was chosen for, made a millionth dearer, is seen in a bill of some entry."""
    kinds = Counter(kind for one in ENTRIES.values() for kind in vectors.kinds(one["row"]) if kind in one["row"])
    assert {kind for kind in kinds if not any(map(_is_seen, ENTRIES.values(), [kind] * len(ENTRIES)))} == set()
    assert len(kinds) > 50


def _is_seen(entry, kind):
    if kind not in entry["row"]:
        return False
    dearer = {**entry["row"], kind: _dearer(entry["row"][kind])}
    return any(differs(ours, theirs) for _, theirs, ours in totals_of(entry["name"], dearer, entry["bills"]))


def _dearer(value):
    """A number with a millionth more; of what holds numbers, those that are prices or factors."""
    if isinstance(value, dict):
        return {name: _dearer(one) if name not in ("range", "windows") else one for name, one in value.items()}
    if isinstance(value, list):
        return [_dearer(one) for one in value]
    if isinstance(value, str):
        return value
    return value * 1.000001 if value else 1e-9
