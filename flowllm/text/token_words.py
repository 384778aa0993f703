"""Frequent words, each of which is a token of its own in most vocabularies with the blank before it.

`frequent_words.zlib` beside this module is a compressed text of 20,000 words, one a line, in four blocks with an empty
line between: words that are one token everywhere, and those that are two or three in one or the other of the smaller
vocabularies. They are the words of ASCII and Latin letters that come first in the published vocabularies with the most
languages, which order tokens by frequency.
"""

from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Final
from zlib import decompress

_FILE: Final = Path(__file__).with_name("frequent_words.zlib")


@cache
def frequent_words() -> dict[bytes, int]:
    """The kind of each frequent word, by the word in UTF-8; read once, when a text is first counted."""
    blocks = decompress(_FILE.read_bytes()).split(b"\n\n")
    found: dict[bytes, int] = {}
    for kind, block in enumerate(blocks):
        found.update(zip(block.split(b"\n"), repeat(kind), strict=False))
    return found
