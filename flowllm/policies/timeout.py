"""``timeout: 45s``: how long a whole node of any kind may take, with all its attempts, models and waits.

The executor carries it out: it ends the node at that moment, and gives the same moment to what is
inside as the scope's deadline, so that no attempt starts and no wait begins that could not end in time.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.durations import Duration
from flowllm.core.policy import Policy


class Timeout(Policy):
    """Seconds for the whole node."""

    rank: ClassVar[int] = 10
    shorthand: ClassVar[str] = "seconds"
    seconds: Annotated[Duration, Field(gt=0)]
