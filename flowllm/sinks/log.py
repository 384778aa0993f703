"""Logging: one handler on the root, one redactor behind everything that it writes.

`warnings_only` is what a command does without options, and needs no structlog; `configure` is
``--log-level``, ``--log-json`` and ``--debug``. The redactor is the last to touch each line, after
it was rendered, so it also sees tracebacks, which never show local variables. The HTTP libraries'
own loggers, which print whole URLs, speak only of trouble.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, ClassVar, TextIO

from flowllm.core.event import (
    CallFailed,
    CallFinished,
    CallRetried,
    Cost,
    DeltaReceived,
    Event,
    ModelChosen,
    RunFinished,
    RunStarted,
    StepFailed,
    Warned,
)  # fmt: skip

Clean = Callable[[str], str]
LOUD = ("aiohttp", "asyncio", "httpcore", "httpx", "hydra", "urllib3")
LOUDER = ("azure", "botocore", "google", "msal")
"""Libraries that warn of what is then an error of ours, or of nothing."""
LEVELS = ("debug", "info", "warning", "error")
_FIRST = ("timestamp", "level", "logger", "event")
"""What a line begins with."""
_PLAIN = r"[^\s\"'=\x00-\x1f\x7f-\x9f]+"
_LEVEL_OF: Mapping[type[Event], str] = {
    StepFailed: "error",
    **dict.fromkeys((Warned, CallRetried, ModelChosen), "warning"),
    **dict.fromkeys((RunStarted, RunFinished, CallFinished, CallFailed), "info"),
}
_FINDINGS = {"flowllm.cache": "file_refused", "dotenv.main": "file_refused"}
"""Loggers whose warnings are findings, with their codes."""
_WHERE = {"dotenv.main": "the project's .env: "}
"""What a logger's own words leave out."""


class _Finding(logging.Formatter):
    """``warning[file_refused]: ...``, as findings are written everywhere."""

    def format(self, record: logging.LogRecord) -> str:
        code = _FINDINGS.get(record.name)
        head = record.levelname.lower() + (f"[{code}]" if code else "")
        return f"{head}: {_WHERE.get(record.name, '')}{super().format(record)}"


class _Redacting(logging.Formatter):
    """Another formatter's lines, cleaned."""

    def __init__(self, inner: logging.Formatter, clean: Clean) -> None:
        super().__init__()
        self._inner, self._clean = inner, clean

    def format(self, record: logging.LogRecord) -> str:
        return self._clean(self._inner.format(record))


def warnings_only(clean: Clean, stream: TextIO | None = None) -> None:
    """Warnings and errors as plain lines on stderr."""
    _install(_Finding(), "warning", clean, stream)


def configure(level: str, clean: Clean, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Everything from ``level`` (one of `LEVELS`) on, as text or as one JSON object a line, on stderr."""
    import structlog

    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(as_json=as_json)],
    )
    _install(formatter, level, clean, stream)


def _shared() -> list[Any]:
    import structlog

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(*, as_json: bool) -> list[Any]:
    import structlog

    if as_json:
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(plain), structlog.processors.JSONRenderer(default=_as_data)]
    return [structlog.processors.format_exc_info, _as_line]


def _as_data(value: Any) -> Any:
    """What JSON has no word for: records by their fields, mappings as objects, the rest as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _as_line(logger: Any, name: str, event: Mapping[str, Any]) -> str:
    """``key=value`` for everything that is known; a traceback stands on lines of its own, below."""
    first = {key: event[key] for key in _FIRST if key in event}
    words = {key: _words(value) for key, value in {**first, **event}.items() if key != "exception"}
    line = " ".join(f"{key}={_quoted(word)}" for key, word in words.items() if word is not None)
    return f"{line}\n{event['exception']}" if event.get("exception") else line


def _words(value: Any) -> str | None:
    """A value in plain words; None where nothing is known."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Cost):
        return "unknown" if value.total is None else f"${value.total:f}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(round(value, 6))
    if isinstance(value, list | tuple):
        return ", ".join(word for word in map(_words, value) if word is not None)
    known = _as_data(value)
    if isinstance(known, Mapping):
        return ", ".join(_named(name, part) for name, part in known.items() if _is_known(part))
    return str(known)


def _is_known(part: Any) -> bool:
    return not (part is None or part is False or part == "" or (isinstance(part, Mapping) and not part))


def _named(name: str, value: Any) -> str:
    """``input 100``; what is so, as `estimated`, by its name alone."""
    return name if value is True else f"{name} {_words(value)}"


def _quoted(word: str) -> str:
    """A value that blanks, quotes or lines would tear apart, in quotes."""
    return word if re.fullmatch(_PLAIN, word) else json.dumps(word, ensure_ascii=False)


def _install(formatter: logging.Formatter, level: str, clean: Clean, stream: TextIO | None) -> None:
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Redacting(formatter, clean))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, _Redacting)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for names, least in ((LOUD, logging.WARNING), (LOUDER, logging.ERROR)):
        for name in names:
            logging.getLogger(name).setLevel(least)


class EventLog:
    """A reader of events that logs them: failures as warnings and errors, runs and calls as news, the rest to debug."""

    reads: ClassVar[frozenset[type[Event]]] = frozenset(Event.__subclasses__()) - {DeltaReceived}
    """All but the pieces of answers, which nobody has to make for a log."""

    def __init__(self) -> None:
        import structlog

        self._log = structlog.get_logger("flowllm.run")

    def __call__(self, event: Event) -> None:
        """Log an event."""
        values = {field.name: getattr(event, field.name) for field in fields(event)}
        if type(event) is RunFinished:
            values["outputs"] = list(event.outputs)  # what they hold is data, and data is for stdout
        self._log.log(logging.getLevelName(_LEVEL_OF.get(type(event), "debug").upper()), type(event).__name__, **values)
