"""Names of a table as names of flowllm: providers, the ids that providers themselves take, and variants of pictures."""

import re

PROVIDERS = {
    "text-completion-openai": "openai",
    "azure": "azure-openai",
    "azure_text": "azure-openai",
    "azure_ai": "azure-foundry",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock-mantle",
    "cohere_chat": "cohere",
    "dashscope": "alibaba",
    "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks",
    "jina_ai": "jina",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "together_ai": "together",
    "vertex_ai": "vertex",
    "vertex_ai-anthropic_models": "vertex-anthropic",
}
"""Providers that flowllm calls otherwise. Further families of ``vertex_ai`` are of ``vertex``."""

NO_MODELS = {
    "sample_spec": "it explains the table",
    "fallback_generalizations": "it holds rules, no model",
}
"""Entries that are no models, and why."""

_CLASS = re.compile(r"(fireworks-ai|together-ai)-(?=default$|moe-|above-|up-to-|embedding-|\d)")
_RESERVED = re.compile(r"/\d+-month-commitment/")
_VARIANT = re.compile(r"low|medium|high|xhigh|max|hd|standard|(\d+|max)-x-(\d+|max)|(\d+|max)-steps")
_ROUTES = frozenset({"invoke", "converse"})
_LONGEST = 200
LONGEST = 2 * _LONGEST
"""The most characters of an entry's name, the ways to the model and its variants included."""


def not_a_model(name: str) -> str:
    """Why an entry is no model that can be asked; empty for one that is."""
    if _CLASS.match(name):
        return "it is a class of models by size"
    if _RESERVED.search(name):
        return "it prices reserved capacity by the hour"
    return NO_MODELS.get(name, "")


def provider_of(told: str) -> str:
    """The provider by flowllm's name."""
    return PROVIDERS.get(told) or ("vertex" if told.startswith("vertex_ai-") else told)


def id_of(name: str, told: str) -> tuple[str, str]:
    """The id that the provider itself takes, and the variant (size, quality, steps) that the entry is about."""
    parts = name.split("/")
    prefixes = {told, told.partition("-")[0], told.replace("_", "-"), *(["bedrock"] if "bedrock" in told else ())}
    prefixes |= {"azure"} if told == "azure_text" else set()
    if parts[0] in prefixes and len(parts) > 1:
        parts.pop(0)
    variant = []
    while len(parts) > 1 and _VARIANT.fullmatch(parts[0]):
        variant.append(parts.pop(0))
    while len(parts) > 1 and (parts[0] in _ROUTES or (variant and parts[0] in prefixes)):
        parts.pop(0)
    return "/".join(parts), "/".join(variant)


def is_sound(id_: str) -> bool:
    """Whether an id can be written and asked for."""
    return 0 < len(id_) <= _LONGEST and id_.isprintable() and "*" not in id_ and id_ == id_.strip()
