"""How much a run may cost, in exact US dollars."""

import threading
from decimal import Decimal

from flowllm.core.errors import BudgetExceeded, UsageError
from flowllm.text.wording import shortened


def dollars(amount: object, name: str) -> Decimal | None:
    """An amount of US dollars, None where there is no limit; `UsageError` naming ``name`` for what is none."""
    if amount is None:
        return None
    if isinstance(amount, Decimal | int | float) and not isinstance(amount, bool):
        exact = amount if isinstance(amount, Decimal) else Decimal(str(amount))
        if exact.is_finite() and exact >= 0:
            return exact
    message = f"`{name}` is an amount of dollars, not `{shortened(repr(amount))}`"
    raise UsageError("bad_value", message, hint=f'{name}=Decimal("1.00")')


class Budget:
    """Counts what answers cost and refuses requests once ``limit`` is reached. Safe from many threads.

    Requests that were under way when the limit was reached are paid for, so what is spent may pass
    it by their cost. An answer whose price is not known ends a run with a limit: nobody could tell
    whether it was kept. Without a limit everything is counted and nothing refused.
    """

    def __init__(self, limit: Decimal | None = None) -> None:
        self.limit = dollars(limit, "limit")
        self.spent = Decimal(0)
        self._unknown = False
        self._adding = threading.Lock()

    def may_spend(self) -> None:
        """Raise `BudgetExceeded` when nothing is left, or nobody can tell what is."""
        self._known()
        if self.limit is not None and self.spent >= self.limit:
            message = f"the limit of {self.limit:f} USD is reached: {self.spent:f} USD are spent"
            raise BudgetExceeded("over_budget", message, hint="raise it with --max-cost")

    def spend(self, cost: Decimal | None) -> None:
        """Count one answer's cost; None is a price that is not known."""
        if cost is not None:
            with self._adding:
                self.spent += cost
            return
        self._unknown = self.limit is not None
        self._known()

    def _known(self) -> None:
        if self._unknown:
            message = "an answer's price is not known, so the limit cannot be kept"
            raise BudgetExceeded("over_budget", message, hint="leave --max-cost out, or use a model with a known price")
