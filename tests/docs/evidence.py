"""What the files of providers claim, and the best evidence for each claim.

``recorded``: answers of this provider, in the format that its file names, that decode to what they must
(`tests.wire.counts`). ``types``: requests that the vendor's own package accepts (`tests.oracle`).
``documented``: neither; the provider's pages say so. A claim without a file that makes it gets no tick.
"""

import json
from collections import Counter

from flowllm.backends.wire import check_quirks
from flowllm.catalog import load_catalog
from flowllm.config import load_yaml
from flowllm.core.request import Chat, Embed, Image
from tests.docs.blocks import ROOT
from tests.oracle.encoded import TARGETS
from tests.oracle.requests import ALL
from tests.wire.counts import FILE
from tests.wire.replay import WIRES

RECORDED_AS = {
    "bedrock-mantle-responses": "bedrock-mantle",
    "bedrock-rerank": "bedrock",
    "ollama-native": "ollama",
    "vllm": "vllm-local",
}
"""Names of the recordings for providers that have another one."""
OF_AWS = {"bedrock_converse": "bedrock", "bedrock_invoke": "bedrock", "bedrock_rerank": "bedrock-rerank"}
"""Providers whose requests the package of AWS is asked about."""


def shipped():
    """The cards of every provider that comes with flowllm, whatever this machine's environment says."""
    catalog = load_catalog(
        [ROOT / "providers"], lambda path: load_yaml(path.read_text("utf-8"), path.name)[0], {}, check_quirks, {}
    )
    return catalog.providers


def recorded():
    """Provider, wire and what is shown, to the number of recorded answers."""
    counts = Counter()
    for provider, protocols in json.loads(FILE.read_text("utf-8"))["providers"].items():
        for protocol, shown in protocols.items():
            counts.update({(provider, WIRES[protocol], word): number for word, number in shown.items()})
    return counts


def accepted():
    """Provider, wire and what is asked for, to the number of requests that the vendor's package accepts."""
    counts = Counter()
    for oracle, targets in TARGETS.items():
        verdicts = json.loads((ROOT / f"tests/oracle/golden/{oracle}.json").read_text("utf-8"))["verdicts"]
        for target in targets:
            provider = OF_AWS[target.wire] if oracle == "aws" else target.provider
            for name, verdict in verdicts[target.name].items():
                words = asked(ALL[target.task][name], target) if verdict.get("accepted") else ()
                counts.update((provider, target.wire, word) for word in words)
    return counts


def asked(request, target):
    """What a request asks of a provider."""
    yield target.task
    if isinstance(request, Embed) and request.dimensions:
        yield "dimensions"
    if not isinstance(request, Chat):
        return
    parts = [part for message in request.messages for part in message.parts]
    shows = {
        "streaming": request.stream,
        "tools": request.tools,
        "parallel_tools": any(len(message.tool_calls) > 1 for message in request.messages),
        "json_schema": request.schema is not None and target.quirks.get("structured", "json_schema") == "json_schema",
        "images": any(isinstance(part, Image) for part in parts),
        "reasoning": request.reasoning and target.quirks.get("thinking") != "none",
        "caching": target.quirks.get("cache") == "prefix",
    }
    yield from (word for word, is_there in shows.items() if is_there)


def tick(card, task, word, recordings, types):
    """The cell of a provider: its claim and the best evidence for it; empty where nothing is known."""
    if task not in card.wire:
        return ""
    claim = True if word == task else card.supports(task, word)
    if not claim:
        return "no" if claim is False else ""
    wire = card.wire[task]
    if seen := recordings[RECORDED_AS.get(card.name, card.name), wire, word]:
        return f"recorded {seen}"
    if taken := types[card.name, wire, word]:
        return f"types {taken}"
    return "documented"
