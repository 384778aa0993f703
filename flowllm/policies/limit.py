"""``limit``: how much may be asked of a provider at once. The parameters are checked; it is not carried out."""

from typing import Annotated, ClassVar

from pydantic import Field

from flowllm.core.policy import Policy

Count = Annotated[int, Field(ge=1)]


class Limit(Policy):
    """Requests under way, requests a minute, tokens a minute."""

    rank: ClassVar[int] = 70
    available: ClassVar[bool] = False
    shorthand: ClassVar[str] = "at_once"
    at_once: Count | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
