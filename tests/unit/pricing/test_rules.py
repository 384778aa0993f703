"""The rules by which providers bill, each a table; golden vectors of known bills."""

from decimal import Decimal

import pytest

from flowllm.api import Environment
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Usage
from flowllm.core.event import Cost
from flowllm.core.prices import TOKENS, UNITS, Hours, Multiplier, Prices, Rate
from flowllm.pricing.cost import priced, pricing_of
from flowllm.pricing.rates import Table

PRICE = pricing_of(Environment().catalog)


def rates(*rows):
    """``("input above=200 batch=...", "2.5e-6")``: an item with its conditions, and dollars for one unit."""
    made = []
    for told, amount in rows:
        item, *conditions = told.split()
        known = dict(condition.split("=") for condition in conditions)
        made.append(Rate(item, Decimal(amount), **{**known, "above": int(known.get("above", 0))}))
    return tuple(made)


def bill(prices, usage, **how):
    table = prices if isinstance(prices, Prices) else Prices(rates(*prices))
    return priced(Table(table), usage, **how)


def amounts(cost):
    return {line.item: line.amount for line in cost.items}


def sides(cost):
    """What is read, and what is written."""
    written = ("output", "reasoning", "input_seconds")  # the golden table has the seconds of whisper-1 there
    known = [(line.item.startswith(written), line.amount) for line in cost.items]
    return tuple(sum((amount for side, amount in known if side is wanted), Decimal(0)) for wanted in (False, True))


GPT_5_4 = (
    ("input", "2.5e-6"),
    ("output", "1.5e-5"),
    ("input above=272000", "5e-6"),
    ("output above=272000", "2.25e-5"),
)
SONNET = (
    ("input", "3e-6"),
    ("cached_input", "3e-7"),
    ("cache_write", "3.75e-6"),
    ("cache_write lifetime=1h", "6e-6"),
    ("output", "1.5e-5"),
)
GEMINI = (
    ("input", "1.25e-6"),
    ("cached_input", "1.25e-7"),
    ("output", "1e-5"),
    ("input above=200000", "2.5e-6"),
    ("cached_input above=200000", "2.5e-7"),
    ("output above=200000", "1.5e-5"),
)
O3 = (("input", "2e-6"), ("output", "8e-6"), ("input service=flex", "1e-6"), ("output service=flex", "4e-6"))
WHISPER = (("input_seconds", "0.0001"), ("output_seconds", "0.0001"))


@pytest.mark.parametrize(
    ("prices", "usage", "read", "written"),
    [
        (GPT_5_4, Usage(300_000, 1_000), "1.5", "0.0225"),
        (GPT_5_4, Usage(272_000, 1_000), "0.68", "0.015"),
        (SONNET, Usage(10_000, 100, cached_input=9_000), "0.0057", "0.0015"),
        (GEMINI, Usage(262_960, 1_744, cached_input=257_955), "0.07700125", "0.02616"),
        (O3, Usage(1_000, 5_000, reasoning=4_000), "0.002", "0.04"),
        (O3, Usage(1_000, 1_000, service="flex"), "0.001", "0.004"),
        (WHISPER, Usage(units={"input_seconds": 60}), "0", "0.006"),
    ],
)
def test_known_bills(prices, usage, read, written):
    cost = bill(prices, usage)
    assert sides(cost) == (Decimal(read), Decimal(written))
    assert cost.total == Decimal(read) + Decimal(written)


@pytest.mark.parametrize(
    ("model", "usage", "read", "written"),
    [
        ("openai/gpt-5.4", Usage(300_000, 1_000), "1.5", "0.0225"),
        ("openai/gpt-5.4", Usage(272_000, 1_000), "0.68", "0.015"),
        ("anthropic/claude-sonnet-4-5", Usage(10_000, 100, cached_input=9_000), "0.0057", "0.0015"),
        ("vertex/gemini-2.5-pro", Usage(262_960, 1_744, cached_input=257_955), "0.07700125", "0.02616"),
        ("openai/o3", Usage(1_000, 5_000, reasoning=4_000), "0.002", "0.04"),
        ("openai/o3", Usage(1_000, 1_000, service="flex"), "0.001", "0.004"),
        ("openai/whisper-1", Usage(units={"input_seconds": 60}), "0", "0.006"),
        ("openai/whisper-1", Usage(units={"input_seconds": 60, "output_seconds": 60}), "0", "0.006"),
        ("openai/a-model-of-tomorrow", Usage(1_000, 1_000), None, None),
        ("nobody/m", Usage(1_000, 1_000), None, None),
    ],
)
def test_known_bills_by_the_registry(model, usage, read, written):
    cost = PRICE(model, usage)
    if read is None:
        assert cost == Cost(None)
    else:
        assert sides(cost) == (Decimal(read), Decimal(written))
        assert cost.total == Decimal(read) + Decimal(written)
        assert cost.version


@pytest.mark.parametrize(
    ("tokens", "reached", "total"),
    [(100, False, "100"), (101, False, "202"), (99, True, "99"), (100, True, "200"), (101, True, "202")],
)
def test_a_step_is_for_the_whole_request(tokens, reached, total):
    prices = Prices(rates(("input", "1"), ("input above=100", "2")), reached=reached)
    assert bill(prices, Usage(tokens, 0)).total == Decimal(total)


def test_the_highest_step_that_was_reached_holds_for_every_class():
    prices = (*GEMINI, ("input above=500000", "1"), ("cached_input above=500000", "1"), ("output above=500000", "1"))
    cost = bill(prices, Usage(500_001, 7, cached_input=1))
    assert cost.total == 500_008
    assert {line.condition for line in cost.items} == {"above 500,000 tokens"}


TEXT = (("input", "2"), ("output", "8"))


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        # what has no price of its own costs as much as other text of its side
        (TEXT, Usage(10, 0, cached_input=4), {"cached_input": 8, "input": 12}),
        (TEXT, Usage(10, 0, cache_write=4), {"cache_write": 8, "input": 12}),
        (TEXT, Usage(10, 0, classes={"input_audio": 4}), {"input_audio": 8, "input": 12}),
        (TEXT, Usage(10, 0, classes={"input_image": 4}), {"input_image": 8, "input": 12}),
        (TEXT, Usage(0, 10, classes={"output_audio": 4}), {"output_audio": 32, "output": 48}),
        (TEXT, Usage(0, 10, reasoning=4), {"reasoning": 32, "output": 48}),
        # a price of its own, of nothing too
        ((*TEXT, ("reasoning", "3")), Usage(0, 10, reasoning=4), {"reasoning": 12, "output": 48}),
        ((*TEXT, ("cached_input", "0")), Usage(10, 0, cached_input=4), {"cached_input": 0, "input": 12}),
        ((*TEXT, ("input_audio", "7")), Usage(10, 0, classes={"input_audio": 4}), {"input_audio": 28, "input": 12}),
        (
            (*TEXT, ("cached_input", "1"), ("input_audio", "7"), ("cached_audio", "5")),
            Usage(10, 0, cached_input=6, classes={"input_audio": 5, "cached_audio": 2}),
            {"cached_audio": 10, "cached_input": 4, "input_audio": 21, "input": 2},
        ),
        (
            (*TEXT, ("cached_input", "1")),
            Usage(10, 0, 6, classes={"cached_audio": 2}),
            {"cached_audio": 2, "cached_input": 4, "input": 8},
        ),
        # citations stand beside the prompt
        ((*TEXT, ("citations", "1")), Usage(1, 0, classes={"citations": 5}), {"input": 2, "citations": 5}),
        (TEXT, Usage(1, 0, classes={"citations": 5}), {"input": 2, "citations": None}),
        # tokens that a provider says it bills
        (TEXT, Usage(500, 60, 400, billed_input=8, billed_output=50), {"input": 16, "output": 400}),
        # of a side where it says nothing, what it counts holds
        (TEXT, Usage(100, 50, 40, 0, 9, billed_output=40), {"cached_input": 80, "input": 120, "output": 320}),
        (TEXT, Usage(100, 50, 40, 0, 9, billed_input=7), {"input": 14, "reasoning": 72, "output": 328}),
        (TEXT, Usage(100, 50, billed_input=0, billed_output=0), {}),
        (
            (*TEXT, ("citations", "1"), ("output_audio", "9")),
            Usage(100, 50, classes={"citations": 7, "input_audio": 9, "output_audio": 2}, billed_input=10),
            {"input": 20, "output_audio": 18, "output": 384, "citations": 7},
        ),
        (
            (*TEXT, ("citations", "1"), ("input_audio", "9")),
            Usage(100, 50, classes={"citations": 7, "input_audio": 9, "output_audio": 2}, billed_output=10),
            {"input_audio": 81, "input": 182, "output": 80, "citations": 7},
        ),
        # what is another thing than plain tokens is no price for these
        ((*TEXT, ("cache_write variant=audio", "9")), Usage(10, 0, cache_write=4), {"cache_write": 8, "input": 12}),
        ((*TEXT, ("cached_input variant=explicit", "1")), Usage(10, 0, 4), {"cached_input": 8, "input": 12}),
        (
            (*TEXT, ("cached_input variant=explicit", "1")),
            Usage(10, 0, 4, variant="explicit"),
            {"cached_input": 4, "input": 12},
        ),
    ],
)
def test_classes_of_tokens(prices, usage, expected):
    assert amounts(bill(prices, usage)) == expected


WRITES = (*TEXT, ("cache_write", "3"), ("cache_write lifetime=1h", "5"))


@pytest.mark.parametrize(
    ("prices", "written", "write", "total"),
    [
        (WRITES, {"5m": 4}, 4, 12),
        (WRITES, {"1h": 4}, 4, 20),
        (WRITES, {"5m": 1, "1h": 3}, 4, 18),
        (WRITES, {"1h": 3}, 4, 18),
        (WRITES, {"12h": 4}, 4, 12),
        (WRITES, {"1h": 4}, None, 20),
        (WRITES, {}, 4, 12),
        ((*TEXT, ("cache_write lifetime=5m", "3")), {}, 4, 12),
        (TEXT, {"1h": 4}, 4, 8),
    ],
)
def test_cache_writes_by_lifetime(prices, written, write, total):
    assert bill(prices, Usage(4, 0, cache_write=write, written=written)).total == total


@pytest.mark.parametrize(
    ("prices", "service", "total", "condition"),
    [
        ((("input", "4"), ("input service=batch", "3")), "batch", 30, "batch"),
        ((("input", "4"),), "batch", 20, "half for a batch"),
        (
            (("input", "4"), ("input above=5", "6"), ("input service=batch", "3")),
            "batch",
            30,
            "above 5 tokens, half for a batch",
        ),
        (
            (("input", "4"), ("input above=5", "6"), ("input above=5 service=batch", "1")),
            "batch",
            10,
            "above 5 tokens, batch",
        ),
        ((("input", "4"), ("output service=flex", "1")), "flex", 40, "no price for flex is known; the standard one"),
        ((("input", "4"),), "priority", 40, "no price for priority is known; the standard one"),
        ((("input", "4"), ("input service=flex", "9")), "odd", 40, "no price for odd is known; the standard one"),
        ((("input", "4"), ("input service=priority", "9")), "fast", 90, "priority"),
        ((("input", "4"), ("input service=priority", "9")), "priority", 90, "priority"),
        ((("input", "4"), ("input service=priority", "9")), "", 40, ""),
    ],
)
def test_classes_of_service(prices, service, total, condition):
    cost = bill(prices, Usage(10, 0, service=service))
    assert cost.total == total
    assert [line.condition for line in cost.items] == [condition]


REGIONS = Prices(
    rates(("input", "2"), ("searches", "5")),
    (Multiplier(Decimal("1.1"), region="us"), Multiplier(Decimal(6), speed="fast")),
)


@pytest.mark.parametrize(
    ("region", "speed", "total", "condition"),
    [
        ("", "", "25", ""),
        ("us", "", "27", "x 1.1 for us"),
        ("eu", "", "25", "no price for eu is known; the standard one"),
        ("", "fast", "125", "x 6 for fast"),
        ("us", "fast", "137", "x 1.1 for us, x 6 for fast"),
        ("", "slow", "25", "no price for slow is known; the standard one"),
        ("us", "slow", "27", "x 1.1 for us, no price for slow is known; the standard one"),
        ("eu", "slow", "25", "no price for slow and eu is known; the standard one"),
    ],
)
def test_factors_come_last_and_for_tokens_alone(region, speed, total, condition):
    cost = bill(REGIONS, Usage(10, 0, units={"searches": 1}, region=region, speed=speed))
    assert cost.total == Decimal(total)
    assert amounts(cost)["searches"] == 5
    assert [line.condition for line in cost.items] == [condition, ""]
    assert ("no price" in cost.source) == ("no price" in condition)
    assert cost.source.endswith(condition.rpartition(", ")[2] if "no price" in condition else "prices without a date")


THINKS = (
    ("output", "4"),
    ("reasoning", "6"),
    ("output above=5", "5"),
    ("output service=flex", "2"),
    ("output service=priority", "8"),
    ("reasoning service=priority", "9"),
    ("output_audio", "7"),
)


@pytest.mark.parametrize(
    ("service", "thinking", "sound", "rest"),
    [
        ("", 6, 7, 4),
        ("flex", 2, 7, 2),  # the class prices all that is written, and sound keeps its own price
        ("priority", 9, 7, 8),
        ("odd", 6, 7, 4),
        ("batch", 3, Decimal("3.5"), 2),
    ],
)
def test_thinking_in_a_class_of_service_that_has_no_price_for_it(service, thinking, sound, rest):
    usage = Usage(0, 3, reasoning=1, classes={"output_audio": 1}, service=service)
    assert amounts(bill(THINKS, usage)) == {"reasoning": thinking, "output_audio": sound, "output": rest}


def test_what_a_batch_writes_costs_its_price_with_the_thinking():
    usage = Usage(0, 3, reasoning=2, service="batch")
    assert amounts(bill((*THINKS, ("output service=batch", "1")), usage)) == {"reasoning": 2, "output": 1}


SPOKEN = (("input_characters", "3"), ("output", "1"))


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        # characters or tokens, never both
        (SPOKEN, Usage(5, 2, units={"input_characters": 10}), {"output": 2, "input_characters": 30}),
        (TEXT, Usage(5, 2, units={"input_characters": 10}), {"input": 10, "output": 16}),
        # sound by its length once, and not where its tokens are billed
        (WHISPER, Usage(units={"input_seconds": 10, "output_seconds": 10}), {"input_seconds": Decimal("0.001")}),
        ((("output_seconds", "2"),), Usage(units={"input_seconds": 3}), {"output_seconds": 6}),
        ((("input_seconds", "2"),), Usage(units={"output_seconds": 3}), {"input_seconds": 6}),
        ((("input_seconds", "2"),), Usage(units={"input_seconds": 3, "output_seconds": 3}), {"input_seconds": 6}),
        ((("output_seconds", "2"),), Usage(units={"input_seconds": 3, "output_seconds": 3}), {"output_seconds": 6}),
        ((("output_seconds", "2"),), Usage(units={"input_seconds": 3, "output_seconds": 0}), {"output_seconds": 6}),
        (
            (("input_seconds", "2"), ("output_seconds", "3")),
            Usage(units={"input_seconds": 1, "output_seconds": 1}),
            {"input_seconds": 2, "output_seconds": 3},
        ),
        (
            (*TEXT, ("input_audio", "7"), ("input_seconds", "2")),
            Usage(4, 0, classes={"input_audio": 4}, units={"input_seconds": 3}),
            {"input_audio": 28},
        ),
        # pictures or their tokens: those of the two that have a price
        (
            (*TEXT, ("input_images", "5")),
            Usage(1000, 50, classes={"input_image": 500}, units={"input_images": 2}),
            {"input": 1000, "output": 400, "input_images": 10},
        ),
        (
            (*TEXT, ("input_images", "5"), ("input_image", "3")),
            Usage(1000, 50, classes={"input_image": 500}, units={"input_images": 2}),
            {"input_image": 1500, "input": 1000, "output": 400},
        ),
        (TEXT, Usage(10, 0, classes={"input_image": 5}, units={"input_images": 2}), {"input_image": 10, "input": 10}),
        (
            (*TEXT, ("output_seconds", "5")),
            Usage(10, 0, classes={"input_audio": 6}, units={"input_seconds": 2}),
            {"input": 8, "output_seconds": 10},
        ),
        # what is paid beside tokens
        ((*TEXT, ("searches", "10")), Usage(1, 0, units={"searches": 2}), {"input": 2, "searches": 20}),
        (TEXT, Usage(1, 0, units={"searches": 2}), {"input": 2, "searches": None}),
        (TEXT, Usage(1, 0, units={"searches": 0}), {"input": 2}),
        ((*TEXT, ("requests", "10")), Usage(1, 0), {"input": 2, "requests": 10}),
        ((("queries", "2"),), Usage(units={"queries": 3}), {"queries": 6}),
        ((("input", "0"), ("output", "0"), ("queries", "2")), Usage(units={"queries": 3}), {"queries": 6}),
        ((("requests", "2"),), Usage(), {"requests": 2}),
        ((("pages", "2"),), Usage(units={"pages": 3}), {"pages": 6}),
        (
            (("output_images variant=hd", "2"), ("output_images", "1")),
            Usage(units={"output_images": 3}, variant="hd"),
            {"output_images": 6},
        ),
        (
            (("output_images variant=hd", "2"), ("output_images", "1")),
            Usage(units={"output_images": 3}),
            {"output_images": 3},
        ),
        (
            (("searches variant=low", "1"), ("searches variant=high", "2")),
            Usage(0, 0, units={"searches": 1}, variant="high"),
            {"searches": 2},
        ),
        (
            (("searches variant=low", "1"), ("searches variant=high", "2")),
            Usage(0, 0, units={"searches": 1}),
            {"searches": None},
        ),
        (
            (("searches variant=low", "1"), ("searches variant=high", "1")),
            Usage(0, 0, units={"searches": 1}),
            {"searches": 1},
        ),
        # a batch halves tokens alone
        (
            (*TEXT, ("searches", "10")),
            Usage(2, 0, units={"searches": 1}, service="batch"),
            {"input": 2, "searches": 10},
        ),
    ],
)
def test_other_units(prices, usage, expected):
    assert amounts(bill(prices, usage)) == expected


NIGHT = Prices(
    rates(("input", "4"), ("output", "8")),
    hours=(
        Hours("16:30", "00:30", rates(("input", "1"))),
        Hours("08:00", "09:00", rates(("input", "2")), weekdays=(5, 6)),
    ),
)
MONDAY = 1_763_942_400  # 2025-11-24 00:00 UTC


@pytest.mark.parametrize(
    ("day", "time", "total"),
    [
        (0, "16:29", 40),
        (0, "16:30", 10),
        (0, "23:59", 10),
        (1, "00:29", 10),
        (1, "00:30", 40),
        (0, "08:30", 40),
        (5, "08:30", 20),
        (6, "08:59", 20),
        (6, "09:00", 40),
    ],
)
def test_prices_of_a_time_of_day(day, time, total):
    hours, minutes = map(int, time.split(":"))
    at = MONDAY + day * 86_400 + hours * 3_600 + minutes * 60
    assert bill(NIGHT, Usage(10, 0), at=at).total == total
    assert bill(NIGHT, Usage(10, 0)).total == 40


@pytest.mark.parametrize("order", [(10, 100, 1_000), (1_000, 100, 10)])
def test_steps_of_a_time_of_day_hold_whatever_was_priced_before(order):
    night = rates(("input", "1"), ("input above=100", "10"))
    table = Table(Prices(rates(("input", "4")), hours=(Hours("00:00", "24:00", night),)))
    found = {count: priced(table, Usage(count, 0), at=MONDAY).total for count in order}
    assert found == {10: 10, 100: 100, 1_000: 10_000}


def test_hours_past_midnight_belong_to_the_day_they_began_on():
    prices = Prices(rates(("input", "4")), hours=(Hours("22:00", "02:00", rates(("input", "1")), weekdays=(0,)),))
    at = [MONDAY + hour * 3_600 for hour in (1, 23, 25, 47, 49)]
    assert [bill(prices, Usage(10, 0), at=moment).total for moment in at] == [40, 10, 10, 40, 40]


@pytest.mark.parametrize(
    ("prices", "usage", "known"),
    [
        (TEXT, Usage(1, None), {"input": 2}),
        (TEXT, Usage(None, 1), {"output": 8}),
        (TEXT, Usage(), {}),
        (TEXT, Usage(units={"input_seconds": 5}), {"input_seconds": None}),
        ((("input", "1"),), Usage(1, 1), {"input": 1, "output": None}),
        ((("queries", "1"),), Usage(), {}),
        ((("input", "1"), ("queries", "1")), Usage(units={"queries": 1}), {"queries": 1}),
        ((("input_characters", "1"),), Usage(5, 0), {"input": None}),
    ],
)
def test_one_unknown_part_makes_the_total_unknown_and_the_rest_is_shown(prices, usage, known):
    cost = bill(prices, usage)
    assert cost.total is None
    assert amounts(cost) == known


@pytest.mark.parametrize(
    ("prices", "usage"),
    [
        ((("input_seconds", "1"),), Usage(0, None)),
        ((("input", "0"), ("output", "0"), ("queries", "1")), Usage(10, None)),
    ],
)
def test_what_is_paid_otherwise_and_was_not_counted_is_not_for_nothing(prices, usage):
    assert bill(prices, usage, answers=False).total is None


def test_each_variant_is_told_its_own_price():
    table = Table(Prices(rates(("searches variant=low", "1"), ("searches variant=high", "2"))))
    totals = [priced(table, Usage(0, 0, units={"searches": 1}, variant=one)).total for one in ("low", "high", "low")]
    assert totals == [1, 2, 1]


def test_a_class_without_a_price_at_a_step_is_named():
    prices = (*GEMINI, ("input service=flex", "6e-7"), ("output service=flex", "5e-6"))
    below, above = (bill(prices, Usage(count, 10, 5, service="flex")) for count in (1_000, 262_960))
    said = "no price for flex is known; the standard one"
    assert [line.condition for line in below.items] == [said, "flex", "flex"]
    assert {line.condition for line in above.items} == {f"above 200,000 tokens, {said}"}
    assert below.source == above.source == f"prices without a date, {said}"
    assert bill(prices, Usage(1_000, 10, service="flex")).source == "prices without a date"


PLACED = rates(("input", "2"), ("output", "2"))


@pytest.mark.parametrize(
    ("regions", "settings", "base_url", "told", "total"),
    [
        (["regional"], {"location": "us-east5"}, "", "", 22),
        (["regional"], {"location": "eu"}, "", "", 22),
        (["regional"], {"location": "global"}, "", "", 20),
        (["regional"], {}, "", "", 20),
        (["regional"], {"location": "us-east5"}, "", "us", 22),
        (["eu", "us"], {}, "https://eu.api.acme.example/v1", "", 22),
        (["eu", "us"], {}, "https://api.acme.example/v1", "", 20),
        (["eu"], {}, "https://us.api.acme.example/v1", "", 20),
        (["us"], {}, "https://api.acme.example/v1", "us", 22),
        ([], {"location": "us-east5"}, "https://eu.api.acme.example/v1", "", 20),
    ],
)
def test_where_a_provider_is_asked_decides_on_factors(regions, settings, base_url, told, total):
    prices = Prices(PLACED, tuple(Multiplier(Decimal("1.1"), region=region) for region in regions))
    card = ProviderCard("acme", base_url, models={"m": ModelCard("m", prices=prices)}, settings=settings)
    cost = pricing_of(Catalog({"acme": card}))("acme/m", Usage(10, 0, region=told))
    assert (cost.total, "no price" in cost.source) == (total, False)


def test_prices_of_a_time_of_day_reach_the_prices_of_a_catalog():
    catalog = Catalog({"acme": ProviderCard("acme", models={"m": ModelCard("m", prices=NIGHT)})})
    now = [MONDAY + 17 * 3_600]
    by_night, by_day = pricing_of(catalog, lambda: now[0]), pricing_of(catalog)
    assert (by_night("acme/m", Usage(10, 0)).total, by_day("acme/m", Usage(10, 0)).total) == (10, 40)
    now[0] = MONDAY
    assert by_night("acme/m", Usage(10, 0)).total == 10
    now[0] = MONDAY + 3_600
    assert by_night("acme/m", Usage(10, 0)).total == 40


@pytest.mark.parametrize(
    ("model", "total", "source"),
    [
        ("free", 0, "prices of D"),
        ("paid", None, "prices of D"),
        ("per_query", None, "prices of D"),
        ("night", None, "prices of D"),
        ("half", None, ""),
        ("none", None, ""),
        ("unlisted", None, ""),
    ],
)
def test_what_is_known_before_a_request(model, total, source):
    one = Rate("input", Decimal(1))
    nothing = rates(("input", "0"), ("output", "0"))
    known = {
        "free": Prices(nothing, as_of="D"),
        "paid": Prices(PLACED, as_of="D"),
        "per_query": Prices((*nothing, Rate("queries", Decimal(1))), as_of="D"),
        "night": Prices(nothing, hours=(Hours("16:30", "18:00", (one,)),), as_of="D"),
        "half": Prices((one,), as_of="D"),
        "none": None,
    }
    cards = {name: ModelCard(name, prices=prices) for name, prices in known.items()}
    cost = pricing_of(Catalog({"acme": ProviderCard("acme", models=cards)}))(f"acme/{model}", None)
    assert (cost.total, cost.source) == (total, source)


def test_a_cost_says_what_it_was_made_of():
    prices = Prices(rates(("input", "0.000002")), as_of="2026-11-20", version="table 7", source="https://acme.example")
    cost = bill(prices, Usage(1_000, 0, reported=Decimal("0.003")))
    (line,) = cost.items
    assert (line.item, line.quantity, line.unit, line.price, line.amount) == (
        "input",
        1_000,
        "token",
        Decimal("0.000002"),
        Decimal("0.002"),
    )
    assert (cost.source, cost.version, cost.reported) == ("prices of 2026-11-20", "table 7", Decimal("0.003"))


PAID = Prices(tuple(Rate(item, Decimal("0.1")) for item in (*TOKENS, *UNITS)))


@pytest.mark.parametrize(
    "usage",
    [
        Usage(-1, 10),
        Usage(10, -1),
        Usage(10, 10, billed_input=-1),
        Usage(10, 10, units={"searches": -1}),
        Usage(10, 10, units={"input_seconds": Decimal(-3)}),
        Usage(10, 10, units={"searches": Decimal("NaN")}),
        Usage(10, 10, units={"pages": Decimal("Infinity")}),
        Usage(10, 10, units={"smells": 1}),
        Usage(10, 10, classes={"smell": 1}),
    ],
)
def test_what_is_no_count_is_unknown_and_makes_nothing_cheaper(usage):
    cost = priced(Table(PAID), usage)
    assert cost.total is None
    assert all(line.amount is None or line.amount >= 0 for line in cost.items)
