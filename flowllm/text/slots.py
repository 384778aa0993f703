"""Slots, templates and prompts: parse them, say what they read and what is wrong, compile them.

A slot holds a path, exactly one ``{{ expression }}``, ``{const: ...}``, a number, a boolean, null,
or a list or mapping of slots. Everything here is pure; what fails while it is evaluated fails with
a `NodeFailure` (``template_failed``, ``template_limit``) at the line where it was written.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowllm.core.errors import Problem
from flowllm.core.origin import Origin
from flowllm.core.record import record
from flowllm.core.slot import (
    UNREADABLE,
    Evaluable,
    Expression,
    ImageOf,
    Late,
    ListOf,
    Literal,
    MapOf,
    Path,
    PromptTemplate,
    Slot,
    Template,
)
from flowllm.text.compiling import compile_evaluable
from flowllm.text.paths import parse_path
from flowllm.text.places import column_of, place_in, place_of
from flowllm.text.templates import Parsed, parsed
from flowllm.text.wording import as_yaml, one_expression, only_expression, shortened

if TYPE_CHECKING:
    from flowllm.text.syntax import Finding

__all__ = [
    "Reference", "compile_evaluable", "constant", "is_constant", "own_names", "parse_slot", "problems", "references",
]  # fmt: skip

Place = Callable[[str], Origin]
Report = Callable[[Problem], None]

_OPERATOR = re.compile(r"[<>|]|[=!]=| (?:not|in|is) ")


@record
class Reference:
    """A path that is read, as deep as it is known before running, and where it is written."""

    path: Path
    origin: Origin


def parse_slot(raw: Any, place: Place, where: str, report: Report) -> Slot:
    """The slot that ``raw`` (a plain YAML value) is.

    ``place`` gives the origin of a part by its dotted way below ``raw``: ``""``, ``value.items.0``.
    Problems go to ``report`` with ``where`` as their place; a part with one becomes a null literal.
    """
    return _Parser(place, where, report).slot(raw, "")


@record
class _Parser:
    place: Place
    where: str
    report: Report

    def slot(self, raw: Any, at: str) -> Slot:
        if isinstance(raw, str):
            return self._text(raw, at)
        if isinstance(raw, Mapping):
            return self._mapping(raw, at)
        if isinstance(raw, (list, tuple)):
            items = tuple(self.slot(item, _below(at, str(index))) for index, item in enumerate(raw))
            return ListOf(items, self.place(at))
        return Literal(raw, self.place(at))

    def _mapping(self, raw: Mapping[Any, Any], at: str) -> Slot:
        origin = self.place(at)
        if set(raw) == {"const"}:
            return Literal(raw["const"], origin)
        if "const" in raw:
            hint = "write {const: ...} without other keys"
            return self._wrong("bad_key", "`const` stands alone in its mapping", at, hint)
        items = {key: self.slot(value, _below(at, key)) for key, value in raw.items() if isinstance(key, str)}
        for key in raw:
            if not isinstance(key, str):
                shown = as_yaml(key)
                self._wrong("bad_key", f"key {shown} is not a string; quote it", at, f'"{shown}": ...')
        return MapOf(items, origin)

    def _text(self, raw: str, at: str) -> Slot:
        if "{{" in raw or "{%" in raw:
            return self._expression(raw, at)
        path = parse_path(raw, self.place(at))
        if path is not None:
            return path
        if _computes(raw):
            hint = json.dumps(f"{{{{ {raw.strip()} }}}}", ensure_ascii=False)
            message = f"`{shortened(raw)}` is not a path; an expression is written {shortened(hint)}"
            return self._wrong("not_a_path", message, at, hint)
        message = f"`{shortened(raw)}` is not a path; a literal is written {{const: {as_yaml(raw)}}}"
        return self._wrong("not_a_path", message, at, f"{{const: {as_yaml(raw)}}}")

    def _expression(self, raw: str, at: str) -> Slot:
        found = only_expression(raw)
        if found is None:
            message = f"`{shortened(raw)}` has text around its expression; a slot holds one value"
            return self._wrong("text_around_expression", message, at, one_expression(raw))
        source, offset = found
        expression = Expression(source, place_in(self.place(at), raw, offset))
        for problem in problems(expression, _below(self.where, at)):
            self.report(problem)
            return Literal(UNREADABLE, self.place(at))
        return expression

    def _wrong(self, code: str, message: str, at: str, hint: str) -> Literal:
        origin = self.place(at)
        self.report(Problem(code, message, _below(self.where, at), origin, hint))
        return Literal(UNREADABLE, origin)


def _computes(raw: str) -> bool:
    """Whether a text is an expression without its braces: it compares or filters what it reads."""
    if not _OPERATOR.search(raw):
        return False
    source = parsed(raw.strip(), expression=True)
    return bool(source.seen) and not source.findings


def _below(at: str, step: str) -> str:
    return f"{at}.{step}" if at and step else at or step


def is_constant(slot: Slot) -> bool:
    """Whether a slot is made of literals alone."""
    if isinstance(slot, ListOf):
        return all(map(is_constant, slot.items))
    if isinstance(slot, MapOf):
        return all(map(is_constant, slot.items.values()))
    return isinstance(slot, Literal)


def constant(slot: Slot) -> Any:
    """The value of a slot for which `is_constant` holds. Raises TypeError for another."""
    if isinstance(slot, Literal):
        return slot.value
    if isinstance(slot, ListOf):
        return [constant(item) for item in slot.items]
    if isinstance(slot, MapOf):
        return {key: constant(item) for key, item in slot.items.items()}
    raise TypeError("only literals are constant")


def references(evaluable: Evaluable) -> tuple[Reference, ...]:
    """Every path that is read, in the order written, once for each line; names of its own are left out."""
    found: dict[tuple[Path, int], Reference] = {}
    for reference in _read(evaluable):
        found.setdefault((reference.path, reference.origin.line), reference)
    hidden = set(evaluable.names) if isinstance(evaluable, Late) else ()
    return tuple(reference for reference in found.values() if reference.path.root not in hidden)


def _read(evaluable: Evaluable) -> Iterator[Reference]:
    for leaf, _ in _leaves(evaluable, ""):
        if isinstance(leaf, Path):
            yield Reference(leaf, leaf.origin)
        else:
            yield from _read_source(leaf, _parsed(leaf))


def _read_source(leaf: Expression | Template, source: Parsed) -> Iterator[Reference]:
    for piece in source.pieces or ():
        if not isinstance(piece, str):
            path, line, column = piece
            yield _reference(path.root, path.steps, place_of(leaf.origin, line, column))
    for seen in source.seen:
        yield _reference(seen.root, seen.steps, place_of(leaf.origin, seen.line, seen.column))


def _reference(root: str, steps: tuple[str | int | None, ...], origin: Origin) -> Reference:
    return Reference(Path(root, steps, origin), origin)


def own_names(evaluable: Evaluable) -> tuple[tuple[str, Origin], ...]:
    """The variables that templates set or loop over, with the place of each."""
    return tuple(
        (name, place_of(leaf.origin, line, column))
        for leaf, _ in _leaves(evaluable, "")
        if not isinstance(leaf, Path)
        for source in (_parsed(leaf),)
        for name, line, column in source.names
    )


def problems(evaluable: Evaluable, where: str) -> tuple[Problem, ...]:
    """What is wrong with templates and expressions before they run, each at its line."""
    return tuple(
        Problem(finding.code, finding.message, place, _near(leaf, source, finding), finding.hint)
        for leaf, place in _leaves(evaluable, where)
        if not isinstance(leaf, Path)
        for source in (_parsed(leaf),)
        for finding in source.findings
    )


def _leaves(evaluable: Evaluable, where: str) -> Iterator[tuple[Path | Expression | Template, str]]:
    """The parts that read something, each with its place in the pipeline's own words."""
    match evaluable:
        case Path() | Expression() | Template():
            yield evaluable, where
        case ListOf(items=items):
            for index, item in enumerate(items):
                yield from _leaves(item, _below(where, str(index)))
        case MapOf(items=items) | Late(slots=items):
            for key, item in items.items():
                yield from _leaves(item, _below(where, key))
        case PromptTemplate(messages=messages):
            for message in messages:
                for part in message.parts:
                    yield from _leaves(part.slot if isinstance(part, ImageOf) else part, where)
        case Literal():
            pass


def _parsed(leaf: Expression | Template) -> Parsed:
    return parsed(leaf.source, expression=isinstance(leaf, Expression))


def _near(leaf: Expression | Template, source: Parsed, finding: "Finding") -> Origin:
    column = column_of(leaf.source, finding.line, (finding.near,), expression=source.expression, near=finding.column)
    return place_of(leaf.origin, finding.line, column)
