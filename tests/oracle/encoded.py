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

from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure
from tests.oracle.requests import ALL


@dataclass(frozen=True)
class Target:
    """A wire as one provider speaks it, and a model of that provider; ``task`` says which requests it gets."""

    name: str
    wire: str
    model: str
    quirks: Mapping[str, Any] = field(default_factory=dict)
    task: str = "chat"


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
}  # fmt: skip


def encoded(oracle: str) -> Iterator[dict[str, Any]]:
    """A row for each target and request: what would be sent and its digest, or why the wire refuses it."""
    for target in TARGETS[oracle]:
        wire = find_wire(target.wire, ProviderCard("p", quirks=target.quirks))
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
