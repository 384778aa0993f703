"""A switch's value as the text that case keys are compared with; compiling and running must agree on it."""

import json
import math
from decimal import Decimal

from flowllm.core.errors import NodeFailure


def case_text(value: object) -> str:
    """A string as it is, anything else as JSON writes it, integers of any size; `NodeFailure` for NaN."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return format(Decimal(value), "f")
    if isinstance(value, float) and math.isfinite(value):
        return _shortest(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError:
        message = "a number that JSON cannot hold chooses no case"
        raise NodeFailure("no_case", message, hint="switch: {const: 0}") from None


def _shortest(value: float) -> str:
    """``1e22``, not ``1e+22``: as JSON is written by what the rest of flowllm writes it with."""
    return repr(value).replace("e+", "e").replace("e-0", "e-")
