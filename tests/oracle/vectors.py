"""What the oracle of prices is asked: entries of the published table, and usages at the borders of their prices.

``python -m tests.oracle.vectors TABLE`` prints an entry a line with its usages, in the words of `core.delta.Usage`.
Entries are taken until every kind of price, every mode and every company that LiteLLM bills by a function of its
own is there. `bin/oracle prices` sends them to `tests/oracle/prices.py`.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowllm.catalog.importing.names import id_of, not_a_model

Row = Mapping[str, Any]

MOST = 150
"""Entries; so many are small enough to be read by people."""
WANTED = 3
"""Entries for each kind of price."""
COMPANIES = (
    "anthropic", "azure", "azure_ai", "bedrock", "bedrock_converse", "dashscope", "databricks", "deepseek",
    "fireworks_ai", "gemini", "groq", "mistral", "openai", "perplexity", "together_ai", "vertex_ai-anthropic_models",
    "vertex_ai-language-models", "xai",
)  # fmt: skip
PRICED = re.compile(r".*(cost|pricing|multiplier|provider_specific_entry).*")
UNTOLD = re.compile(
    r".*(_above_\d+s_interval|_decisions|explicit_|_per_pixel|_per_video_token|_cache_hit).*|cost_per_second"
    r"|.*(_character|_image|_per_second|creation_input_audio|read_input_image)(_token)?(_cost)?_above_.*|.*_per_credit"
    r"|.*_(audio|image|video)_token_(batches|priority)|ocr_.*_batches|(cache|input|output)_.*_above_.*_batches"
    r"|(guardrail|vector_store|computer_use|file_search|code_interpreter|google_maps|annotation).*"
    r"|cache_(creation_input_audio|read_input_image)_token_cost|input_cost_per_(request|text_message)"
    r"|output_cost_per_(image_(\d.*)|character|second_(2k|768p))"
)
"""Prices that no function of LiteLLM bills by a usage alone, or that are exceptions: docs/explanation/prices.md."""
BATCHES = re.compile(r"(input|output)_cost_per_token(_above_\d+k_tokens)?_batches")
STEP = re.compile(r"_above_(\d+)k_tokens")
TIMES = (1_795_053_600, 1_795_064_400, 1_795_312_800)
"""A Thursday at 02:00 and at 05:00 in UTC, and the Sunday after."""
SERVICES = ("flex", "priority", "balanced", "ultrafast")
_UPLIFT = "regional_processing_uplift_multiplier_"
_LENGTHS = {
    "input_cost_per_image": "input_images", "input_cost_per_audio_per_second": "input_seconds",
    "input_cost_per_video_per_second": "input_video_seconds",
}  # fmt: skip
CHATS = ("chat", "responses", "completion")


def facts(row: Row) -> dict[str, Any]:
    """What of an entry decides on a bill."""
    kept = {name: value for name, value in row.items() if PRICED.fullmatch(name) and "dbu" not in name}
    return {"litellm_provider": row["litellm_provider"], "mode": row.get("mode"), **kept}


def kinds(row: Row) -> set[str]:
    """What an entry stands for: its kinds of price, and its company where that is billed by its own function."""
    told = {name for name in facts(row) if PRICED.fullmatch(name)}
    found = {name for name in told if not UNTOLD.fullmatch(name) or BATCHES.fullmatch(name)}
    found |= {f"{name} of 0" for name in found if row[name] == 0}
    company = row["litellm_provider"]
    found |= {f"mode {row.get('mode')}"} | ({f"company {company}"} if company in COMPANIES else set())
    if row.get("mode") in CHATS and not {"cache_read_input_token_cost", "cache_creation_input_token_cost"} & told:
        found.add("nothing for the cache")
    if row.get("mode") in CHATS and STEP.search(" ".join(told)):
        found.add(f"steps of {company}")
    return found


def chosen(table: Mapping[str, Row]) -> list[str]:
    """Names of entries that together have every kind of price, few and always the same."""
    known = {name: kinds(row) for name, row in sorted(table.items()) if _is_model(name, row) and usages(row)}
    count: Counter[str] = Counter()
    names: list[str] = []
    while known and len(names) < MOST:
        name = max(known, key=lambda one: len([kind for kind in known[one] if count[kind] < WANTED]))
        found = known.pop(name)
        if all(count[kind] >= WANTED for kind in found):
            break
        count.update(found)
        names.append(name)
    return sorted(names)


def _is_model(name: str, row: Row) -> bool:
    """Whether it is about one model, and not a class of them or a size of its pictures."""
    return "*" not in name and not not_a_model(name) and not id_of(name, row["litellm_provider"])[1]


def usages(row: Row) -> list[dict[str, Any]]:
    """Usages that meet the borders of an entry's prices; none for an entry that cannot be billed by one."""
    mode = row.get("mode")
    made = _OF_MODE.get(str(mode), lambda _: iter(()))(row)
    told = [{name: value for name, value in usage.items() if value} for usage in made]
    return [{**usage, "at": at} for usage in told for at in TIMES] if "off_peak_pricing" in row else told


def _chat(row: Row) -> Iterator[dict[str, Any]]:
    if "input_cost_per_token" not in row and "tiered_pricing" not in row:
        return
    if row["litellm_provider"] == "perplexity":  # its function knows neither caches nor steps: answers tell their costs
        citations = {"citations": 70} if "citation_cost_per_token" in row else {}
        yield {"input": 1_000, "output": 100, "reasoning": 40, "classes": citations}
        return
    borders = sorted({int(step) * 1000 for step in STEP.findall(" ".join(row))} | set(_tiers(row)))
    yield {"input": 1_000, "output": 100}
    for border in borders[-2:]:
        yield _full(row, border)
        yield _full(row, border + 1)
    if not borders:
        yield _full(row, 9_000)
    for service in SERVICES:
        if f"input_cost_per_token_{service}" in row:
            # Of sound and pictures in a class of service LiteLLM knew no prices before 1.109.
            text = any(name.endswith(f"_token_{service}") and "per_token" not in name for name in row)
            for prompt in (9_000, *(border + 1 for border in borders[-1:])):
                usage = {"input": prompt, "output": 900, "reasoning": 400} if text else _full(row, prompt)
                yield {**usage, "service": service}
    yield from _batches(row, borders)
    yield from _factors(row)
    if row["litellm_provider"] == "openai":
        sizes = [name.removeprefix("search_context_size_") for name in row.get("search_context_cost_per_query", ())]
        yield from (
            {"input": 1_000, "output": 100, "units": {"searches": 1}, "variant": size} for size in sorted(sizes)
        )


def _batches(row: Row, borders: list[int]) -> Iterator[dict[str, Any]]:
    """Batches whose prices are all told: of the rest LiteLLM bills what was cached as if it were not."""
    if "input_cost_per_token_batches" in row and "output_cost_per_token_batches" in row:
        cached = 3_000 if "cache_read_input_token_cost_batches" in row else 0
        written = 2_000 if "cache_creation_input_token_cost_batches" in row else 0
        yield {
            "input": 9_000, "output": 700, "cached_input": cached, "cache_write": written, "reasoning": 300,
            "service": "batch",
        }  # fmt: skip
        if f"input_cost_per_token_above_{max(borders, default=0) // 1000}k_tokens_batches" in row:
            yield {"input": borders[-1] + 1, "output": 700, "service": "batch"}


def _full(row: Row, prompt: int) -> dict[str, Any]:
    """A prompt of which some was cached, some written and some is no text, and an answer with all that has a price."""
    told = " ".join(row)
    classes = {"input_audio": prompt // 9} if "audio_token" in told else {}
    classes |= {"cached_audio": prompt // 20} if "cache_read_input_audio" in told else {}
    classes |= {"input_image": prompt // 11} if "cost_per_image_token" in told else {}
    classes |= {"input_video": prompt // 13} if "cost_per_video_token" in told else {}
    classes |= {"output_audio": 90} if "output_cost_per_audio_token" in told else {}
    classes |= {"output_image": 80} if "output_cost_per_image_token" in told else {}
    return {
        "input": prompt, "output": 900, "cached_input": prompt // 3, "reasoning": 400,
        "written": {"5m": prompt // 7, "1h": prompt // 8}, "classes": classes,
    }  # fmt: skip


def _tiers(row: Row) -> Iterator[int]:
    return (int(tier["range"][0]) for tier in row.get("tiered_pricing", ()) if tier.get("range", [0])[0])


def _factors(row: Row) -> Iterator[dict[str, Any]]:
    own = row.get("provider_specific_entry") or {}
    if row["litellm_provider"] == "anthropic":
        yield from ({**_full(row, 9_000), "region": word} for word in ("us",) if word in own)
        yield from ({**_full(row, 9_000), "speed": word} for word in ("fast",) if word in own)
    if row["litellm_provider"] == "openai":
        yield from ({**_full(row, 9_000), "region": word} for word in ("eu", "us") if f"{_UPLIFT}{word}" in row)
    if "regional_endpoint_uplift_multiplier" in row:
        yield {**_full(row, 9_000), "region": "regional"}


def _embed(row: Row) -> Iterator[dict[str, Any]]:
    if "input_cost_per_token" not in row:
        return
    yield {"input": 1_234}
    for medium in ("image", "audio", "video"):
        if f"input_cost_per_{medium}_token" in row:
            yield {"input": 1_234, "classes": {f"input_{medium}": 456}}
    for field, unit in _LENGTHS.items():
        if field in row:
            yield {"input": 1_234, "units": {unit: 3}}


def _rerank(row: Row) -> Iterator[dict[str, Any]]:
    if row.get("input_cost_per_query"):
        yield {"units": {"queries": 3}}


def _transcription(row: Row) -> Iterator[dict[str, Any]]:
    if row.get("input_cost_per_second") or row.get("output_cost_per_second"):
        yield {"units": {"input_seconds": 61}}


def _speech(row: Row) -> Iterator[dict[str, Any]]:
    if "input_cost_per_character" in row:
        yield {"units": {"input_characters": 4_321}}


def _pages(row: Row) -> Iterator[dict[str, Any]]:
    if "ocr_cost_per_page" in row:
        yield {"units": {"pages": 7}}


def _pictures(row: Row) -> Iterator[dict[str, Any]]:
    if "output_cost_per_image" in row and not any("token" in name or name == "input_cost_per_image" for name in row):
        yield {"units": {"output_images": 3}}


def _films(row: Row) -> Iterator[dict[str, Any]]:
    if row.get("output_cost_per_second") or row.get("output_cost_per_video_per_second"):
        yield {"units": {"output_video_seconds": 8}}
    for size in ("480p", "720p", "1080p", "4k"):
        if f"output_cost_per_second_{size}" in row:
            yield {"units": {"output_video_seconds": 5}, "variant": size}


_OF_MODE = {
    **dict.fromkeys(CHATS, _chat), "embedding": _embed, "rerank": _rerank, "audio_transcription": _transcription,
    "audio_speech": _speech, "ocr": _pages, "image_generation": _pictures, "video_generation": _films,
}  # fmt: skip


if __name__ == "__main__":
    TABLE = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    TABLE.pop("sample_spec", None)
    for NAME in chosen({name: row for name, row in TABLE.items() if "litellm_provider" in row}):
        told = {"name": NAME, "row": facts(TABLE[NAME]), "usages": usages(TABLE[NAME])}
        sys.stdout.write(json.dumps(told) + "\n")
