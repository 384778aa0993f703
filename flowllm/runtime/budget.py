"""How much a run may cost, in exact US dollars."""

import logging
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


UNKNOWN_PRICE = ("fail", "warn", "zero")
"""What a budget does about a price that is not known."""
_HINT = "use a model with a known price, or count unknown ones as nothing: --unknown-price warn"
_log = logging.getLogger("flowllm.budget")


class Budget:
    """Counts what answers cost and refuses requests once ``limit`` is reached. Safe from many threads.

    Requests that were under way when the limit was reached are paid for, so what is spent may pass
    it by their cost. Without a limit everything is counted and nothing refused. With one,
    ``unknown_price`` says what becomes of a price that is not known: ``fail`` refuses the request, and
    ends the run with the answer that shows it, for nobody could tell whether the limit was kept;
    ``warn`` says so once and counts nothing; ``zero`` counts nothing.
    """

    def __init__(self, limit: Decimal | None = None, unknown_price: str = "fail") -> None:
        if unknown_price not in UNKNOWN_PRICE:
            message = f"`unknown_price` is one of {', '.join(UNKNOWN_PRICE)}, not `{shortened(str(unknown_price))}`"
            raise UsageError("bad_value", message, hint='unknown_price="warn"')
        self.limit = dollars(limit, "limit")
        self.unknown_price = unknown_price
        self.spent = Decimal(0)
        self._unknown = self._warned = False
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
        self._unknown = self._refuses()
        self._known()

    def may_guess(self, model: str) -> None:
        """Raise `BudgetExceeded` where a model without a known price may not be asked."""
        if self._refuses():
            message = f"the price of {model} is not known, so the limit could not be kept"
            raise BudgetExceeded("over_budget", message, hint=_HINT)

    def _refuses(self) -> bool:
        """Whether a price that is not known ends the run; where it is warned of, say so once."""
        if self.limit is None or self.unknown_price == "zero":
            return False
        if self.unknown_price == "warn" and not self._warned:
            self._warned = True
            _log.warning("a price is not known: the limit of %s USD is kept without it", f"{self.limit:f}")
        return self.unknown_price == "fail"

    def _known(self) -> None:
        if self._unknown:
            message = "an answer's price is not known, so the limit cannot be kept"
            raise BudgetExceeded("over_budget", message, hint=_HINT)
