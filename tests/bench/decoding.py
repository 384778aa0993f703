"""What decoding costs: 1,000 chunks of an answer to deltas, against the same loop that only parses the JSON.

Both loops cut the bytes into frames with our framing, one event a read, in turns in one process. The floor
parses each frame, and where a frame wraps another answer in base64, that too; it makes nothing of it.
"""

import base64
from collections.abc import Callable

import orjson

from flowllm.backends.framing import Sniffed
from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Text as TextDelta
from flowllm.core.request import Chat, Message, Text
from tests.bench.formats import CHUNKS, FORMATS, Format
from tests.bench.row import Row, Size, Target, Way, cpu, in_turns, row

TARGET = Target(2)
_BRACE = ord("{")


def decoded(told: Format, answers: int) -> int:
    """Read the answer so many times; the pieces of text in the last."""
    wire = find_wire(told.wire, ProviderCard("bench", quirks=told.quirks))
    request = Chat(f"bench/{told.model}", (Message("user", (Text("hello"),)),), stream=True)
    count = 0
    for _ in range(answers):
        framing, decoder, count = Sniffed(json=told.json), wire.decoder(request), 0
        for chunk in told.stream:
            for frame in framing.feed(chunk):
                for delta in decoder.feed(frame):
                    count += type(delta) is TextDelta
        assert not framing.finish()
        assert decoder.finish()
    return count


def parsed(told: Format, answers: int) -> int:
    """The same loop with JSON parsing alone; the frames of the last answer that hold JSON."""
    wraps, count = told.wire == "bedrock_invoke", 0
    for _ in range(answers):
        framing, count = Sniffed(json=told.json), 0
        for chunk in told.stream:
            for frame in framing.feed(chunk):
                if frame.data[0] == _BRACE:
                    found, count = orjson.loads(frame.data), count + 1
                    if wraps:
                        orjson.loads(base64.b64decode(found["bytes"]))
        framing.finish()
    return count


def _cost(loop: Callable[[Format, int], int], told: Format, answers: int) -> Way:
    return lambda: cpu(lambda: loop(told, answers)) / answers / CHUNKS * 1e6


def measure(size: Size) -> list[Row]:
    """Every wire, in each framing and family that it reads."""
    rows, answers = [], size.of(10)
    for name, told in FORMATS.items():
        assert decoded(told, 1) == CHUNKS, name
        costs = in_turns(size.rounds, _cost(decoded, told, answers), _cost(parsed, told, answers))
        rows.append(row(f"decode 1,000 chunks, {name}", *costs, TARGET, "us/chunk", "framing + JSON"))
    return rows
