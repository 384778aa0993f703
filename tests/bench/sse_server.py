"""A server of 1,000-chunk answers, in a process of its own on the other core: `python -m tests.bench.sse_server`.

It prints its port. `/burst/FORMAT/...` sends all events at once, `/paced/FORMAT/...` one every half millisecond;
FORMAT is the wire whose events they are. It ends when its stdin does.
"""

import socket
import sys
import threading
import time
from contextlib import suppress

from tests.bench.formats import FORMATS, SERVED
from tests.bench.row import pin

PACE = 0.0005
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAST = b"0\r\n\r\n"


def _piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


PIECES = {name: [_piece(event) for event in FORMATS[name].stream] for name in SERVED}
BURST = {name: _piece(b"".join(FORMATS[name].stream)) + _LAST for name in SERVED}


def _request(connection: socket.socket) -> bytes:
    """A request's head; its body is read and dropped. Empty when the client left."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return head


def _serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError):
        while head := _request(connection):
            _, manner, name, _ = head.split(b"/", 3)
            if manner == b"burst":
                connection.sendall(_HEAD + BURST[name.decode()])
                continue
            connection.sendall(_HEAD)
            for piece in PIECES[name.decode()]:
                connection.sendall(piece)
                time.sleep(PACE)
            connection.sendall(_LAST)


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    pin(1)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)  # noqa: T201  the port is what it is asked for
    threading.Thread(target=_accept, args=(listening,), daemon=True).start()
    sys.stdin.read()
