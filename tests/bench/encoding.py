"""What encoding costs: a chat of 100 messages to the body of a request, for every wire that chats."""

from collections.abc import Callable
from functools import partial

import orjson

from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.request import Chat, Message, Text
from tests.bench.formats import FORMATS
from tests.bench.row import Row, Size, Target, Way, cpu, in_turns, row

MESSAGES = 100
TARGET = Target(200, "ours")
# One of each format: what a stream comes in changes nothing of the request.
ENCODED = tuple(name for name in FORMATS if not name.endswith(("array", "SageMaker")))


def conversation(model: str) -> Chat:
    """Instructions, then questions and answers of some twenty words."""
    turns = (Message("assistant" if i % 2 else "user", (Text(f"turn {i}: " + "some words " * 10),)) for i in range(99))
    return Chat(model, (Message("system", (Text("Answer in one sentence."),)), *turns))


def _cost(work: Callable[[], object], times: int) -> Way:
    def repeat() -> None:
        for _ in range(times):
            work()

    return lambda: cpu(repeat) / times * 1e6


def measure(size: Size) -> list[Row]:
    """Microseconds a request; the floor writes a body that is there already."""
    rows, times = [], size.of(300)
    for name in ENCODED:
        told = FORMATS[name]
        wire = find_wire(told.wire, ProviderCard("bench", quirks=told.quirks))
        chat = conversation(f"bench/{told.model}")
        body = orjson.loads(wire.encode(chat).body)
        ways = (partial(wire.encode, chat), partial(orjson.dumps, body))
        costs = in_turns(size.rounds, *(_cost(way, times) for way in ways))
        rows.append(row(f"encode {MESSAGES} messages, {name}", *costs, TARGET, "us", "orjson.dumps"))
    return rows
