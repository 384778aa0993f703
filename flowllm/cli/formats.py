"""Problems for machines: JSON, GitHub's workflow commands, SARIF 2.1.0."""

from collections.abc import Iterable, Sequence
from typing import Any

from flowllm.cli.excerpt import relative
from flowllm.core.errors import CODES, Problem

_LEVELS = {"error": "error", "warning": "warning", "note": "note"}
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_data(problem: Problem) -> dict[str, Any]:
    """One problem as plain data; what is not known is left out."""
    origin = problem.origin
    data = {
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "where": problem.where,
        "file": relative(origin.file) if origin.file else "",
        "line": origin.line,
        "column": origin.column,
        "place": origin.note,
        "hint": problem.hint,
        "source": problem.source,
    }
    return {key: value for key, value in data.items() if value}


def github(problems: Iterable[Problem]) -> str:
    """Workflow commands that become annotations of a pull request, one a line."""
    return "\n".join(map(_github_line, problems))


def _github_line(problem: Problem) -> str:
    level = "notice" if problem.severity == "note" else problem.severity
    origin = problem.origin
    parts = {"title": problem.code}
    if origin.file:
        parts |= {"file": relative(origin.file)}
    if origin.line:
        parts |= {"line": str(origin.line), "col": str(origin.column)}
    words = ",".join(f"{key}={_escaped(value, more=':,')}" for key, value in parts.items())
    message = problem.message if not origin.note else f"{problem.message} ({origin.note})"
    return f"::{level} {words}::{_escaped(message + (f'; {problem.hint}' if problem.hint else ''))}"


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def sarif(problems: Sequence[Problem], version: str) -> dict[str, Any]:
    """A SARIF log with one run."""
    rules = [
        {"id": code, "shortDescription": {"text": CODES[code].meaning if code in CODES else code}}
        for code in sorted({problem.code for problem in problems})
    ]
    driver = {"name": "flowllm", "version": version, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(problem) for problem in problems]}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(problem: Problem) -> dict[str, Any]:
    text = problem.message + (f" Hint: {problem.hint}" if problem.hint else "")
    result: dict[str, Any] = {
        "ruleId": problem.code,
        "level": _LEVELS[problem.severity],
        "message": {"text": text},
    }
    location = _location(problem)
    return result | ({"locations": [location]} if location else {})


def _location(problem: Problem) -> dict[str, Any]:
    origin = problem.origin
    location: dict[str, Any] = {}
    if origin.file and not origin.note:
        physical: dict[str, Any] = {"artifactLocation": {"uri": relative(origin.file).replace("\\", "/")}}
        if origin.line:
            physical["region"] = {"startLine": origin.line, "startColumn": max(1, origin.column)}
        location["physicalLocation"] = physical
    name = origin.note or problem.where
    return location | ({"logicalLocations": [{"fullyQualifiedName": name}]} if name else {})
