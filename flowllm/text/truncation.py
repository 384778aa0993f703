"""Cutting a text or a conversation to a number of tokens.

What comes out fits by the counter that is given; its order is that of the input; cutting it again
changes nothing. A conversation keeps its last user message, its system messages while they fit, and
a tool call together with its results; whole turns go, from a user message to the next. Where even the
last user message or one character does not fit, `TooLong`.

    keep             of a text                         of a conversation
    head             its beginning                     the first turns
    tail             its end                           the last turns
    middle           both ends, cut in the middle      first and last turns by turns
    sliding_window   its end, from a sentence on       the last turns
    smart            both ends, cut at sentences       the first turn, then the latest that fit

Counting is linear for conversations, and for texts linear in the input plus n log n in what is kept.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Literal

from flowllm.core.record import record
from flowllm.text.token_families import GENERAL, family_of
from flowllm.text.tokens import ESTIMATE, Counter, count_message

Keep = Literal["head", "tail", "middle", "sliding_window", "smart"]
Message = Mapping[str, Any]

_NEAR = 200
"""How far back a better place to cut is looked for, in characters."""
_JOINERS = "\u200d\ufe0e\ufe0f"
_STOPS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\n")


class TooLong(Exception):
    """Nothing that has to stay fits: ``needed`` tokens, or more, where ``limit`` are allowed."""

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(f"at least {needed} tokens have to stay and {limit} are allowed")
        self.needed = needed
        self.limit = limit


@record
class CutText:
    """A text that fits; ``dropped`` is how many tokens less than before."""

    text: str
    tokens: int
    dropped: int


@record
class CutMessages:
    """A conversation that fits; ``dropped`` is how many messages were left out."""

    messages: list[Message]
    tokens: int
    dropped: int


@record
class _Window:
    """A text seen through the cut: ``taken`` characters of it, at one end or shared by both."""

    text: str
    keep: Keep
    mark: str

    def at(self, taken: int) -> str:
        """The text with ``taken`` characters left and the mark where something is missing."""
        text, size = self.text, len(self.text)
        if self.keep == "head":
            return text[: _settle(text, taken)] + self.mark
        if self.keep in ("tail", "sliding_window"):
            return self.mark + text[self._start(size - taken) :]
        head = taken - taken // 2
        end = _sentence_end(text, head) if self.keep == "smart" else _settle(text, head)
        return text[:end] + self.mark + text[self._start(size - taken // 2) :]

    def _start(self, index: int) -> int:
        """Where the kept end begins: never before ``index``."""
        sentence = self.keep in ("sliding_window", "smart")
        return _sentence_start(self.text, index) if sentence else _settle_forward(self.text, index)


def truncate_text(text: str, limit: int, keep: Keep, *, mark: str = "", counter: Counter = ESTIMATE) -> CutText:
    """A part of the text of at most ``limit`` tokens, the mark included; raises `TooLong`."""
    count = counter.count
    before = count(text)
    if before <= limit:
        return CutText(text, before, 0)
    for used in dict.fromkeys((mark, "")):
        found = _longest(_Window(text, keep, used), lambda piece: count(piece) <= limit)
        if found.replace(used, "", 1).strip() or (found and not text.strip()):
            tokens = count(found)
            return CutText(found, tokens, max(0, before - tokens))
    raise TooLong(count(text.strip()[:1]), limit)


def _longest(window: _Window, fits: Callable[[str], bool]) -> str:
    """The longest view that fits: doubling from small ones, so that what is dropped is not counted again."""
    size, low, high = len(window.text), 0, 1
    while high < size and fits(window.at(high)):
        low, high = high, high * 2
    high = min(high, size)
    while low + 1 < high:
        taken = (low + high) // 2
        if fits(window.at(taken)):
            low = taken
        else:
            high = taken
    found = window.at(low)
    return found if low and fits(found) else ""


def _joined(text: str, index: int) -> bool:
    """Whether a cut at ``index`` would tear a character from its marks."""
    sign = text[index]
    return bool(unicodedata.combining(sign)) or sign in _JOINERS or text[index - 1] == "\u200d"


def _settle(text: str, index: int) -> int:
    stop = max(0, index - 32)
    while stop < index < len(text) and _joined(text, index):
        index -= 1
    return index


def _settle_forward(text: str, index: int) -> int:
    stop = min(len(text), index + 32)
    while 0 < index < stop and _joined(text, index):
        index += 1
    return index


def _sentence_end(text: str, index: int) -> int:
    """The end of the last sentence or word that ends near before ``index``."""
    near = text[max(0, index - _NEAR) : index]
    stop = max(near.rfind(sign) for sign in _STOPS) + 1
    found = stop or near.rfind(" ") + 1
    return index - len(near) + found if found else _settle(text, index)


def _sentence_start(text: str, index: int) -> int:
    """The start of the first sentence or word that starts near behind ``index``."""
    if index <= 0:
        return 0
    near = text[index - 1 : index + _NEAR]
    inside = near.rstrip()[:-1]  # a stop at the very end starts nothing
    stops = [place for sign in _STOPS if (place := inside.find(sign)) >= 0]
    found = min(stops) if stops else inside.find(" ")
    return index + found if found >= 0 else _settle_forward(text, index)


def truncate_messages(
    messages: Sequence[Message], limit: int, keep: Keep, *, counter: Counter = ESTIMATE, model: str = ""
) -> CutMessages:
    """The messages that stay within ``limit`` tokens of the model; raises `TooLong` if the last user's does not."""
    family = family_of(model) if model else GENERAL
    sizes, opening = [count_message(message, counter, family, model) for message in messages], family.request
    if opening + sum(sizes) <= limit:
        return CutMessages(list(messages), opening + sum(sizes), 0)
    kept = _Kept(sizes, limit, opening)
    units = _units(messages)
    last = _last_user(messages, units)
    if not kept.add(last):
        raise TooLong(opening + sum(sizes[i] for i in last), limit)
    for unit in units:
        if messages[unit[0]]["role"] == "system":
            kept.add(unit)
    turns = _turns(messages, [u for u in units if u != last and messages[u[0]]["role"] != "system"], last)
    _fill(kept, turns, keep)
    chosen = [message for i, message in enumerate(messages) if i in kept.indexes]
    return CutMessages(chosen, kept.tokens, len(messages) - len(chosen))


Unit = tuple[int, ...]
"""Messages, by index, that stay or go together."""


class _Kept:
    """What stays so far, and its tokens."""

    def __init__(self, sizes: Sequence[int], limit: int, opening: int) -> None:
        self.indexes: set[int] = set()
        self.tokens = opening
        self._sizes = sizes
        self._limit = limit

    def add(self, unit: Sequence[int]) -> bool:
        """Keep all of them if they fit; whether they did."""
        size = sum(self._sizes[i] for i in unit if i not in self.indexes)
        if self.tokens + size > self._limit:
            return False
        self.indexes.update(unit)
        self.tokens += size
        return True


def _units(messages: Sequence[Message]) -> list[Unit]:
    """Single messages, and tool calls with their results, by their first message."""
    owners: dict[str, int] = {}
    units: dict[int, list[int]] = {}
    for i, message in enumerate(messages):
        owner = owners.get(message.get("tool_call_id", "")) if message["role"] == "tool" else None
        units.setdefault(i if owner is None else owner, []).append(i)
        for call in message.get("tool_calls") or ():
            owners[call.get("id", "")] = i
    return [tuple(unit) for unit in units.values()]


def _last_user(messages: Sequence[Message], units: Sequence[Unit]) -> Unit:
    users = [unit for unit in units if messages[unit[0]]["role"] == "user"]
    return users[-1] if users else units[-1] if units else ()


@record
class _Turns:
    """What may go: earlier turns, oldest first, and what followed the last user message, unit by unit."""

    earlier: list[list[int]]
    after: list[Unit]


def _turns(messages: Sequence[Message], units: Sequence[Unit], last: Unit) -> _Turns:
    earlier: list[list[int]] = []
    for unit in units:
        if unit[0] > last[0]:
            continue
        if not earlier or messages[unit[0]]["role"] == "user" or messages[last[0]]["role"] != "user":
            earlier.append([])
        earlier[-1].extend(unit)
    return _Turns(earlier, [unit for unit in units if unit[0] > last[0]])


def _fill(kept: _Kept, turns: _Turns, keep: Keep) -> None:
    """Add turns in the strategy's order; all but `smart` stop at the first that does not fit."""
    for unit in reversed(turns.after):
        if not kept.add(unit) and keep != "smart":
            return
    newest = list(reversed(turns.earlier))
    if keep == "smart":
        for turn in [*turns.earlier[:1], *newest]:
            kept.add(turn)
    elif keep == "middle":
        half = -(-len(newest) // 2)
        _add_both(kept, turns.earlier[:half], newest[: len(newest) - half])
    else:
        for turn in turns.earlier if keep == "head" else newest:
            if not kept.add(turn):
                return


def _add_both(kept: _Kept, oldest: list[list[int]], newest: list[list[int]]) -> None:
    """By turns from both ends; an end where one does not fit is done."""
    open_ends = [True, True]
    for pair in zip_longest(newest, oldest):
        for end, turn in enumerate(pair):
            open_ends[end] = open_ends[end] and turn is not None and kept.add(turn)
