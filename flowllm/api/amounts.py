"""Numbers as they are written, exact: a short text can name any number, and none of them is long work."""

from decimal import Decimal, InvalidOperation

from flowllm.text.wording import shortened

PLACES = 30
"""No number has more digits before its point, nor noughts behind it."""


def number_of(value: object) -> Decimal | None:
    """A number from 0 on, of a number or a text (1.50, 200_000, 2e5); None for what is none."""
    try:
        amount = Decimal(value if isinstance(value, int) else str(value).replace("_", ""))
    except InvalidOperation:
        return None
    # The exponent is looked at before anything is compared or written out.
    if isinstance(value, bool) or not amount.is_finite() or (amount and abs(amount.adjusted()) > PLACES) or amount < 0:
        return None
    return amount or Decimal(0)


def shown(value: object) -> str:
    """What was told in place of a number, as a message shows it."""
    try:
        return shortened(str(value))
    except ValueError:  # more digits than Python writes out
        return "a number of thousands of digits"
