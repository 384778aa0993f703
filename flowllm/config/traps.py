"""What people write that YAML reads otherwise: the corrected line as a hint, the parser's words made plain."""

import re

_QUOTED = r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|(?<=\s)#.*'
_TRAPS = r"\{\{.*?\}\}|\$\{[^{}]*\}|[A-Za-z_][\w.]*(?:\[\d*\][\w.]*)+"
_VALUE = r"\s*(?:- +)*(?:[^\s:{\[][^:{\[]*:\s+)?"
UNENDED = "a quoted text has no end"
_CAUSES = (
    ("mapping values are not allowed", "a text with `: ` in it needs quotes"),
    ("cannot start any token", "a text cannot begin with this character without quotes"),
    ("unexpected end of stream", UNENDED),
    ("unexpected document indicator", UNENDED),
    ("expected ',' or '}'", "a `{` has no `}` where it should end"),
    ("expected ',' or ']'", "a `[` has no `]` where it should end"),
    ("found undefined alias", "an alias names no anchor"),
    ("block sequence entries are not allowed", "a list item cannot begin here"),
    ("expected key", "this line fits neither the mapping above nor its indentation"),
    ("expected '-' indicator", "this line fits neither the list above nor its indentation"),
    ("control characters are not allowed", "the file holds a control character"),
    ("duplicate anchor", "an anchor is given twice"),
)


def cause(words: str, line: str) -> str:
    """The parser's finding in plain words."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab cannot indent YAML"
    return next((plain for known, plain in _CAUSES if known in words), f"this is not valid YAML ({words})")


def corrected(line: str) -> str:
    """The line with quotes where YAML needs them; empty when it has none of the known traps."""
    fixed = line
    for _ in range(20):
        masked = re.sub(_QUOTED, lambda match: "\0" * len(match[0]), fixed)
        trap = re.search(_TRAPS, masked)
        if trap is None:
            break
        fixed = _quote(fixed, masked, trap)
    return fixed.strip() if fixed != line else ""


def closed(line: str) -> str:
    """The line with the brackets that it leaves open closed; empty where none is, or where the line goes on."""
    notes = [match.start() for match in re.finditer(_QUOTED, line) if match[0][0] == "#"]
    line = line[: min(notes, default=len(line))].rstrip()
    masked = re.sub(_QUOTED, lambda match: "\0" * len(match[0]), line)
    made, waiting = "", ""
    for mark, written in zip(masked, line, strict=True):
        while mark in "]}" and waiting and waiting[-1] != mark:
            made, waiting = made + waiting[-1], waiting[:-1]
        if mark in "]}" and not waiting:
            return ""
        if mark in "[{":
            waiting += "]" if mark == "[" else "}"
        elif mark in "]}":
            waiting = waiting[:-1]
        made += written
    made += waiting[::-1]
    return "" if made == line or line.endswith((",", "[", "{", ":")) else made.strip()


def colon_in_text(line: str, column: int) -> str:
    """The line with quotes around a value in brackets that goes on after the ``: `` at ``column``; else empty."""
    masked = re.sub(_QUOTED, lambda match: "\0" * len(match[0]), line)
    if masked[column : column + 1] != ":" or _depth(masked[:column]) == 0:
        return ""
    start = max(masked.rfind(mark, 0, column) + len(mark) for mark in (": ", "{", "[", ", "))
    rest = re.search(r"[,\]}]", masked[column:])
    end = column + rest.start() if rest else len(line.rstrip())
    return f"{line[:start]}{quoted(line[start:end].strip())}{line[end:]}".strip()


def advice(message: str, line: str) -> str:
    """What to do about a cause, where no corrected line is known."""
    if "tab" in message:
        return "indent with blanks: " + line.expandtabs(2).strip()
    if "needs quotes" in message or "without quotes" in message:
        return _quote_value(line) or "put the text into quotes"
    if "has no" in message:
        return "end it where it should end; texts with brackets, commas or colons need quotes"
    return "compare the indentation with the line above"


def _quote_value(line: str) -> str:
    """The line with its whole value in quotes."""
    start = re.match(_VALUE, line)
    cut = start.end() if start else 0
    value = line[cut:].rstrip()
    return f"{line[:cut]}{quoted(value)}".strip() if value else ""


def quoted(text: str) -> str:
    """The text as a YAML scalar in quotes."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def _quote(line: str, masked: str, trap: re.Match[str]) -> str:
    before = masked[: trap.start()]
    if _depth(before) == 0:
        left = re.match(_VALUE, masked)
        start = min(left.end(), trap.start()) if left else trap.start()
        end = max(trap.end(), len(masked.split("\0", maxsplit=1)[0].rstrip()))
    else:
        start = max(before.rfind(","), before.rfind("["), before.rfind("{"), before.rfind(": ")) + 1
        rest = re.search(r"[,\]}]", masked[trap.end() :])
        end = trap.end() + rest.start() if rest else len(masked)
    text = line[start:end]
    moved = len(text) - len(text.lstrip())
    return line[: start + moved] + quoted(text.strip()) + line[start + len(text.rstrip()) :]


def _depth(text: str) -> int:
    return sum(text.count(mark) for mark in "[{") - sum(text.count(mark) for mark in "]}")
