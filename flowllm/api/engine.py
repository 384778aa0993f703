"""One run's engine: backends for every model, the cache, prices, and the budget."""

import time
from collections.abc import Sequence
from decimal import Decimal

from flowllm.api.environment import Environment
from flowllm.api.housed import PROVIDER
from flowllm.backends.router import Backends
from flowllm.core.durations import seconds
from flowllm.core.errors import UsageError
from flowllm.core.policy import Services
from flowllm.core.record import record
from flowllm.core.store import Deferred
from flowllm.pricing.cost import pricing_of
from flowllm.runtime import Engine
from flowllm.runtime.budget import Budget, dollars
from flowllm.runtime.bus import Reader
from flowllm.text.wording import shortened


@record
class RunOptions:
    """How a run is made.

    ``readers`` are told every event. ``refresh`` are addresses whose cached answers are asked for
    again. ``timeout`` for the whole run is in seconds, or text such as ``"5m"``. ``read_cache`` and
    ``write_cache`` switch the cache. ``max_cost`` in US dollars ends the run before it is passed; a
    ``budget`` takes its place and is one for all runs that are given it, in whatever thread.
    ``unknown_price`` is what happens to a price that is not known while there is a limit: ``fail``, ``warn``
    (say so and count nothing) or ``zero`` (count nothing).
    ``rehearse`` asks no model: answers are made up, so that calls, tokens and costs can be counted before
    they are paid.
    """

    readers: Sequence[Reader] = ()
    refresh: Sequence[str] = ()
    timeout: float | str | None = None
    read_cache: bool = True
    write_cache: bool = True
    max_cost: Decimal | None = None
    unknown_price: str = "fail"
    rehearse: bool = False
    budget: Budget | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_cost", dollars(self.max_cost, "max_cost"))


def run_options(given: object) -> RunOptions:
    """What was given as options, the usual ones for None; `UsageError` for anything else."""
    if given is None:
        return RunOptions()
    if not isinstance(given, RunOptions):
        message = f"options of a run are RunOptions, not `{shortened(repr(given))}`"
        raise UsageError("bad_value", message, hint="RunOptions(timeout=3)")
    return given


def time_limit(options: RunOptions) -> float | None:
    """The seconds that a run may take; `UsageError` for what is no length of time."""
    if options.timeout is None:
        return None
    try:
        return seconds(options.timeout)
    except ValueError as error:
        raise UsageError("bad_value", f"`timeout` of RunOptions: {error}", hint='timeout="90s"') from None


def build_engine(environment: Environment, backends: Backends, options: RunOptions) -> Engine:
    """The engine of one run."""
    budget = options.budget or Budget(options.max_cost, options.unknown_price)
    services = Services(
        store=Deferred(lambda: environment.store),
        catalog=environment.catalog,
        price=pricing_of(environment.catalog, time.time),
        may_spend=budget.may_spend,
        may_guess=budget.may_guess,
        spend=budget.spend,
        local_identity=backends.identity,
        read_cache=options.read_cache and not options.rehearse,
        write_cache=options.write_cache and not options.rehearse,
    )
    if options.rehearse:
        from flowllm.api.rehearsed import rehearsed
        from flowllm.backends.rehearsal import Rehearsal

        return Engine(rehearsed(environment.kinds), Rehearsal(environment.catalog, backends, PROVIDER), services)
    return Engine(environment.kinds, backends, services, check_model=backends.check)
