"""One problem as text: what is wrong, the place with the line that holds it, and a hint.

error[unknown_reference]: `spilt.parts` is not known here
  --> pipelines/bad.yaml:27:11
   27 |     over: spilt.parts
      |           ^^^^^^^^^^^
hint: did you mean `split.parts`?
"""

import re
from collections.abc import Callable
from pathlib import Path

from flowllm.core.errors import Problem
from flowllm.core.origin import Origin

Paint = Callable[[str, str], str]
"""``paint(style, text)``: the text in a colour, or as it is."""

WIDEST = 160
LARGEST = 2 * 1024 * 1024
_LINE_END = r"\r\n|\r|\n"
_QUOTED = r"`([^`]+)`"
_PATH = r"(?:\w|\.\w|\[\d*\])*"
_WORD = r"[^\s,\[\]{}#]+"
_QUERY = r"(://[^\s?#\"']{1,500}\?)([^\s\"'#,\]}]+)"
"""What stands behind the mark in a URL, where keys are written by mistake: it is not shown."""
_COLOURS = {"error": "31;1", "warning": "33;1", "note": "36;1", "hint": "32", "place": "34"}


def coloured(style: str, text: str) -> str:
    """For terminals."""
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m"


def plain(style: str, text: str) -> str:
    """For everything else."""
    return text


class Excerpts:
    """Writes problems; each file is read once."""

    def __init__(self, paint: Paint = plain) -> None:
        self._paint = paint
        self._files: dict[str, list[str]] = {}

    def write(self, problem: Problem) -> str:
        """The problem as lines of text."""
        head = self._paint(problem.severity, f"{problem.severity}[{problem.code}]")
        lines = [f"{head}: {problem.message}", *self._place(problem)]
        if problem.hint:
            lines.append(f"{self._paint('hint', 'hint')}: {problem.hint}")
        return "\n".join(lines)

    def _place(self, problem: Problem) -> list[str]:
        place = shown(problem.origin) or problem.where
        if not place:
            return []
        source = f" (in {problem.source})" if problem.source and problem.source not in place else ""
        return [f"  {self._paint('place', '-->')} {place}{source}", *self._excerpt(problem)]

    def _excerpt(self, problem: Problem) -> list[str]:
        line = self._line(problem.origin)
        if line is None:
            return []
        line = re.sub(_QUERY, lambda found: found[1] + "*" * len(found[2]), line)
        column = min(problem.origin.column or 1, len(line) + 1)
        start = max(0, column - 1 - WIDEST // 2)
        visible = line[start : start + WIDEST].replace("\t", " ").rstrip()
        width = min(marked_length(line, column, problem.message), max(1, WIDEST - (column - 1 - start)))
        number = f"{problem.origin.line:>5}"
        marks = " " * (column - 1 - start) + "^" * width
        return [f"{number} | {visible}", f"{' ' * len(number)} | {self._paint(problem.severity, marks)}"]

    def _line(self, origin: Origin) -> str | None:
        if not origin.file or not origin.line or origin.note:
            return None
        lines = self._files.get(origin.file)
        if lines is None:
            lines = self._files[origin.file] = _lines(origin.file)
        return lines[origin.line - 1] if origin.line <= len(lines) else None


def marked_length(line: str, column: int, message: str) -> int:
    """How much to underline from ``column``: what the message quotes, with the path it begins, else a word."""
    rest = line[column - 1 :]
    quoted = max((word for word in re.findall(_QUOTED, message) if rest.startswith(word)), key=len, default="")
    if quoted:
        going_on = re.compile(_PATH).match(rest, len(quoted)) if quoted.isidentifier() else None
        return going_on.end() if going_on else len(quoted)
    word = re.match(_WORD, rest)
    return len(word[0].rstrip(":")) or 1 if word else 1


def shown(origin: Origin) -> str:
    """A place as users see it: files under the working folder are relative to it."""
    return str(Origin(relative(origin.file), origin.line, origin.column, origin.note))


def relative(file: str) -> str:
    """The shorter way to a file that stands under the working folder."""
    path = Path(file)
    if not path.is_absolute():
        return file
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _lines(file: str) -> list[str]:
    """The lines of a file that was read before; an excerpt is left out where that does not work again."""
    path = Path(file)
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return []
        return re.split(_LINE_END, path.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff"))
    except OSError:
        return []
