"""One request to a provider: where it goes, its proof, and what the provider's refusal is called.

Whatever asks a provider sends through here, so that a key goes to the provider's own servers alone and a
proof that has ended is renewed once.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

from flowllm.backends.auth.signing import Signer, advice, signer_for
from flowllm.backends.http import HttpClient, HttpRequest, HttpResponse
from flowllm.backends.wire import HttpParts
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.secrets import registered

Key = Callable[[Auth], str | None]
_REFUSED = frozenset({400, 401, 403})
"""Statuses of an answer to a proof that has ended."""
_HINTS = {
    "auth": "{key}",
    "permission": "{key}",
    "not_found": "flowllm models list {provider}",
    "context_too_long": "shorten the prompt with a node of kind `truncate`",
    "connect_error": "is the server running? another address: providers.{provider}.base_url=https://...",
    "timeout": "does the server answer? flowllm providers check {provider}",
    "dns_error": "another address: providers.{provider}.base_url=https://...",
}


class Sender:
    """Sends the requests of one provider. The key is looked up when the first one is sent."""

    def __init__(self, card: ProviderCard, key: Key, client: HttpClient, connect_timeout: float) -> None:
        self._card = card
        self._find_key = key
        self._signer: Signer | None = None
        self._lock = threading.Lock()
        self._client = client
        self._connect_timeout = connect_timeout
        self._targets: dict[str, tuple[str, dict[str, str]]] = {}

    async def send(self, parts: HttpParts) -> HttpResponse:
        """The answer to a signed request; where its proof had ended, to one that is signed anew, once."""
        url, headers = self._target(parts.path)
        headers = {**headers, **parts.headers} if parts.headers else headers
        request = HttpRequest(parts.method, url, headers, parts.body, parts.stream)
        signer = self._signer or self._choose_signer()
        signed = await signer.sign(request)
        response = await self._client.open(signed, connect_timeout=self._connect_timeout)
        if response.status not in _REFUSED:
            return response
        try:
            renewed = await signer.renew(signed, response.status, response.headers)
        except BaseException:
            await response.aclose()
            raise
        if not renewed:
            return response
        await response.aclose()
        return await self._client.open(await signer.sign(request), connect_timeout=self._connect_timeout)

    def _target(self, path: str) -> tuple[str, dict[str, str]]:
        """The URL and headers for a path, made once; for a whole URL made anew."""
        if not path.startswith("/"):
            return self._made(path)
        if path not in self._targets:
            self._targets[path] = self._made(self._card.base_url + path)
        return self._targets[path]

    def _made(self, url: str) -> tuple[str, dict[str, str]]:
        card = self._card
        mark = "&" if "?" in url else "?"
        query = urlencode(card.query)
        headers = {**card.headers, "content-type": "application/json"}
        return url + mark + query if query else url, headers

    def _choose_signer(self) -> Signer:
        """One for all threads, so that a token is minted once."""
        with self._lock:
            self._signer = self._signer or signer_for(self._card, self._find_key, self._client)
            return self._signer


def told(failure: ProviderFailure, card: ProviderCard, model: str = "") -> ProviderFailure:
    """The failure with its provider and model, and without a secret should the server repeat one."""
    facts, message = failure.facts, failure.message
    if facts.status is not None:
        message = f"{card.name} answered {facts.status}: {message}"
    for secret in registered():
        message = message.replace(secret, "***")
    hint = failure.hint or _HINTS.get(failure.code, "").format(provider=card.name, key=advice(card.auth, card.name))
    named = replace(facts, provider=card.name, model=model)
    return ProviderFailure(failure.code, message, facts=named, hint=hint)
