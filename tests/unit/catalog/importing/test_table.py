"""The table that LiteLLM publishes: one row in, a model or a reason out."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.catalog.importing import twins
from flowllm.catalog.importing.fields import MULTIPLIERS, STEMS
from flowllm.catalog.importing.table import CAPABILITIES, NotATable, read_table, repeated
from flowllm.catalog.registry_rows import Head, row_of
from flowllm.core.prices import Rate

HEAD = Head("litellm", "1.0", "2026-11-22", "MIT")
CHAT = {"litellm_provider": "openai", "mode": "chat"}


def table(rows):
    return read_table((rows if isinstance(rows, str) else json.dumps(rows)).encode(), HEAD)


def only(row, name="m", **more):
    """The one model of a table with one row; ``row`` as JSON text or mapping over a chat of OpenAI."""
    found = table({name: {**CHAT, **row, **more}})
    (models,) = found.models.values()
    (card,) = models.values()
    return card


def prices(row, **more):
    """Rates as a mapping from item and conditions to the amount's text."""
    rates = row_of(only(row, **more)).get("prices", [])
    return {" ".join([item, *(conditions[0] if conditions else ())]): amount for item, amount, *conditions in rates}


@pytest.mark.parametrize(
    ("name", "told", "placed"),
    [
        ("gpt-5", "openai", "openai/gpt-5"),
        ("openai/sora-2", "openai", "openai/sora-2"),
        ("babbage-002", "text-completion-openai", "openai/babbage-002"),
        ("azure/eu/gpt-4o", "azure", "azure-openai/eu/gpt-4o"),
        ("azure/gpt-35-turbo-instruct", "azure_text", "azure-openai/gpt-35-turbo-instruct"),
        ("azure_ai/claude-opus-4-5", "azure_ai", "azure-foundry/claude-opus-4-5"),
        ("us.writer.palmyra-x4-v1:0", "bedrock_converse", "bedrock/us.writer.palmyra-x4-v1:0"),
        ("bedrock/us-east-1/meta.llama3", "bedrock", "bedrock/us-east-1/meta.llama3"),
        ("bedrock/invoke/anthropic.x", "bedrock", "bedrock/anthropic.x"),
        ("bedrock_mantle/openai.gpt-oss-20b", "bedrock_mantle", "bedrock-mantle/openai.gpt-oss-20b"),
        (
            "vertex_ai/claude-3-5-haiku@20241022",
            "vertex_ai-anthropic_models",
            "vertex-anthropic/claude-3-5-haiku@20241022",
        ),
        ("vertex_ai/meta/llama-maas", "vertex_ai-llama_models", "vertex/meta/llama-maas"),
        ("gemini-2.5-flash", "vertex_ai-language-models", "vertex/gemini-2.5-flash"),
        ("gemini/gemini-2.5-flash", "gemini", "gemini/gemini-2.5-flash"),
        ("dashscope/qwen-max", "dashscope", "alibaba/qwen-max"),
        ("fireworks_ai/accounts/fireworks/models/x", "fireworks_ai", "fireworks/accounts/fireworks/models/x"),
        ("fireworks_ai/nomic-ai/nomic-embed", "fireworks_ai-embedding-models", "fireworks/nomic-ai/nomic-embed"),
        ("together_ai/Qwen/Qwen3", "together_ai", "together/Qwen/Qwen3"),
        ("jina-reranker-v2", "jina_ai", "jina/jina-reranker-v2"),
        ("command-a", "cohere_chat", "cohere/command-a"),
        ("amazon-nova/nova-lite-v1", "amazon_nova", "amazon_nova/nova-lite-v1"),
        ("text-completion-codestral/codestral-2405", "text-completion-codestral", "codestral/codestral-2405"),
        ("novita/deepseek/deepseek-v3.2", "novita", "novita/deepseek/deepseek-v3.2"),
        ("aws_polly/standard", "aws_polly", "aws_polly/standard"),
    ],
)
def test_a_model_is_called_as_its_provider_calls_it(name, told, placed):
    found = table({name: {"litellm_provider": told, "mode": "chat"}})
    assert [f"{provider}/{id_}" for provider, models in found.models.items() for id_ in models] == [placed]


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("sample_spec", CHAT, "it explains the table"),
        ("fallback_generalizations", {}, "it holds rules, no model"),
        ("fireworks-ai-up-to-4b", {"litellm_provider": "fireworks_ai"}, "it is a class of models by size"),
        ("together-ai-4.1b-8b", {"litellm_provider": "together_ai"}, "it is a class of models by size"),
        ("bedrock/x/1-month-commitment/y", {"litellm_provider": "bedrock"}, "it prices reserved capacity by the hour"),
        ("m", {}, "it names no provider"),
        ("m", {"litellm_provider": 7}, "it names no provider"),
        ("m", {"litellm_provider": "../up"}, "its provider's name cannot be a file's name"),
        ("m", {"litellm_provider": ".."}, "its provider's name cannot be a file's name"),
        ("m", {"litellm_provider": "a/b"}, "its provider's name cannot be a file's name"),
        ("m", {"litellm_provider": "a" * 65}, "its provider's name cannot be a file's name"),
        ("m" * 201, CHAT, "its name cannot be asked for"),
        ("bedrock/" + "invoke/" * 60 + "m", CHAT, "its name is too long"),
        ("m\n", CHAT, "its name cannot be asked for"),
        ("", CHAT, "its name cannot be asked for"),
    ],
)
def test_what_is_no_model_is_left_out_with_a_reason(name, row, reason):
    found = table({name: row})
    assert (found.skipped, sum(map(len, found.models.values()))) == ({reason: [name]}, 0)


@pytest.mark.parametrize(
    ("field", "rate"),
    [
        ("input_cost_per_token", ["input", {}]),
        ("input_cost_per_token_batches", ["input", {"service": "batch"}]),
        ("output_cost_per_token_above_272k_tokens_priority", ["output", {"above": 272000, "service": "priority"}]),
        ("output_cost_per_reasoning_token", ["reasoning", {}]),
        ("cache_read_input_token_cost_above_32k_tokens", ["cached_input", {"above": 32000}]),
        ("input_cost_per_token_cache_hit", ["cached_input", {}]),
        ("explicit_cache_read_input_token_cost", ["cached_input", {"variant": "explicit"}]),
        ("cache_creation_input_token_cost", ["cache_write", {}]),
        ("cache_creation_input_token_cost_above_1hr", ["cache_write", {"lifetime": "1h"}]),
        (
            "cache_creation_input_token_cost_above_12hr_above_272k_tokens_ultrafast",
            ["cache_write", {"above": 272000, "service": "ultrafast", "lifetime": "12h"}],
        ),
        ("cache_read_input_audio_token_cost_flex", ["cached_audio", {"service": "flex"}]),
        ("input_cost_per_image_token_batches", ["input_image", {"service": "batch"}]),
        ("output_cost_per_video_token", ["output_video", {}]),
        ("output_cost_per_second_1080p", ["output_seconds", {"variant": "1080p"}]),
        ("output_cost_per_image_0.5K", ["output_images", {"variant": "0.5K"}]),
        ("input_cost_per_video_per_second_above_15s_interval", ["input_video_seconds", {"variant": "above 15s"}]),
        ("input_cost_per_audio_per_second_above_128k_tokens", ["input_seconds", {"above": 128000}]),
        ("annotation_cost_per_page_batches", ["pages", {"service": "batch", "variant": "annotation"}]),
        ("google_maps_grounding_cost_per_query", ["maps_searches", {}]),
        ("code_interpreter_cost_per_session", ["sessions", {}]),
    ],
)
def test_a_price_field_is_a_rate(field, rate):
    item, conditions = rate
    assert row_of(only({field: 0.5 if "token" not in field else 0.000003}))["prices"] == [
        [item, "0.5" if "token" not in field else "0.000003", *([conditions] if conditions else [])]
    ]


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_is_read(stem):
    assert only({stem: 0.001}).prices is not None


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4e-07", "0.0000004"),
        ("0", "0"),
        ("0.0", "0"),
        ("1E-8", "0.00000001"),
        ("1.23456789012345e-06", "0.00000123456789012345"),
    ],
)
def test_an_amount_is_exact_as_its_text(text, amount):
    found = table('{"m": {"litellm_provider": "openai", "input_cost_per_token": ' + text + "}}")
    assert row_of(found.models["openai"]["m"])["prices"] == [["input", amount]]
    assert found.models["openai"]["m"].prices.rates[0].amount == Decimal(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.0000000000000001e-07", "0.0000001"),
        ("4.6999999999999995e-07", "0.00000047"),
        ("1.1428571428571428e-06", "0.00000114285714285714"),
    ],
)
def test_the_noise_of_binary_floats_is_no_part_of_an_amount(text, amount):
    row = '"input_cost_per_token": ' + text + ', "tiered_pricing": [{"range": [9, 10], "input_cost_per_token": ' + text
    row += '}], "search_context_cost_per_query": {"search_context_size_low": ' + text + "}"
    found = table('{"m": {"litellm_provider": "openai", ' + row + "}}")
    told = row_of(found.models["openai"]["m"])["prices"]
    assert [one[:2] for one in told] == [["input", amount], ["searches", amount], ["input", amount]]


@pytest.mark.parametrize(
    ("row", "cached"),
    [
        ({}, [("", 0, "0.5")]),
        ({"input_cost_per_token_above_200k_tokens": 0.1}, [("", 0, "0.5"), ("", 200_000, "0.05")]),
        ({"input_cost_per_token_batches": 0.1}, [("", 0, "0.5")]),
        ({"cache_read_input_token_cost": 0}, [("", 0, "0")]),
        ({"cache_read_input_token_cost_priority": 0.01}, [("", 0, "0.5"), ("priority", 0, "0.01")]),
        ({"mode": "embedding"}, []),
        ({"litellm_provider": "openai"}, []),
    ],
)
def test_a_company_may_take_a_share_of_input_for_what_it_cached(monkeypatch, row, cached):
    monkeypatch.setattr("flowllm.catalog.importing.fields.MOST_PER_TOKEN", Decimal(1))
    card = only({"litellm_provider": "fireworks_ai", "input_cost_per_token": 1, **row})
    told = [(rate.service, rate.above, rate.amount) for rate in card.prices.rates if rate.item == "cached_input"]
    assert told == [(service, above, Decimal(amount)) for service, above, amount in cached]


TIERS = [
    {"range": [0, 32000.0], "input_cost_per_token": 1e-6},
    {"range": [32000.0, 1050000], "input_cost_per_token": 2e-6},
]
SEARCH = {f"search_context_size_{size}": cost for size, cost in (("low", 0.03), ("medium", 0.035), ("high", 0.05))}


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"tiered_pricing": TIERS}, {"input": "0.000001", "input above": "0.000002"}),
        ({"tiered_pricing": TIERS, "input_cost_per_token": 9e-6}, {"input": "0.000001", "input above": "0.000002"}),
        (
            {"tiered_pricing": [{"max_results_range": [26, 100], "input_cost_per_query": 0.02}]},
            {"queries variant": "0.02"},
        ),
        ({"search_context_cost_per_query": dict.fromkeys(SEARCH, 0.01)}, {"searches": "0.01"}),
        ({"search_context_cost_per_query": SEARCH}, {"searches variant": "0.035"}),
        (
            {"mode": "audio_transcription", "input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001},
            {"input_seconds": "0.0001"},
        ),
        (
            {"mode": "audio_transcription", "input_cost_per_second": 0, "output_cost_per_second": 0.0002},
            {"input_seconds": "0.0002"},
        ),
        ({"mode": "video_generation", "output_cost_per_second": 0.1}, {"output_video_seconds": "0.1"}),
        ({"mode": "image_generation", "input_cost_per_image": 0.04}, {"output_images": "0.04"}),
        (
            {"mode": "image_edit", "input_cost_per_image": 0.04, "output_cost_per_image": 0.05},
            {"input_images": "0.04", "output_images": "0.05"},
        ),
        ({"cache_read_input_token_cost": 1e-7, "input_cost_per_token_cache_hit": 9e-7}, {"cached_input": "0.0000001"}),
        ({"input_cost_per_token": 0.0, "output_cost_per_token": 0}, {"input": "0", "output": "0"}),
        ({"input_dbu_cost_per_token": 0.01}, {}),
    ],
)
def test_what_rows_of_prices_mean(row, known):
    assert prices(row) == known


def test_sizes_of_a_picture_are_variants_of_its_model():
    base = {"litellm_provider": "openai", "mode": "image_generation"}
    rows = {
        "low/1024-x-1024/gpt-image-1": base | {"input_cost_per_image": 0.011},
        "gpt-image-1": base | {"input_cost_per_token": 5e-6},
        "512-x-512/max-steps/sd-xl": base | {"output_cost_per_image": 0.036},
        "512-x-512/50-steps/sd-xl": base | {"output_cost_per_image": 0.018},
    }
    models = table(rows).models["openai"]
    assert {id_: row_of(card)["prices"] for id_, card in models.items()} == {
        "gpt-image-1": [["input", "0.000005"], ["output_images", "0.011", {"variant": "low/1024-x-1024"}]],
        "sd-xl": [
            ["output_images", "0.018", {"variant": "512-x-512/50-steps"}],
            ["output_images", "0.036", {"variant": "512-x-512/max-steps"}],
        ],
    }


@pytest.mark.parametrize(
    ("row", "multipliers"),
    [({name: 1.1}, [["1.1", {"region": region}]]) for name, (region, _) in MULTIPLIERS.items()]
    + [
        ({"provider_specific_entry": {"us": 1.1, "fast": 2}}, [["1.1", {"region": "us"}], ["2", {"speed": "fast"}]]),
        ({"provider_specific_entry": {"first_frame": "x"}}, None),
        ({"provider_specific_entry": {"us": 0}}, None),
    ],
)
def test_factors(row, multipliers):
    assert row_of(only({"input_cost_per_token": 1e-6, **row})).get("multipliers") == multipliers


@pytest.mark.parametrize(("provider", "reached"), [("xai", True), ("openai", False)])
def test_a_step_of_xai_begins_at_its_number(provider, reached):
    assert only({"input_cost_per_token": 1e-6}, litellm_provider=provider).prices.reached is reached


WEEK = {
    "windows": [
        {"hours_utc": ["00:00-01:00", "10:00-00:00"], "weekdays": [1, 5]},
        {"hours_utc": "00:00-00:00", "weekdays": [6, 7]},
    ]
}


@pytest.mark.parametrize(
    ("zone", "spans"),
    [
        ({}, [("00:00", "01:00", [0, 4]), ("10:00", "24:00", [0, 4]), ("00:00", "24:00", [5, 6])]),
        (
            {"weekday_timezone": "Asia/Shanghai"},
            [
                ("00:00", "01:00", [0, 4]), ("10:00", "16:00", [0, 4]), ("16:00", "24:00", [3, 6]),
                ("00:00", "16:00", [5, 6]), ("16:00", "24:00", [4, 5]),
            ],
        ),
    ],
)  # fmt: skip
def test_times_of_day(zone, spans):
    row = row_of(
        only({"input_cost_per_token": 2e-6, "off_peak_pricing": {"input_cost_per_token": 1e-6, **WEEK, **zone}})
    )
    assert [(one["start"], one["end"], one["weekdays"]) for one in row["hours"]] == spans
    assert all(one["prices"] == [["input", "0.000001"]] for one in row["hours"])


@pytest.mark.parametrize(
    ("zone", "span", "spans"),
    [
        ({}, "16:30-00:30", [("16:30", "00:30", [4])]),
        ({}, "23:00-22:00", [("23:00", "22:00", [4])]),
        ({"weekday_timezone": "Asia/Shanghai"}, "16:30-00:30", [("16:30", "00:30", [3])]),
        ({"weekday_timezone": "Asia/Shanghai"}, "14:00-02:00", [("14:00", "16:00", [4]), ("16:00", "02:00", [3])]),
    ],
)
def test_hours_past_midnight_are_kept(zone, span, spans):
    told = {"input_cost_per_token": 1e-6, "windows": [{"hours_utc": span, "weekdays": [5]}], **zone}
    row = row_of(only({"input_cost_per_token": 2e-6, "off_peak_pricing": told}))
    assert [(one["start"], one["end"], one["weekdays"]) for one in row["hours"]] == spans


@pytest.mark.parametrize(
    ("row", "supports", "lacks"),
    [
        ({}, None, None),
        ({"supports_function_calling": True, "supports_vision": False}, ["tools"], ["images"]),
        ({"supports_vision": False, "supports_image_input": True}, ["images"], None),
        ({"supported_modalities": ["text", "image"]}, ["images"], None),
        ({"supports_bedrock_native_structured_output": True}, None, None),
    ],
)
def test_capabilities_are_known_unknown_or_lacking(row, supports, lacks):
    known = row_of(only(row))
    assert (known.get("supports"), known.get("lacks")) == (supports, lacks)


@pytest.mark.parametrize(
    ("row", "mode", "tasks"),
    [
        ({}, "chat", {"chat"}),
        ({"mode": "responses"}, "responses", {"chat"}),
        ({"mode": "embedding"}, "embed", {"embed"}),
        ({"mode": "rerank"}, "rerank", {"rerank"}),
        ({"mode": "image_generation"}, "image", {"image"}),
        ({"mode": "image_generation", "supported_output_modalities": ["text", "image"]}, "image", {"image", "chat"}),
        ({"mode": "realtime", "supported_endpoints": ["/v1/chat/completions"]}, "realtime", {"realtime", "chat"}),
        ({"mode": None}, "", {"chat"}),
    ],
)
def test_modes(row, mode, tasks):
    card = only(row)
    assert (card.mode, card.tasks) == (mode, tasks)


SOUND = {
    "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_input_tokens": 1000, "source": "https://x.example",
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "faults"),
    [
        ({}, {}),
        ({"input_cost_per_token": None}, {"no_input_price"}),
        ({"max_input_tokens": None}, {"no_window"}),
        ({"input_cost_per_token": 0, "output_cost_per_token": 0.0}, {"free"}),
        ({"supports_prompt_caching": True}, {"caching_unpriced"}),
        ({"supports_prompt_caching": True, "cache_read_input_token_cost": 0.0}, {}),
        ({"deprecation_date": "2026-11-21"}, {"past_deprecation"}),
        ({"deprecation_date": "2026-11-22"}, {}),
        ({"deprecation_date": "soon"}, {"bad_number"}),
        ({"source": None}, {"no_source"}),
        ({"mode": None}, {"no_mode"}),
        ({"mode": 7}, {"no_mode"}),
        ({"supports_everything": "yes"}, {"unknown_key"}),
        ({"input_cost_per_smile": 1}, {"unknown_key"}),
        ({"input_cost_per_token_whenever": 1}, {"unknown_key"}),
        ({"ocr_cost_per_credit": 0.1}, {"unpriced_unit"}),
        ({"output_cost_per_token": -2e-6}, {"bad_number"}),
        ({"output_cost_per_token": "2e-6"}, {"bad_number"}),
        ({"output_cost_per_token": True}, {"bad_number"}),
        ({"output_cost_per_token": 0.11}, {"bad_number"}),
        ({"cache_read_input_token_cost": 1e-40}, {"bad_number"}),
        ({"cache_read_input_token_cost": 1.23456789012e-25}, {"bad_number"}),
        ({"cache_read_input_token_cost": 1.25e-28}, {}),
        ({"max_output_tokens": -1}, {"bad_number"}),
        ({"max_output_tokens": 10**9}, {"bad_number"}),
        ({"tiered_pricing": [{"range": [-1, 2]}]}, {"bad_number"}),
        ({"tiered_pricing": [7]}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": "x", "weekdays": [1]}]}}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": "01:00-25:00", "weekdays": [1]}]}}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": "01:00-02:00", "weekdays": [0]}]}}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": "01:00-02:00", "weekdays": [8]}]}}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": "01:00-02:00", "weekdays": [1.0]}]}}, {"bad_number"}),
        ({"search_context_cost_per_query": {"a": [], "b": []}}, {"bad_number"}),
        ({"off_peak_pricing": {"weekday_timezone": "Mars", **WEEK}}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": ["01:00-02:00"] * 241, "weekdays": [1]}]}}, {"bad_number"}),
        ({"off_peak_pricing": {"windows": [{"hours_utc": "01:00-02:00", "weekdays": [1] * 8}]}}, {"bad_number"}),
        ({"regional_endpoint_uplift_multiplier": -1}, {"bad_number"}),
        ({"input_cost_per_token": 3e-6}, {"dear_input"}),
    ],
)  # fmt: skip
def test_faults_are_told_with_the_entrys_name(row, faults):
    found = table({"m": {**CHAT, **SOUND, **row}})
    assert set(found.faults) == set(faults)
    assert all(name.startswith("m") for names in found.faults.values() for name in names)


def test_an_entry_that_is_there_twice():
    rows = {"deepseek-chat": CHAT | SOUND, "deepseek/deepseek-chat": CHAT | SOUND | {"input_cost_per_token": 5e-7}}
    found = table({name: row | {"litellm_provider": "deepseek"} for name, row in rows.items()})
    assert row_of(found.models["deepseek"]["deepseek-chat"])["prices"][0] == ["input", "0.0000005"]
    assert found.skipped == {"another entry is the same model": ["deepseek-chat"]}
    assert found.faults == {"told_twice": ["deepseek-chat"]}


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        ({"input_cost_per_token": 2e-6, "input_cost_per_token_flex": 1e-6}, ["input", "output", "input flex"]),
        ({"input_cost_per_token": 3e-6, "input_cost_per_token_flex": 1e-6}, ["input", "output"]),
        ({"input_cost_per_token_flex": 1e-6}, ["input", "output", "input flex"]),
        ({}, ["input", "output"]),
    ],
)
def test_further_prices_of_another_entry_are_kept_where_the_two_agree(other, kept):
    first = {"litellm_provider": "bedrock", "input_cost_per_token": 2e-6, "output_cost_per_token": 4e-6}
    found = table({"m": {"litellm_provider": "bedrock_converse", **other}, "bedrock/m": first})
    rates = found.models["bedrock"]["m"].prices.rates
    assert [f"{rate.item} {rate.service}".strip() for rate in rates] == kept
    assert rates[0].amount == Decimal("0.000002")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON: Expecting value at line 1, column 1"),
        ('{"a":\n {,}}', "at line 2, column 3"),
        ("[]", "maps the names of models"),
        ('{"a": 1}', "maps the names of models"),
        ('{"a": {"input_cost_per_token": NaN}}', "NaN is no JSON number"),
        ('{"a": {"x": 1e99999999999999999999}}', "is no number that can be"),
        ('{"a": {"x": ' + "[" * 13 + "]" * 13 + "}}", "nest deeper than 12 levels"),
        ('{"a": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}}", "nest deeper than 12 levels"),
    ],
)
def test_a_text_that_is_no_table(text, told):
    with pytest.raises(NotATable, match=told):
        table(text)


def test_bytes_that_are_no_text():
    with pytest.raises(NotATable, match="no UTF-8 at byte 2"):
        read_table(b'{"\xff": {}}', HEAD)


def test_names_that_an_object_has_twice_are_told():
    assert table('{"m": {"litellm_provider": "openai"}, "m": {"litellm_provider": "openai"}}').faults["told_twice"] == [
        "m"
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["input_cost_per_token", "max_input_tokens", "mode", "source", "deprecation_date", "tiered_pricing",
     "off_peak_pricing", "search_context_cost_per_query", "provider_specific_entry", "supported_modalities",
     "supported_endpoints", *(f"supports_{word}" for word in list(CAPABILITIES)[:2])]
)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.text(max_size=12))
def test_no_row_breaks_the_reader(row, name):
    found = table({name: {"litellm_provider": "openai", **row}})
    assert sum(map(len, found.models.values())) + sum(map(len, found.skipped.values())) == found.rows


def sizes(number):
    rows = {f"{n}-steps/m": {"mode": "image_generation", "input_cost_per_image": n} for n in range(number)}
    return {name: row | {"litellm_provider": "openai"} for name, row in rows.items()}


def ways(number):
    """Entries of one model, which is reached in as many ways, each with a price of its own."""
    steps = ("".join(("invoke/", "converse/")[n >> bit & 1] for bit in range(9)) for n in range(number))
    priced = ({"litellm_provider": "bedrock", f"output_cost_per_second_{n}p": n} for n in range(number))
    return {f"bedrock/{step}m": row for step, row in zip(steps, priced, strict=True)}


@pytest.mark.parametrize("rows", [sizes, ways])
def test_the_work_grows_with_the_table_however_many_entries_are_one_model(monkeypatch, rows):
    looked, equal, key_of = [], Rate.__eq__, twins.key_of
    monkeypatch.setattr(Rate, "__eq__", lambda one, other: looked.append(one) or equal(one, other))
    monkeypatch.setattr(twins, "key_of", lambda rate: looked.append(rate) or key_of(rate))
    (card,) = next(iter(table(rows(400)).models.values())).values()
    assert len({rate.variant for rate in card.prices.rates}) == 400
    assert len(looked) < 400 * 10


def test_names_that_are_there_twice_are_found_in_one_look():
    compared = []

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return str.__eq__(self, other)

    assert repeated([Name(n % 300) for n in range(301)]) == ["0"]
    assert len(compared) < 1000
