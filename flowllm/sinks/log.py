"""Logging: one handler on the root, one redactor behind everything that it writes.

`warnings_only` is what a command does without options, and needs no structlog; `configure` is
``--log-level``, ``--log-json`` and ``--debug``. The redactor is the last to touch each line, after
it was rendered, so it also sees tracebacks, which never show local variables. The HTTP libraries'
own loggers, which print whole URLs, speak only of trouble.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, TextIO

from flowllm.core.event import (
    CallFailed,
    CallFinished,
    CallRetried,
    DeltaReceived,
    Event,
    ModelChosen,
    RunFinished,
    RunStarted,
    StepFailed,
    Warned,
)  # fmt: skip

Clean = Callable[[str], str]
LOUD = ("aiohttp", "asyncio", "azure", "botocore", "google", "httpcore", "httpx", "hydra", "msal", "urllib3")
LEVELS = ("debug", "info", "warning", "error")
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
    order = ["timestamp", "level", "logger", "event"]
    lines = structlog.processors.KeyValueRenderer(key_order=order, drop_missing=True)
    return [structlog.processors.format_exc_info, _exception_last(lines)]


def _as_data(value: Any) -> Any:
    """What JSON has no word for: records by their fields, mappings as objects, the rest as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _exception_last(render: Callable[..., Any]) -> Callable[..., str]:
    """A traceback stands on lines of its own, below."""

    def rendered(logger: Any, name: str, event: dict[str, Any]) -> str:
        trace = event.pop("exception", None)
        return f"{render(logger, name, event)}\n{trace}" if trace else str(render(logger, name, event))

    return rendered


def _install(formatter: logging.Formatter, level: str, clean: Clean, stream: TextIO | None) -> None:
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Redacting(formatter, clean))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, _Redacting)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)


class EventLog:
    """A reader of events that logs them: failures as warnings and errors, runs and calls as news, the rest to debug."""

    def __init__(self) -> None:
        import structlog

        self._log = structlog.get_logger("flowllm.run")

    def __call__(self, event: Event) -> None:
        """Log an event; the pieces of an answer are left out."""
        if type(event) is DeltaReceived:
            return
        values = {field.name: getattr(event, field.name) for field in fields(event)}
        if type(event) is RunFinished:
            values["outputs"] = list(event.outputs)  # what they hold is data, and data is for stdout
        self._log.log(logging.getLevelName(_LEVEL_OF.get(type(event), "debug").upper()), type(event).__name__, **values)
