"""What answers tell beside plain token counts that decides on their price: classes, units, service, own costs.

A number that cannot be one (negative, text, not finite) is unknown, and a word that means the usual is empty.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from flowllm.backends.answers import count_of
from flowllm.core.prices import EXACT

_USUAL: Final = frozenset(
    {"", "auto", "default", "global", "none", "not_available", "null", "on_demand", "standard", "unspecified",
     "service_tier_unspecified", "traffic_type_unspecified"}
)  # fmt: skip
_ON_DEMAND = "on_demand_"
_TICKS = -10
"""xAI counts its costs in ticks: this power of ten of a US dollar."""
_LENGTHS: Final = {"ephemeral_5m_input_tokens": "5m", "ephemeral_1h_input_tokens": "1h"}
_MEDIA: Final = {"audio_tokens": "audio", "image_tokens": "image", "video_tokens": "video"}
_MODALITIES: Final = {"AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}
_BILLED: Final = frozenset(
    {"input_audio", "cached_audio", "output_audio", "input_image", "cached_image", "output_image", "input_video",
     "output_video"}
)  # fmt: skip
_SEARCHES: Final = ("num_search_queries", "num_sources_used")
_SERVERS: Final = ("server_tool_use", "server_tool_use_details")
_SEARCHED: Final = frozenset({*_SEARCHES, *_SERVERS, "search_context_size"})


def word_of(told: Any) -> str:
    """A class of service, a region or a speed; empty for the usual one."""
    word = told.lower() if isinstance(told, str) else ""
    word = word.removeprefix(_ON_DEMAND)
    return "" if word in _USUAL else word


def media_of(side: str, details: Any, cached: Any = None) -> dict[str, int]:
    """Tokens of sound, pictures and films, in the form of OpenAI; ``side`` is ``input`` or ``output``."""
    found = _media(side, _told(details))
    return found | _media("cached", cached) if isinstance(cached, dict) else found


def modalities_of(side: str, rows: Any) -> dict[str, int]:
    """The same in the form of Gemini: a list of ``{modality, tokenCount}``."""
    found: dict[str, int] = {}
    for row in rows if isinstance(rows, list) else ():
        modality = row.get("modality") if isinstance(row, dict) else None
        medium = _MODALITIES.get(modality) if isinstance(modality, str) else None
        if medium and (name := f"{side}_{medium}") in _BILLED and (count := count_of(row.get("tokenCount"))):
            found[name] = found.get(name, 0) + count
    return found


def searches_of(usage: Mapping[str, Any]) -> dict[str, int | Decimal]:
    """Searches that the provider made for the answer."""
    if usage.keys().isdisjoint(_SEARCHED):
        return {}
    servers = (_told(usage.get(name)).get("web_search_requests") for name in _SERVERS)
    count = count_of(*servers, *(usage.get(name) for name in _SEARCHES))
    if count is None and usage.get("search_context_size"):
        count = 1
    return {"searches": count} if count else {}


def lifetimes_of(created: Any) -> dict[str, int]:
    """Cache writes by how long they live, as Anthropic tells them."""
    told = _told(created)
    if not told:
        return {}
    return {life: count for name, life in _LENGTHS.items() if (count := count_of(told.get(name)))}


def lifetimes_in(rows: Any) -> dict[str, int]:
    """The same as Amazon Bedrock tells them: a list of ``{ttl, inputTokens}``."""
    known = map(_told, rows if isinstance(rows, list) else ())
    return {str(row.get("ttl")): count for row in known if (count := count_of(row.get("inputTokens")))}


def inside(told: Mapping[str, Any], name: str, word: str) -> Any:
    """``told[name][word]``; None where there is no such thing."""
    return _told(told.get(name)).get(word)


def reported_by(usage: Mapping[str, Any]) -> Decimal | None:
    """What the provider itself says that the answer costs, in US dollars; None where it says nothing.

    OpenRouter tells apart what another provider takes where the key is that one's own. Models of xAI that others
    host say 0 ticks, which is nothing said.
    """
    told = usage.get("cost")
    if told is None:
        ticks = amount_of(usage.get("cost_in_usd_ticks"))
        return ticks.scaleb(_TICKS, context=EXACT) if ticks else None
    cost = amount_of(told.get("total_cost") if isinstance(told, dict) else told)
    upstream = amount_of(_told(usage.get("cost_details")).get("upstream_inference_cost"))
    if cost is None or not usage.get("is_byok") or upstream is None:
        return cost
    return EXACT.add(cost, upstream)


def amount_of(told: Any) -> Decimal | None:
    """A number that is not negative, exactly as it was written."""
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    amount = Decimal(str(told))
    return amount if amount.is_finite() and amount >= 0 else None


def _media(side: str, details: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word, medium in _MEDIA.items():
        told = details.get(word)
        if told and (name := f"{side}_{medium}") in _BILLED and (count := count_of(told)):
            found[name] = count
    return found


def _told(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
