# ruff: noqa: RUF001  typographic marks of several scripts are meant
"""Sentences of a text, verbatim, with what stands between them.

`split_sentences` cuts; ``parts[i] + gaps[i]`` joined over all i give the text back exactly. Parts
neither begin nor end with blanks. Blanks, and the marks of list items, headings and quotations
(``- ``, ``2. ``, ``## ``, ``> ``) and rules (``---``), are gaps. A text that begins with a gap has an
empty first part; an empty text has no parts at all.

A sentence ends at a stop with a blank behind it, unless an abbreviation, an initial or an ordinal
stands before it or a small letter follows; at every CJK stop; at a blank line; before a list item;
and at a line break where the next word would still have fitted into the line. Quotation marks that
close belong to the sentence before them. Fenced code is one part, and so is each row of a table; with
``prose`` both are gaps, and headings too. The cost is linear.
"""

import re
from collections.abc import Iterator
from typing import Literal

from flowllm.text.abbreviations import (
    BEFORE_NUMBER,
    BEFORE_ORDINAL,
    MAY_BE_LAST,
    MONTHS,
    NEVER_LAST,
    OPENS_A_SENTENCE,
)
from flowllm.text.markdown import fenced, is_row, is_underline

Span = tuple[int, int]
Unit = tuple[int, int, Literal["prose", "heading", "row", "code"]]

_LINE = re.compile(r"[^\n]*\n?")
_MARK = re.compile(r"[ \t]*(?:(?:[-*+•‣◦▪·–—]|#{1,6}|>{1,6}|(?:\d{1,3}|[A-Za-z])\)|\(\d{1,3}\)|(\d{1,3})\.)[ \t]+)+")
_RULE = re.compile(r"[-=*_#>~+|•:\s]*")
_STOP = re.compile(
    r"([.!?…؟۔।॥።]+|[。！？｡]+)"
    r"((?:[ \u00a0\u202f]?[»›”](?![^\W_])|[\"'”’“‘»«›‹)\]}」』）】*_]){0,4}(?:\[\d{1,3}\]){0,4})(\s*)"
)
_WORD = re.compile(r"\S{1,40}")
_BEFORE = re.compile(r"[^\W_]+(?:\.[^\W_]+)*\Z")
_SPACED = re.compile(r"(?<!\w)(?:[^\W\d_]{1,3}\.[ \u00a0\u202f]?){1,3}[^\W\d_]{1,3}\Z")
_OPENING = "\"'“‘„«»‹›‚([{¿¡*_-–—…"
_GOES_ON = ("と", "って")
_CJK = frozenset("。！？｡")
_ENDS_LINE = (".", "!", "?", ":", ";", ",", "…", "。", "！", "？", '"', "”", "’", ")")


def split_sentences(text: str, *, prose: bool = False) -> tuple[list[str], list[str]]:
    """The sentences and, for each, the text that follows it up to the next one; both of one length."""
    starts, ends = [], []
    for start, end in _sentences(text, prose=prose):
        starts.append(start)
        ends.append(end)
    if text and (not starts or starts[0] > 0):
        starts.insert(0, 0)
        ends.insert(0, 0)
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    gaps = [text[end:start] for end, start in zip(ends, [*starts[1:], len(text)], strict=False)]
    return parts, gaps


def _sentences(text: str, *, prose: bool) -> Iterator[Span]:
    for block, is_code in _blocks(text):
        for start, end, kind in [(*block[0], "code")] if is_code else _units(text, block):
            if kind == "prose" or (kind == "heading" and not prose):
                yield from _cut(text, start, end)
            elif not prose:
                yield _first(text, start, end), end


def _units(text: str, block: list[Span]) -> Iterator[Unit]:
    """Stretches of a paragraph that only stops divide: list items, headings, rows, lines broken on purpose."""
    width = max(end - start for start, end in block)
    unit: Span | None = None
    for start, end in block:
        line = text[start:end]
        if _RULE.fullmatch(line) or is_row(line):
            yield from _given(unit, heading=unit is not None and is_underline(line) and _is_title(text, unit))
            unit = None
            if not _RULE.fullmatch(line):
                yield start, end, "row"
            continue
        mark = _mark(line, text, unit)
        if unit and not mark and _flows(text, unit, (start, end), width):
            unit = (unit[0], end)
            continue
        yield from _given(unit)
        unit = (start + mark, end)
        if line[:mark].lstrip().startswith("#"):
            yield from _given(unit, heading=True)
            unit = None
    yield from _given(unit)


def _given(unit: Span | None, *, heading: bool = False) -> Iterator[Unit]:
    if unit:
        yield (*unit, "heading" if heading else "prose")


def _is_title(text: str, unit: Span) -> bool:
    """Whether what stands above a line of ``===`` or ``---`` is one line without a stop."""
    return "\n" not in text[unit[0] : unit[1]] and not text[unit[0] : unit[1]].endswith((".", "。"))


def _blocks(text: str) -> Iterator[tuple[list[Span], bool]]:
    """Runs of lines that are not blank, each line without the blanks at its end; and whole blocks of code."""
    lines = [match.span() for match in _LINE.finditer(text)]
    code = dict(fenced([text[start:end] for start, end in lines])) if "```" in text or "~~~" in text else {}
    block: list[Span] = []
    place = 0
    while place < len(lines):
        start, end = lines[place]
        size = len(text[start:end].rstrip())
        if block and (place in code or not size):
            yield block, False
            block = []
        if place in code:
            last_start, last_end = lines[code[place] - 1]
            yield [(start, last_start + len(text[last_start:last_end].rstrip()))], True
        elif size:
            block.append((start, start + size))
        place = code.get(place, place + 1)
    if block:
        yield block, False


def _mark(line: str, text: str, unit: Span | None) -> int:
    """How many characters of the line are the mark of an item or heading.

    A number is one at the start of a block, after an item, and after a line that ends with a stop;
    elsewhere it is a number of the flowing text.
    """
    found = _MARK.match(line)
    if not found:
        return 0
    item = unit and text[max(0, unit[0] - 2) : unit[0]].rstrip().endswith((".", ")"))
    if found[1] and unit and not item and not text[unit[1] - 1].endswith(_ENDS_LINE):
        return 0
    return found.end()


def _flows(text: str, unit: Span, line: Span, width: int) -> bool:
    """Whether a line goes on with the sentence of the lines before: it was wrapped, not begun anew."""
    word = _WORD.match(text, _first(text, line[0], line[1]))
    first = word[0] if word else ""
    last_line = unit[1] - max(text.rfind("\n", unit[0], unit[1]) + 1, unit[0])
    wrapped = last_line + 1 + len(first) > width
    return wrapped or first.lstrip(_OPENING)[:1].islower()


def _first(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _cut(text: str, start: int, end: int) -> Iterator[Span]:
    """The sentences of one unit."""
    start = _first(text, start, end)
    position = start
    while (stop := _STOP.search(text, position, end)) and stop.end() < end:
        position = stop.end()
        if _ends(text, stop, start):
            yield start, stop.end(2)
            start = position
    if start < end:
        yield start, end


def _ends(text: str, stop: re.Match[str], start: int) -> bool:
    """Whether a sentence ends at this stop, which more text follows."""
    if stop[1][0] in _CJK:
        return not (stop[2] and text.startswith(_GOES_ON, stop.end()))
    if not stop[3]:
        return False
    follower = _WORD.match(text, stop.end())
    word = follower[0].lstrip(_OPENING) if follower else ""
    if word[:1].islower():
        return False
    if stop[1] != "." or stop[2]:
        return True
    before = _BEFORE.search(text, max(start, stop.start() - 24), stop.start())
    return not before or _word_ends(text, before, word, start)


def _word_ends(text: str, before: re.Match[str], follower: str, start: int) -> bool:
    """Whether the word before a full stop ends a sentence although ``follower`` begins like one."""
    spaced = _SPACED.search(text, max(start, before.end() - 24), before.end())
    word, plain = before[0], before[0].casefold()
    names = {plain, re.sub(r"\s", "", spaced[0]).casefold() if spaced else plain}
    opens = re.split(r"\W", follower, maxsplit=1)[0].casefold()
    if names & NEVER_LAST:
        return False
    if plain in BEFORE_NUMBER and follower[:1].isdigit():
        return False
    if word.isdigit() and len(word) <= 2:  # noqa: PLR2004  ordinals have one or two digits
        previous = _BEFORE.search(text[max(start, before.start() - 24) : before.start()].rstrip())
        return not (opens in MONTHS or (previous and previous[0].casefold() in BEFORE_ORDINAL))
    if names & MAY_BE_LAST or _is_initial(word):
        return opens in OPENS_A_SENTENCE
    return True


def _is_initial(word: str) -> bool:
    """``B``, ``b`` of ``z. b.``, ``J.R``: letters that stand for names; `I` is a word."""
    letters = word.split(".")
    return all(len(letter) == 1 and letter.isalpha() for letter in letters) and word != "I"
