"""A call of a tool while it is written: where it has certainly begun, how far its arguments go, what stands behind.

It has begun when its name and the brace that opens its arguments are there, in the order in which models write them;
its arguments are what the model writes from that brace to the one that closes it. Whether they are JSON is not asked
here. Offsets are into the text that is handed in. A text is gone through once: blanks are taken possessively, for a
model may write nothing else. Groups are not: early versions of Python 3.11 do that wrongly.
"""

import re
from dataclasses import dataclass
from json import JSONDecodeError, JSONDecoder
from typing import Literal

from flowllm.core.record import record

Form = Literal["json", "by name", "functions"]

_TEXT = r'"(?:[^"\\]|\\.){0,256}"'
_OTHER = rf'"(?:id|type)"\s*+:\s*+{_TEXT}\s*+,\s*+'
_BEGUN: dict[Form, str] = {
    "json": (
        rf'\{{\s*+(?:{_OTHER}){{0,16}}(?P<inside>"function"\s*+:\s*+\{{\s*+)?"name"\s*+:\s*+(?P<said>{_TEXT})\s*+,\s*+'
        r'"(?:arguments|parameters)"\s*+:\s*+(?=\{)'
    ),
    "by name": r"(?P<name>[A-Za-z0-9_.:-]{1,128}+)\s*+(?:\[CALL_ID\][^\[{]{0,64}+)?(?:\[ARGS\])?\s*+(?=\{)",
    "functions": r"(?P<name>[^\s>{}<]{1,128}+)>\s*+(?=\{)",
}
_LEAD = {"json": (r"\s*+(?:\[\s*+)?", r"\s*+(?:[,;]\s*+)?")}
"""What may stand before the first call of a block, and before a further one."""

_FIRST, _NEXT = (
    {form: re.compile(_LEAD.get(form, (r"\s*+", r"\s*+"))[place] + begun) for form, begun in _BEGUN.items()}
    for place in (0, 1)
)
_MORE = rf"\s*+(?:,\s*+{_TEXT}\s*+:\s*+(?:{_TEXT}|[\w.+-]{{1,256}}+)\s*+){{0,16}}"
_LATEST = re.compile(r"\s*+(?:\]\s*+)?")


@record
class Begun:
    """A call that has certainly begun; its arguments open at ``end``. ``braces`` close it behind them."""

    name: str
    form: Form
    braces: int
    end: int


def begun(text: str, forms: tuple[Form, ...], *, first: bool = True) -> Begun | None:
    """The call at the beginning of ``text``, behind a comma or semicolon where it is not the ``first``."""
    for form in forms:
        found = (_FIRST if first else _NEXT)[form].match(text)
        name = _name(found) if found else ""
        if found and name:
            braces = 0 if form != "json" else 2 if found["inside"] else 1
            return Begun(name, form, braces, found.end())
    return None


def _name(found: re.Match[str]) -> str:
    words = found.groupdict()
    if "said" not in words:
        return str(words["name"])
    try:
        return str(JSONDecoder().decode(words["said"])).strip()
    except JSONDecodeError:
        return ""


def behind(text: str, braces: int) -> int:
    """How much of ``text`` ends a call whose arguments are there: its braces, and further words of it before them."""
    found = re.match((_MORE + r"\}") * braces, text)
    return found.end() if found else 0


def is_end(text: str) -> bool:
    """Whether nothing more stands in a block than what ends a list."""
    return _LATEST.fullmatch(text) is not None


@dataclass(slots=True)
class Arguments:
    """Follows an object through pieces of text; ``open`` is a mark that cannot stand in it outside of a string."""

    open: str
    _depth: int = 0
    _quoted: bool = False

    def take(self, text: str) -> tuple[int, bool]:
        """How much of ``text`` belongs to it, and whether it ends there. A backslash at the end may be left."""
        skipped = -1
        for found in re.finditer(rf'{re.escape(self.open)}|[\\"{{}}\[\]]', text):
            sign, place = found[0], found.start()
            if place == skipped:
                continue
            if self._quoted:
                if sign == "\\" and place + 1 == len(text):
                    return place, False
                skipped = place + 1 if sign == "\\" else -1
                self._quoted = sign != '"'
            elif sign == self.open:
                return place, True
            elif sign == '"':
                self._quoted = True
            elif sign != "\\":
                self._depth += 1 if sign in "{[" else -1
                if not self._depth:
                    return found.end(), True
        return len(text), False
