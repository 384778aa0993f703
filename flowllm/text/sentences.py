# ruff: noqa: RUF001  typographic marks of several scripts are meant
"""Sentences of a text, verbatim, with what stands between them.

`split_sentences` cuts; ``parts[i] + gaps[i]`` joined over all i give the text back exactly. Parts
neither begin nor end with blanks. Blanks, and the marks of list items, headings and quotations
(``- ``, ``2. ``, ``## ``, ``> ``) and rules (``---``), are gaps. A text that begins with a gap has an
empty first part; an empty text has no parts at all.

A sentence ends at a stop with a blank behind it, unless an abbreviation, an initial or an ordinal
stands before it or a small letter follows; at every CJK stop; at a blank line; before a list item;
and at a line break where the next word would still have fitted into the line. The cost is linear.
"""

import re
from collections.abc import Iterator

from flowllm.text.abbreviations import (
    BEFORE_NUMBER,
    BEFORE_ORDINAL,
    MAY_BE_LAST,
    MONTHS,
    NEVER_LAST,
    OPENS_A_SENTENCE,
)

Span = tuple[int, int]

_LINE = re.compile(r"[^\n]*\n?")
_MARK = re.compile(r"[ \t]*(?:(?:[-*+•‣◦▪·–—]|#{1,6}|>{1,6}|(?:\d{1,3}|[A-Za-z])\)|\(\d{1,3}\)|(\d{1,3})\.)[ \t]+)+")
_RULE = re.compile(r"[-=*_#>~+|•\s]*")
_STOP = re.compile(r"([.!?…؟۔।॥።]+|[。！？｡]+)([\"'”’“‘»«)\]}」』）】*_]{0,4}(?:\[\d{1,3}\]){0,4})(\s*)")
_WORD = re.compile(r"\S{1,40}")
_BEFORE = re.compile(r"[^\W_]+(?:\.[^\W_]+)*\Z")
_OPENING = "\"'“‘„«»‚([{¿¡*_-–—…"
_CJK = frozenset("。！？｡")
_ENDS_LINE = (".", "!", "?", ":", ";", ",", "…", "。", "！", "？", '"', "”", "’", ")")


def split_sentences(text: str) -> tuple[list[str], list[str]]:
    """The sentences and, for each, the text that follows it up to the next one; both of one length."""
    starts, ends = [], []
    for start, end in _sentences(text):
        starts.append(start)
        ends.append(end)
    if text and (not starts or starts[0] > 0):
        starts.insert(0, 0)
        ends.insert(0, 0)
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    gaps = [text[end:start] for end, start in zip(ends, [*starts[1:], len(text)], strict=False)]
    return parts, gaps


def _sentences(text: str) -> Iterator[Span]:
    for start, end in _units(text):
        yield from _cut(text, start, end)


def _units(text: str) -> Iterator[Span]:
    """Stretches that only stops divide: paragraphs, list items, headings, lines broken on purpose."""
    for block in _blocks(text):
        width = max(end - start for start, end in block)
        unit: Span | None = None
        for start, end in block:
            line = text[start:end]
            if _RULE.fullmatch(line):
                yield from _given(unit)
                unit = None
                continue
            mark = _mark(line, text, unit)
            if unit and not mark and _flows(text, unit, (start, end), width):
                unit = (unit[0], end)
                continue
            yield from _given(unit)
            unit = (start + mark, end)
            if line[:mark].lstrip().startswith("#"):
                yield unit
                unit = None
        yield from _given(unit)


def _given(unit: Span | None) -> Iterator[Span]:
    if unit:
        yield unit


def _blocks(text: str) -> Iterator[list[Span]]:
    """Runs of lines that are not blank, each line without the blanks at its end."""
    block: list[Span] = []
    for match in _LINE.finditer(text):
        size = len(match[0].rstrip())
        if size:
            block.append((match.start(), match.start() + size))
        elif block:
            yield block
            block = []
    if block:
        yield block


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
        return True
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
    word, plain = before[0], before[0].casefold()
    opens = re.split(r"\W", follower, maxsplit=1)[0].casefold()
    if plain in NEVER_LAST:
        return False
    if plain in BEFORE_NUMBER and follower[:1].isdigit():
        return False
    if word.isdigit() and len(word) <= 2:  # noqa: PLR2004  ordinals have one or two digits
        previous = _BEFORE.search(text[max(start, before.start() - 24) : before.start()].rstrip())
        return not (opens in MONTHS or (previous and previous[0].casefold() in BEFORE_ORDINAL))
    if plain in MAY_BE_LAST or _is_initial(word):
        return opens in OPENS_A_SENTENCE
    return True


def _is_initial(word: str) -> bool:
    """``B``, ``b`` of ``z. b.``, ``J.R``: letters that stand for names; `I` is a word."""
    letters = word.split(".")
    return all(len(letter) == 1 and letter.isalpha() for letter in letters) and word != "I"
