"""The words of the language: keys that pipelines and nodes have, names that templates can read."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from flowllm.config.marks import Marks
from flowllm.core.errors import Problem
from flowllm.core.nearest import did_you_mean
from flowllm.core.origin import Origin
from flowllm.policies import WRITTEN

LANGUAGE = 1
"""The version of the language that this code reads."""

TOP_LEVEL = (
    "defaults",
    "flowllm",
    "name",
    "description",
    "inputs",
    "model",
    "embedder",
    "models",
    "schemas",
    "policies",
    "vars",
    "print",
    "nodes",
    "outputs",
)
INPUTS = "inputs"
"""The name by which paths read what the pipeline is given."""

POLICIES = frozenset(WRITTEN)
EACH = frozenset({"as", "at_once", "keep_going"})
"""Companions of ``each``: parameters of the map that it puts around the node."""

COMMON = frozenset({"kind", "in", "each", "around", "after", "model", "when_failed"}) | EACH
ROLES = ("system", "user", "assistant", "tool")
LIFETIMES = ("5m", "1h")
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")

BODIES = frozenset({"prompt", "system", "user", "text", "template"})
"""Fields that hold template text on a node whose kind is not known."""

Report = Callable[[Problem], None]

_UNSEEN = "[\u0000-\u001f\u007f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
"""None of them can be printed."""


def closest(word: str, known: Iterable[str]) -> str:
    """The hint for a word that is not known: the nearest known one, else all of them."""
    names = sorted(known)
    return did_you_mean(word, names, f"known here: {', '.join(names)}" if names else "")


def visible(text: str) -> str:
    """The text with characters that cannot be seen written as their code points."""
    return re.sub(_UNSEEN, lambda match: f"<U+{ord(match[0]):04X}>", text)


def has_unseen(text: str) -> bool:
    """Whether the text holds control, zero-width or direction characters."""
    return not text.isprintable() and re.search(_UNSEEN, text) is not None


def reserved() -> frozenset[str]:
    """Names that templates use themselves."""
    from flowllm.text.templates import reserved_names

    return reserved_names()


def check_name(name: str, where: str, origin: Origin, report: Report) -> bool:
    """Whether ``name`` can be read in a template; reports ``bad_name`` when not."""
    if name.isascii() and name.isidentifier():
        if name not in reserved():
            return True
        hint, why = f"write `{name}_1`", "is a word that templates use themselves"
    else:
        hint = f"write `{_plain(name)}`"
        why = "is no name that templates can read: use letters a to z, digits and `_`"
    report(Problem("bad_name", f"`{visible(name)}` {why}", where, origin, hint))
    return False


def check_key_name(name: str, where: str, marks: Marks, report: Report) -> None:
    """The same for a name that is a key; unseen characters in keys are reported with all keys."""
    if not has_unseen(name):
        check_name(name, where, marks.key, report)


def _plain(name: str) -> str:
    """The nearest plain identifier."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"\W+", "_", ascii_only).strip("_") or "name"
    return plain if not plain[0].isdigit() else f"n_{plain}"
