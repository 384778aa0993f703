"""One run's engine: backends for every model, the cache, prices, and the budget."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from flowllm.api.environment import Environment
from flowllm.catalog import find
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta
from flowllm.core.policy import Services
from flowllm.core.request import Request
from flowllm.core.scope import Call, Scope
from flowllm.pricing.cost import pricing_of
from flowllm.runtime import Engine
from flowllm.runtime.budget import Budget
from flowllm.runtime.bus import Reader

if TYPE_CHECKING:
    from flowllm.backends.http import HttpClient


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is made.

    ``readers`` are told every event. ``refresh`` are addresses whose cached answers are asked for
    again. ``timeout`` in seconds for the whole run. ``read_cache`` and ``write_cache`` switch the
    cache. ``max_cost`` in US dollars ends the run before it is passed. ``rehearse`` asks no model:
    answers are made up, so that calls, tokens and costs can be counted before they are paid.
    """

    readers: Sequence[Reader] = ()
    refresh: Sequence[str] = ()
    timeout: float | None = None
    read_cache: bool = True
    write_cache: bool = True
    max_cost: Decimal | None = None
    rehearse: bool = False


class Connections:
    """A `Call` for every model of an environment. Connections are opened when used and closed on leaving."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._backends: dict[str, Call] = {}
        self._client: HttpClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        """Ask the provider that the request's model names."""
        async with aclosing(self.backend(request.model)(request, scope)) as deltas:
            async for delta in deltas:
                yield delta

    def backend(self, model: str) -> Call:
        """The backend of a model's provider; raises `SetupError` when its key is missing."""
        provider = model.partition("/")[0]
        if provider not in self._backends:
            self._backends[provider] = self._make(model)
        return self._backends[provider]

    def check(self, model: str) -> None:
        """Raise `SetupError` when the provider's key is missing; asks nobody."""
        self.backend(model)

    def _make(self, model: str) -> Call:
        card, _ = find(self._environment.catalog, model)
        if card.name == "builtin":
            from flowllm.backends.lexical import answer

            return answer
        if card.name == "mock":
            from flowllm.backends.mock import MockBackend

            return MockBackend(self._environment.mock)
        return self._hosted(card)

    def _hosted(self, card: ProviderCard) -> Call:
        from flowllm.backends.http import HttpClient
        from flowllm.backends.provider import backend_for

        self._client = self._client or HttpClient()
        return backend_for(card, self._environment.keys, self._client)


def build_engine(environment: Environment, connections: Connections, options: RunOptions) -> Engine:
    """The engine of one run."""
    budget = Budget(options.max_cost)
    services = Services(
        store=environment.store,
        catalog=environment.catalog,
        price=pricing_of(environment.catalog),
        may_spend=budget.may_spend,
        spend=budget.spend,
        read_cache=options.read_cache and not options.rehearse,
        write_cache=options.write_cache and not options.rehearse,
    )
    return Engine(environment.kinds, connections, services, check_model=connections.check)
