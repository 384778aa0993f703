"""The only module that talks HTTP: requests out, bytes in, every fault a `ProviderFailure`.

A `Transport` sends one request and gives a response whose body is read piece by piece. The default
one stands on aiohttp; `HttpxTransport` takes any transport made for httpx, among them its mock.
Redirects are refused, cookies, netrc and the environment's proxies are not looked at. No message
holds a URL's query or a header's value. Imported when the first provider over the network is bound.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from flowllm.backends.decompress import Inflate
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.record import record

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
ERROR_BODY = 1024 * 1024
"""Bytes of an error's body that are read."""

_fresh: ContextVar[list[bool] | None] = ContextVar("flowllm_fresh_connection", default=None)


@record
class HttpRequest:
    """One request; ``stream`` asks for an uncompressed answer, so that no event waits for others."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    stream: bool = False

    @property
    def host(self) -> str:
        """Server and port, all of the URL that may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


class Body(Protocol):
    """What a transport gives to read from."""

    async def read(self) -> bytes:
        """The next bytes as they come, empty at the end."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or end it where the body was not read to its end."""
        ...


class Transport(Protocol):
    """Sends requests. It raises `ProviderFailure` for all that goes wrong."""

    async def send(self, request: HttpRequest, connect_timeout: float) -> tuple[int, Mapping[str, str], Body]:
        """Status, headers (names in any case) and body."""
        ...

    async def aclose(self) -> None:
        """End the connections that belong to the running event loop."""
        ...


class HttpResponse:
    """An answer whose headers came (names in lower case). Close it with ``contextlib.aclosing`` or ``async with``.

    ``read`` gives the next decompressed bytes, empty at the end.
    """

    __slots__ = ("_body", "_pieces", "headers", "read", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: Body) -> None:
        self.status = status
        self.headers = headers
        self._body = body
        encoding = headers.get("content-encoding", "")
        self._pieces: Iterator[bytes] = iter(())
        self.read: Callable[[], Awaitable[bytes]] = body.read
        if encoding not in ("", "identity"):
            self.read = partial(self._inflated, Inflate(encoding))

    async def _inflated(self, inflate: Inflate) -> bytes:
        while True:
            if piece := next(self._pieces, b""):
                return piece
            chunk = await self._body.read()
            if not chunk:
                inflate.finish()
                return b""
            self._pieces = inflate.feed(chunk)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All that is still to come."""
        while chunk := await self.read():
            yield chunk

    async def start(self, limit: int = ERROR_BODY) -> bytes:
        """The first ``limit`` bytes of the body."""
        collected: list[bytes] = []
        length = 0
        while length < limit and (chunk := await self.read()):
            collected.append(chunk)
            length += len(chunk)
        return b"".join(collected)[:limit]

    async def aclose(self) -> None:
        """Let the connection go."""
        await self._body.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *caught: object) -> None:
        await self.aclose()


class HttpClient:
    """Sends requests from any event loop and thread; connections are kept for each loop.

    They end with their loop, or with ``aclose``. ``proxy`` is a URL from the settings, never from
    the environment.
    """

    def __init__(self, *, transport: Transport | None = None, proxy: str | None = None) -> None:
        self._transport = transport or AiohttpTransport(proxy)

    async def open(self, request: HttpRequest, *, connect_timeout: float = CONNECT_SECONDS) -> HttpResponse:
        """Send, and wait for the headers. ``connect_timeout`` (seconds) bounds name, socket and TLS."""
        status, told, body = await self._transport.send(request, connect_timeout)
        try:
            headers = _lowered(told)
            _check(request, status, headers)
            return HttpResponse(status, headers, body)
        except BaseException:
            await body.aclose()
            raise

    async def aclose(self) -> None:
        """End the connections of the running loop."""
        await self._transport.aclose()


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers under their names in lower case, of a repeated one the first."""
    lowered: dict[str, str] = {}
    for name, value in headers.items():
        lowered.setdefault(name.lower(), value)
    return lowered


def _check(request: HttpRequest, status: int, headers: Mapping[str, str]) -> None:
    if 300 <= status < 400:  # noqa: PLR2004
        raise _redirected(request, status, headers)
    if "transfer-encoding" in headers and "content-length" in headers:
        raise ProviderFailure("protocol_error", f"{request.host} announced its answer's length twice")


def _redirected(request: HttpRequest, status: int, headers: Mapping[str, str]) -> ProviderFailure:
    parts = urlsplit(headers.get("location", ""))
    target = parts.netloc.rpartition("@")[2]
    message = f"{request.host} sends the request on to {target or 'another place'}, which is not followed"
    hint = f"if that is the provider's server: base_url: {parts.scheme}://{target}/..." if target else ""
    return ProviderFailure("redirect_refused", message, facts=ProviderFacts(status=status), hint=hint)


class AiohttpTransport:
    """The default transport: one session for each event loop, made when first used."""

    def __init__(self, proxy: str | None = None) -> None:
        self._proxy = proxy
        self._lock = threading.Lock()
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = WeakKeyDictionary()

    async def send(self, request: HttpRequest, connect_timeout: float) -> tuple[int, Mapping[str, str], Body]:
        """Send; a kept connection that the server had closed meanwhile is replaced once, unseen."""
        session = await self._session()
        started = time.monotonic()
        for last in (False, True):
            fresh: list[bool] = []
            token = _fresh.set(fresh)
            try:
                response = await session.send(request, connect_timeout, self._proxy)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                stale = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
                connecting = isinstance(error, aiohttp.ClientConnectorError)
                if last or fresh or connecting or not stale:
                    raise _failure(error, request, started) from None
            else:
                return response.status, response.headers, _AiohttpBody(response, request, started)
            finally:
                _fresh.reset(token)
        raise AssertionError

    async def aclose(self) -> None:
        """End the running loop's session."""
        with self._lock:
            session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.aclose()

    async def _session(self) -> "_Session":
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = _Session()
            with self._lock:
                self._sessions[loop] = session
            await session.start()
        return session


class _Session:
    """An aiohttp session and the generator that closes it when its loop shuts down."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "flowllm"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self.keeper: AsyncGenerator[None, None] | None = None

    async def start(self) -> None:
        """Let the loop know of the session: ``shutdown_asyncgens`` will close it."""
        self.keeper = self._keep()
        await anext(self.keeper)

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._session.close()

    async def aclose(self) -> None:
        if self.keeper is not None:
            await self.keeper.aclose()

    async def send(self, request: HttpRequest, connect_timeout: float, proxy: str | None) -> aiohttp.ClientResponse:
        headers = {**request.headers, "Accept-Encoding": "identity" if request.stream else "gzip"}
        return await self._session.request(
            request.method,
            _parsed(request.url),
            data=request.body,
            headers=headers,
            allow_redirects=False,
            timeout=_timeout(connect_timeout),
            proxy=proxy,
        )


class _Connector(aiohttp.TCPConnector):
    """Notes in the context that a request got a new connection and not a kept one."""

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109
        if (fresh := _fresh.get()) is not None:
            fresh.append(True)
        return await super()._create_connection(req, traces, timeout)


@lru_cache(256)
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(16)
def _timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect)


class _AiohttpBody:
    __slots__ = ("_request", "_response", "_started")

    def __init__(self, response: aiohttp.ClientResponse, request: HttpRequest, started: float) -> None:
        self._response = response
        self._request = request
        self._started = started

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error, self._request, self._started, reading=True) from None

    async def aclose(self) -> None:
        self._response.close()


_TABLE: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((aiohttp.ClientConnectorDNSError,), "dns_error", "the name of {host} was not resolved"),
    (
        (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError),
        "tls_error",
        "the certificate of {host} is not accepted",
    ),
    ((aiohttp.ClientHttpProxyError,), "connect_error", "the proxy refused the way to {host}"),
    ((aiohttp.ClientProxyConnectionError,), "connect_error", "the proxy on the way to {host} was not reached"),
    ((aiohttp.ConnectionTimeoutError,), "connect_error", "{host} was not reached in time"),
    ((aiohttp.ClientConnectorError,), "connect_error", "{host} was not reached"),
    ((aiohttp.InvalidURL,), "connect_error", "the address of {host} is no address"),
    ((aiohttp.ClientResponseError,), "protocol_error", "the answer of {host} breaks the rules of HTTP"),
)
_CLOSED = ("protocol_error", "{host} closed the connection without an answer")
_FINAL = (aiohttp.InvalidURL, aiohttp.ClientHttpProxyError)


def _failure(error: BaseException, request: HttpRequest, started: float, *, reading: bool = False) -> ProviderFailure:
    other = ("truncated", "the answer of {host} broke off") if reading else _CLOSED
    code, words = next(((c, w) for types, c, w in _TABLE if isinstance(error, types)), other)
    cause = getattr(error, "os_error", None) or error
    phase = "reading the answer" if reading else "waiting for the answer"
    phase = "connecting" if code in ("dns_error", "tls_error", "connect_error") else phase
    reason = f"{type(cause).__name__} while {phase}, after {time.monotonic() - started:.1f} s"
    status = getattr(error, "status", None) or None
    facts = ProviderFacts(
        status=status if isinstance(error, aiohttp.ClientHttpProxyError) else None,
        should_retry=False if isinstance(error, _FINAL) else None,
    )
    return ProviderFailure(code, f"{words.format(host=request.host)} ({reason})", facts=facts)


class HttpxTransport:
    """Any transport made for httpx: one of a test, or one with proxies and certificates of its own."""

    def __init__(self, transport: "httpx.AsyncBaseTransport") -> None:
        self._inner = transport

    async def send(self, request: HttpRequest, connect_timeout: float) -> tuple[int, Mapping[str, str], Body]:
        """Send through the other transport."""
        import httpx

        started = time.monotonic()
        headers = {**request.headers, "Accept-Encoding": "identity" if request.stream else "gzip"}
        timeout = {"connect": connect_timeout, "pool": None, "read": None, "write": None}
        sent = httpx.Request(
            request.method, request.url, headers=headers, content=request.body, extensions={"timeout": timeout}
        )
        try:
            response = await self._inner.handle_async_request(sent)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _httpx_failure(error, request, started) from None
        return response.status_code, response.headers, _HttpxBody(response, request, started)

    async def aclose(self) -> None:
        """Close it."""
        await self._inner.aclose()


class _HttpxBody:
    def __init__(self, response: "httpx.Response", request: HttpRequest, started: float) -> None:
        import httpx

        self._response = response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._chunks = aiter(response.stream)
        self._request = request
        self._started = started

    async def read(self) -> bytes:
        import httpx

        try:
            return await anext(self._chunks, b"")
        except httpx.TransportError as error:
            raise _httpx_failure(error, self._request, self._started, reading=True) from None

    async def aclose(self) -> None:
        await self._response.aclose()


def _httpx_failure(error: Exception, request: HttpRequest, started: float, *, reading: bool = False) -> ProviderFailure:
    import httpx

    code = "truncated" if reading else "protocol_error"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.InvalidURL):
        code = "connect_error"
    words = "the answer of {host} broke off" if reading else "{host} gave no answer"
    reason = f"{type(error).__name__}, after {time.monotonic() - started:.1f} s"
    return ProviderFailure(code, f"{words.format(host=request.host)} ({reason})")
