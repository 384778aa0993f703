"""Questions to a provider that cost nothing: which models it lists, how many tokens a chat has.

They go the way of every other request: same address, same proof, same failures.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from flowllm.backends.addresses import require_place
from flowllm.backends.http import HttpClient
from flowllm.backends.sending import Key, Sender, told
from flowllm.backends.wire import Counts, HttpParts, Listing, Lists, Wire, find_wire
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import ProviderFacts, ProviderFailure, UsageError
from flowllm.core.record import record
from flowllm.core.request import Chat
from flowllm.core.scope import Clock

SECONDS = 20.0
"""How long an answer is waited for, connecting and reading included."""
LONGEST = 32 * 1024 * 1024
"""Bytes of an answer that are read."""
_MORE = ("has_more", "nextPageToken", "next_page_token", "next")


@record
class Listed:
    """What a provider lists: names of models, and whether there are more of them than came.

    ``seconds`` passed from the request to the end of the answer. ``skew`` is how many seconds the provider's
    clock is ahead of this one, None where it does not tell. ``open`` says that anybody may read the list, so
    that nothing is known of the key.
    """

    names: tuple[str, ...]
    more: bool
    seconds: float
    skew: float | None
    open: bool


def can_list(card: ProviderCard) -> bool:
    """Whether there is something to ask for the models of a provider."""
    return _lister(card) is not None


async def list_models(card: ProviderCard, key: Key, client: HttpClient, clock: Clock) -> Listed:
    """The models that a provider lists now. Raises `FlowError`."""
    found = _lister(card)
    if found is None:
        message = f"the provider `{card.name}` has no list of models that can be asked for"
        raise UsageError("bad_usage", message, hint=f"flowllm models list {card.name}")
    wire, listing = found
    asked = _Asked(wire, listing.parts(card), client, clock)
    with _named(card):
        answer, headers, seconds = await asked.answer(card, key)
        names = listing.names(answer)
    more = isinstance(answer, Mapping) and any(answer.get(word) for word in _MORE)
    return Listed(names, more, seconds, _skew(headers, clock), await _is_open(asked, card))


async def count_tokens(request: Chat, card: ProviderCard, key: Key, client: HttpClient, clock: Clock) -> int:
    """The tokens of a chat as its provider counts them. Raises `FlowError`."""
    wire = find_wire(card.wire["chat"], card) if "chat" in card.wire else None
    if wire is None or not isinstance(wire, Counts):
        message = f"the provider `{card.name}` counts no tokens"
        raise UsageError("bad_usage", message, hint="a node of kind `truncate` counts offline")
    with _named(card, request.model):
        answer, _, _ = await _Asked(wire, wire.count(request), client, clock).answer(card, key)
        tokens = wire.counted(answer) if isinstance(answer, Mapping) else None
        if tokens is None:
            raise ProviderFailure("invalid_response", "the answer tells no number of tokens")
    return tokens


def _lister(card: ProviderCard) -> tuple[Wire, Listing] | None:
    """The wire of a provider that lists its models, and how."""
    for name in card.wire.values():
        wire = find_wire(name, card)
        if isinstance(wire, Lists) and wire.models.parts(card).path:
            return wire, wire.models
    return None


async def _is_open(asked: "_Asked", card: ProviderCard) -> bool:
    """Whether the answer is told without a key too."""
    if card.auth.scheme == "none":
        return True
    try:
        await asked.answer(replace(card, auth=Auth()), lambda auth: None)
    except ProviderFailure:
        return False
    return True


@contextmanager
def _named(card: ProviderCard, model: str = "") -> Iterator[None]:
    """Failures inside name the provider, and hold no secret."""
    try:
        yield
    except ProviderFailure as failure:
        raise told(failure, card, model) from None


@record
class _Asked:
    """A question in the format of a wire."""

    wire: Wire
    parts: HttpParts
    client: HttpClient
    clock: Clock

    async def answer(self, card: ProviderCard, key: Key) -> tuple[Any, Mapping[str, str], float]:
        """The JSON that came, the headers, and the seconds that it took."""
        require_place(card)
        began = self.clock.now()
        try:
            sender = Sender(card, key, self.client, SECONDS)
            async with self.clock.timeout(began + SECONDS), await sender.send(self.parts) as response:
                status, headers, body = response.status, response.headers, await response.start(LONGEST)
        except TimeoutError:
            message = f"{card.name} gave no answer in {SECONDS:g} s"
            raise ProviderFailure("timeout", message, facts=ProviderFacts(should_retry=True)) from None
        seconds = self.clock.now() - began
        if status >= 400:  # noqa: PLR2004
            raise self.wire.decode_error(status, headers, body)
        try:
            return orjson.loads(body), headers, seconds
        except orjson.JSONDecodeError:
            raise ProviderFailure("invalid_response", "the answer is no JSON") from None


def _skew(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds that the sender of ``headers`` is ahead of this clock."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - clock.wall()
    except (TypeError, ValueError):
        return None
