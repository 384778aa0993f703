"""From tokens to text while they come: never half a character, and in all what decoding them at once gives.

Decoders look at neighbours (a first blank is dropped, bytes make characters), so a token is decoded
together with those before it, and what is new is what comes out longer. Special tokens are left out here,
but for those kept by name (marks of tool calls); a decoder is never shown one that it would drop.

A run of byte tokens that never becomes UTF-8 ends as U+FFFD; how many of them stand for it depends on
where it was cut.
"""

import re
from collections.abc import Callable, Collection, Sequence
from functools import cache

Decode = Callable[[Sequence[int]], str]
"""Text of tokens, special ones included."""

_HALF = "\N{REPLACEMENT CHARACTER}"
_NAMED = re.compile("<0x([0-9A-Fa-f]{2})>")
_WAITING = 64
"""Tokens that are held back while they make no character; more never will."""


class Detokenizer:
    """The text of one answer. ``left_out`` are the tokens that no reader sees."""

    __slots__ = ("_before", "_decode", "_left_out", "_sent", "_window")

    def __init__(self, decode: Decode, left_out: Collection[int] = ()) -> None:
        self._decode = decode
        self._left_out = left_out
        self._window: list[int] = []
        self._before = 0
        self._sent = 0

    def feed(self, token: int) -> str:
        """What is certain after one more token; empty while it is half a character."""
        if token in self._left_out:
            return ""
        window = self._window
        window.append(token)
        text = self._decode(window)
        whole = text.rstrip(_HALF)
        if len(whole) == len(text) or len(window) - self._before > _WAITING:
            new = text[self._sent :]
            self._move()
            return new
        new, self._sent = whole[self._sent :], max(self._sent, len(whole))
        return new

    def _move(self) -> None:
        """Keep the last tokens that made text as the neighbours of the next."""
        kept = self._window[self._before :]
        before = self._decode(kept)
        if not before:  # a blank that only its neighbours show
            kept = self._window[-_WAITING:]
            before = self._decode(kept)
        self._window, self._before, self._sent = kept, len(kept), len(before)

    def finish(self) -> str:
        """What was held back: half characters as U+FFFD."""
        new = self._decode(self._window)[self._sent :] if self._window else ""
        self._window, self._before, self._sent = [], 0, 0
        return new


class TokenTexts:
    r"""The text of each token by itself, with the blank before it that a decoder drops from the first of a text.

    A token that is part of a character is its bytes, as ``\xe2\x98``. ``word`` is what the vocabulary calls a token.
    """

    __slots__ = ("_decode", "_known", "_word")

    def __init__(self, decode: Decode, word: Callable[[int], str]) -> None:
        self._decode = decode
        self._word = word
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        found = self._known.get(token)
        if found is None:
            alone = self._decode((token,))
            if _HALF in alone:
                found = _bytes_of(self._word(token)) or alone
            else:
                found = self._decode((token, token))[len(alone) :]
            self._known[token] = found
        return found


def _bytes_of(word: str) -> str:
    """The bytes that a word of a vocabulary stands for, empty where it is none of bytes."""
    if named := _NAMED.fullmatch(word):
        return f"\\x{named[1].lower()}"
    known = _letters()
    return "".join(f"\\x{known[letter]:02x}" for letter in word) if known.keys() >= set(word) else ""


@cache
def _letters() -> dict[str, int]:
    """The bytes by the letters that vocabularies of bytes write them with: what is not seen has one from 256 on."""
    seen = (*range(33, 127), *range(161, 173), *range(174, 256))
    unseen = (byte for byte in range(256) if byte not in seen)
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(unseen)}
