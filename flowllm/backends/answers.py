"""What decoders of all formats share: reading JSON, the meaning of end marks, counts, and failures."""

from typing import Any

import orjson

from flowllm.backends.failures import failure_inside, snippet
from flowllm.backends.framing import Frame
from flowllm.core.errors import ProviderFacts, ProviderFailure

_FINISH = {
    reason: meaning
    for meaning, reasons in {
        "stop": "stop eos end_turn stop_sequence complete finish finished completed",
        "length": "length max_tokens max_output_tokens model_context_window_exceeded",
        "tool_calls": "tool_calls function_call tool_use tool_call",
        "content_filter": (
            "content_filter content_filtered refusal guardrail guardrail_intervened safety sensitive error_toxic"
            " recitation blocklist prohibited_content spii image_safety model_armor"
        ),
        "error": "error failed malformed_function_call unexpected_tool_call",
    }.items()
    for reason in reasons.split()
}


def meaning_of(raw: str | None, *, called: bool) -> str | None:
    """The end mark of a provider in our words; an answer with calls that just stopped wants their results."""
    meaning = _FINISH.get(raw.lower(), "other") if raw else None
    return "tool_calls" if called and meaning in (None, "stop") else meaning


def count_of(*values: Any) -> int | None:
    """The first that can be a count; a negative number, a broken one or text is none."""
    return next((int(n) for n in values if type(n) in (int, float) and n >= 0 and int(n) == n), None)


def json_of(frame: Frame, partial_text: str = "") -> Any:
    """The JSON of a frame; `ProviderFailure` ``invalid_response`` for anything else."""
    try:
        return orjson.loads(frame.data)
    except orjson.JSONDecodeError:
        raise invalid(frame, "is no JSON", partial_text) from None


def object_of(frame: Frame, partial_text: str = "") -> dict[str, Any]:
    """The JSON object of a frame; an error object, bare or in a list, is raised as what it means."""
    data = json_of(frame, partial_text)
    inner = data[0] if isinstance(data, list) and data else data
    if isinstance(inner, dict) and (inner.get("error") or frame.event == "error"):
        raise failure_inside(inner, partial_text)
    if not isinstance(data, dict):
        raise invalid(frame, "is no JSON object", partial_text)
    return data


def invalid(frame: Frame, what: str, partial_text: str = "") -> ProviderFailure:
    """An answer that is not of its format; ``what`` follows "the answer"."""
    message = f"the answer {what}: {snippet(frame.data)}"
    return ProviderFailure("invalid_response", message, facts=ProviderFacts(partial_text=partial_text))


def interrupted(partial_text: str) -> ProviderFailure:
    """A stream without its end mark."""
    facts = ProviderFacts(partial_text=partial_text)
    return ProviderFailure("stream_interrupted", "the answer broke off before its end", facts=facts)
