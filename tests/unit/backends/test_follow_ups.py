"""Answers that go on in that of another request, and answers that come whole where a stream was asked for."""

import asyncio
import gzip
from contextlib import aclosing, suppress

import httpx
import orjson
import pytest

from flowllm.backends.framing import Limits
from flowllm.backends.http import HttpClient, HttpxTransport
from flowllm.backends.provider import Timeouts, backend_for
from flowllm.backends.sending import Sender
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Meta, Text, fold
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.policy import Services
from flowllm.core.request import Chat, Message
from flowllm.core.request import Text as Said
from flowllm.core.scope import Scope
from flowllm.policies.retry import Retry
from tests.unit.policies.world import FakeClock

USER = Message("user", (Said("hi"),))
API, STREAM = "https://api.acme.example/v1", "https://stream.acme.example"
CANCEL = f"{API}/predictions/p/cancel"
PREDICTIONS = f"{API}/models/a/b/predictions"
TEMPLATE = {"templates": {"chat": {"path": "/predict", "body": {"p": "{prompt}"}, "text": "answer.output"}}}


def prediction(status, stream=None, **more):
    urls = {"get": f"{API}/predictions/p", "cancel": f"{API}/predictions/p/cancel"} | (
        {"stream": stream} if stream else {}
    )
    return {"id": "p", "model": "a/b", "status": status, "urls": urls, "error": None, "output": None} | more


class Server:
    """Answers by URL, each list in its order and its last one again and again."""

    def __init__(self):
        self.sent, self.clock = [], FakeClock()
        self._answers = {CANCEL: [{}]}

    def on(self, url, *answers):
        self._answers[url] = list(answers)
        return self

    def __call__(self, request):
        self.sent.append(request)
        listed = self._answers[str(request.url)]
        answer = listed.pop(0) if len(listed) > 1 else listed[0]
        if isinstance(answer, httpx.Response):
            return answer
        if callable(answer):
            return answer()
        return httpx.Response(200, content=answer if isinstance(answer, bytes) else orjson.dumps(answer))

    @property
    def canceled(self):
        """How often the prediction was canceled, with the key of the provider."""
        asked = [request for request in self.sent if str(request.url) == CANCEL]
        assert {(one.method, one.headers["authorization"]) for one in asked} <= {("POST", "Bearer canary-secret")}
        return len(asked)

    async def deltas(self, **how):
        return [delta async for delta in self.call(**how)]

    @property
    def methods(self):
        """The methods of all requests but cancels."""
        return [request.method for request in self.sent if str(request.url) != CANCEL]

    def call(self, *, stream, **how):
        return self.backend(**how)(Chat("acme/a/b", (USER,), stream=stream), Scope(clock=self.clock))

    def backend(self, *, wire="replicate_predictions", quirks=None, timeouts=None, limits=None):
        card = ProviderCard("acme", API, {"chat": wire}, Auth("bearer", ("K",)), quirks=quirks or {}, origins=(STREAM,))
        client = HttpClient(transport=HttpxTransport(httpx.MockTransport(self)))
        return backend_for(card, lambda _: "canary-secret", client, timeouts, limits)


async def test_a_prediction_is_asked_after_until_its_end():
    server = Server().on(PREDICTIONS, prediction("starting", f"{STREAM}/s"))
    server.on(f"{API}/predictions/p", prediction("processing"), prediction("succeeded", output=["a", "b"]))
    reply = fold(await server.deltas(stream=False))
    assert (reply.text, reply.finish, reply.model, reply.simulated) == ("ab", "stop", "a/b", False)
    assert [request.method for request in server.sent] == ["POST", "GET", "GET"]
    assert server.sent[0].headers["prefer"] == "wait=60"
    assert orjson.loads(server.sent[0].content) == {"input": {"prompt": "hi"}}
    assert server.clock.slept == [0.5, 0.5]
    assert {request.headers["authorization"] for request in server.sent} == {"Bearer canary-secret"}


async def test_a_prediction_streams_from_the_server_that_it_names():
    server = Server().on(PREDICTIONS, prediction("starting", f"{STREAM}/s"))
    server.on(f"{STREAM}/s", b"event: output\ndata: a\n\nevent: output\ndata:  b\n\nevent: done\ndata: {}\n\n")
    deltas = await server.deltas(stream=True)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == ["a", " b"]
    assert (fold(deltas).finish, fold(deltas).simulated) == ("stop", False)
    assert server.sent[1].headers["accept"] == "text/event-stream"
    assert server.sent[1].headers["authorization"] == "Bearer canary-secret"
    assert "prefer" not in server.sent[0].headers
    assert server.clock.slept == []


async def test_a_key_goes_to_no_server_that_an_answer_names():
    server = Server().on(PREDICTIONS, prediction("starting", "https://evil.example/s"))
    with pytest.raises(ProviderFailure, match=r"would go to evil\.example") as caught:
        await server.deltas(stream=True)
    assert caught.value.code == "redirect_refused"
    assert {request.url.host for request in server.sent} == {"api.acme.example"}
    assert server.canceled == 1


async def test_a_prediction_that_cannot_stream_is_told_as_a_stream():
    server = Server().on(PREDICTIONS, prediction("starting"))
    server.on(f"{API}/predictions/p", prediction("succeeded", output="one  two\nthree "))
    deltas = await server.deltas(stream=True)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == ["one", "  two", "\nthree", " "]
    assert (fold(deltas).text, fold(deltas).simulated) == ("one  two\nthree ", True)
    flag = next(place for place, delta in enumerate(deltas) if isinstance(delta, Meta) and delta.simulated)
    assert not any(isinstance(delta, Text) for delta in deltas[:flag])


@pytest.mark.parametrize(("stream", "pieces"), [(True, ["a", " b"]), (False, ["a b"])])
async def test_a_template_without_a_stream(stream, pieces):
    server = Server().on(f"{API}/predict", {"output": "a b"})
    deltas = await server.deltas(stream=stream, wire="http_template", quirks=TEMPLATE)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == pieces
    assert fold(deltas).simulated is stream


async def test_asking_after_a_prediction_has_one_limit():
    server = Server().on(PREDICTIONS, prediction("starting")).on(f"{API}/predictions/p", prediction("processing"))
    with pytest.raises(ProviderFailure, match="sent nothing for 5 s") as caught:
        await server.deltas(stream=False, timeouts=Timeouts(whole=5.0))
    assert caught.value.code == "timeout"
    assert sum(server.clock.slept) == pytest.approx(5.0, abs=0.5)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(404, content=b'{"detail": "gone"}'), "not_found"),
        (b"", "empty_response"),
        (prediction("failed", error="out of memory"), "server_error"),
        (prediction("canceled"), "server_error"),
        (httpx.Response(429, content=b"{}", headers={"retry-after": "700"}), "rate_limited"),
        ({"id": "p"}, "invalid_response"),
    ],
)
async def test_what_goes_wrong_after_a_prediction_was_made(answer, code):
    server = Server().on(PREDICTIONS, prediction("starting")).on(f"{API}/predictions/p", answer)
    with pytest.raises(ProviderFailure) as caught:
        await server.deltas(stream=False)
    assert (caught.value.code, caught.value.facts.provider) == (code, "acme")
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("error", ["out of memory", None])
async def test_a_prediction_that_failed_is_not_made_again(error):
    server = Server().on(PREDICTIONS, prediction("failed", error=error))
    with pytest.raises(ProviderFailure, match=error or "ended as failed$") as caught:
        await server.deltas(stream=False)
    assert (caught.value.code, caught.value.retryable) == ("server_error", False)


@pytest.mark.parametrize(
    ("failed", "slept"),
    [
        (httpx.Response(429, content=b"{}", headers={"retry-after": "7"}), [0.5, 7.0]),
        (httpx.Response(503, content=b"{}"), [0.5, 1.0]),
    ],
)
async def test_a_failed_question_is_asked_again_and_the_prediction_not_made_again(failed, slept):
    server = Server().on(PREDICTIONS, prediction("starting"))
    server.on(f"{API}/predictions/p", failed, prediction("succeeded", output="a"))
    assert fold(await server.deltas(stream=False)).text == "a"
    assert [request.method for request in server.sent] == ["POST", "GET", "GET"]
    assert server.clock.slept == slept
    assert server.canceled == 0


CUT = orjson.dumps(prediction("succeeded", output="a"))[:-9]


class Broken(httpx.AsyncByteStream):
    """A body whose connection ends after half of it."""

    async def __aiter__(self):
        yield CUT
        raise httpx.ReadError("")


def broken():
    return httpx.Response(200, stream=Broken())


async def test_an_answer_about_a_prediction_that_breaks_off_is_asked_for_again():
    server = Server().on(PREDICTIONS, prediction("starting"))
    server.on(f"{API}/predictions/p", broken, broken, prediction("succeeded", output="a"))
    assert fold(await server.deltas(stream=False)).text == "a"
    assert server.methods == ["POST", "GET", "GET", "GET"]
    assert server.clock.slept == [0.5, 1.0, 2.0]


async def test_answers_that_break_off_are_asked_for_as_long_as_they_are_waited_for():
    server = Server().on(PREDICTIONS, prediction("starting")).on(f"{API}/predictions/p", broken)
    with pytest.raises(ProviderFailure) as caught:
        await server.deltas(stream=False, timeouts=Timeouts(whole=600.0))
    assert caught.value.code == "truncated"
    assert sum(server.clock.slept) == pytest.approx(600.0, abs=15.0)
    assert server.clock.slept[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0]
    assert (len(server.methods), server.canceled) == (1 + 43, 1)


@pytest.mark.parametrize("garbled", [CUT, b"", b"<html>"], ids=["cut", "empty", "page"])
async def test_an_answer_that_cannot_be_read_is_asked_for_once_more(garbled):
    server = Server().on(PREDICTIONS, prediction("starting"))
    server.on(f"{API}/predictions/p", garbled, prediction("succeeded", output="a"))
    assert fold(await server.deltas(stream=False)).text == "a"
    assert server.methods == ["POST", "GET", "GET"]


LONE = orjson.dumps(prediction("succeeded", output="X")).replace(b'"X"', rb'"a\ud83d"')


@pytest.mark.parametrize(("first", "methods"), [(prediction("starting"), ["POST", "GET"]), (LONE, ["POST"])])
async def test_a_lone_surrogate_is_read_wherever_the_answer_stands(first, methods):
    server = Server().on(PREDICTIONS, first).on(f"{API}/predictions/p", LONE)
    assert fold(await server.deltas(stream=False)).text == "a\ufffd"
    assert server.methods == methods


STREAMED_AT, ASKED_AT = f"{STREAM}/s", f"{API}/predictions/p"
LONG = httpx.Response(429, content=b"{}", headers={"retry-after": "700"})


@pytest.mark.parametrize(
    ("made", "place", "answer", "stream", "code"),
    [
        (prediction("starting", STREAMED_AT), STREAMED_AT, b": hi\n\n", True, "stream_interrupted"),
        (prediction("starting", STREAMED_AT), STREAMED_AT, b"event: output\ndata:\n\n", True, "stream_interrupted"),
        (prediction("starting"), ASKED_AT, b"", False, "empty_response"),
        (prediction("starting"), ASKED_AT, CUT, False, "invalid_response"),
        (prediction("starting"), ASKED_AT, {"id": "p"}, False, "invalid_response"),
        (prediction("starting"), ASKED_AT, prediction("processing"), False, "timeout"),
        (prediction("starting"), ASKED_AT, httpx.Response(503, content=b"{}"), False, "server_error"),
        (prediction("starting"), ASKED_AT, broken, False, "truncated"),
        (prediction("starting"), ASKED_AT, LONG, False, "rate_limited"),
        (orjson.dumps(prediction("starting"))[:-9], ASKED_AT, b"", False, "invalid_response"),
        (b"", ASKED_AT, b"", False, "empty_response"),
    ],
)
async def test_a_prediction_is_made_once_whatever_fails_after_that(made, place, answer, stream, code):
    server = Server().on(PREDICTIONS, made).on(place, answer)
    call = Retry().wrap(server.backend(timeouts=Timeouts(whole=20.0)), Services())
    with pytest.raises(ProviderFailure) as caught:
        async for _ in call(Chat("acme/a/b", (USER,), stream=stream), Scope(clock=server.clock)):
            pass
    assert (caught.value.code, caught.value.retryable, server.methods.count("POST")) == (code, False, 1)


async def test_a_prediction_that_was_refused_is_asked_for_again():
    server = Server().on(PREDICTIONS, httpx.Response(503, content=b"{}"), prediction("succeeded", output="a"))
    call = Retry().wrap(server.backend(), Services())
    reply = fold([delta async for delta in call(Chat("acme/a/b", (USER,)), Scope(clock=server.clock))])
    assert (reply.text, server.methods) == ("a", ["POST", "POST"])


async def test_a_status_that_is_not_known_is_one_of_a_prediction_that_runs():
    server = Server().on(PREDICTIONS, prediction("booting"))
    server.on(ASKED_AT, prediction("warming"), prediction("succeeded", output="a"))
    assert fold(await server.deltas(stream=False)).text == "a"
    assert server.methods == ["POST", "GET", "GET"]


async def test_a_prediction_that_is_asked_for_whole_has_a_deadline_at_the_server():
    server = Server().on(PREDICTIONS, prediction("succeeded", output="a"))
    await server.deltas(stream=False)
    await server.deltas(stream=False, quirks={"cancel_after": "1m"})
    await server.deltas(stream=True)
    assert [request.headers.get("cancel-after") for request in server.sent] == ["10m", "1m", None]


async def test_a_compressed_answer_about_a_prediction_is_read():
    zipped = gzip.compress(orjson.dumps(prediction("succeeded", output="a")))
    server = Server().on(PREDICTIONS, prediction("starting"))
    server.on(ASKED_AT, lambda: httpx.Response(200, stream=Came(zipped), headers={"content-encoding": "gzip"}))
    assert fold(await server.deltas(stream=False)).text == "a"


async def test_an_answer_about_a_prediction_has_the_limit_of_all_answers():
    server = Server().on(PREDICTIONS, prediction("starting"))
    body = Came(b'{"output": "', *[b"a" * 100] * 100)
    server.on(ASKED_AT, lambda: httpx.Response(200, stream=body))
    with pytest.raises(ProviderFailure) as caught:
        await server.deltas(stream=False, limits=Limits(body=1000))
    assert (caught.value.code, server.methods) == ("body_too_large", ["POST", "GET"])
    assert (body.told, body.closed) == (11, True)


async def test_an_answer_about_a_prediction_that_stands_still_is_not_waited_for():
    server = Server().on(PREDICTIONS, prediction("starting"))
    server.on(ASKED_AT, lambda: httpx.Response(200, stream=Still(server.clock)))
    with pytest.raises(ProviderFailure, match="sent nothing for 5 s") as caught:
        await server.deltas(stream=False, timeouts=Timeouts(whole=5.0))
    assert (caught.value.code, server.canceled) == ("timeout", 1)
    assert server.clock.now() == 105.0


class Came(httpx.AsyncByteStream):
    """A body as it is on the line; it knows how many pieces were read, and whether it was closed."""

    def __init__(self, *pieces):
        self._pieces, self.told, self.closed = pieces, 0, False

    async def __aiter__(self):
        for piece in self._pieces:
            self.told += 1
            yield piece

    async def aclose(self):
        self.closed = True


class Still(httpx.AsyncByteStream):
    """A body that does not go on."""

    def __init__(self, clock):
        self._clock = clock

    async def __aiter__(self):
        yield b"{"
        await self._clock.sleep(100)
        yield b"}"


@pytest.mark.parametrize("told", [b"overloaded", b'{"detail": "try again", "status": 503}', b'{"error": "rate limit"}'])
async def test_an_error_in_a_stream_leads_to_no_second_prediction(told):
    server = Server().on(PREDICTIONS, prediction("starting", f"{STREAM}/s"))
    server.on(f"{STREAM}/s", b"event: output\ndata: a\n\nevent: error\ndata: " + told + b"\n\n")
    with pytest.raises(ProviderFailure) as caught:
        await server.deltas(stream=True)
    assert (caught.value.retryable, caught.value.facts.partial_text) == (False, "a")


def running():
    server = Server().on(PREDICTIONS, prediction("starting", f"{STREAM}/s"))
    server.on(f"{API}/predictions/p", prediction("processing"))
    return server.on(f"{STREAM}/s", b"event: output\ndata: a\n\nevent: output\ndata: b\n\n")


async def test_a_prediction_whose_reader_is_gone_is_canceled():
    server = running()
    async with aclosing(server.call(stream=True)) as deltas:
        async for delta in deltas:
            if isinstance(delta, Text):
                break
    assert server.canceled == 1


async def test_a_prediction_that_is_not_waited_for_any_more_is_canceled():
    server = running()
    with pytest.raises(ProviderFailure, match="sent nothing for 5 s"):
        await server.deltas(stream=False, timeouts=Timeouts(whole=5.0))
    assert server.canceled == 1


async def test_a_prediction_whose_stream_broke_off_is_canceled():
    server = running()
    with pytest.raises(ProviderFailure) as caught:
        await server.deltas(stream=True)
    assert (caught.value.code, server.canceled) == ("stream_interrupted", 1)


async def test_a_task_that_is_canceled_cancels_its_prediction():
    server, asked = running(), asyncio.Event()

    server.on(f"{API}/predictions/p", lambda: asked.set() or httpx.Response(200, json=prediction("processing")))
    task = asyncio.ensure_future(server.deltas(stream=False))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.canceled == 1


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(302, headers={"location": "https://e.example"})]
)
async def test_a_cancel_that_fails_changes_no_outcome(answer):
    server = running().on(CANCEL, answer)
    with pytest.raises(ProviderFailure, match="sent nothing for 5 s"):
        await server.deltas(stream=False, timeouts=Timeouts(whole=5.0))
    assert server.canceled == 1


async def test_the_answer_to_a_cancel_is_closed():
    body = Came(b"{}")
    server = running().on(CANCEL, lambda: httpx.Response(200, stream=body))
    with pytest.raises(ProviderFailure):
        await server.deltas(stream=True)
    assert (server.canceled, body.closed) == (1, True)


async def test_a_cancel_without_a_key_changes_no_outcome(monkeypatch):
    send = Sender.send

    async def keyless(sender, parts):
        if parts.path == CANCEL:
            raise SetupError("missing_key", "no key")
        return await send(sender, parts)

    monkeypatch.setattr(Sender, "send", keyless)
    with pytest.raises(ProviderFailure) as caught:
        await running().deltas(stream=True)
    assert caught.value.code == "stream_interrupted"


async def test_a_cancel_that_is_not_heard_holds_nobody_up():
    server = running()
    server.on(CANCEL, lambda: server.clock.sleep(100))
    async with aclosing(server.call(stream=True)) as deltas:
        await anext(deltas)
        began = server.clock.now()
        while not isinstance(await anext(deltas), Text):
            pass
    assert (server.canceled, server.clock.now() - began) == (1, 1.0)


@pytest.mark.parametrize("last", [prediction("succeeded", output="a"), prediction("failed"), prediction("canceled")])
async def test_a_prediction_at_its_end_is_not_canceled(last):
    server = Server().on(PREDICTIONS, prediction("starting")).on(f"{API}/predictions/p", last)
    with suppress(ProviderFailure):
        await server.deltas(stream=False)
    assert server.canceled == 0


async def test_a_stream_that_tells_no_more_than_the_prediction_is_followed_once():
    server = Server().on(PREDICTIONS, prediction("starting", f"{STREAM}/s"))
    server.on(f"{STREAM}/s", prediction("processing", f"{STREAM}/s"))
    server.on(f"{API}/predictions/p", prediction("processing", f"{STREAM}/s"), prediction("succeeded", output="a"))
    assert fold(await server.deltas(stream=True)).text == "a"
    assert [request.url.host for request in server.sent].count("stream.acme.example") == 1
    assert server.clock.slept == [0.5, 0.5]


STREAMED = {"templates": {"chat": TEMPLATE["templates"]["chat"] | {"stream": {"text": "answer.text"}}}}


async def test_a_stream_without_text_where_it_should_be_is_no_answer():
    server = Server().on(f"{API}/predict", b'data: {"token": "a"}\n\ndata: {"token": "b"}\n\ndata: [DONE]\n\n')
    with pytest.raises(ProviderFailure, match=r"has no `answer\.text`") as caught:
        await server.deltas(stream=True, wire="http_template", quirks=STREAMED)
    assert caught.value.code == "invalid_response"


async def test_some_events_of_a_stream_may_be_without_text():
    server = Server().on(f"{API}/predict", b'data: {"id": 1}\n\ndata: {"text": "b"}\n\ndata: {"id": 1}\n\n')
    assert fold(await server.deltas(stream=True, wire="http_template", quirks=STREAMED)).text == "b"


@pytest.mark.parametrize(("text", "sent"), [("{prompt} of {temperature}", {}), ("{prompt}!", {"p": "hi!"})])
async def test_a_text_with_something_unsaid_in_it_is_left_out(text, sent):
    server = Server().on(f"{API}/predict", {"output": "a"})
    quirks = {"templates": {"chat": TEMPLATE["templates"]["chat"] | {"body": {"p": text}}}}
    await server.deltas(stream=False, wire="http_template", quirks=quirks)
    assert orjson.loads(server.sent[0].content) == sent
