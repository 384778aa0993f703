"""Everything that can be observed of a run: one stream of typed events, many readers.

``address`` is a step's place in the run: ``docs[3]/sure#2/ask``. ``at`` is seconds on the run's
monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import field
from decimal import Decimal
from typing import Any

from flowllm.core.delta import Delta, Usage
from flowllm.core.record import record


@record
class Event:
    """What all events have."""

    address: str
    at: float


@record
class RunStarted(Event):
    """A run began; ``run`` is its id, ``digest`` the plan's."""

    run: str
    pipeline: str
    digest: str


@record
class StepStarted(Event):
    """A step began its work; ``origin`` of regions too (``kind`` tells)."""

    kind: str


@record
class StepFinished(Event):
    """A step gave its ports. ``rescued`` when they came from ``when_failed``."""

    kind: str
    seconds: float
    rescued: bool = False


@record
class StepFailed(Event):
    """A step failed for good."""

    kind: str
    code: str
    message: str


@record
class StepCancelled(Event):
    """A step was ended before it gave its ports: another one failed, or the run was stopped."""

    kind: str


@record
class StepRescued(Event):
    """A step failed and its ``when_failed`` takes over; sent before what that needs starts."""

    kind: str
    code: str
    message: str


@record
class CaseChosen(Event):
    """A route chose; ``case`` is ``default`` for the default."""

    case: str


@record
class AttemptEnded(Event):
    """An attempt of a retry region ended; ``problem`` is None when it was good."""

    attempt: int
    problem: str | None


@record
class CallStarted(Event):
    """A request left for a provider."""

    model: str
    attempt: int = 1


@record
class DeltaReceived(Event):
    """News of an answer."""

    delta: Delta


@record
class CallRetried(Event):
    """A request will be sent again after ``wait`` seconds."""

    model: str
    attempt: int
    wait: float
    code: str
    message: str


@record
class ModelChosen(Event):
    """A group or a fallback chose another model; ``reason`` says why."""

    model: str
    reason: str


@record
class CacheHit(Event):
    """A call's answer or a cache region's value came from the cache. ``saved`` is what it had cost."""

    key: str
    kind: str = "call"
    saved: Decimal | None = None


@record
class CacheMiss(Event):
    """Nothing in the cache; ``reason`` is ``absent`` (also when its time is over), ``refresh`` or ``unreadable``."""

    key: str
    reason: str = "absent"


@record
class Line:
    """One line of a cost: ``quantity`` times ``price`` is ``amount``, exactly; None where no price is known.

    ``item`` is a word of `core.prices.TOKENS` or `UNITS`, ``price`` US dollars for one ``unit``, ``condition``
    says in words what the price holds for, empty for the plain one.
    """

    item: str
    quantity: int | Decimal
    unit: str
    price: Decimal | None
    amount: Decimal | None
    condition: str = ""


@record
class Cost:
    """What a call cost in US dollars; ``total`` is None when the price of a part is not known.

    ``items`` sum exactly to the total. ``source`` says from when the prices are and how sure the counts,
    ``version`` names the table that the prices are from, else their day (YYYY-MM-DD), ``reported`` is what the
    provider says that it costs.
    """

    total: Decimal | None
    items: tuple[Line, ...] = ()
    source: str = ""
    version: str = ""
    reported: Decimal | None = None


@record
class CallFinished(Event):
    """An answer is complete. ``seconds`` from request to end, ``first`` to the first delta.

    ``simulated``: it was asked for as a stream and came whole.
    """

    model: str
    usage: Usage | None
    cost: Cost
    seconds: float
    first: float | None = None
    finish: str | None = None
    simulated: bool = False


@record
class CallFailed(Event):
    """A request failed, finally or before a retry. ``usage`` and ``cost`` where an answer had begun."""

    model: str
    code: str
    message: str
    usage: Usage | None = None
    cost: Cost | None = None


@record
class StreamHeld(Event):
    """The deltas of output ``output`` cannot be shown as they come; ``reason`` says what holds them."""

    output: str
    reason: str


@record
class Warned(Event):
    """Something the user should know; the run goes on."""

    code: str
    message: str


@record
class RunFinished(Event):
    """The run ended; ``code`` is empty when it went well."""

    code: str
    seconds: float
    outputs: Mapping[str, Any] = field(default_factory=dict)
