"""The values of `format` that are asserted; any other is a note that nothing checks.

date, time and date-time are RFC 3339's (a time and a date-time name their offset), email is an address
with one @ and a domain with a dot, uri is absolute.
"""

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from datetime import time as clock_time

_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})"
_FULL_DATE = re.compile(_DATE, re.ASCII)
_FULL_TIME = re.compile(_TIME, re.ASCII)
_DATE_TIME = re.compile(rf"{_DATE}[Tt ]{_TIME}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[^\s@\"(),:;<>\[\]\\]{{1,64}}@{_LABEL}(?:\.{_LABEL}){{1,8}}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[^\s<>\"{}|\\^`]+", re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def _made(make: Callable[[str], object], text: str) -> bool:
    try:
        make(text)
    except ValueError:
        return False
    return True


def _seconds(text: str) -> str:
    """At most six digits of a second: Python reads no more."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text.upper().replace(" ", "T"))


def _date(text: str) -> bool:
    return bool(_FULL_DATE.fullmatch(text)) and _made(date.fromisoformat, text)


def _time(text: str) -> bool:
    return bool(_FULL_TIME.fullmatch(text)) and _made(clock_time.fromisoformat, _seconds(text))


def _date_time(text: str) -> bool:
    return bool(_DATE_TIME.fullmatch(text)) and _made(datetime.fromisoformat, _seconds(text))


_TESTS: Mapping[str, Callable[[str], bool]] = {
    "date": _date,
    "time": _time,
    "date-time": _date_time,
    "email": lambda text: len(text) <= 254 and bool(_EMAIL.fullmatch(text)),  # noqa: PLR2004  RFC 5321
    "uri": lambda text: bool(_URI.fullmatch(text)),
    "uuid": lambda text: bool(_UUID.fullmatch(text)) and _made(uuid.UUID, text),
    "ipv4": lambda text: _made(ipaddress.IPv4Address, text),
    "ipv6": lambda text: "%" not in text and _made(ipaddress.IPv6Address, text),
}


def _on_text(test: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or test(value)


FORMATS: Mapping[str, Callable[[object], bool]] = {name: _on_text(test) for name, test in _TESTS.items()}
