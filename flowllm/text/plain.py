r"""Templates that are text and plain paths alone, read without Jinja and with Jinja's result.

Jinja's own rules that hold here too: one newline at the end of the source is dropped, line ends
become ``\n``, a backslash or quote means nothing outside an expression.
"""

import re
from typing import Final

from flowllm.core.slot import EVERY, Path
from flowllm.text.paths import NAME, parse_path

_ANY: Final = re.compile(r"\{[{%#]")
_OUTPUT: Final = re.compile(rf"\{{\{{\s*({NAME}(?:\.{NAME}|\[[0-9]{{1,9}}\])*)\s*\}}\}}")
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
CONSTANTS: Final = frozenset({"true", "false", "none", "True", "False", "None"})
OPERATORS: Final = frozenset({"and", "or", "not", "in", "is", "if", "else"})
_NO_ROOTS: Final = CONSTANTS | OPERATORS | {"self", "loop"}

Piece = str | tuple[Path, int, int]
"""Literal text, or a path with its line (from 1) and column (from 0) in the source."""


def source_lines(source: str) -> list[str]:
    """The lines of a template as Jinja counts them."""
    return _LINE_END.split(source)


def normal(source: str) -> str:
    """The source as Jinja reads it."""
    text = _LINE_END.sub("\n", source) if "\r" in source else source
    return text.removesuffix("\n")


def plain_path(expression: str) -> Path | None:
    """The path that an expression is, unless only Jinja can tell what it means."""
    path = parse_path(expression.strip())
    if path is None or EVERY in path.steps or path.root in _NO_ROOTS:
        return None
    return path


def plain_pieces(source: str) -> tuple[Piece, ...] | None:
    """What a plain template consists of, or None where Jinja must read it."""
    text = normal(source)
    pieces: list[Piece] = []
    position = 0
    while (mark := _ANY.search(text, position)) is not None:
        output = _OUTPUT.match(text, mark.start())
        path = plain_path(output[1]) if output else None
        if output is None or path is None:
            return None
        pieces += [text[position : mark.start()], _placed(path, text, output.start(1))]
        position = output.end()
    pieces.append(text[position:])
    return tuple(piece for piece in pieces if piece)


def _placed(path: Path, text: str, at: int) -> Piece:
    return path, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at) - 1
