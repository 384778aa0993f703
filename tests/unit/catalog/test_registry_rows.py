"""Models as lines of registry files, and back."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.catalog.registry_rows import Head, card_of_row, row_of, tasks_of
from flowllm.core.card import ModelCard
from flowllm.core.prices import TOKENS, UNITS, Hours, Multiplier, Prices, Rate

HEAD = Head("litellm", "1.0", "2026-11-22")
AMOUNTS = st.decimals(0, 1000, allow_nan=False, places=18)
WORDS = st.text("abcz59-", max_size=5)
RATES = st.builds(
    Rate,
    st.sampled_from([*TOKENS, *UNITS]),
    AMOUNTS,
    above=st.integers(0, 10**6),
    service=WORDS,
    lifetime=WORDS,
    variant=WORDS,
)
MANY = st.lists(RATES, max_size=4).map(tuple)
TIMES = st.sampled_from(["00:00", "16:30", "24:00"])
HOURS = st.builds(Hours, TIMES, TIMES, MANY, st.lists(st.integers(0, 6), max_size=7).map(tuple))
PRICES = st.builds(
    Prices,
    MANY.filter(bool),
    st.lists(st.builds(Multiplier, AMOUNTS, WORDS, WORDS), max_size=2).map(tuple),
    st.lists(HOURS, max_size=2).map(tuple),
    st.booleans(),
    as_of=st.just(HEAD.as_of),
    version=st.just(HEAD.title),
)
SETS = st.frozensets(WORDS.filter(bool), min_size=1, max_size=3)


@given(
    st.none() | PRICES, st.none() | st.integers(1, 10**7), st.sampled_from(["chat", "embed", "image", ""]), SETS, SETS
)
def test_a_model_written_and_read_is_the_same(prices, context, mode, supports, lacks):
    card = ModelCard(
        "m", context=context, mode=mode, tasks=tasks_of(mode), supports=supports, lacks=lacks, prices=prices,
        modalities=("text", "image"), deprecated="2027-01-01", checked=HEAD.as_of,
    )  # fmt: skip
    assert card_of_row("m", json.loads(json.dumps(row_of(card))), HEAD) == card


def test_amounts_are_plain_decimal_texts():
    rates = (Rate("input", Decimal("4E-7")), Rate("output", Decimal("1.50")), Rate("pages", Decimal("1E+2")))
    row = row_of(ModelCard("m", prices=Prices(rates)))
    assert row["prices"] == [["input", "0.0000004"], ["output", "1.5"], ["pages", "100"]]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([], "an entry is a mapping"),
        ({"price": []}, "an entry has no `price`"),
        ({"context": "many"}, "whole number"),
        ({"context": -1}, "whole number"),
        ({"context": True}, "whole number"),
        ({"mode": 1}, "a word is a text"),
        ({"supports": "tools"}, "a list is needed"),
        ({"supports": [1]}, "a word is a text"),
        ({"prices": {}}, "a list is needed"),
        ({"prices": [["input"]]}, "a price is"),
        ({"prices": [["smile", "1"]]}, "a price is"),
        ({"prices": [["input", 0.1]]}, "plain decimal text"),
        ({"prices": [["input", "1e-6"]]}, "plain decimal text"),
        ({"prices": [["input", "-1"]]}, "plain decimal text"),
        ({"prices": [["input", "NaN"]]}, "plain decimal text"),
        ({"prices": [["input", "1", {"above": "5"}]]}, "conditions of a price"),
        ({"prices": [["input", "1", {"amount": "5"}]]}, "conditions of a price"),
        ({"prices": [], "multipliers": ["1.1"]}, "a multiplier is"),
        ({"prices": [], "hours": [{"start": "25:00", "end": "01:00"}]}, "a time of day"),
        ({"prices": [], "hours": [{"start": "00:00", "end": "01:00", "weekdays": [7]}]}, "weekdays are"),
    ],
)
def test_a_line_that_is_no_entry(row, told):
    with pytest.raises(ValueError, match=told):
        card_of_row("m", row, HEAD)


@pytest.mark.parametrize(("mode", "task"), [("chat", "chat"), ("responses", "chat"), ("", "chat"), ("image", "image")])
def test_what_can_be_asked_by_mode(mode, task):
    assert card_of_row("m", {"mode": mode} if mode else {}, HEAD).tasks == {task}
