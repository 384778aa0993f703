"""One request for a token, by the same HTTP as all others."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.backends.http import HttpClient, HttpRequest

SECONDS = 20.0
"""How long an answer is waited for."""


@record
class Answer:
    """Status, headers by lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    data: bytes


async def exchange(client: "HttpClient", request: "HttpRequest", seconds: float = SECONDS) -> Answer:
    """The whole answer; `ProviderFailure` where none came, ``timeout`` among them."""
    from flowllm.core.errors import ProviderFacts, ProviderFailure

    try:
        async with asyncio.timeout(seconds):
            response = await client.open(request)
            async with response:
                body = await response.start()
    except TimeoutError:
        message = f"{request.host} sent no token for {seconds:g} s"
        raise ProviderFailure("timeout", message, facts=ProviderFacts(should_retry=True)) from None
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
