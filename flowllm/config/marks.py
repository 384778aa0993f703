"""Where every key and value of a configuration was written: a tree beside the values."""

import json
from collections.abc import Iterator
from dataclasses import field, replace

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.record import record


@record(frozen=False)
class Marks:
    """The place of one value and, in ``children``, of everything in it.

    ``value`` is where the value begins (its quote, bracket or ``|``), ``text`` the first character
    of a scalar's text, ``key`` the place of its key. ``raw`` is the scalar as written, None for
    lists and mappings.
    """

    value: Origin = UNKNOWN
    text: Origin = UNKNOWN
    key: Origin = UNKNOWN
    raw: str | None = None
    key_raw: str | None = None
    children: dict[str | int, "Marks"] = field(default_factory=dict)

    def at(self, *steps: str | int) -> "Marks":
        """The marks of what ``steps`` lead to, or of the innermost part of the way that is known."""
        here = self
        for step in steps:
            inner = here.children.get(step)
            if inner is None:
                return here
            here = inner
        return here

    def has(self, *steps: str | int) -> bool:
        """Whether ``steps`` lead to something that was written."""
        here = self
        for step in steps:
            if step not in here.children:
                return False
            here = here.children[step]
        return True

    def place(self, name: str) -> Origin:
        """Where the part ``name`` (``value.items.0``; empty: the whole) has its first character."""
        here = self
        for step in name.split(".") if name else ():
            inner = here.children.get(int(step) if step.isdecimal() and step not in here.children else step)
            if inner is None:
                break
            here = inner
        return here.text

    def walk(self, prefix: str = "", depth: int = -1) -> Iterator[tuple[str, "Marks"]]:
        """Every part with its dotted name, down to ``depth`` levels; the whole itself is left out."""
        for step, inner in self.children.items():
            name = f"{prefix}.{step}" if prefix else str(step)
            yield name, inner
            if depth != 1:
                yield from inner.walk(name, depth - 1)

    def keys(self, prefix: str) -> Iterator[tuple[str, Origin]]:
        """The place of every key in this value, by its dotted name."""
        if self.children:
            yield from ((name, inner.key) for name, inner in self.walk(prefix) if inner.key != UNKNOWN)

    def put(self, steps: tuple[str | int, ...], marks: "Marks") -> "Marks":
        """A copy in which ``steps`` lead to ``marks``; what stood there before is forgotten."""
        if not steps:
            return marks
        first, rest = steps[0], steps[1:]
        inner = self.children.get(first) or Marks(marks.value, marks.text, marks.key)
        return replace(self, raw=None, children=self.children | {first: inner.put(rest, marks)})

    def over(self, older: "Marks") -> "Marks":
        """These marks, and those of ``older`` for what these do not know."""
        if not self.children:
            return self
        children = dict(older.children)
        for step, inner in self.children.items():
            children[step] = inner.over(children[step]) if step in children else inner
        return replace(self, children=children)


def _spelled(value: object) -> str | None:
    """A scalar as JSON spells it, a text as it is."""
    if isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else json.dumps(value, default=str)


def everywhere(value: object, origin: Origin) -> Marks:
    """Marks that give one ``origin`` to a value and to all its parts."""
    marks = Marks(origin, origin, origin, _spelled(value))
    if isinstance(value, dict):
        marks.children = {key: everywhere(inner, origin) for key, inner in value.items()}
    elif isinstance(value, list):
        marks.children = {index: everywhere(inner, origin) for index, inner in enumerate(value)}
    return marks
