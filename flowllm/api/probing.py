"""Free questions to providers, with the user's keys: is one there, which models it lists, how long a chat is."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from flowllm.api.environment import Environment
from flowllm.api.providers import find_provider, key_state
from flowllm.backends.http import HttpClient
from flowllm.backends.probe import Listed, can_list
from flowllm.backends.probe import count_tokens as ask_for_tokens
from flowllm.backends.probe import list_models as ask_for_models
from flowllm.core.errors import FlowError
from flowllm.core.record import record
from flowllm.core.request import Chat
from flowllm.core.scope import SystemClock

FIRST = 5
"""Models that a check names."""
NO_PROBE = "no free probe"
IN_PROCESS = "in this process"
SKEWED = 30.0
"""Seconds from which on clocks are said to differ."""


@record
class Checked:
    """What came of asking a provider. ``error`` is why it did not answer; ``listed`` its answer.

    ``said`` is ``ok``, ``no free probe``, ``in this process`` or the code of the error; ``key`` says where the
    key was found, never the key.
    """

    provider: str
    said: str
    key: str
    base_url: str
    listed: Listed | None = None
    error: FlowError | None = None

    @property
    def skew(self) -> float | None:
        """Seconds that the provider's clock is ahead, where it is so much that signatures may be refused."""
        skew = self.listed.skew if self.listed else None
        return skew if skew is not None and abs(skew) >= SKEWED else None

    def to_data(self) -> dict[str, Any]:
        """As JSON."""
        listed, error = self.listed, self.error
        answer: dict[str, Any] = {"seconds": None, "models": None, "first": [], "clock_skew": None, "key_proven": None}
        if listed is not None:
            answer |= {
                "seconds": round(listed.seconds, 3),
                "models": len(listed.names),
                "more": listed.more,
                "first": list(listed.names[:FIRST]),
                "clock_skew": None if listed.skew is None else round(listed.skew),
                "key_proven": not listed.open,
            }
        told = {"code": error.code, "message": error.message, "hint": error.hint} if error else None
        named = {"provider": self.provider, "result": self.said, "key": self.key, "base_url": self.base_url}
        return {**named, **answer, "error": told}


async def check_providers(environment: Environment, names: Sequence[str] = ()) -> list[Checked]:
    """Ask providers for their models, all at once; without names those whose key is there."""
    chosen = [find_provider(environment, name).name for name in dict.fromkeys(names)] or _with_keys(environment)
    async with _client() as client:
        return list(await asyncio.gather(*(_checked(environment, name, client) for name in chosen)))


async def live_models(environment: Environment, name: str) -> Listed:
    """The models that a provider lists now. Raises `FlowError`."""
    async with _client() as client:
        return await ask_for_models(find_provider(environment, name), environment.keys, client, SystemClock())


async def count_tokens(environment: Environment, request: Chat) -> int:
    """The tokens of a chat as its provider counts them, at no cost. Raises `FlowError`."""
    card = find_provider(environment, request.model.partition("/")[0])
    async with _client() as client:
        return await ask_for_tokens(request, card, environment.keys, client, SystemClock())


@asynccontextmanager
async def _client() -> AsyncGenerator[HttpClient, None]:
    client = HttpClient()
    try:
        yield client
    finally:
        await client.aclose()


def _with_keys(environment: Environment) -> list[str]:
    found = []
    for name in environment.catalog.providers:
        with suppress(FlowError):  # a provider that nothing asks for may be broken
            card = environment.catalog.providers[name]
            if card.auth.scheme != "none" and key_state(environment, card).found:
                found.append(name)
    return found


async def _checked(environment: Environment, name: str, client: HttpClient) -> Checked:
    card = environment.catalog.providers[name]
    key = key_state(environment, card).said
    if card.local or not can_list(card):
        return Checked(name, IN_PROCESS if card.local else NO_PROBE, key, card.base_url)
    try:
        listed = await ask_for_models(card, environment.keys, client, SystemClock())
    except FlowError as error:
        return Checked(name, error.code, key, card.base_url, error=error)
    return Checked(name, "ok", key, card.base_url, listed)
