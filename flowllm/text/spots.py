"""Exact places in templates: Jinja knows lines alone, so its line numbers are made to hold columns too.

Every token, and with it every node of the tree and every error of the parser, has a *spot* for a line number:
``line * STRIDE + column``, which `flowllm.text.places.unspotted` reads. Importing this module imports jinja2.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from flowllm.text.places import STRIDE
from flowllm.text.plain import normal
from flowllm.text.sandbox import ENVIRONMENT


class SpotParser(Parser):
    """Jinja's parser over tokens with spots; a block that nobody closes is found where it begins."""

    def __init__(self, source: str, state: str | None = None) -> None:
        super().__init__(ENVIRONMENT, "")
        tokens = ENVIRONMENT.lexer.wrap(_tokens(source, state))
        self._opened: list[int] = []
        self.stream = TokenStream(tokens, None, None)

    def parse_statement(self) -> Any:
        """One statement; those that end well are forgotten."""
        self._opened.append(self.stream.current.lineno)
        found = super().parse_statement()
        self._opened.pop()
        return found

    def fail_eof(self, end_tokens: tuple[str, ...] | None = None, lineno: int | None = None) -> NoReturn:
        """Blame the innermost open block for the end of the source."""
        super().fail_eof(end_tokens, self._opened[-1] if self._opened else lineno)


def _tokens(source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
    """Jinja's tokens with spots. Blanks that a `{%-` removed are in no token and are stepped over."""
    text = normal(source)
    position, line, start = 0, 1, 0
    for _, kind, value in ENVIRONMENT.lexer.tokeniter(source, None, None, state):
        at = text.find(value, position)
        line, start = _passed(text, position, at, line, start)
        yield line * STRIDE + at - start, kind, value
        position = at + len(value)
        line, start = _passed(text, at, position, line, start)


def _passed(text: str, first: int, end: int, line: int, start: int) -> tuple[int, int]:
    """The line, and where it starts, after going from ``first`` to ``end``."""
    ends = text.count("\n", first, end)
    return (line + ends, text.rfind("\n", first, end) + 1) if ends else (line, start)
