"""The contract of a policy: how a call is made, never what is asked.

``flowllm/policies/NAME.py`` holds the policy written ``NAME:`` in YAML: a class named by `Policy`'s
subclass with its parameters as fields, a rank, and ``wrap``. Lower ranks are further out:
timeout 10 > cache 20 > single_flight 30 > fallback 40 > retry 50 > breaker 60 > limit 70 >
attempt_timeout 80 > meter 90 > backend.
"""

import hashlib
from collections.abc import Callable
from dataclasses import field
from decimal import Decimal
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.core.card import Catalog
from flowllm.core.delta import Usage
from flowllm.core.event import Cost
from flowllm.core.record import record
from flowllm.core.scope import Call
from flowllm.core.store import MemoryStore, Store

Pricing = Callable[[str, Usage | None], Cost]
"""``provider/model`` and usage to the cost."""


def _unknown_price(model: str, usage: Usage | None) -> Cost:
    return Cost(None)


_MOST_KEPT = 10_000
"""How many identities are kept: a pipeline may make names while it runs."""


@record
class Services:
    """What policies share within one engine. ``flights`` are the calls under way, by key.

    ``spend`` is called with the cost of every answer and raises `BudgetExceeded` when that is too
    much; ``may_spend`` before every request, and ``may_guess`` before one to a model without a known
    price. ``local_identity`` is what a provider of this process says of itself: another text where its
    answers are others (the rules of the mock), else empty.
    """

    store: Store = field(default_factory=MemoryStore)
    catalog: Catalog = field(default_factory=lambda: Catalog({}))
    price: Pricing = _unknown_price
    flights: dict[str, Any] = field(default_factory=dict)
    may_spend: Callable[[], None] = lambda: None
    may_guess: Callable[[str], None] = lambda model: None
    spend: Callable[[Decimal | None], None] = lambda amount: None
    read_cache: bool = True
    write_cache: bool = True
    local_identity: Callable[[str], str] = lambda model: ""
    kept: dict[tuple[str, str], str] = field(default_factory=dict, init=False, compare=False)
    """Identities that were worked out, by what they are of."""

    def identity(self, model: str) -> str:
        """What stands behind ``provider/model`` here, as a digest: its address, wire, headers and quirks.

        Empty where nothing is known of it.
        """
        of = model, self.local_identity(model)
        found = self.kept.get(of)
        if found is None:
            if len(self.kept) >= _MOST_KEPT:
                self.kept.clear()
            found = self.kept[of] = _digest(self.catalog.facts(model), of[1])
        return found


def _digest(facts: dict[str, Any] | None, local: str) -> str:
    known = facts, local
    if not any(known):
        return ""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return hashlib.sha256(orjson.dumps(known, default=str, option=option)).hexdigest()


class Policy(BaseModel):
    """Base of all policies. Subclasses set ``rank`` and give ``wrap``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    rank: ClassVar[int]
    shorthand: ClassVar[str] = ""
    """The field that a bare value stands for (``timeout: 45s`` is ``{seconds: 45}``); empty: none."""
    available: ClassVar[bool] = True
    """False: the parameters are known and checked, but this version cannot carry the policy out."""

    def wrap(self, inner: Call, services: Services) -> Call:
        """A call that makes ``inner`` in this policy's way."""
        return inner
