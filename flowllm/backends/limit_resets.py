"""When a limit that was hit starts anew, as headers of many dialects say it.

A name holds ``ratelimit`` and ``reset``; its twin with ``remaining`` says what is left. A value is a span as
Go writes them (``6m0s``, ``17ms``), seconds, a time as RFC 3339 writes it, or seconds or milliseconds since 1970.
"""

import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime

_NAMES = (
    r"x-ratelimit-reset(-[a-z-]+)?",
    r"anthropic-ratelimit-[a-z-]+-reset",
    r"(x-)?ratelimitby[a-z]+-reset",
    r"x-ratelimit-renewalperiod-[a-z]+",
    r"ratelimit-reset",
)
"""In the order in which they are read."""
_SPAN = r"(?a)(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
_NUMBER = r"(?a)\d{1,13}(\.\d{1,9})?"
_TIME = r"(?a)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)"
_LONG_AGO = 1e9
"""A number above counts seconds since 1970, one above its hundredfold milliseconds."""


def reset_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds until every limit that is used up starts anew; None where no header says so.

    ``headers`` have lower-case names; ``now`` is seconds since 1970, by default the clock. Limits of which
    something remains do not count.
    """
    now = time.time() if now is None else now
    for pattern in _NAMES:
        found = list(_waits(headers, pattern, now))
        if found:
            return max(found)
    return None


def _waits(headers: Mapping[str, str], pattern: str, now: float) -> Iterator[float]:
    for name, value in headers.items():
        if re.fullmatch(pattern, name) and not _remains(headers, name):
            seconds = _seconds(value.strip(), now)
            if seconds is not None:
                yield seconds


def _remains(headers: Mapping[str, str], name: str) -> bool:
    """Whether the twin of the header says that something is left."""
    left = headers.get(re.sub("reset|renewalperiod", "remaining", name), "0").strip()
    return re.fullmatch(_NUMBER, left) is not None and float(left) > 0


def _seconds(value: str, now: float) -> float | None:
    if re.fullmatch(_NUMBER, value):
        number = float(value)
        if number > _LONG_AGO:
            return max(0.0, (number / 1000 if number > _LONG_AGO * 100 else number) - now)
        return number
    if re.fullmatch(_TIME, value):
        try:
            return max(0.0, datetime.fromisoformat(value).timestamp() - now)
        except (ValueError, OverflowError):
            return None
    match = re.fullmatch(_SPAN, value)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
