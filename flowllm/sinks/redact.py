"""The one place that keeps secrets out of what is shown or written.

First every secret that this process has read, in each form in which it can turn up: as it is,
percent-encoded, in base64 at any alignment, escaped for JSON, Python or HTML. Then what looks like a
secret: keys of known makers, bearer and basic credentials, tokens, private keys, user names in URLs,
values of `key=` and its like. `Redactor.clean` is for whole texts, `Redactor.exact` for data, where
only known secrets are masked; `Redactor.stream` does that for text that comes in pieces, and holds back
only what could be the beginning of one.
"""

import base64
import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from flowllm.core.secrets import MAKERS, registered

MASK = "***"
HOLD_AT_MOST = 16_384
_SHORTEST_FORM = 7

# Each pattern keeps its group, if it has one, and masks the rest. All repetitions are bounded.
_PATTERNS = (
    *MAKERS,
    (
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
        r"(?:(?:(?!-----BEGIN )[\s\S]){0,16000}?-----END [A-Z ]{0,40}PRIVATE KEY-----"
        r"|(?:(?:\s|\\[nr]){0,8}[\w+/=:,-]{1,8000}+){0,400}+)"
    ),
    r"(?i:(\b(?:bearer|basic)\s{1,8}))(?=[\w.~+/-]{0,200}[\d=])[\w.~+/=-]{8,8000}",
    r"(://)[^\s/?#@\"'<>]{1,512}(?=@)",
    r"(?i:([?&;](?:key|api[-_]?key|token|access[-_]token|secret|password|sig|signature)=))[^&\s\"'<>#]{1,8000}",
    r"(?i:(\b(?:x-)?(?:goog-)?(?:api[-_]?key|access[-_]token|auth[-_]token)[\"']?\s{0,4}[:=]\s{0,4}[\"']?))[^\s\"'&,;<>]{6,8000}",
)
_LOOKS = re.compile("|".join(_PATTERNS))


class Redactor:
    """Masks secrets. ``secrets`` gives those that are known at the moment."""

    def __init__(self, secrets: Callable[[], tuple[str, ...]] = registered) -> None:
        self._secrets = secrets

    def clean(self, text: str) -> str:
        """The text without known secrets and without what looks like one."""
        return _LOOKS.sub(_masked, self.exact(text))

    def exact(self, text: str) -> str:
        """The text without known secrets alone: for data, which may hold anything else."""
        known = _known(self._secrets())
        return known.sub(MASK, text) if known else text

    def value(self, value: Any) -> Any:
        """The same for every text in mappings and lists, keys included."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, dict):
            return {self.value(name): self.value(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def stream(self) -> "Stream":
        """`exact` for text that comes in pieces."""
        return Stream(self)

    def held_from(self, text: str) -> int:
        """The place from which text could still become a known secret when more comes."""
        secrets = self._secrets()
        place = _beginning(text, _starts(secrets))
        known = _known(secrets)
        inside = (
            found.start() for found in (known.finditer(text) if known else ()) if found.start() < place < found.end()
        )
        return min([place, *inside])


class Stream:
    """Text in pieces: ``feed`` gives what can be shown already, ``close`` the rest."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor, self._held = redactor, ""

    def feed(self, piece: str) -> str:
        """Take a piece in; what may be shown now, cleaned."""
        text = self._held + piece
        place = self._redactor.held_from(text)
        if len(text) - place > HOLD_AT_MOST:
            place = len(text)
        self._held = text[place:]
        return self._redactor.exact(text[:place])

    def close(self) -> str:
        """The end: what was held back, cleaned."""
        held, self._held = self._held, ""
        return self._redactor.exact(held)


def _masked(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group), "") + MASK


@functools.lru_cache(maxsize=16)
def forms(secret: str) -> tuple[str, ...]:
    """How a secret can be written, the secret itself first."""
    from html import escape

    raw = secret.encode("utf-8", "surrogatepass")
    found = [secret, quote(raw), quote(raw, safe=""), quote_plus(raw)]
    found += [re.sub("%..", lambda part: part[0].lower(), form) for form in found[1:]]
    found += [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    found += [json.dumps(form)[1:-1] for form in found[-2:]]
    found += [repr(secret)[1:-1], escape(secret), escape(secret, quote=False), raw.hex()]
    for shift in range(3):
        found += list(_base64(raw, shift))
    return (secret, *dict.fromkeys(form for form in found[1:] if form != secret and len(form) >= _SHORTEST_FORM))


def _base64(raw: bytes, shift: int) -> Iterator[str]:
    """The characters of base64 that are the same whatever stands before and behind the secret."""
    coded = base64.b64encode(b"\0" * shift + raw)
    first = (0, 2, 3)[shift]
    last = (shift + len(raw)) * 8 // 6
    text = coded[first:last].decode()
    yield from (text, text.replace("+", "-").replace("/", "_"))


@functools.lru_cache(maxsize=4)
def _known(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    every = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, every))) if every else None


@functools.lru_cache(maxsize=8)
def _starts(secrets: tuple[str, ...]) -> tuple[re.Pattern[str] | None, int, dict[str, tuple[str, ...]]]:
    """What a secret can begin with: a pattern of first characters, the longest form, forms by first character."""
    by_first: dict[str, tuple[str, ...]] = {}
    for form in (form for secret in secrets for form in forms(secret)):
        by_first[form[0]] = (*by_first.get(form[0], ()), form)
    longest = max((len(form) for known in by_first.values() for form in known), default=0)
    characters = "".join(map(re.escape, by_first))
    return (re.compile(f"[{characters}]") if by_first else None), longest, by_first


def _beginning(text: str, starts: tuple[re.Pattern[str] | None, int, dict[str, tuple[str, ...]]]) -> int:
    """The first place whose rest begins a secret, or the text's end."""
    first, longest, by_first = starts
    if first is None:
        return len(text)
    for found in first.finditer(text, max(0, len(text) - longest)):
        rest = text[found.start() :]
        if any(form.startswith(rest) for form in by_first[found[0]]):
            return found.start()
    return len(text)
