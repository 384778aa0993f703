"""The known word that an unknown one was probably meant to be: the one place where "did you mean" is decided."""

from collections.abc import Iterable

MANY = 500
"""Names beyond which only those that begin alike are compared."""

ALIKE = 0.61
"""The least share of what two words have in common: `nope` and `openai` have less."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word nearest to ``word``, one that differs by case alone before all; empty where none is near."""
    from difflib import get_close_matches

    names = sorted(known)
    same = next((name for name in names if name.casefold() == word.casefold()), "")
    if same:
        return same
    if len(names) > MANY:
        names = [name for name in names if name[:1] == word[:1]][:MANY]
    near = get_close_matches(word, names, 1, ALIKE) or get_close_matches(word.lower(), names, 1, ALIKE)
    return next(iter(near), "")


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint that names the nearest known word; ``otherwise`` where none is near."""
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near else otherwise
