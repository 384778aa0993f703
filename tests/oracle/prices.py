"""What the cost functions of LiteLLM make of entries and usages, as decimal text: reads rows of `vectors`, one a line.

The functions know the prices of each row alone, not their own table. They calculate in binary floats, so what is
kept is rounded to the 15 digits that those hold.
"""

import contextlib
import importlib.metadata
import json
import os
import sys
from datetime import UTC, datetime

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from litellm._internal_context import pinned_billing_time
from litellm.cost_calculator import (
    batch_cost_calculator,
    cost_per_token,
    default_image_cost_calculator,
    default_video_cost_calculator,
)
from litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking import StandardBuiltInToolCostTracking as Tools
from litellm.llms.base_llm.ocr.transformation import OCRResponse
from litellm.types.utils import (
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetailsWrapper,
    Usage,
)

IMAGE = "1024-x-1024"


def bill(name, row, told):
    """Dollars for a usage of an entry."""
    mode, units = row["mode"], told.get("units", {})
    company = "vertex_ai" if row["litellm_provider"].startswith("vertex_ai-") else row["litellm_provider"]
    how = {"model": name, "custom_llm_provider": company}
    if mode == "image_generation":
        return default_image_cost_calculator(**how, n=units["output_images"], size=IMAGE)
    if mode == "video_generation":
        seconds, size = units["output_video_seconds"], told.get("variant")
        return default_video_cost_calculator(name, seconds, company, video_resolution=size)
    if told.get("service") == "batch":
        return sum(batch_cost_calculator(usage_of(told), name, company))
    looked = {"search_context_size": told.get("variant")} if "searches" in units else None
    searched = Tools.get_cost_for_web_search(looked, row) if looked else 0
    return sum(cost_per_token(**how, **_CALLS.get(mode, _chat)(told))) + searched


def usage_of(told):
    """The usage in its form."""
    classes, written, units = (told.get(name, {}) for name in ("classes", "written", "units"))
    writes = told.get("cache_write", sum(written.values()))
    prompt = {
        "cached_tokens": told.get("cached_input", 0),
        "cache_creation_tokens": writes,
        "audio_tokens": classes.get("input_audio", 0),
        "image_tokens": classes.get("input_image", 0),
        "video_tokens": classes.get("input_video", 0),
        "image_count": units.get("input_images", 0),
        "audio_length_seconds": units.get("input_seconds", 0),
        "video_length_seconds": units.get("input_video_seconds", 0),
    }
    if units:
        prompt["text_tokens"] = told.get("input", 0)
    if "cached_audio" in classes:
        prompt["cached_tokens_details"] = {"audio_tokens": classes["cached_audio"]}
    if written:
        prompt["cache_creation_token_details"] = CacheCreationTokenDetails(
            ephemeral_5m_input_tokens=written["5m"], ephemeral_1h_input_tokens=written["1h"]
        )
    answer = {
        "reasoning_tokens": told.get("reasoning", 0),
        "audio_tokens": classes.get("output_audio", 0),
        "image_tokens": classes.get("output_image", 0),
    }
    usage = Usage(
        prompt_tokens=told.get("input", 0),
        completion_tokens=told.get("output", 0),
        total_tokens=told.get("input", 0) + told.get("output", 0),
        prompt_tokens_details=PromptTokensDetailsWrapper(**prompt),
        completion_tokens_details=CompletionTokensDetailsWrapper(**answer),
        cache_creation_input_tokens=writes,
        cache_read_input_tokens=told.get("cached_input", 0),
    )
    usage.inference_geo, usage.speed = told.get("region"), told.get("speed")
    usage.citation_tokens = classes.get("citations", 0)
    return usage


def _chat(told):
    region = told.get("region")
    where = {"vertex_location": "us-east5"} if region == "regional" else {"data_residency": region}
    return {"usage_object": usage_of(told), "service_tier": told.get("service"), **where}


def _pages(told):
    pages = {"pages_processed": told["units"]["pages"]}
    return {"call_type": "ocr", "response": OCRResponse(pages=[], model="m", usage_info=pages)}


_CALLS = {
    "embedding": lambda told: {"call_type": "embedding", "usage_object": usage_of(told)},
    "rerank": lambda told: {
        "call_type": "rerank", "rerank_billed_units": {"search_units": told["units"]["queries"]},
    },
    "audio_transcription": lambda told: {
        "call_type": "transcription", "audio_transcription_file_duration": told["units"]["input_seconds"],
    },
    "audio_speech": lambda told: {"call_type": "speech", "prompt_characters": told["units"]["input_characters"]},
    "ocr": _pages,
}  # fmt: skip


def _bill_then(name, row, told):
    with pinned_billing_time(datetime.fromtimestamp(told.get("at", 0), UTC)):
        return bill(name, row, told)


def main():
    """Print the golden file: each entry with its facts, and its usages with what they cost."""
    asked = [json.loads(line) for line in sys.stdin]
    litellm.model_cost.clear()
    litellm.model_cost.update({one["name"]: dict(one["row"]) for one in asked})
    litellm.utils._invalidate_model_cost_lowercase_map()  # it keeps what it once looked up
    lines = []
    for one in asked:
        with contextlib.redirect_stdout(sys.stderr):  # it prints where to get help
            bills = [[told, f"{_bill_then(one['name'], one['row'], told):.15g}"] for told in one["usages"]]
        lines.append(json.dumps({"name": one["name"], "row": one["row"], "bills": bills}, separators=(",", ":")))
    version = importlib.metadata.version("litellm")
    sys.stdout.write(f'{{"oracle": "litellm {version}", "entries": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
