"""How models behind Anthropic and Amazon are told how much to think, and what must then stay unsaid.

A budget of thinking is part of the length of the answer. Half of the length stays for what is said, but no
more than ``room``: a length that leaves less than the vendor's least budget is refused, and so is sampling that
the vendor refuses, before anything is sent.
"""

from collections.abc import Mapping
from typing import Any, Literal

from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat

Sampled = Literal["unthinking", "always", "never"]
"""When a model lets its sampling be set: only while it does not think, always, or never."""

ROOM = 8192
"""Tokens of an answer beside its thinking, where no length is said."""
_BUDGET = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24576}
_LEAST_BUDGET = 1024
_LEAST_TOP_P = {"unthinking": 0.95, "never": 0.99}


def length_of(request: Chat, room: int, output: int | None, *, by_budget: bool) -> int:
    """The tokens of an answer: those said, else ``room`` and the thinking, at most what the model can write."""
    wanted = _wanted(request.reasoning) if by_budget else 0
    return request.sampling.max_output_tokens or min(room + wanted, output or 1 << 30)


def budget_of(effort: str | None, length: int, room: int) -> int:
    """The tokens of thinking in an answer of ``length``; 0 where none is asked for."""
    wanted = _wanted(effort)
    budget = min(wanted, max(length // 2, length - room))
    if wanted and budget < _LEAST_BUDGET:
        message = f"thinking takes {_LEAST_BUDGET} tokens or more, and half of `max_output_tokens: {length}` is less"
        raise ProviderFailure("bad_request", message, hint=f"max_output_tokens: {2 * _LEAST_BUDGET}")
    return budget


def require_room(thinking: Any, length: Any) -> None:
    """`ProviderFailure` ``bad_request`` for a budget as it is sent that leaves nothing of the length for an answer."""
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if isinstance(budget, int) and isinstance(length, int) and budget >= length:
        message = f"the provider would refuse {budget} tokens of thinking in an answer of {length}"
        raise ProviderFailure("bad_request", message, hint=f"a length above {budget}, or: reasoning: none")


def fields_of(effort: str | None, way: str, length: int) -> dict[str, Any]:
    """The fields of a model at Amazon; ``effort`` is a word of the format itself. ``length`` is asked for a budget."""
    if effort is None or way == "none":
        return {}
    if way == "reasoning_effort":
        return {"reasoning_effort": effort}
    if way == "nova":
        wanted = {"minimal": "low", "low": "low", "medium": "medium"}.get(effort, "high")
        return {"reasoningConfig": _switched(effort) | ({} if effort == "none" else {"maxReasoningEffort": wanted})}
    if effort == "none":
        return {} if way == "effort" else {"thinking": {"type": "disabled"}}
    if way == "budget":
        return {"thinking": {"type": "enabled", "budget_tokens": budget_of(effort, length, ROOM)}}
    told = {"effort": "low" if effort == "minimal" else effort}
    return told | ({"thinking": {"type": "adaptive"}} if way == "adaptive" else {})


def _switched(effort: str) -> dict[str, Any]:
    return {"type": "disabled" if effort == "none" else "enabled"}


def _wanted(effort: str | None) -> int:
    return 0 if effort in (None, "none") else _BUDGET.get(effort or "", _BUDGET["medium"])


def sampled(name: str, when: Sampled, unsampled: tuple[str, ...]) -> Sampled:
    """When the model ``name`` lets its sampling be set; never where its name holds a word of ``unsampled``.

    That it always does goes before these words.
    """
    return "never" if when != "always" and any(word in name for word in unsampled) else when


def require_unsampled(told: Mapping[str, Any], when: Sampled, thinking: Any) -> None:
    """`ProviderFailure` ``bad_request`` for sampling that the vendor refuses; ``thinking`` as it is sent.

    ``told`` holds temperature, top_p and top_k under the names of the format. The vendor's own defaults pass.
    """
    thinks = isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")
    if when == "always" or (when == "unthinking" and not thinks):
        return
    for name, value in told.items():
        if value is None or _is_default(name, value, _LEAST_TOP_P[when]):
            continue
        why = "this model takes none" if when == "never" else "it may not be set while the model thinks"
        hint = f"leave `{name}` out" + ("" if when == "never" else ", or: reasoning: none")
        raise ProviderFailure("bad_request", f"the provider would refuse `{name}: {value}`: {why}", hint=hint)


def _is_default(name: str, value: Any, least: float) -> bool:
    if name == "temperature":
        return bool(value == 1)
    return name in ("top_p", "topP") and isinstance(value, int | float) and value >= least
