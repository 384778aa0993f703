"""``breaker``: stop asking a provider that keeps failing. The parameters are checked; it is not carried out."""

from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.durations import Duration
from flowllm.core.policy import Policy


class Breaker(Policy):
    """``failures`` in a row open it for ``pause`` seconds."""

    rank: ClassVar[int] = 60
    available: ClassVar[bool] = False
    shorthand: ClassVar[str] = "failures"
    failures: Annotated[int, Field(ge=1)] = 5
    pause: Duration = 5.0
