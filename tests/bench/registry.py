"""Looking a model up: the first time, with its provider's file, and then. Against reading that file as JSON."""

import json
import time

from flowllm.catalog import Registry, packaged_providers
from flowllm.core.card import Catalog, ProviderCard
from tests.bench.row import Row, Size, Target, in_turns, row

MODEL = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
FIRST = Target(30, "ours")
AGAIN = Target(5, "ours")


def measure(size: Size) -> list[Row]:
    """The two rows; the provider is the one with the largest file."""
    folder = packaged_providers() / "models"
    times = size.of(200_000)

    def fresh() -> Catalog:
        return Catalog({"bedrock": ProviderCard("bedrock")}, Registry([folder]))

    def first() -> float:
        known = fresh()
        before = time.process_time()
        assert known.model(MODEL)
        return (time.process_time() - before) * 1e3

    def parsing() -> float:
        before = time.process_time()
        json.loads((folder / "bedrock.json").read_bytes())
        return (time.process_time() - before) * 1e3

    warm, plain = fresh(), {MODEL: 1}

    def again() -> float:
        before = time.process_time()
        for _ in range(times):
            warm.model(MODEL)
        return (time.process_time() - before) / times * 1e6

    def lookup() -> float:
        before = time.process_time()
        for _ in range(times):
            plain.get(MODEL)
        return (time.process_time() - before) / times * 1e6

    firsts, parsings = in_turns(size.rounds, first, parsing)
    agains, lookups = in_turns(size.rounds, again, lookup)
    return [
        row("lookup of a model, first time", firsts, parsings, FIRST, "ms", "json.loads of the file"),
        row("lookup of a model, then", agains, lookups, AGAIN, "us", "a dict's get"),
    ]
