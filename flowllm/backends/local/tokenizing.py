"""A model's own tokenizer: texts and pairs to numbers, and back.

The window comes from the model's files and not from tokenizer.json, whose fixed padding and truncation are
switched off: they would pad every text to one length and cut long ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowllm.backends.local import libraries
from flowllm.backends.local.json_files import LIMIT, bad
from flowllm.backends.local.safety import require_own_file
from flowllm.core.errors import SetupError
from flowllm.core.record import record


@record
class Tokens:
    """One text as the model reads it: ``ids``, ``types`` (0 of the first text, 1 of the second).

    ``cut`` says that the text was longer than the window.
    """

    ids: Sequence[int]
    types: Sequence[int]
    cut: bool = False


class Tokenizer:
    """The tokenizer of a folder. ``window`` cuts what is encoded with ``cut``; None: nothing is cut."""

    def __init__(self, folder: Path, window: int | None = None) -> None:
        path = require_own_file(folder / "tokenizer.json", folder)
        if path.stat().st_size > LIMIT:
            raise bad(path, f"is larger than {LIMIT // 2**20} MiB")
        self._whole = _opened(path)
        self._window = window
        self._cutting = _opened(path) if window is not None else self._whole
        if window is not None:
            _guarded(path, lambda: self._cutting.enable_truncation(max_length=window))

    @property
    def raw(self) -> Any:
        """The `tokenizers.Tokenizer` without padding and truncation."""
        return self._whole

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Texts with the model's special tokens, cut at the window."""
        return list(map(_tokens, self._cutting.encode_batch_fast(list(texts))))

    def encode_pairs(self, first: str, seconds: Sequence[str]) -> list[Tokens]:
        """A text with each of many others, as a cross-encoder reads them; the longer one is cut."""
        return list(map(_tokens, self._cutting.encode_batch_fast([(first, second) for second in seconds])))

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """A text as numbers, never cut; ``special`` adds what the model puts around texts."""
        return list(self._whole.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Numbers as text."""
        return str(self._whole.decode(list(ids), skip_special_tokens=skip_special))

    def count(self, text: str) -> int:
        """The tokens of a text without those around it."""
        return len(self._whole.encode(text, add_special_tokens=False).ids)

    def id_of(self, token: str) -> int | None:
        """The number of a token, None where the vocabulary lacks it."""
        found = self._whole.token_to_id(token)
        return None if found is None else int(found)


def _tokens(encoding: Any) -> Tokens:
    return Tokens(encoding.ids, encoding.type_ids, bool(encoding.overflowing))


def _opened(path: Path) -> Any:
    made = _guarded(path, lambda: libraries.tokenizers().Tokenizer.from_file(str(path)))
    made.no_padding()
    made.no_truncation()
    return made


def _guarded(path: Path, work: Any) -> Any:
    """What work gives; a file that the library cannot use is `SetupError`, also where the library panics."""
    try:
        return work()
    except SetupError:
        raise
    except BaseException as error:
        # A panic of the library is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise bad(path, f"is no tokenizer that can be used: {str(error)[:200]}") from None
