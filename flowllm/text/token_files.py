"""Exact counts by a tokenizer in a file that the user names; nothing is downloaded.

    tokenizer.json  of Hugging Face, by the package tokenizers
    *.tiktoken      a line a token, base64 and rank, by the package tiktoken; the pattern is chosen by name
    tekken.json     of Mistral, the same with its one published pattern

Both packages come with the extra ``count``. A file is opened at the first count, in the thread that counts. It is
data: bounded in size, never unpickled, and a pattern is taken from none but a tokenizer.json, where the package's
own engine runs it and its length is bounded. `SetupError` says what is wrong with a file, and what is missing.
"""

import base64
import binascii
import importlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

from flowllm.core.card import ModelCard
from flowllm.core.errors import SetupError
from flowllm.text.token_families import family_of
from flowllm.text.token_patterns import PATTERNS, pattern_named_in
from flowllm.text.tokens import Counter, counter_for

LIMIT: Final = 64 * 2**20
"""Bytes of a file at most; those of large vocabularies have some 30 MB."""
_TOKENS, _TOKEN, _PATTERN = 2_000_000, 4_096, 4_000
_LINE: Final = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,9})")
_PIECE: Final = 100_000
"""Characters at a time: making the list of their tokens lets no other thread run."""
_BETWEEN_WORDS: Final = re.compile("(?<=[A-Za-z]) (?=[A-Za-z])")
_HINT: Final = "name a tokenizer.json, a .tiktoken file or a tekken.json"


class FileCounter:
    """Counts with the tokenizer of a file, which is opened at the first count; safe from many threads."""

    exact = True

    def __init__(self, path: Path, family: str = "") -> None:
        self._path = path
        self._family = family
        self._lock = threading.Lock()

    def count(self, text: str) -> int:
        """The tokens of a text, without those that a model puts around it."""
        with self._lock:
            counting = open_tokenizer(self._path, self._family)
        return _guarded(self._path, lambda: counting(text)) if text else 0


def file_counter(card: ModelCard | None, model: str) -> FileCounter | None:
    """What counts by the tokenizer that the entry of a model names; None where it names none."""
    if card is None or not card.tokenizer:
        return None
    return FileCounter(Path(card.tokenizer), family_of(model).vocabulary)


def best_counter(card: ModelCard | None, model: str) -> Counter:
    """The same where that tokenizer can be opened, else the estimate of the model's family."""
    counter = file_counter(card, model)
    if counter is None:
        return counter_for(model)
    try:
        counter.count("")
    except SetupError:
        return counter_for(model)
    return counter


def open_tokenizer(path: Path, family: str = "") -> Callable[[str], int]:
    """What counts by a file; ``family`` names the pattern where the file's own name does not. Raises `SetupError`."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from None
    if not S_ISREG(stat.st_mode):
        raise _bad(path, "is no plain file")
    if stat.st_size > LIMIT:
        raise _bad(path, f"is larger than {LIMIT // 2**20} MiB")
    return _opened(path, family, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _opened(path: Path, family: str, changed: int, size: int) -> Callable[[str], int]:
    data = path.read_bytes()
    if data.lstrip()[:1] != b"{":
        pattern = pattern_named_in(path.name) or pattern_named_in(family)
        if not pattern:
            names = ", ".join(sorted(PATTERNS))
            raise _bad(path, "does not tell how texts are split", f"let its name hold one of: {names}")
        return _by_ranks(path, dict(_lines(path, data)), pattern)
    try:
        held = json.loads(data)
    except (ValueError, RecursionError):
        raise _bad(path, "is no JSON") from None
    if isinstance(held.get("config"), dict) and isinstance(held.get("vocab"), list):
        return _by_ranks(path, dict(_tekken(path, held)), "tekken")
    _require_short_patterns(path, [held.get("normalizer"), held.get("pre_tokenizer")])
    return _by_tokenizers(path, data)


def _by_tokenizers(path: Path, data: bytes) -> Callable[[str], int]:
    package = _imported("tokenizers")
    made = _guarded(path, lambda: package.Tokenizer.from_buffer(data))
    made.no_padding()
    made.no_truncation()
    # A batch, even of one, is encoded without the interpreter's lock.
    return lambda text: len(made.encode_batch_fast([text], add_special_tokens=False)[0])


def _by_ranks(path: Path, ranks: dict[bytes, int], pattern: str) -> Callable[[str], int]:
    if not ranks:
        raise _bad(path, "holds no token")
    if absent := [byte for byte in range(256) if bytes((byte,)) not in ranks]:
        raise _bad(path, f"has no token for the byte {absent[0]}")
    encoding = _imported("tiktoken").Encoding
    made = _guarded(
        path,
        lambda: encoding(str(path), pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={}),
    )
    return lambda text: sum(len(made.encode_ordinary(piece)) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that every pattern of `PATTERNS` splits there anyway: before the blank between two words."""
    start = 0
    while start < len(text):
        found = _BETWEEN_WORDS.search(text, start + _PIECE)
        end = found.start() if found else len(text)
        yield text[start:end]
        start = end


def _lines(path: Path, data: bytes) -> Iterator[tuple[bytes, int]]:
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise _bad(path, f"has no token and rank on line {number}")
        yield _token(path, found[1], f"line {number}"), int(found[2])
        if number > _TOKENS:
            raise _bad(path, f"has more than {_TOKENS} lines")


def _tekken(path: Path, held: dict[str, Any]) -> Iterator[tuple[bytes, int]]:
    config = held["config"]
    if config.get("pattern") != PATTERNS["tekken"]:
        raise _bad(path, "splits texts by a pattern that is not Mistral's")
    sizes = config.get("default_vocab_size"), config.get("default_num_special_tokens")
    if not all(type(size) is int and 0 <= size <= _TOKENS for size in sizes):
        raise _bad(path, "has no sizes of its vocabulary")
    for number, entry in enumerate(held["vocab"][: max(0, sizes[0] - sizes[1])]):
        try:
            yield _token(path, str(entry["token_bytes"]).encode(), f"token {number}"), int(entry["rank"])
        except (KeyError, TypeError, ValueError):
            raise _bad(path, f"has no bytes and rank for token {number}") from None


def _token(path: Path, text: bytes, place: str) -> bytes:
    try:
        token = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _bad(path, f"has no base64 on {place}") from None
    if not 0 < len(token) <= _TOKEN:
        raise _bad(path, f"has an empty or a huge token on {place}")
    return token


def _require_short_patterns(path: Path, held: Any) -> None:
    found = [held]
    while found:
        value = found.pop()
        if isinstance(value, dict):
            if len(str(value.get("Regex", ""))) > _PATTERN:
                raise _bad(path, f"has a pattern of more than {_PATTERN} characters")
            found.extend(value.values())
        elif isinstance(value, list):
            found.extend(value)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        message = f"exact counts by this file need {name}, and it is not installed"
        hint = "pip install 'flowllm-pipelines[count]', or in a checkout FLOWLLM_EXTRAS=count bin/flowllm ..."
        raise SetupError("missing_extra", message, hint=hint) from None


def _guarded(path: Path, work: Callable[[], Any]) -> Any:
    """What work gives; a file or text that a library cannot use is `SetupError`, also where the library panics."""
    try:
        return work()
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise _bad(path, f"is no tokenizer that can be used: {str(error)[:200]}") from None


def _bad(path: Path, why: str, hint: str = _HINT) -> SetupError:
    return SetupError("bad_model_file", f"the tokenizer {path} {why}", hint=hint)
