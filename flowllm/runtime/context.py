"""What the frames of one run share, and where one frame stands in it."""

from collections.abc import Callable
from dataclasses import field, replace
from random import Random
from typing import TYPE_CHECKING

from flowllm.core.errors import BudgetExceeded, Failure, Interrupted
from flowllm.core.event import Event, Warned
from flowllm.core.policy import Policy, Services
from flowllm.core.record import record
from flowllm.core.scope import Call, Clock, Scope, no_call
from flowllm.policies.chain import chain

if TYPE_CHECKING:
    from flowllm.runtime.bind import BoundStep
    from flowllm.runtime.frame import Frame

Emit = Callable[[Event], None]


@record
class Run:
    """One run. ``observed``: anybody reads events, ``streamed``: also the pieces of answers.

    ``refresh`` are the addresses whose cached answers must not be read. ``calls`` are the calls made so
    far, by their policies; ``warned`` the messages of warnings.
    """

    emit: Emit
    observed: bool
    streamed: bool
    clock: Clock
    random: Random
    services: Services
    backends: Call
    refresh: frozenset[str] = frozenset()
    calls: dict[int, Call] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)

    def call(self, policies: tuple[Policy, ...]) -> Call:
        """What asks a model through ``policies``, which the plan keeps; made once in a run."""
        made = self.calls.get(id(policies))
        if made is None:
            made = self.calls[id(policies)] = chain(policies, self.backends, self.services)
        return made

    def warn_once(self, code: str, address: str, message: str) -> None:
        """Warn of what is so at every item and attempt; the first one's address is told."""
        if message not in self.warned:
            self.warned.add(message)
            self.emit(Warned(address, self.clock.now(), code, message))

    def is_final(self, failure: Failure) -> bool:
        """Whether no `when_failed` or `keep_going` may hide it."""
        return isinstance(failure, BudgetExceeded | Interrupted)

    def refreshes(self, address: str) -> bool:
        """Whether the user asked for this step, for one around it or one inside it, to be asked again."""
        return bool(self.refresh) and any(_overlap(wanted, address) for wanted in self.refresh)


def _overlap(wanted: str, address: str) -> bool:
    """Whether one of two addresses leads to the other; a word without item or attempt means all of them."""
    pairs = zip(wanted.split("/"), address.split("/"), strict=False)
    return all(ours in (theirs, node_of(theirs)) for ours, theirs in pairs)


def node_of(word: str) -> str:
    """The node that one word of an address names: ``docs`` for ``docs[3]`` and ``docs#2``."""
    return word.partition("[")[0].partition("#")[0]


@record
class Place:
    """Where a frame stands: what its addresses begin with, its deadline, and the salt of its cache keys."""

    prefix: str = ""
    deadline: float | None = None
    salt: str = ""

    def inner(self, prefix: str, salt: str = "") -> "Place":
        """The place of a frame inside this one."""
        return replace(self, prefix=prefix, salt=self.salt + salt)

    def scope(self, frame: "Frame", bound: "BoundStep", emit: Emit | None = None, call: Call = no_call) -> Scope:
        """What a step of the frame may use."""
        run, address = frame.run, frame.address(bound)
        return Scope(
            address=address,
            emit=emit or run.emit,
            call=call,
            deadline=self.deadline,
            clock=run.clock,
            random=run.random,
            salt=self.salt,
            refresh=run.refreshes(address),
            observed=run.observed or emit is not None,
            streamed=run.streamed,
        )
