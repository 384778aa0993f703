"""The one place that prints. Data goes to stdout, everything else to stderr, and all of it past the redactor.

stdout keeps what a pipeline gave, byte for byte but for secrets that this process has read; on a
terminal control characters are shown escaped, for answers are not to be trusted. stderr is also
cleaned of what merely looks like a secret.
"""

import json
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO

from flowllm.cli.options import Manner, wants_colour
from flowllm.cli.streams import to_stderr, to_stdout
from flowllm.cli.tables import table
from flowllm.core.errors import Failure, FlowError, PipelineInvalid, Problem, ProviderFailure
from flowllm.core.origin import Origin
from flowllm.sinks.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Screen:
    """stdout and stderr of one command."""

    def __init__(self, manner: Manner, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.manner = manner
        self._out = stdout or sys.stdout
        self._err = stderr or sys.stderr
        self.redactor = Redactor()
        self._pieces = self.redactor.stream()
        self._mid_line = False
        self.event_log: Callable[[Any], None] | None = None

    @property
    def on_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return self._out.isatty()

    @property
    def errors(self) -> TextIO:
        """stderr, for what draws on it by itself; it has to clean its text with ``redactor``."""
        return self._err

    def text(self, text: str) -> None:
        """Data as text on stdout, a line end behind it."""
        self._write(self._fit(self.redactor.exact(text)) + ("" if text.endswith("\n") else "\n"))
        self._flush()

    def table(self, rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
        """Rows as columns on stdout, within the width of a terminal."""
        self.text(table(rows, right=right, width=get_terminal_size().columns if self.on_terminal else None))

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """Data as strict JSON on stdout."""
        clean = _exactly(value, self.redactor)
        self._write(json.dumps(clean, ensure_ascii=False, allow_nan=False, indent=indent, default=str) + "\n")
        self._flush()

    def line(self, text: str) -> None:
        """One line of JSON or text on stdout that is clean already."""
        self._write(text if text.endswith("\n") else text + "\n")
        self._flush()

    def piece(self, text: str) -> None:
        """A piece of streamed text, shown at once but for what could be the beginning of a secret."""
        self._emit_piece(self._pieces.feed(text))

    def end_pieces(self) -> None:
        """The streamed text is complete."""
        self._emit_piece(self._pieces.close())
        if self._mid_line:
            self._write("\n")
            self._mid_line = False
        self._flush()

    def restart(self, reason: str) -> None:
        """What was streamed so far does not count; say so, for it cannot be taken back."""
        self._pieces = self.redactor.stream()
        if self._mid_line:
            self._write("\n")
            self._mid_line = False
        self._flush()
        self.note(f"the answer begins anew{f': {reason}' if reason else ''}; forget what stands above")

    def _emit_piece(self, text: str) -> None:
        if text:
            self._write(self._fit(text))
            self._mid_line = not text.endswith("\n")
            self._flush()

    def note(self, text: str) -> None:
        """Something to know, on stderr; not with ``--quiet``."""
        if not self.manner.quiet:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._mid_line and self.on_terminal:
            self._write("\n")
            self._mid_line = False
            self._flush()
        with to_stderr(self._err):
            print(self._escaped(self.redactor.clean(text)), file=self._err, flush=True)

    def _write(self, text: str) -> None:
        with to_stdout():
            self._out.write(text)

    def _flush(self) -> None:
        with to_stdout():
            self._out.flush()

    def _fit(self, text: str) -> str:
        return self._escaped(text) if self.on_terminal else text

    def _escaped(self, text: str) -> str:
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)

    def problems(self, problems: Sequence[Problem], *, as_data_on_stdout: bool = False) -> None:
        """Findings in the format asked for; with ``--json`` text goes to stderr beside the data."""
        from flowllm.cli.formats import as_data, github, sarif

        target = self.line if as_data_on_stdout else self._say
        if self.manner.format == "json":
            target(self.redactor.clean("\n".join(json.dumps(as_data(p), ensure_ascii=False) for p in problems)))
        elif self.manner.format == "github":
            target(self.redactor.clean(github(problems)))
        elif self.manner.format == "sarif":
            from flowllm import __version__

            target(json.dumps(self.redactor.value(sarif(problems, __version__)), ensure_ascii=False, indent=2))
        else:
            self._problems_as_text(problems)

    def _problems_as_text(self, problems: Iterable[Problem]) -> None:
        from flowllm.cli.excerpt import Excerpts, coloured, plain

        excerpts = Excerpts(coloured if wants_colour(terminal=self._err.isatty()) else plain)
        texts = [self.redactor.clean(_tame(excerpts.write(problem))) for problem in problems]
        if texts:
            with to_stderr(self._err):
                print("\n\n".join(texts), file=self._err, flush=True)

    def failure(self, error: FlowError) -> int:
        """Print a failure, and give the exit status."""
        if self._mid_line:
            self.end_pieces()
        problems = problems_of(error)
        if self.manner.as_json:
            from flowllm.cli.formats import as_data

            self.json({"errors": [as_data(problem) for problem in problems], "exit": error.exit} | _partial(error))
        self.problems(problems)
        if self.manner.format == "text":
            for line in _details(error):
                self._say(line)
            if len(problems) > 1:
                self._say(counted(problems))
        self.trace(error)
        return error.exit

    def fault(self, error: Exception) -> int:
        """Print what should not have happened."""
        return self.failure(internal(error))

    def trace(self, error: BaseException) -> None:
        """Where an error came from, with ``--debug``."""
        if self.manner.debug:
            self._say("".join(traceback.format_exception(error)).rstrip())

    def start_logs(self, level: str, *, as_json: bool) -> None:
        """Warnings as plain lines; more with ``--log-level``, ``--log-json`` and ``--debug``."""
        from flowllm.sinks import log

        if self.manner.debug or as_json or level != "warning":
            level = "debug" if self.manner.debug else level
            log.configure(level, self.redactor.clean, as_json=as_json, stream=self._err)
            self.event_log = log.EventLog()
        else:
            log.warnings_only(self.redactor.clean, self._err)


def internal(error: Exception) -> FlowError:
    """What should not have happened, as a failure that can be told."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "run again with --debug and report what it prints"
    failure = FlowError("internal", f"a fault of flowllm itself: {said}", hint=hint)
    failure.__cause__ = error
    return failure


def problems_of(error: FlowError) -> tuple[Problem, ...]:
    """What an error has to say, as problems."""
    if isinstance(error, PipelineInvalid):
        # With --strict a warning is among what stopped the work.
        return tuple(replace(found, severity="error") for found in error.problems)
    where = f"step {error.address}" if isinstance(error, Failure) and error.address else ""
    return (Problem(error.code, error.message, where, error.origin, error.hint),)


def counted(problems: Iterable[Problem]) -> str:
    """``7 errors, 1 warning``."""
    counts = Counter(problem.severity for problem in problems)
    said = [(word, counts[word]) for word in ("error", "warning", "note") if word in counts]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in said)


def _partial(error: FlowError) -> dict[str, Any]:
    """What had come of an answer that broke off, for ``--json``."""
    text = error.facts.partial_text if isinstance(error, ProviderFailure) else ""
    return {"partial_text": text} if text else {}


def _details(error: FlowError) -> list[str]:
    """Lines below a failure: the step, who answered, what was tried before."""
    lines = []
    if isinstance(error, Failure) and error.address and error.origin != Origin():
        lines.append(f"step: {error.address}")
    if isinstance(error, ProviderFailure):
        facts = error.facts
        known = {"model": facts.model, "status": facts.status, "request": facts.request_id}
        said = ", ".join(f"{name} {value}" for name, value in known.items() if value)
        lines += [f"provider: {facts.provider or '?'}" + (f" ({said})" if said else "")] if said else []
        lines += [f"tried before: {attempt}" for attempt in error.attempts]
    return lines


def _tame(text: str) -> str:
    """Text from files without control characters; the colours that were added stay."""
    return re.sub(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\[[\d;]*m)", "\N{REPLACEMENT CHARACTER}", text)


def _exactly(value: Any, redactor: Redactor) -> Any:
    """Plain data without known secrets; what JSON has no word for becomes null or text."""
    if isinstance(value, str):
        return redactor.exact(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124  NaN
    if isinstance(value, dict):
        return {_exactly(str(name), redactor): _exactly(item, redactor) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exactly(item, redactor) for item in value]
    return value
