"""What the wires make of the neutral requests, for each oracle: `python -m tests.oracle.encoded NAME` prints it.

An oracle is `tests/oracle/NAME.py`, run by `bin/oracle NAME` in an environment of its own. It reads rows of JSON,
one a line, and never the project. To add one: its targets here, its module, and its lock, a line in `bin/lock`.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from flowllm.backends.wire import find_wire
from flowllm.catalog import load_catalog, packaged_providers
from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure
from tests.oracle.requests import ALL


@dataclass(frozen=True)
class Target:
    """A wire as one provider speaks it, and a model of that provider; ``task`` says which requests it gets.

    With ``provider``, its file says what it does differently; ``quirks`` come over that.
    """

    name: str
    wire: str
    model: str
    quirks: Mapping[str, Any] = field(default_factory=dict)
    task: str = "chat"
    provider: str = ""

    @property
    def card(self) -> ProviderCard:
        """The provider, called ``p``."""
        card = CATALOG.providers[self.provider] if self.provider else ProviderCard("p")
        return replace(card, name="p", quirks={**card.quirks, **self.quirks})


def _read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


CATALOG = load_catalog([packaged_providers()], _read, environment={})

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
TARGETS = {
    "aws": (
        Target("bedrock_converse", "bedrock_converse", CLAUDE),
        Target("bedrock_converse: a profile, budget, cache", "bedrock_converse", PROFILE,
               {"thinking": "budget", "cache": "prefix"}),
        Target("bedrock_converse: Nova", "bedrock_converse", NOVA),
        Target("bedrock_invoke: Claude", "bedrock_invoke", CLAUDE),
        Target("bedrock_invoke: Nova", "bedrock_invoke", NOVA),
        Target("bedrock_invoke: OpenAI", "bedrock_invoke", "openai.gpt-oss-120b-1:0"),
        Target("bedrock_invoke: Titan embeds", "bedrock_invoke", "amazon.titan-embed-text-v2:0", task="embed"),
        Target("bedrock_invoke: Cohere embeds", "bedrock_invoke", "cohere.embed-v4:0", task="embed"),
        Target("bedrock_rerank", "bedrock_rerank", "cohere.rerank-v3-5:0",
               {"model_arn": "arn:aws:bedrock:us-east-1::foundation-model/{model}"}, "rerank"),
    ),
    "openai": (
        Target("openai_chat", "openai_chat", "gpt-4o-mini", provider="openai"),
        Target("openai_chat: a model that thinks", "openai_chat", "gpt-5-mini", {"prompt_cache": "breakpoint"},
               provider="openai"),
        Target("openai_chat: JSON in words", "openai_chat", "gpt-4o-mini",
               {"structured": "json_object", "system_role": "developer"}, provider="openai"),
        Target("openai_responses", "openai_responses", "gpt-5-mini", {"prompt_cache": "breakpoint"}),
        Target("openai_responses: instructions as an item", "openai_responses", "gpt-5-mini",
               {"system": "item", "system_role": "developer", "structured": "json_object"}),
        Target("openai_completions", "openai_completions", "gpt-3.5-turbo-instruct"),
        Target("openai_embeddings", "openai_embeddings", "text-embedding-3-small", task="embed", provider="openai"),
        Target("openai_embeddings: base64", "openai_embeddings", "m", {"encoding": "base64"}, "embed"),
    ),
    "anthropic": (
        Target("anthropic_messages", "anthropic_messages", "claude-sonnet-4-6", provider="anthropic"),
        Target("anthropic_messages: budget, cache", "anthropic_messages", "claude-haiku-4-5",
               {"thinking": "budget", "cache": "prefix"}, provider="anthropic"),
        Target("anthropic_messages: no sampling", "anthropic_messages", "claude-opus-4-7",
               {"drop": ["temperature", "top_p"]}, provider="anthropic"),
        Target("anthropic_messages: JSON in words", "anthropic_messages", "claude-3-haiku-20240307",
               {"structured": "none", "thinking": "none"}, provider="anthropic"),
    ),
    "google": (
        Target("gemini_generate", "gemini_generate", "gemini-2.5-flash", provider="gemini"),
        Target("gemini_generate: levels", "gemini_generate", "gemini-3-flash-preview", {"thinking": "level"},
               provider="gemini"),
        Target("gemini_generate: JSON in words", "gemini_generate", "gemini-2.0-flash",
               {"structured": "json_object", "thinking": "none"}, provider="gemini"),
        Target("gemini_embed", "gemini_embed", "gemini-embedding-001", task="embed", provider="gemini"),
        Target("gemini_embed: a task", "gemini_embed", "gemini-embedding-001", {"task_type": "RETRIEVAL_QUERY"},
               "embed", "gemini"),
    ),
    "cohere": (
        Target("cohere_v2", "cohere_v2", "command-a-reasoning-08-2025", provider="cohere"),
        Target("cohere_v2: JSON in words", "cohere_v2", "command-a-vision-07-2025",
               {"structured": "json_object", "thinking": "none"}, provider="cohere"),
        Target("cohere_v2: embeds", "cohere_v2", "embed-v4.0", task="embed", provider="cohere"),
        Target("rerank", "rerank", "rerank-v3.5", task="rerank", provider="cohere"),
    ),
    "mistral": (
        Target("openai_chat", "openai_chat", "mistral-large-latest", provider="mistral"),
        Target("openai_chat: JSON in words", "openai_chat", "m", {"structured": "json_object"}, provider="mistral"),
        Target("openai_embeddings", "openai_embeddings", "codestral-embed", task="embed", provider="mistral"),
    ),
}  # fmt: skip


def encoded(oracle: str) -> Iterator[dict[str, Any]]:
    """A row for each target and request: what would be sent and its digest, or why the wire refuses it."""
    for target in TARGETS[oracle]:
        wire = find_wire(target.wire, target.card)
        for name, request in ALL[target.task].items():
            row = {"target": target.name, "request": name}
            try:
                parts = wire.encode(replace(request, model=f"p/{target.model}"))
            except ProviderFailure as failure:
                yield row | {"refused": failure.message}
                continue
            sent = {"method": parts.method, "path": parts.path, "body": json.loads(parts.body)}
            yield row | {"digest": digest(sent), **sent}


def digest(sent: Mapping[str, Any]) -> str:
    """What stands for a request in the golden files."""
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    for told in encoded(sys.argv[1]):
        sys.stdout.write(json.dumps(told) + "\n")
