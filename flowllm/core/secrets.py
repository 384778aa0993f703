"""Every secret that this process has read, so that what is shown or written can be cleaned of them.

Who reads a secret registers it before it is used; the redactor in ``sinks`` asks for all of them.
"""

import functools
import json
import re
import threading

SHORTEST = 6
"""Shorter values would blank ordinary words and protect nothing."""
TELLING = 12
"""Shorter ones, such as the `ollama` that servers on this machine are given for a key, turn up by themselves."""

MAKERS = (
    r"(?<![A-Za-z0-9])sk-(?:(?=[\w-]{0,200}\d)[\w-]{16,400}|[A-Za-z]{20,400})",
    r"AIza[\w-]{30,100}",
    r"(?<![A-Z0-9])A[KS]IA[0-9A-Z]{16}",
    r"(?<![A-Za-z0-9])(?:gh[pousr]_|hf_|gsk_|xai-|pplx-)(?:(?=[A-Za-z]{0,200}\d)[A-Za-z0-9]{16,400}|[A-Za-z]{30,400})",
    r"(?<![A-Za-z0-9])(?:github_pat_|glpat-)(?=[\w-]{0,200}\d)[\w-]{16,400}",
    r"(?<![A-Za-z0-9])xox[a-z]-[A-Za-z0-9-]{10,400}",
    r"(?<![\w-])eyJ[\w-]{8,8000}\.[\w-]{8,8000}(?:\.[\w-]{0,8000})?",
)
"""Patterns of the keys of known makers: masked wherever they are shown, refused in every file.

A digit or a long body is asked for where words of prose would fit as well. All repetitions are bounded.
"""

_LOCK = threading.Lock()
_SECRETS: dict[str, None] = {}


@functools.cache
def _of_makers() -> re.Pattern[str]:
    return re.compile("|".join(MAKERS))


def holds_key(text: str) -> bool:
    """Whether what looks like a key of a known maker stands in the text."""
    return _of_makers().search(text) is not None


def register(secret: str) -> str:
    """Remember ``secret`` and give it back; blank and very short values are not kept."""
    value = secret.strip()
    if len(value) >= SHORTEST:
        with _LOCK:
            _SECRETS[value] = None
    return secret


def registered() -> tuple[str, ...]:
    """All of them, the longest first, so that a secret inside another is not replaced before it."""
    with _LOCK:
        return tuple(sorted(_SECRETS, key=len, reverse=True))


def repeats_secret(data: bytes) -> bool:
    """Whether JSON, or bytes of any kind, hold a secret of at least `TELLING` letters that this process has read."""
    with _LOCK:
        secrets = tuple(_SECRETS)
    return any(map(data.__contains__, _forms(secrets)))


@functools.lru_cache(maxsize=4)
def _forms(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Secrets as they are and as JSON writes them."""
    telling = [secret for secret in secrets if len(secret) >= TELLING]
    forms = [form for secret in telling for form in (secret, json.dumps(secret, ensure_ascii=False)[1:-1])]
    return tuple(form.encode("utf-8", "surrogatepass") for form in dict.fromkeys(forms))
