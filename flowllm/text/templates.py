"""Templates: text with ``{{ }}`` and ``{% %}``, and single expressions.

Jinja's rules with these choices, which hold for templates that Jinja does not see too:

- null writes nothing, booleans ``true`` and ``false``, lists and mappings JSON (`text.writing`);
- nothing is escaped, and a value is never scanned for braces again;
- blocks leave the blanks and line ends around them (``trim_blocks`` and ``lstrip_blocks`` are off,
  ``{%-`` and ``-%}`` remove them); one line end at the end of the template is dropped;
- ``a if b`` without ``else`` is null where b is false;
- there are no globals and no calls; the filters and tests are those of `text.filters`.

A source is parsed once for all that is asked of it; text with plain paths never imports Jinja, and
code is generated when a template is first rendered.
"""

import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import Origin
from flowllm.core.record import record
from flowllm.core.slot import Path
from flowllm.text.limits import Limits
from flowllm.text.paths import follow, getter
from flowllm.text.plain import CONSTANTS, OPERATORS, Piece, plain_path, plain_pieces
from flowllm.text.writing import written

if TYPE_CHECKING:
    import jinja2
    from jinja2 import nodes

    from flowllm.text.syntax import Finding, Seen

_KEPT: Final = 4096
_TAGS: Final = frozenset({
    "for", "endfor", "elif", "endif", "block", "endblock", "extends", "print", "macro", "endmacro", "include", "from",
    "import", "set", "endset", "with", "endwith", "autoescape", "endautoescape", "call", "endcall", "filter",
    "endfilter", "raw", "endraw",
})  # fmt: skip
_OWN: Final = frozenset({"loop", "self", "super", "caller", "varargs", "kwargs"})
_GLOBALS: Final = frozenset({"range", "dict", "lipsum", "cycler", "joiner", "namespace"})
_RESERVED: Final = CONSTANTS | OPERATORS | _TAGS | _OWN | _GLOBALS
_GENERATING: Final = threading.Lock()
_Writer = str | tuple[Callable[[Mapping[str, Any]], Any], Origin]
_TOO_DEEP: Final = (SyntaxError, MemoryError, RecursionError)


def reserved_names() -> frozenset[str]:
    """Words that no id, input or ``as`` name may be: Jinja's tags, constants, own names and globals."""
    return _RESERVED


@record(frozen=False)
class Parsed:
    """One source as parsed. ``pieces`` where Jinja is not needed, else ``tree`` until code is made.

    Lines count from 1, columns from 0. ``seen`` are the paths read, ``names`` those set or looped over.
    """

    source: str
    expression: bool
    pieces: tuple[Piece, ...] | None = None
    seen: "tuple[Seen, ...]" = ()
    names: tuple[tuple[str, int, int], ...] = ()
    findings: "tuple[Finding, ...]" = ()
    tree: "nodes.Template | None" = None
    code: "jinja2.Template | None" = field(default=None)

    def generated(self) -> "jinja2.Template":
        """The code, made at the first call."""
        if self.code is None:
            with _GENERATING:
                self.code = self.code or _generate(self)
        return self.code


@functools.lru_cache(maxsize=_KEPT)
def parsed(source: str, *, expression: bool = False) -> Parsed:
    """What ``source`` says; problems are in ``findings``, nothing is raised."""
    pieces = _plain_expression(source) if expression else plain_pieces(source)
    if pieces is not None:
        return Parsed(source, expression, pieces)
    from flowllm.text.syntax import Finding, parse, walk

    tree = parse(source, expression=expression)
    if isinstance(tree, Finding):
        return Parsed(source, expression, findings=(tree,))
    found = walk(tree)
    return Parsed(source, expression, None, tuple(found.seen), tuple(found.names), tuple(found.findings), tree)


def _plain_expression(source: str) -> tuple[Piece, ...] | None:
    path = plain_path(source)
    return None if path is None else ((path, 1, len(source) - len(source.lstrip())),)


def compares(source: str) -> bool:
    """Whether an expression compares or negates, so that its value is true or false."""
    tree = parsed(source, expression=True).tree
    if tree is None:
        return False
    from jinja2 import nodes

    kept = next(tree.find_all(nodes.Filter))
    return isinstance(kept.node, nodes.Compare | nodes.Not | nodes.Test)


def _generate(what: Parsed) -> "jinja2.Template":
    from flowllm.text.metering import generate
    from flowllm.text.syntax import Finding, parse

    # Generating uses the tree up: after a failed attempt it is parsed again.
    tree, what.tree = what.tree or parse(what.source, expression=what.expression), None
    assert not isinstance(tree, Finding)
    try:
        return generate(tree)
    except _TOO_DEEP:
        raise NodeFailure("template_failed", "the template is nested too deeply") from None


def text_of(source: Parsed, limits: Limits) -> Callable[[Mapping[str, Any]], str]:
    """What writes the template: from names to text. Raises `NodeFailure`, its origin the place in the source."""
    if source.pieces is None:
        return lambda names: _rendered(source, names, limits)[0]
    return _plain_text(tuple(_writer(piece) for piece in source.pieces), limits)


def value_of(source: Parsed, limits: Limits) -> Callable[[Mapping[str, Any]], Any]:
    """What evaluates the expression: from names to its value. Raises `NodeFailure` as `text_of` does."""
    if source.pieces is None:
        return lambda names: _rendered(source, names, limits)[1]
    path = source.pieces[0][0]
    assert isinstance(path, Path)
    return getter(path)


def _rendered(source: Parsed, names: Mapping[str, Any], limits: Limits) -> tuple[str, Any]:
    from flowllm.text.sandbox import run

    try:
        return run(source.generated(), names, limits)
    except NodeFailure as failure:
        raise _explained(failure, source, names) from failure.__cause__


def _explained(failure: NodeFailure, source: Parsed, names: Mapping[str, Any]) -> NodeFailure:
    """The same failure in the words of the path that is not there, where its line has one."""
    for seen in source.seen if failure.code == "template_failed" else ():
        parts = (seen.root, *(step if isinstance(step, str) else f"[{step}]" for step in seen.steps))
        if seen.line == failure.origin.line and any(f"`{part}`" in failure.message for part in parts):
            try:
                follow(Path(seen.root, seen.steps), names)
            except NodeFailure as missing:
                return NodeFailure(failure.code, missing.message, origin=failure.origin)
    return failure


def _writer(piece: Piece) -> _Writer:
    return piece if isinstance(piece, str) else (getter(piece[0]), Origin(line=piece[1], column=piece[2] + 1))


def _plain_text(writers: tuple[_Writer, ...], limits: Limits) -> Callable[[Mapping[str, Any]], str]:
    if len(writers) <= 1 and all(isinstance(writer, str) for writer in writers):
        text = "".join(str(writer) for writer in writers)
        return lambda _: text

    def write(names: Mapping[str, Any]) -> str:
        texts = [writer if isinstance(writer, str) else _one(writer[0], writer[1], names) for writer in writers]
        text = "".join(texts)
        if len(text) > limits.output:
            raise NodeFailure("template_limit", f"the template writes more than {limits.output} characters")
        return text

    return write


def _one(get: Callable[[Mapping[str, Any]], Any], place: Origin, names: Mapping[str, Any]) -> str:
    try:
        return written(get(names))
    except NodeFailure as failure:
        failure.origin = place
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise NodeFailure("template_failed", str(error), origin=place) from None
