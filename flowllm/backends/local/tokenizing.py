"""A model's own tokenizer: texts and pairs to numbers, and back.

The window comes from the model's files and not from tokenizer.json, whose fixed padding and truncation are
switched off: they would pad every text to one length and cut long ones. A special token is read where it is spelled
to the letter, and not where a normalizer makes it of other letters: who fences it off in a text sees letters. What
the library cannot do with a text is a typed error, also where it panics.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from flowllm.backends.local import libraries
from flowllm.backends.local.json_files import LIMIT, bad
from flowllm.backends.local.safety import require_own_file
from flowllm.core.errors import FlowError, NodeFailure
from flowllm.core.record import record

Made = TypeVar("Made")


@record
class Tokens:
    """One text as the model reads it: ``ids``, ``types`` (0 of the first text, 1 of the second)."""

    ids: Sequence[int]
    types: Sequence[int]


class Tokenizer:
    """The tokenizer of a folder. ``window`` cuts what is encoded with `encode`; None: nothing is cut.

    Raises `NodeFailure` for a text, or tokens, that the library cannot work on.
    """

    def __init__(self, folder: Path, window: int | None = None) -> None:
        path = require_own_file(folder / "tokenizer.json", folder)
        if path.stat().st_size > LIMIT:
            raise bad(path, f"is larger than {LIMIT // 2**20} MiB")
        self._name = folder.name
        found = _opened(path)
        self._window = window
        self._cutting = found if window is None else _opened(path, window)
        self._whole = self._made(lambda: _to_the_letter(found))

    @property
    def raw(self) -> Any:
        """The `tokenizers.Tokenizer` without padding and truncation."""
        return self._whole

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Texts with the model's special tokens, cut at the window."""
        return self._encoded(list(texts))

    def encode_pairs(self, first: str, seconds: Sequence[str]) -> list[Tokens]:
        """A text with each of many others, as a cross-encoder reads them; the longer one is cut."""
        return self._encoded([(first, second) for second in seconds])

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """A text as numbers, never cut; ``special`` adds what the model puts around texts."""
        return self._made(lambda: list(self._whole.encode(text, add_special_tokens=special).ids))

    def further_ids(self, text: str) -> list[int]:
        """The same of a text that goes on where another ended: no blank is put before it, as before a first word."""
        within, always = self._within
        if within is None:
            return self.ids(text)
        # Where each text between special tokens gets a blank, the one behind the first of them gets it, too.
        place = self._special.search(text) if always else None
        head, tail = (text[: place.start()], text[place.start() :]) if place else (text, "")
        read = self._made(lambda: list(within.encode(head, add_special_tokens=False).ids))
        return [*read, *(self.ids(tail) if tail else ())]

    @cached_property
    def _within(self) -> tuple[Any, bool]:
        """The tokenizer without the blank that it puts before words, None where it puts none; if it always does."""
        state = json.loads(self._whole.to_str())
        found: set[str] = set()
        for word in ("normalizer", "pre_tokenizer"):
            state[word] = _without_blank(state[word], found)
        if not found:
            return None, False
        return self._made(lambda: libraries.tokenizers().Tokenizer.from_str(json.dumps(state))), "always" in found

    @cached_property
    def _special(self) -> re.Pattern[str]:
        added = self._whole.get_added_tokens_decoder().values()
        return re.compile("|".join(re.escape(one.content) for one in added if one.special and one.content) or r"(?!)")

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Numbers as text."""
        return self._made(lambda: str(self._whole.decode(list(ids), skip_special_tokens=skip_special)))

    def count(self, text: str) -> int:
        """The tokens of a text without those around it."""
        return len(self.ids(text))

    def word(self, token: int) -> str:
        """What the vocabulary calls a token, empty where it has none of that number."""
        return self._whole.id_to_token(token) or ""

    def id_of(self, token: str) -> int | None:
        """The number of a token, None where the vocabulary lacks it."""
        found = self._whole.token_to_id(token)
        return None if found is None else int(found)

    def is_special(self, token: int) -> bool:
        """Whether it is one of those that no text is meant to spell."""
        found = self._whole.get_added_tokens_decoder().get(token)
        return bool(found and found.special)

    def _encoded(self, texts: Sequence[Any]) -> list[Tokens]:
        found = self._made(lambda: self._cutting.encode_batch_fast(texts))
        return [Tokens(one.ids, one.type_ids) for one in found]

    def _made(self, work: Callable[[], Made]) -> Made:
        return _guarded(work, lambda why: NodeFailure("node_failed", f"the tokenizer of {self._name} failed: {why}"))


def _opened(path: Path, window: int | None = None) -> Any:
    def opened() -> Any:
        made = libraries.tokenizers().Tokenizer.from_file(str(path))
        made.no_padding()
        made.no_truncation()
        if window is not None:
            made.enable_truncation(max_length=window)
        return made

    return _guarded(opened, lambda why: bad(path, f"is no tokenizer that can be used: {why}"))


def _to_the_letter(found: Any) -> Any:
    """The same tokenizer, with special tokens that are looked for before the text is normalized."""
    added = found.get_added_tokens_decoder().values()
    if found.normalizer is None or not any(one.special and one.normalized for one in added):
        return found
    state = json.loads(found.to_str())
    for one in state["added_tokens"]:
        one["normalized"] = one["normalized"] and not one["special"]
    return libraries.tokenizers().Tokenizer.from_str(json.dumps(state))


def _without_blank(part: Any, found: set[str]) -> Any:
    """A part of a tokenizer that puts no blank before what it is given; ``found`` gets when it did."""
    if not isinstance(part, dict):
        return part
    if part["type"] == "Sequence":
        steps = "normalizers" if "normalizers" in part else "pretokenizers"
        kept = [_without_blank(one, found) for one in part[steps]]
        return {**part, steps: [one for one in kept if one is not None]}
    if part["type"] == "Prepend":
        found.add("always")
        return None
    if part["type"] == "Metaspace" and part.get("prepend_scheme") != "never":
        found.add(str(part.get("prepend_scheme") or "always"))
        return {**part, "prepend_scheme": "never"}
    if part["type"] == "ByteLevel" and part.get("add_prefix_space"):
        found.add("always")
        return {**part, "add_prefix_space": False}
    return part


def _guarded(work: Callable[[], Made], failed: Callable[[str], FlowError]) -> Made:
    """What work gives; what ``failed`` makes of the library's words where it fails, also where it panics."""
    try:
        return work()
    except FlowError:
        raise
    except BaseException as error:
        # A panic of the library is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise failed(str(error)[:200]) from None
