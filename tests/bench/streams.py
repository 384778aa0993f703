"""P3: what one chunk of a streamed answer costs, and how much later the first one is seen.

The floor is a bare `asyncio.Protocol` that cuts the bytes at blank lines, reads each event's JSON and knows where
the text of this one format stands.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import orjson

from flowllm.api import Environment, Flow
from flowllm.backends.http import HttpClient
from flowllm.backends.provider import backend_for
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Text as TextDelta
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from tests.bench.formats import CHUNKS, FORMATS, SERVED, Format
from tests.bench.row import Row, Size, Target, cpu_of, row, turns

TARGETS = {"burst": Target(5.7), "paced": Target(2.8)}
"""8 us and 45 us for a chunk where the floor takes 1.4 us and 16 us."""
_LAST = b"\r\n0\r\n\r\n"
Reading = Callable[[Callable[[], None]], Awaitable[int]]
"""Reads one answer, calls when the first text is there, and gives the number of chunks."""


@contextmanager
def serving() -> Iterator[int]:
    """The port of a server in another process."""
    command = [sys.executable, "-m", "tests.bench.sse_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


class _Raw(asyncio.Protocol):
    def __init__(self, told: Format) -> None:
        self.first: Callable[[], None] = int
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.rest, self.count, self.text = b"", 0, told.text

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.cancel()

    def data_received(self, data: bytes) -> None:
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            start = event.find(b"data: ") + 6
            if not event.startswith(b"[DONE]", start) and self.text(orjson.loads(event[start:])):
                if not self.count:
                    self.first()
                self.count += 1
        if self.rest.endswith(_LAST):
            self.done.set_result(self.count)


@dataclass(frozen=True, slots=True)
class Ways:
    """Three readers of the same answers, their connections open."""

    raw: Reading
    backend: Reading
    flow: Reading


def _raw(protocol: _Raw, path: str) -> Reading:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True})
    head = f"POST {path}/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"

    async def read(first: Callable[[], None]) -> int:
        protocol.done = asyncio.get_running_loop().create_future()
        protocol.first, protocol.rest, protocol.count = first, b"", 0
        protocol.transport.write(head.encode() + body)
        return await protocol.done

    return read


def _backend(client: HttpClient, address: str, wire: str) -> Reading:
    card = ProviderCard("bench", base_url=address, wire={"chat": wire}, auth=Auth("none"))
    call = backend_for(card, lambda auth: None, client)
    request = Chat("bench/m", (Message("user", (Text("hello"),)),), stream=True)

    async def read(first: Callable[[], None]) -> int:
        count = 0
        async with aclosing(call(request, Scope(observed=False))) as deltas:
            async for delta in deltas:
                if type(delta) is TextDelta:
                    if not count:
                        first()
                    count += 1
        return count

    return read


def _flow(flow: Flow) -> Reading:
    async def read(first: Callable[[], None]) -> int:
        count = 0
        async with flow.astream({"text": "hello"}) as stream:
            async for _ in stream:
                if not count:
                    first()
                count += 1
            await stream.result()
        return count

    return read


def pipeline(address: str, wire: str) -> Flow:
    """A call of the server, shown as it comes."""
    nodes = {"ask": {"kind": "call", "model": "compatible/m", "prompt": "{{ inputs.text }}"}}
    mapping = {"inputs": {"text": "string"}, "nodes": nodes, "outputs": {"text": "ask.text"}}
    provider = {"base_url": address, "wire": {"chat": wire}}
    return Flow.of(mapping, environment=Environment(providers={"compatible": provider}))


@asynccontextmanager
async def _ways(port: int, manner: str, name: str) -> AsyncIterator[Ways]:
    path, told = f"/{manner}/{name}", FORMATS[name]
    address = f"http://127.0.0.1:{port}{path}/v1"
    transport, protocol = await asyncio.get_running_loop().create_connection(lambda: _Raw(told), "127.0.0.1", port)
    client = HttpClient()
    async with pipeline(address, told.wire) as flow:
        yield Ways(_raw(protocol, path), _backend(client, address, told.wire), _flow(flow))
    await client.aclose()
    transport.close()


async def _timed(read: Reading, answers: int) -> tuple[float, float]:
    """Microseconds of CPU for a chunk, and milliseconds until the first text came."""
    waits: list[float] = []

    async def work() -> None:
        for _ in range(answers):
            began = time.perf_counter()
            count = await read(lambda began=began: waits.append(time.perf_counter() - began))
            assert count == CHUNKS, count

    seconds = await cpu_of(work)
    return seconds / answers / CHUNKS * 1e6, min(waits) * 1e3


async def rows_of(port: int, manner: str, wire: str, size: Size) -> list[Row]:
    """One wire, burst or paced."""
    answers = size.of(20 if manner == "burst" else 1)
    costs: dict[str, list[float]] = {"raw": [], "backend": [], "flow": []}
    waits: dict[str, list[float]] = {name: [] for name in costs}
    async with _ways(port, manner, wire) as ways:
        for counts, order in turns(size.rounds, len(costs)):
            for name in (list(costs)[index] for index in order):
                cost, wait = await _timed(getattr(ways, name), answers)
                if counts:
                    costs[name].append(cost)
                    waits[name].append(wait)
    rows = [
        row(f"P3 {wire}, {manner}, {name}", costs[name], costs["raw"], TARGETS[manner], "us/chunk", "raw socket")
        for name in ("backend", "flow")
    ]
    if manner == "paced":
        first = {name: min(found) for name, found in waits.items()}
        rows += [_first_token(wire, name, first) for name in ("backend", "flow")]
    return rows


def _first_token(wire: str, name: str, waits: dict[str, float]) -> Row:
    ours, floor = waits[name], waits["raw"]
    return Row(f"P3 {wire}, first token, {name}", ours, floor, ours / floor, Target(1, "added"), "ms", "raw socket")


def measure(size: Size) -> list[Row]:
    """Every wire of events; burst and paced, by the backend alone and through a flow."""
    with serving() as port:
        return [
            found
            for wire in SERVED[: size.of(len(SERVED))]
            for manner in TARGETS
            for found in asyncio.run(rows_of(port, manner, wire, size))
        ]
