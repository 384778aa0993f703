"""What answers tell beside plain counts that decides on their price, in every provider's words."""

from dataclasses import replace
from decimal import Decimal

import pytest

from flowllm.backends.billing import amount_of, reported_by, word_of
from flowllm.backends.ranks import RanksDecoder
from flowllm.backends.usage import read_of, usage_of
from flowllm.backends.wire import anthropic_messages, bedrock_converse, cohere_v2, gemini_generate, openai_responses
from flowllm.core.delta import Usage

PLAIN = {"prompt_tokens": 10, "completion_tokens": 5}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"prompt_tokens_details": {"audio_tokens": 4, "cached_tokens": 3, "image_tokens": 0,
                                       "cached_tokens_details": {"audio_tokens": 2}}},
            {"cached_input": 3, "classes": {"input_audio": 4, "cached_audio": 2}},
        ),
        ({"completion_tokens_details": {"audio_tokens": 4, "image_tokens": 1}},
         {"classes": {"output_audio": 4, "output_image": 1}}),
        ({"citation_tokens": 7, "num_search_queries": 2}, {"classes": {"citations": 7}, "units": {"searches": 2}}),
        # thinking that Perplexity counts beside the answer
        ({"citation_tokens": 7, "reasoning_tokens": 3},
         {"output": 8, "reasoning": 3, "classes": {"citations": 7}}),
        ({"reasoning_tokens": 30, "total_tokens": 15}, {"output": 35, "reasoning": 30}),
        ({"search_context_size": "low"}, {"units": {"searches": 1}, "variant": "low"}),
        ({"num_sources_used": 3}, {"units": {"searches": 3}}),
        ({"server_tool_use_details": {"web_search_requests": 1}}, {"units": {"searches": 1}}),
        ({"prompt_audio_seconds": 36}, {"units": {"input_seconds": 36}}),
        ({"service_tier": "flex"}, {"service": "flex"}),
        ({"cost": 0.0133176}, {"reported": Decimal("0.0133176")}),
        ({"cost": {"total_cost": 0.00503}}, {"reported": Decimal("0.00503")}),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
         {"reported": Decimal("0.021")}),
        ({"cost": 0.02, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.02}},
         {"reported": Decimal("0.02")}),
        ({"cost_in_usd_ticks": 1466250}, {"reported": Decimal("0.000146625")}),
        ({"cache_creation": {"ephemeral_1h_input_tokens": 4}}, {"written": {"1h": 4}}),
        ({"prompt_tokens_details": 5, "completion_tokens_details": [], "cost": "free", "cost_details": 1,
          "citation_tokens": -1, "num_search_queries": "2", "service_tier": 5}, {}),
    ],
)  # fmt: skip
def test_what_dialects_of_openai_tell(told, expected):
    assert usage_of({**PLAIN, **told}) == Usage(**{"input": 10, "output": 5, **expected})


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("default", ""), ("standard", ""), ("on_demand", ""), ("ON_DEMAND", ""), ("auto", ""), ("not_available", ""),
        ("global", ""), ("", ""), (None, ""), (5, ""), ("priority", "priority"), ("FLEX", "flex"), ("us", "us"),
        ("TRAFFIC_TYPE_UNSPECIFIED", ""), ("SERVICE_TIER_UNSPECIFIED", ""),
        ("ON_DEMAND_PRIORITY", "priority"), ("PROVISIONED_THROUGHPUT", "provisioned_throughput"),
    ],
)  # fmt: skip
def test_words_for_the_usual_are_empty(word, meant):
    assert word_of(word) == meant


@pytest.mark.parametrize("told", [None, True, -1, float("nan"), float("inf"), "1", [1]])
def test_what_is_no_amount_is_unknown(told):
    assert amount_of(told) is None
    assert reported_by({"cost": told}) is None
    assert reported_by({"cost_in_usd_ticks": told}) is None


def test_no_ticks_are_nothing_said():
    assert reported_by({"cost_in_usd_ticks": 0}) is None
    assert reported_by({"cost": 0}) == 0


def test_embeddings_and_ranks_tell_costs_too():
    assert read_of({"total_tokens": 7, "cost": 1.4e-07}) == Usage(7, reported=Decimal("1.4E-7"))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 2,
                                                                   "ephemeral_1h_input_tokens": 3}},
            {"input": 15, "cache_write": 5, "written": {"5m": 2, "1h": 3}},
        ),
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}, {"units": {"searches": 2}}),
        ({"service_tier": "priority", "inference_geo": "us", "speed": "fast"},
         {"service": "priority", "region": "us", "speed": "fast"}),
        ({"service_tier": "standard", "inference_geo": "not_available", "speed": "standard"}, {}),
    ],
)  # fmt: skip
def test_what_anthropic_tells(told, expected):
    deltas = []
    anthropic_messages.Decoder()._usage({"input_tokens": 10, "output_tokens": 5, **told}, deltas)
    assert deltas == [Usage(**{"input": 10, "output": 5, **expected})]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, {"modality": "TEXT", "tokenCount": 6}],
             "cachedContentTokenCount": 3, "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}]},
            {"cached_input": 3, "classes": {"input_audio": 4, "cached_audio": 2}},
        ),
        ({"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}, {"modality": "IMAGE", "tokenCount": 1}]},
         {"classes": {"output_image": 5}}),
        ({"toolUsePromptTokenCount": 4}, {"input": 14}),
        ({"serviceTier": "flex"}, {"service": "flex"}),
        ({"trafficType": "ON_DEMAND"}, {}),
        ({"promptTokensDetails": "x", "candidatesTokensDetails": [5, {"modality": "IMAGE"}]}, {}),
        ({"promptTokensDetails": [{"modality": ["AUDIO"], "tokenCount": 4}, {"modality": None, "tokenCount": 4}]}, {}),
    ],
)  # fmt: skip
def test_what_gemini_tells(told, expected):
    usage = gemini_generate.usage_of({"promptTokenCount": 10, "candidatesTokenCount": 5, **told})
    assert usage == Usage(**{"input": 10, "output": 5, **expected})


@pytest.mark.parametrize(
    ("usage", "beside", "expected"),
    [
        ({"cacheWriteInputTokens": 5,
          "cacheDetails": [{"ttl": "1h", "inputTokens": 3}, {"ttl": "5m", "inputTokens": 2}]},
         {}, {"input": 15, "cache_write": 5, "written": {"1h": 3, "5m": 2}}),
        ({}, {"serviceTier": {"type": "flex"}, "performanceConfig": {"latency": "optimized"}},
         {"service": "flex", "speed": "optimized"}),
        ({"cacheDetails": [5]}, {"serviceTier": "flex", "performanceConfig": {"latency": "standard"}}, {}),
    ],
)  # fmt: skip
def test_what_bedrock_tells(usage, beside, expected):
    told = {"usage": {"inputTokens": 10, "outputTokens": 5, **usage}, **beside}
    assert bedrock_converse._usage(told) == Usage(**{"input": 10, "output": 5, **expected})


def test_what_cohere_counts_is_not_what_it_bills():
    tokens, billed = {"input_tokens": 496, "output_tokens": 50}, {"input_tokens": 8, "output_tokens": 40}
    usage = cohere_v2._usage({"tokens": tokens, "billed_units": billed})
    assert usage == Usage(496, 50, billed_input=8, billed_output=40)


@pytest.mark.parametrize(
    ("usage", "beside", "expected"),
    [
        ({"input_tokens_details": {"audio_tokens": 4}}, {"service_tier": "priority"},
         {"classes": {"input_audio": 4}, "service": "priority"}),
        ({}, {"output": [{"type": "web_search_call", "action": {"type": "search"}}, {"type": "web_search_call"},
                         {"type": "web_search_call", "action": {"type": "open_page"}}, {"type": "message"}]},
         {"units": {"searches": 2}}),
        ({"cost_in_usd_ticks": 6709000}, {"service_tier": "default"}, {"reported": Decimal("0.0006709")}),
        ({"cost": 0.025265}, {"output": 5}, {"reported": Decimal("0.025265")}),
    ],
)  # fmt: skip
def test_what_responses_tell(usage, beside, expected):
    told = openai_responses._usage({"input_tokens": 10, "output_tokens": 5, **usage}, beside)
    assert told == Usage(**{"input": 10, "output": 5, **expected})


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"billed_units": {"search_units": 2}}, [Usage(units={"queries": 2})]),
        ({"billed_units": {"search_units": 0}}, []),
        ({"tokens": {"input_tokens": 5}}, [Usage(5)]),
        ({"tokens": {"input_tokens": 5}, "billed_units": {"search_units": 2}}, [Usage(5, units={"queries": 2})]),
        ({"tokens": {"input_tokens": 5}, "billed_units": {"input_tokens": 3}}, [Usage(5, billed_input=3)]),
        ({"billed_units": {"input_tokens": 3}}, [Usage(3)]),
        ({"tokens": 5, "billed_units": [6]}, []),
    ],
)
def test_what_ranks_tell(meta, expected):
    for usage in expected:
        assert usages_of_ranks({"meta": meta, "usage": {"total_tokens": 9}}) == [replace(Usage(9), units=usage.units)]
    assert usages_of_ranks({"meta": meta}) == expected


def usages_of_ranks(body):
    return [delta for delta in RanksDecoder(1)._facts(body) if isinstance(delta, Usage)]
