"""What the headers of an error tell, over the network and in the spelling of real servers."""

import pytest

from flowllm.backends.http import HttpClient
from flowllm.backends.provider import backend_for
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from tests.faults.server import FaultServer, response, send

TEMPLATES = {"templates": {"chat": {"path": "/predict", "body": {"p": "{prompt}"}, "text": "answer.output"}}}
HEADERS = {
    "Retry-After": "7",
    "X-Should-Retry": "true",
    "X-Request-Id": "r1",
    "X-Amzn-ErrorType": "ThrottlingException",
}


@pytest.mark.parametrize(
    ("wire", "quirks"), [("http_template", TEMPLATES), ("replicate_predictions", {}), ("openai_chat", {})]
)
async def test_headers_are_found_in_the_spelling_of_the_server(wire, quirks):
    async with FaultServer([send(response(b"{}", 400, **HEADERS))]) as server:
        card = ProviderCard("acme", server.base_url, {"chat": wire}, Auth("bearer", ("K",)), quirks=quirks)
        call = backend_for(card, lambda _: "a-key", client := HttpClient())
        with pytest.raises(ProviderFailure) as caught:
            _ = [delta async for delta in call(Chat("acme/a/b", (Message("user", (Text("hi"),)),)), Scope())]
        await client.aclose()
    facts = caught.value.facts
    assert (caught.value.code, facts.request_id) == ("rate_limited", "r1")
    assert (facts.retry_after, facts.should_retry) == (7.0, True)
