"""What the frames of one run share, and where one frame stands in it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from flowllm.core.errors import BudgetExceeded, Failure, Interrupted
from flowllm.core.event import Event
from flowllm.core.policy import Services
from flowllm.core.scope import Clock, Scope, no_call

if TYPE_CHECKING:
    from flowllm.runtime.bind import BoundStep
    from flowllm.runtime.frame import Frame

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``refresh`` are the addresses whose cached answers must not be read."""

    emit: Emit
    observed: bool
    clock: Clock
    random: Random
    services: Services
    refresh: frozenset[str] = frozenset()

    def is_final(self, failure: Failure) -> bool:
        """Whether no `when_failed` or `keep_going` may hide it."""
        return isinstance(failure, BudgetExceeded | Interrupted)

    def refreshes(self, address: str) -> bool:
        """Whether the user asked for this step, or for one inside it, to be asked again."""
        return any(
            address == wanted or wanted.startswith(address + "/") or address.startswith(wanted + "/")
            for wanted in self.refresh
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame stands: what its addresses begin with, its deadline, and the salt of its cache keys."""

    prefix: str = ""
    deadline: float | None = None
    salt: str = ""

    def inner(self, prefix: str, salt: str = "") -> "Place":
        """The place of a frame inside this one."""
        return replace(self, prefix=prefix, salt=self.salt + salt)

    def scope(self, frame: "Frame", bound: "BoundStep", emit: Emit | None = None) -> Scope:
        """What a step of the frame may use."""
        run, address = frame.run, frame.address(bound)
        return Scope(
            address=address,
            emit=emit or run.emit,
            call=bound.call or no_call,
            deadline=self.deadline,
            clock=run.clock,
            random=run.random,
            salt=self.salt,
            refresh=bool(run.refresh) and run.refreshes(address),
            observed=run.observed or emit is not None,
        )
