"""A provider of ours against the fault server, and the oracle that judges what came of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from flowllm.backends.http import HttpClient
from flowllm.backends.provider import Timeouts, backend_for
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Fold
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from tests.faults.oracle import CANARY, Outcome, judge

QUICK = Timeouts(connect=2.0, first=2.0, idle=2.0, whole=2.0)
WIRES = {"chat": "openai_chat", "embed": "openai_embeddings"}


@dataclass
class Provider:
    """Asks one server; every call is judged and must be without fault."""

    client: HttpClient = field(default_factory=HttpClient)

    def call(self, base_url: str, timeouts: Timeouts = QUICK, auth: Auth | None = None):
        auth = auth or Auth("header", ("ACME_KEY",), "x-api-key")
        return backend_for(ProviderCard("acme", base_url, WIRES, auth), lambda _: CANARY, self.client, timeouts)

    async def ask(self, base_url: str, *, stream=False, timeouts=QUICK, auth=None, scope=None) -> Outcome:
        """One chat, folded; its connections are given back before the oracle counts."""
        request = Chat("acme/m", (Message("user", (Text("hi"),)),), stream=stream)
        call = self.call(base_url, timeouts, auth)

        async def work():
            folded = Fold()
            try:
                async for delta in call(request, scope or Scope()):
                    folded.add(delta)
            finally:
                await self.client.aclose()
            return folded.reply()

        outcome, wrong = await judge(work)
        assert wrong == []
        return outcome


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    yield made
    await made.client.aclose()
