"""A server of raw sockets that does exactly what its script says, byte by byte.

    async with FaultServer([send(ok()), fin()]) as server:
        ... server.base_url ...

A script is a list of steps for every connection, or a callable from the connection's number to one.
Each connection first reads one request (unless the script begins with ``unread``), then does its
steps. ``again()`` reads another request on the same connection.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import orjson

Step = Callable[["Connection"], Awaitable[None]]
Script = Sequence[Step] | Callable[[int], Sequence[Step]]


@dataclass
class Connection:
    """One accepted connection, for steps."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "FaultServer"

    async def read_request(self) -> bool:
        """Read one request with its body; False when the client is gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
        body = await self.reader.readexactly(length)
        self.server.requests.append((head, body))
        return True


@dataclass
class FaultServer:
    """Counts ``connections``; ``requests`` holds (head, body) as they came; ``open`` those still alive."""

    script: Script
    tls: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    open: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *caught) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def _accept(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        number, self.connections, self.open = self.connections, self.connections + 1, self.open + 1
        steps = self.script(number) if callable(self.script) else self.script
        try:
            await self._run(Connection(reader, writer, self), steps)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:  # noqa: BLE001  tests look at what went wrong
            self.errors.append(error)
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def _run(self, connection: Connection, steps: Sequence[Step]) -> None:
        if steps and steps[0] is not unread and not await connection.read_request():
            return
        for step in steps:
            await step(connection)


async def unread(connection: Connection) -> None:
    """As the first step: do not read a request."""


def send(*data: bytes) -> Step:
    """Send bytes, each argument in a write of its own."""

    async def step(connection: Connection) -> None:
        for piece in data:
            connection.writer.write(piece)
            await connection.writer.drain()

    return step


def drip(data: bytes, size: int = 1) -> Step:
    """Send a few bytes at a time, letting the client run in between; then wait for ``go``."""

    async def step(connection: Connection) -> None:
        for start in range(0, len(data), size):
            connection.writer.write(data[start : start + size])
            await connection.writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return step


def repeat(data: bytes, times: int) -> Step:
    """Send the same bytes many times without holding them all."""

    async def step(connection: Connection) -> None:
        for _ in range(times):
            connection.writer.write(data)
            await connection.writer.drain()

    return step


def forever(data: bytes, pause: float = 0.001) -> Step:
    """Send bytes without an end."""

    async def step(connection: Connection) -> None:
        while True:
            connection.writer.write(data)
            await connection.writer.drain()
            await asyncio.sleep(pause)

    return step


async def silence(connection: Connection) -> None:
    """Say nothing until the client goes or the test ends; ``gone`` is set when the client went."""
    with contextlib.suppress(ConnectionError):
        while await connection.reader.read(1000):
            pass
    connection.server.gone.set()


async def wait_for_go(connection: Connection) -> None:
    """Go on when the test sets ``server.go``."""
    await connection.server.go.wait()


async def again(connection: Connection) -> None:
    """Read another request on the same connection; end when there is none."""
    if not await connection.read_request():
        raise ConnectionResetError


async def fin(connection: Connection) -> None:
    """Close the connection in order."""
    connection.writer.close()
    with contextlib.suppress(Exception):
        await connection.writer.wait_closed()


async def half_close(connection: Connection) -> None:
    """Send no more, but go on reading."""
    connection.writer.write_eof()
    await silence(connection)


async def rst(connection: Connection) -> None:
    """Reset the connection."""
    raw = connection.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.writer.transport.abort()


def head(status: int = 200, length: int | None = None, kind: str = "application/json", **headers: str) -> bytes:
    """A response's head; names of headers with ``_`` for ``-``."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def response(body: bytes, status: int = 200, **headers: str) -> bytes:
    """A whole response."""
    return head(status, len(body), **headers) + body


def ok(text: str = "hello") -> bytes:
    """A good chat completion."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return response(orjson.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}))


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> bytes:
    """An error in OpenAI's words."""
    return response(orjson.dumps({"error": {"message": message, "type": None, "code": code}}), status, **headers)


def event(text: str | None = None, finish: str | None = None, **more) -> bytes:
    """One event of a stream."""
    delta = {} if text is None else {"content": text}
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + orjson.dumps(chunk | more) + b"\n\n"


STREAM = head(kind="text/event-stream", Connection="close")
DONE = b"data: [DONE]\n\n"
