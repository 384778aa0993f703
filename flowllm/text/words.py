# ruff: noqa: RUF001  typographic marks of several scripts are meant
"""The one way of counting words, and of putting sentences one after the other.

Words are what blanks divide. In scripts without blanks every character of Chinese and Japanese is a
word, as in editors, and every five characters begun of Thai, Lao, Burmese and Khmer; what stands
between them counts where it holds a letter or digit. So counts of parts add up to that of the whole.
"""

import re
from collections.abc import Iterable
from typing import Final

_IDEOGRAPHS: Final = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_SYLLABLES: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_MARKS: Final = "\u3000-\u3004\u3008-\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_UNSPACED: Final = re.compile(f"[{_IDEOGRAPHS}{_SYLLABLES}{_MARKS}]")
_UNIT: Final = re.compile(f"[{_IDEOGRAPHS}]|[{_SYLLABLES}]{{1,5}}|[^{_IDEOGRAPHS}{_SYLLABLES}{_MARKS}]+")
_RUNS_ON: Final = re.compile(f"[{_IDEOGRAPHS}{_MARKS}][\"'”’»)\\]]*\\Z")


def count_words(text: str) -> int:
    """How many words a text has."""
    if text.isascii() or not _UNSPACED.search(text):
        return len(text.split())
    return sum(map(_units, text.split()))


def _units(stretch: str) -> int:
    """The words of a stretch without blanks."""
    if not _UNSPACED.search(stretch):
        return 1
    return sum(bool(_UNSPACED.match(unit)) or any(map(str.isalnum, unit)) for unit in _UNIT.findall(stretch))


def prose(texts: Iterable[str]) -> str:
    """The texts one after the other: a blank between two, none behind Chinese and Japanese."""
    pieces: list[str] = []
    for text in texts:
        if pieces and not _RUNS_ON.search(pieces[-1]):
            pieces.append(" ")
        pieces.append(text)
    return "".join(pieces)
