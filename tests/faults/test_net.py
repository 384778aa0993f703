"""Rows N1 to N13 of the fault matrix: what networks do."""

# ruff: noqa: N802  names begin with the row of the matrix

import asyncio
import shutil
import socket
import ssl
import subprocess
from unittest import mock

import aiohttp
import pytest

from flowllm.backends.http import AiohttpTransport, HttpClient, HttpRequest
from flowllm.backends.provider import Timeouts
from flowllm.core.errors import ProviderFailure
from tests.faults.server import (
    DONE,
    STREAM,
    FaultServer,
    again,
    drip,
    error,
    event,
    fin,
    forever,
    half_close,
    head,
    ok,
    rst,
    send,
    silence,
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_N1_connection_refused(provider):
    outcome = await provider.ask(f"http://127.0.0.1:{_free_port()}/v1")
    assert (outcome.code, outcome.failure.retryable) == ("connect_error", True)
    assert "127.0.0.1" in str(outcome.failure)
    assert "while connecting" in str(outcome.failure)
    assert "base_url" in outcome.failure.hint


@pytest.mark.parametrize("reason", [socket.EAI_NONAME, socket.EAI_AGAIN])
async def test_N2_name_not_resolved(provider, reason):
    async def refuse(*args, **named):
        raise socket.gaierror(reason, "no name")

    with mock.patch.object(asyncio.BaseEventLoop, "getaddrinfo", refuse):
        outcome = await provider.ask("http://nowhere.example/v1")
    assert outcome.code == "dns_error"
    assert "nowhere.example was not resolved (gaierror while connecting" in str(outcome.failure)


async def test_N2_slow_names_are_bounded_by_the_connect_timeout(provider):
    async def hang(*args, **named):
        await asyncio.Event().wait()

    with mock.patch.object(asyncio.BaseEventLoop, "getaddrinfo", hang):
        outcome = await provider.ask("http://nowhere.example/v1", timeouts=Timeouts(connect=0.05, whole=5))
    assert outcome.code == "connect_error"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Makes self-signed certificates; gives a server's context for one."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificates of these rows")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True)

    def make(name: str, days: int = 2) -> tuple[ssl.SSLContext, str]:
        folder = tmp_path_factory.mktemp("tls")
        key, cert, asked, extra = (str(folder / file) for file in ("key.pem", "cert.pem", "asked.pem", "extra"))
        (folder / "extra").write_text(f"subjectAltName={name}\n")
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run("req", *kind, "-keyout", key, "-out", asked, "-subj", "/CN=test")
        run("x509", "-req", "-in", asked, "-signkey", key, "-days", str(days), "-extfile", extra, "-out", cert)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return context, cert

    return make


TRUSTED_BUT = {
    "self-signed": ("IP:127.0.0.1", 2, False),
    "wrong host": ("DNS:other.example", 2, True),
    "expired": ("IP:127.0.0.1", -1, True),
}


@pytest.mark.parametrize("kind", TRUSTED_BUT)
async def test_N3_certificates_are_never_waved_through(provider, certificate, kind, monkeypatch):
    name, days, trusted = TRUSTED_BUT[kind]
    context, cert = certificate(name, days)
    if trusted:
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=cert))
    async with FaultServer([send(ok())], tls=context) as server:
        outcome = await provider.ask(server.base_url)
        assert server.requests == []
    assert (outcome.code, outcome.failure.retryable) == ("tls_error", False)


async def test_N3_a_good_certificate_is_accepted(provider, certificate, monkeypatch):
    context, cert = certificate("IP:127.0.0.1")
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=cert))
    async with FaultServer([send(ok())], tls=context) as server:
        outcome = await provider.ask(server.base_url)
    assert outcome.code == "ok"


@pytest.mark.parametrize("end", [rst, fin])
async def test_N4_connection_lost_before_the_answer(provider, end):
    async with FaultServer([end]) as server:
        outcome = await provider.ask(server.base_url)
        assert server.connections == 1
    assert (outcome.code, outcome.failure.retryable) == ("protocol_error", True)


@pytest.mark.parametrize("end", [rst, fin])
@pytest.mark.parametrize("stream", [False, True])
async def test_N4_connection_lost_inside_the_answer(provider, end, stream):
    body = event("one") + event("two") if stream else b'{"object":"chat.completion"'
    start = head(length=10_000, kind="text/event-stream" if stream else "application/json")
    async with FaultServer([send(start + body), end]) as server:
        outcome = await provider.ask(server.base_url, stream=stream)
    assert (outcome.code, outcome.failure.retryable) == ("stream_interrupted" if stream else "truncated", True)
    assert stream is False or end is rst or outcome.failure.facts.partial_text == "onetwo"


async def test_N5_accepted_and_never_answered(provider):
    async with FaultServer([silence]) as server:
        for stream in (False, True):
            outcome = await provider.ask(server.base_url, stream=stream, timeouts=Timeouts(first=0.1, whole=0.1))
            assert (outcome.code, outcome.failure.retryable) == ("timeout", True)
        assert "0.1 s" in str(outcome.failure)


async def test_N6_headers_that_never_end(provider):
    async with FaultServer([send(b"HTTP/1.1 200 OK\r\n"), forever(b"X")]) as server:
        outcome = await provider.ask(server.base_url, timeouts=Timeouts(whole=0.2))
    assert outcome.code in ("timeout", "protocol_error")
    assert outcome.failure.retryable


@pytest.mark.parametrize("stream", [False, True])
async def test_N7_a_body_that_drips_without_an_event(provider, stream):
    async with FaultServer([send(head(kind="text/event-stream") + b"data: "), forever(b"x")]) as server:
        outcome = await provider.ask(server.base_url, stream=stream, timeouts=Timeouts(first=0.2, whole=0.2))
    assert outcome.code == "timeout"


async def test_N7_single_bytes_after_an_event_are_no_sign_of_life(provider):
    async with FaultServer([send(STREAM + event("one") + b"data: "), forever(b"x")]) as server:
        outcome = await provider.ask(server.base_url, stream=True, timeouts=Timeouts(first=5, idle=0.1))
    assert (outcome.code, outcome.failure.facts.partial_text) == ("timeout", "one")


async def test_N8_a_stream_that_stalls(provider):
    async with FaultServer([send(STREAM + event("one") + event("two")), silence]) as server:
        outcome = await provider.ask(server.base_url, stream=True, timeouts=Timeouts(first=5, idle=0.1))
    assert (outcome.code, outcome.failure.retryable) == ("timeout", True)
    assert outcome.failure.facts.partial_text == "onetwo"


async def test_N8_before_the_answer_begins_the_first_timeout_counts(provider):
    role = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
    async with FaultServer([send(STREAM + role), silence]) as server:
        outcome = await provider.ask(server.base_url, stream=True, timeouts=Timeouts(first=0.2, idle=0.01))
    assert "0.2 s" in str(outcome.failure)


async def test_N8_comments_keep_a_stream_alive(provider):
    class Slow:
        """Sends comments further apart than half the patience, then answers."""

        async def __call__(self, connection):
            for _ in range(4):
                connection.writer.write(b": waiting\n\n")
                await connection.writer.drain()
                await asyncio.sleep(0.1)

    script = [send(STREAM), Slow(), send(event("late") + event(None, "stop") + DONE), fin]
    async with FaultServer(script) as server:
        outcome = await provider.ask(server.base_url, stream=True, timeouts=Timeouts(first=0.3, idle=0.3))
    assert outcome.value.text == "late"


async def test_N8_a_stall_after_the_finish_reason_is_the_end(provider):
    async with FaultServer([send(STREAM + event("all") + event(None, "stop")), silence]) as server:
        outcome = await provider.ask(server.base_url, stream=True, timeouts=Timeouts(first=5, idle=0.1))
    assert outcome.value.text == "all"


@pytest.mark.parametrize(
    ("start", "stream", "code"),
    [
        (head(length=1000), False, "truncated"),
        (head(length=1000, kind="text/event-stream"), True, "stream_interrupted"),
        (head(Connection="close"), False, "invalid_response"),
        (STREAM, True, "stream_interrupted"),
    ],
)
@pytest.mark.parametrize("end", [fin, half_close])
async def test_N9_half_close_inside_the_body(provider, start, stream, code, end):
    body = event("one") if stream else b'{"object":"chat'
    async with FaultServer([send(start + body), end]) as server:
        outcome = await provider.ask(server.base_url, stream=stream)
    assert (outcome.code, outcome.failure.retryable) == (code, True)


async def test_N9_a_close_delimited_stream_with_its_end_mark_is_whole(provider):
    async with FaultServer([send(STREAM + event("one") + event(None, "stop")), fin]) as server:
        outcome = await provider.ask(server.base_url, stream=True)
    assert outcome.value.text == "one"


async def test_N10_a_kept_connection_that_was_closed_is_replaced_unseen():
    client = HttpClient()

    def script(number):
        return [send(ok()), again, fin] if number == 0 else [send(ok("second")), silence]

    async with FaultServer(script) as server:
        request = HttpRequest("POST", f"{server.base_url}/chat/completions", {}, b"{}")
        bodies = []
        for _ in range(2):
            async with await client.open(request) as response:
                bodies.append(await response.start())
        await client.aclose()
        assert (b"hello" in bodies[0], b"second" in bodies[1]) == (True, True)
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_N10_the_free_retry_is_given_once():
    client = HttpClient()

    def script(number):
        return [send(ok()), again, rst] if number == 0 else [rst]

    async with FaultServer(script) as server:
        request = HttpRequest("POST", f"{server.base_url}/chat/completions", {}, b"{}")
        async with await client.open(request) as response:
            await response.start()
        with pytest.raises(ProviderFailure):
            await client.open(request)
        await client.aclose()
        assert len(server.requests) == 3


async def test_N11_proxies_of_the_environment_are_ignored(provider, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with FaultServer([send(ok()), silence]) as server:
        assert (await provider.ask(server.base_url)).code == "ok"


async def test_N11_a_configured_proxy_that_refuses(provider, certificate):
    async with FaultServer([send(head(407, 0, Proxy_Authenticate="Basic")), fin]) as proxy:
        provider.client = HttpClient(proxy=f"http://127.0.0.1:{proxy.port}")
        outcome = await provider.ask("https://api.acme.example/v1")
    assert (outcome.code, outcome.failure.retryable) == ("connect_error", False)
    assert "proxy" in str(outcome.failure)


async def test_N12_many_calls_at_once_share_no_narrow_pool(provider):
    async with FaultServer([send(ok()), silence]) as server:
        call = provider.client
        request = HttpRequest("POST", f"{server.base_url}/chat/completions", {}, b"{}")

        async def one():
            async with await call.open(request) as response:
                return await response.start()

        bodies = await asyncio.gather(*(one() for _ in range(300)))
        await call.aclose()
    assert len(bodies) == 300
    assert all(b"hello" in body for body in bodies)


async def test_N13_a_dead_address_gives_way_to_a_living_one(provider):
    async with FaultServer([send(ok()), silence]) as server:

        async def both(loop, host, port, **named):
            dead = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 9, 0, 0))
            living = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
            return [dead, living]

        with mock.patch.object(asyncio.BaseEventLoop, "getaddrinfo", both):
            outcome = await provider.ask(f"http://two.example:{server.port}/v1")
    assert outcome.code == "ok"


async def test_a_cancelled_stream_closes_its_connection_at_once(provider):
    async with FaultServer([send(STREAM + event("one")), silence]) as server:
        call = provider.call(server.base_url, Timeouts())
        from flowllm.core.request import Chat
        from flowllm.core.scope import Scope

        deltas = call(Chat("acme/m", (), stream=True), Scope())
        first = asyncio.Event()

        async def consume():
            async for _ in deltas:
                first.set()

        task = asyncio.create_task(consume())
        await asyncio.wait_for(first.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)


def test_one_client_serves_many_loops_one_after_the_other():
    client = HttpClient()

    async def once():
        async with FaultServer([send(ok()), silence]) as server:
            request = HttpRequest("POST", f"{server.base_url}/chat/completions", {}, b"{}")
            async with await client.open(request) as response:
                return await response.start()

    assert all(b"hello" in asyncio.run(once()) for _ in range(3))


def test_one_client_serves_many_threads():
    from concurrent.futures import ThreadPoolExecutor

    client = HttpClient()

    async def once():
        async with FaultServer([send(ok()), silence]) as server:
            request = HttpRequest("POST", f"{server.base_url}/chat/completions", {}, b"{}")
            async with await client.open(request) as response:
                return await response.start()

    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda _: asyncio.run(once()), range(8)))
    assert all(b"hello" in body for body in bodies)


async def test_the_first_delta_passes_before_the_second_event_is_sent(provider):
    async def wait(connection):
        await connection.server.go.wait()

    script = [send(STREAM), drip(event("first"), 7), wait, send(event("second") + event(None, "stop") + DONE), fin]
    async with FaultServer(script) as server:
        from flowllm.core.delta import Text
        from flowllm.core.request import Chat
        from flowllm.core.scope import Scope

        seen = []
        async for delta in provider.call(server.base_url)(Chat("acme/m", (), stream=True), Scope()):
            if isinstance(delta, Text):
                seen.append(delta.text)
                server.go.set()
    assert seen == ["first", "second"]


def test_every_fault_of_the_library_has_a_code():
    from flowllm.backends.http import _failure

    request = HttpRequest("POST", "https://api.acme.example/v1?key=hidden", {})
    for error_type in (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError, TimeoutError):
        for reading in (False, True):
            failure = _failure(error_type(), request, 0.0, reading=reading)
            assert failure.code in ("protocol_error", "truncated")
            assert "api.acme.example" in str(failure)
            assert error_type.__name__ in str(failure)
            assert "hidden" not in str(failure)


def test_the_default_transport_is_made_without_a_loop():
    assert isinstance(HttpClient()._transport, AiohttpTransport)


async def test_a_server_that_answers_too_early(provider):
    async with FaultServer([send(error(413, "too large")), fin]) as server:
        outcome = await provider.ask(server.base_url)
    assert (outcome.code, outcome.failure.facts.status) == ("bad_request", 413)
