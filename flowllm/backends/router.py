"""The one `Call` of an engine: it answers for every model by asking the provider before the slash."""

import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING

from flowllm.backends.addresses import require_place
from flowllm.backends.auth.signing import require_credentials
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Delta
from flowllm.core.errors import FlowError
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope

if TYPE_CHECKING:
    from flowllm.backends.http import HttpClient


class Backends:
    """Backends by provider, each made when it is first asked.

    ``card`` finds a provider's card by name (KeyError when there is none), ``key`` its key.
    ``local`` are the providers of this process by name (mock, builtin). Without ``client`` one is
    made when the first provider over the network is asked. ``house`` makes the call of a further provider
    whose card says that it runs in this process; ``check`` and ``identity`` of such a call are asked by model.
    """

    def __init__(
        self,
        card: Callable[[str], ProviderCard],
        key: Callable[[Auth], str | None],
        local: Mapping[str, Call],
        client: "HttpClient | None" = None,
        house: Callable[[ProviderCard], Call] | None = None,
    ) -> None:
        self._card = card
        self._key = key
        self._calls: dict[str, Call] = dict(local)
        self._local = frozenset(local)
        self._client = client
        self._house = house
        self._lock = threading.Lock()

    def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The answer of the request's model."""
        name = request.model.partition("/")[0]
        return (self._calls.get(name) or self._make(name))(request, scope)

    def identity(self, model: str) -> str:
        """What the model's provider says of itself, where it runs in this process and says anything.

        Empty where its settings are wrong: who asks the model is told, and a fallback may never be asked.
        """
        try:
            call = self._in_process(model.partition("/")[0])
        except FlowError:
            return ""
        found = getattr(call, "identity", "")
        return str(found(model) if callable(found) else found)

    def check(self, model: str) -> None:
        """`SetupError` when the model's provider cannot be asked: no key, library, address, setting or file."""
        name = model.partition("/")[0]
        if (call := self._in_process(name)) is not None:
            check = getattr(call, "check", None)
            if check is not None:
                check(model)
            return
        card = self._card(name)
        require_place(card)
        require_credentials(card, self._key)

    def _in_process(self, name: str) -> Call | None:
        """The call of a provider that runs in this process; None for any other."""
        if name in self._local:
            return self._calls[name]
        try:
            local = self._house is not None and self._card(name).local
        except KeyError:
            return None
        return (self._calls.get(name) or self._make(name)) if local else None

    async def aclose(self) -> None:
        """End the connections of the running event loop."""
        if self._client is not None:
            await self._client.aclose()

    def _make(self, name: str) -> Call:
        from flowllm.backends.http import HttpClient
        from flowllm.backends.provider import backend_for

        with self._lock:
            if name not in self._calls and self._house is not None and self._card(name).local:
                self._calls[name] = self._house(self._card(name))
            elif name not in self._calls:
                self._client = self._client or HttpClient()
                self._calls[name] = backend_for(self._card(name), self._key, self._client)
            return self._calls[name]
