"""Which models stand behind a name, in the order in which they are asked.

``groups`` are those of a plan (`Plan.models`), as `Models` leaves them: a group's ``among`` holds
``provider/model`` alone, and an alias is a ``provider/model`` or a group's name.
"""

from collections.abc import Mapping
from typing import Any

from flowllm.compiler.call_policies import fallbacks
from flowllm.core.plan import Step


def candidates(name: str | None, groups: Mapping[str, Any]) -> tuple[str, ...]:
    """The models behind a name; none behind None."""
    if name is None:
        return ()
    meaning = groups.get(name)
    if meaning is None:
        return (name,)
    return tuple(meaning["among"]) if isinstance(meaning, Mapping) else candidates(meaning, groups)


def asked(step: Step, groups: Mapping[str, Any]) -> tuple[str, ...]:
    """Every model that a step can ask: its own, those that an expression can choose, its fallbacks."""
    names = (step.model, *step.models, *fallbacks(step.policies))
    return tuple(dict.fromkeys(model for name in names for model in candidates(name, groups)))


def chosen_by(key: str) -> str:
    """The hint for calls without a model: how the top-level ``key`` (model, embedder) names one."""
    if key == "embedder":
        return "choose one: embedder=builtin/lexical"
    return "choose one: model=openai/gpt-5.4-mini asks a provider, model=mock/echo only repeats the prompt"
