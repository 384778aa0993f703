"""What is known of providers, as data: the facts of one, several side by side, which one suits a need.

Nothing here asks a network; `flowllm.api.probing` does.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, get_args
from urllib.parse import urlsplit

from flowllm.api.environment import Environment
from flowllm.catalog.entries import Feature, Task
from flowllm.core.card import ProviderCard
from flowllm.core.errors import FlowError, UsageError
from flowllm.core.nearest import did_you_mean
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

TASKS: tuple[str, ...] = get_args(Task)
FEATURES: tuple[str, ...] = get_args(Feature)
SAME_AS = {
    "vision": "images",
    "structured": "json_schema",
    "json": "json_schema",
    "function_calling": "tools",
    "thinking": "reasoning",
    "prompt_caching": "caching",
    "embeddings": "embed",
    "embedding": "embed",
    "ranking": "rerank",
}
"""Other words for needs."""
_TASK_OF = {feature: "embed" if feature == "dimensions" else "chat" for feature in FEATURES}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MET, _KEY, _FREE, _LOCAL, _CHECKED = 10, 5, 3, 2, 1


@record
class KeyState:
    """Whether a provider can be proven to who asks, and in words: the end of a key and where it was found."""

    found: bool
    said: str


@record
class Wanted:
    """What a provider must have: needs (tasks and features), and where it may be."""

    needs: tuple[str, ...] = ("chat",)
    local: bool = False
    free: bool = False
    has_key: bool = False


@record
class Recommendation:
    """A provider and why: its score is the sum of the points of its reasons, none of them below nought.

    ``unknown`` are needs of which nothing is known there.
    """

    provider: str
    score: int
    reasons: tuple[tuple[int, str], ...]
    unknown: tuple[str, ...]

    def to_data(self) -> dict[str, Any]:
        """As JSON."""
        reasons = [{"points": points, "reason": reason} for points, reason in self.reasons]
        return {"provider": self.provider, "score": self.score, "reasons": reasons, "unknown": list(self.unknown)}


def find_provider(environment: Environment, name: str) -> ProviderCard:
    """The card of a provider; `UsageError` for one that is not installed, `PipelineInvalid` for a broken file."""
    providers = environment.catalog.providers
    if name not in providers:
        provider, slash, _ = name.partition("/")
        if slash and provider in providers:
            hint = (
                f"flowllm providers show {provider}, or for the model: {shell_line('flowllm', 'models', 'show', name)}"
            )
        else:
            hint = did_you_mean(provider, providers, "flowllm providers list")
        raise UsageError("unknown_provider", f"the provider `{name}` is not installed", hint=hint)
    return providers[name]


def key_state(environment: Environment, card: ProviderCard) -> KeyState:
    """``not needed``, what was found to sign with and where, or the variable that is not set."""
    from flowllm.backends.auth.found import signs_with, what_signs
    from flowllm.backends.auth.keys import masked
    from flowllm.backends.auth.signing import LIBRARIES

    auth = card.auth
    if auth.scheme == "none":
        return KeyState(found=True, said="not needed")
    found = environment.keys.find(auth)
    if found is not None:
        return KeyState(found=True, said=f"{masked(found[0])} ({found[1]})")
    if auth.scheme in LIBRARIES:
        said = what_signs(auth, environment.keys.find)
        return KeyState(found=bool(signs_with(auth, environment.keys.find)), said=said)
    name = " or ".join(f"${variable}" for variable in auth.env) or "a key"
    return KeyState(found=False, said=f"{name} is not set" + ("" if auth.required else " (not required)"))


def provider_facts(environment: Environment, name: str) -> dict[str, Any]:
    """All that is known of a provider, as JSON; a feature that is not there is unknown. Never a key."""
    card = find_provider(environment, name)
    return {
        "name": card.name,
        "title": card.title,
        "tasks": sorted(card.tasks),
        "wire": dict(card.wire),
        "features": {task: dict(known) for task, known in card.features.items()},
        "limits": {word: {"value": value, "source": source} for word, (value, source) in card.limits.items()},
        "base_url": card.base_url,
        "endpoints": dict(card.endpoints),
        "api_version": card.api_version,
        "key": key_state(environment, card).said,
        "settings": dict(card.settings),
        "unset": dict(card.unset),
        "models": list(card.models),
        "open_models": card.open_models,
        "free": card.free,
        "elsewhere": list(card.elsewhere),
        "local": is_local(card),
        "docs": card.docs,
        "status": card.status,
        "pricing": card.pricing,
        "checked": card.checked,
        "file": card.origin.file,
    }


def is_local(card: ProviderCard) -> bool:
    """Whether a provider answers on this machine."""
    return card.local or urlsplit(card.base_url).hostname in _LOOPBACK


def read_needs(words: Sequence[str]) -> tuple[str, ...]:
    """Needs as words, also several in one with commas between; `UsageError` for an unknown one."""
    said = [part.strip().lower().replace("-", "_") for word in words for part in word.split(",") if part.strip()]
    known = (*TASKS, *FEATURES)
    if words and not said:
        raise UsageError("bad_value", "no need is named", hint=f"known: {', '.join(known)}")
    needs = tuple(dict.fromkeys(SAME_AS.get(word, word) for word in said)) or ("chat",)
    for need in needs:
        if need not in known:
            hint = did_you_mean(need, (*known, *SAME_AS), f"known: {', '.join(known)}")
            raise UsageError("bad_value", f"`{need}` is neither a task nor a feature", hint=hint)
    return needs


def recommend(environment: Environment, wanted: Wanted) -> list[Recommendation]:
    """Providers that may do what is wanted, the best first; one that is known not to is left out."""
    found = []
    for name in environment.catalog.providers:
        with suppress(FlowError):  # a provider that nothing asks for may be broken
            card = environment.catalog.providers[name]
            if (one := _judged(environment, card, wanted)) is not None:
                found.append(one)
    return sorted(found, key=lambda one: (len(one.unknown), -one.score, one.provider))


def _judged(environment: Environment, card: ProviderCard, wanted: Wanted) -> Recommendation | None:
    made_up = card.local and card.open_models
    here, key = is_local(card), key_state(environment, card)
    fit = (here or not wanted.local) and (card.free or not wanted.free)
    may = key.found or not card.auth.required
    if made_up or not fit or (wanted.has_key and not (may and _has_place(card))):
        return None
    own = wanted.local or wanted.free
    known = [(need, _met(card, need, own=own)) for need in wanted.needs]
    if any(answer == "" for _, answer in known):
        return None
    reasons = [(_MET, answer) for _, answer in known if answer]
    reasons += [(_KEY, f"key: {key.said}")] if may else [(0, f"key: {key.said}")]
    reasons += [(_FREE, f"costs nothing{_but(card)}")] if card.free else []
    reasons += [(_LOCAL, f"answers on this machine{_but(card)}")] if here else []
    reasons += [(_CHECKED, f"looked at on {card.checked}")] if card.checked else []
    unknown = tuple(need for need, answer in known if answer is None)
    return Recommendation(card.name, sum(points for points, _ in reasons), tuple(reasons), unknown)


def _has_place(card: ProviderCard) -> bool:
    """Whether it is known where a provider is asked."""
    return card.local or bool(card.base_url and not card.unset)


def _but(card: ProviderCard) -> str:
    """Which models of a server that is free or here are neither: it asks another place for them."""
    return f", but for {', '.join(card.elsewhere)}" if card.elsewhere else ""


def _met(card: ProviderCard, need: str, *, own: bool) -> str | None:
    """How a need is met; an empty text where it is known not to be, None where nothing is known.

    ``own``: by a model that the server itself runs.
    """
    task = need if need in TASKS else _TASK_OF[need]
    if task not in card.tasks:
        return ""
    if need in TASKS:
        return f"does {need}"
    told = card.supports(task, need)
    if told:
        return f"supports {need}"
    model = next((name for name in _models_with(card, task, need) if not (own and card.is_elsewhere(name))), "")
    if model:
        return f"its model {model} supports {need}"
    return "" if told is False else None


def _models_with(card: ProviderCard, task: str, feature: str) -> Iterator[str]:
    return (name for name, model in card.models.items() if task in model.tasks and feature in (model.supports or ()))
