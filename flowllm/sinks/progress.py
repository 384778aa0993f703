"""What a person sees while a run goes on: a live tree of its nodes on a terminal, plain lines elsewhere.

Both are readers of events and know nothing else; a node appears when it starts, below the region
that it belongs to. Items of a map and attempts of a retry are counted, not listed, so the picture
stays small. Nothing here waits for the terminal: the tree is drawn by a thread of its own.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from flowllm.core.event import (
    AttemptEnded,
    CacheHit,
    CallFailed,
    CallFinished,
    CallRetried,
    CaseChosen,
    Event,
    ModelChosen,
    StepCancelled,
    StepFailed,
    StepFinished,
    StepRescued,
    StepStarted,
    StreamHeld,
    Warned,
)  # fmt: skip
from flowllm.core.record import record

if TYPE_CHECKING:
    from rich.tree import Tree

Clean = Callable[[str], str]
_COUNTERS = re.compile(r"\[\d+\]|#\d+")
_ATTEMPTS = re.compile(r"#\d+")
_REFRESH = 8
OFTEN = 10
"""How often plain lines say the same of one node before they only count it."""
OWN = "builtin/"
"""Models that are functions of this process."""
_MARKS = {"running": "…", "done": "✓", "failed": "✗", "stopped": "-"}
_STYLES = {"running": "cyan", "done": "green", "failed": "red", "stopped": "dim"}


def lines_for(event: Event) -> Iterator[str]:
    """What the plain form says of an event: nothing of most."""
    said = _SAY.get(type(event))
    if said is not None:
        where = f"{event.address}: " if event.address else ""
        yield where + said(event)


def _call(event: CallFinished) -> str:
    usage = event.usage
    tokens = f", {usage.input or 0} + {usage.output or 0} tokens" if usage else ""
    return f"{event.model} answered in {event.seconds:.1f} s{tokens}"


def _first(text: str, width: int = 100) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= width else f"{line[: width - 1]}…"


_SAY: Mapping[type[Event], Callable[[Any], str]] = {
    CallFinished: _call,
    CallRetried: lambda e: f"attempt {e.attempt} failed ({e.code}), the next one in {e.wait:.1f} s",
    CacheHit: lambda _: "from the cache",
    ModelChosen: lambda e: f"now {e.model} ({e.reason})",
    AttemptEnded: lambda e: (
        f"attempt {e.attempt} " + (f"was not good: {_first(e.problem)}" if e.problem else "was good")
    ),
    StepFailed: lambda e: f"failed: {e.code}",
    StepRescued: lambda e: f"failed ({e.code}), when_failed takes over",
    StreamHeld: lambda e: f"the output `{e.output}` is shown when it is complete: {e.reason}",
    Warned: lambda e: f"warning: {e.message}",
}


def _counted(times: int) -> str:
    if times < OFTEN:
        return ""
    return f" ({times:,} times{', shown less often from here' if times == OFTEN else ''})"


class PlainProgress:
    """A reader that writes one line for each thing worth knowing. ``write`` gets it without newline.

    What happens at one node again and again is said `OFTEN` times, then at every power of ten. Answers of
    models that are functions of this process are not said.
    """

    reads: ClassVar[frozenset[type[Event]]] = frozenset(_SAY)

    def __init__(self, write: Callable[[str], object], clean: Clean = str) -> None:
        self._write, self._clean = write, clean
        self._times: dict[tuple[type[Event], str], int] = {}

    def __call__(self, event: Event) -> None:
        """Say what happened."""
        if type(event) not in _SAY or (type(event) is CallFinished and event.model.startswith(OWN)):
            return
        key = (type(event), _COUNTERS.sub("", event.address))
        times = self._times[key] = self._times.get(key, 0) + 1
        if times > OFTEN and str(times).strip("0") != "1":
            return
        for line in lines_for(event):
            self._write(self._clean(line) + _counted(times))

    def close(self) -> None:
        """Nothing is open."""


@record(frozen=False)
class _Row:
    """One node of the tree: how many of its steps began and ended, and the last thing worth knowing."""

    name: str
    kind: str = ""
    began: int = 0
    ended: int = 0
    failed: int = 0
    stopped: int = 0
    hits: int = 0
    first: float = 0.0
    last: float = 0.0
    note: str = ""
    rows: dict[str, "_Row"] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Addresses, without attempts, whose last attempt failed."""

    @property
    def state(self) -> str:
        if self.ended + self.failed + self.stopped < self.began:
            return "running"
        return "failed" if self.lost else "stopped" if self.stopped else "done"


class LiveProgress:
    """A reader that keeps a tree on the terminal up to date until `close`, which leaves nothing behind."""

    def __init__(self, stream: TextIO, clean: Clean = str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._clean, self._root, self._offset = clean, _Row(""), None
        self._console = Console(file=stream, stderr=False)
        self._live = Live(
            console=self._console, get_renderable=self._picture, refresh_per_second=_REFRESH, transient=True
        )
        self._live.start()

    _offset: float | None
    _closed = False

    @property
    def reads(self) -> frozenset[type[Event]]:
        """What changes the tree."""
        return frozenset(_TAKE)

    def __call__(self, event: Event) -> None:
        """Take an event in; drawing is the thread's."""
        if self._offset is None:
            self._offset = time.monotonic() - event.at
        take = _TAKE.get(type(event))
        if take is not None and event.address:
            take(self._row(event.address), event)

    def write(self, line: str) -> None:
        """A line above the tree, for what must stay."""
        self._console.print(self._clean(line), markup=False, highlight=False)

    def close(self) -> None:
        """Take the tree away; of one that is taller than the terminal, a last picture would stay."""
        self._closed = True
        self._live.stop()

    def _row(self, address: str) -> _Row:
        row = self._root
        for name in _COUNTERS.sub("", address).split("/"):
            row = row.rows.setdefault(name, _Row(name))
        return row

    def _picture(self) -> "Tree":
        from rich.tree import Tree

        now = time.monotonic() - (self._offset or 0.0)
        tree = Tree("", hide_root=True)
        if not self._closed:
            self._add(tree, self._root, now)
        return tree

    def _add(self, tree: "Tree", row: _Row, now: float) -> None:
        from rich.text import Text

        for inner in tuple(row.rows.values()):
            label = Text(self._clean(label_of(inner, now)), style=_STYLES[inner.state])
            self._add(tree.add(label), inner, now)


def label_of(row: _Row, now: float) -> str:
    """A node in one line: mark, name, counts, seconds, note."""
    parts = [_MARKS[row.state], row.name]
    parts += [f"{row.ended + row.failed}/{row.began}"] if row.began > 1 else []
    parts += [f"{row.failed} failed"] if row.failed and row.began > 1 else []
    parts += [f"{row.hits} from the cache"] if row.hits else []
    seconds = (now if row.state == "running" else row.last) - row.first
    parts += [f"{seconds:.1f} s"] if seconds >= 0.1 else []  # noqa: PLR2004  a tenth is the unit shown
    return "  ".join([*parts, *([row.note] if row.note and row.state != "done" else [])])


def _begin(row: _Row, event: StepStarted) -> None:
    row.first = row.first if row.began else event.at
    row.began += 1
    row.kind = event.kind


def _end(row: _Row, event: StepFinished) -> None:
    row.ended += 1
    row.last = event.at
    row.note = ""
    row.lost.discard(_ATTEMPTS.sub("", event.address))


def _fail(row: _Row, event: StepFailed) -> None:
    row.failed += 1
    row.lost.add(_ATTEMPTS.sub("", event.address))
    row.last, row.note = event.at, event.code


def _stop(row: _Row, event: StepCancelled) -> None:
    row.stopped += 1
    row.last = event.at


def _hit(row: _Row, _: CacheHit) -> None:
    row.hits += 1


def _note(row: _Row, event: Event) -> None:
    row.note = _NOTES[type(event)](event)


_NOTES: Mapping[type[Event], Callable[[Any], str]] = {
    CallRetried: lambda e: f"attempt {e.attempt}: {e.code}, again in {e.wait:.1f} s",
    CallFailed: lambda e: e.code,
    ModelChosen: lambda e: f"now {e.model}",
    CaseChosen: lambda e: f"case {_first(e.case, 40)}",
    AttemptEnded: lambda e: f"attempt {e.attempt}: {_first(e.problem, 60)}" if e.problem else "",
}
_TAKE: Mapping[type[Event], Callable[[_Row, Any], None]] = {
    StepStarted: _begin, StepFinished: _end, StepFailed: _fail, StepCancelled: _stop, CacheHit: _hit,
    **dict.fromkeys(_NOTES, _note),
}  # fmt: skip


def is_live(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a tree can be drawn: a terminal that moves its cursor, no ``CI``, no ``NO_COLOR``."""
    quiet = environment.get("CI") or environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return not quiet and stream.isatty()


def progress_for(stream: TextIO, clean: Clean = str) -> LiveProgress | PlainProgress:
    """The reader that suits where stderr goes."""
    if is_live(stream):
        return LiveProgress(stream, clean)
    return PlainProgress(lambda line: stream.write(line + "\n"), clean)
