"""What a model must have, as it is asked for and in the house's own words. What says nothing is refused with a hint."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from decimal import Decimal

from flowllm.api.amounts import number_of, shown
from flowllm.api.environment import Environment
from flowllm.api.model_facts import CAPABILITIES, TASKS, Model, listed
from flowllm.api.providers import SAME_AS
from flowllm.core.errors import UsageError
from flowllm.core.nearest import did_you_mean
from flowllm.core.record import record
from flowllm.text.wording import shortened

_SAME_AS = {
    **SAME_AS,
    "image": "images", "image_input": "images", "structured_output": "json_schema", "schema": "json_schema",
    "tool_use": "tools", "functions": "tools", "audio": "audio_input", "video": "video_input", "cache": "caching",
    "web": "web_search", "documents": "pdf",
}  # fmt: skip
"""Other words for capabilities."""

_SAME_TASK = {
    "embeddings": "embed", "embedding": "embed", "ranking": "rerank", "completion": "chat", "responses": "chat",
    "image_generation": "image", "tts": "speech", "stt": "transcription", "video_generation": "video",
}  # fmt: skip
_TOKENS = re.compile(r"(\d{1,3}(?:,\d{3}){1,3}|\d[\d_]{0,14}(?:\.\d{1,6})?(?:e\+?\d)?)([km]?)", re.ASCII)
_THOUSANDS = {"": 0, "k": 3, "m": 6}
WEIGHED = ("needs", "price", "context", "place", "file", "end")
"""What points are for; ``place`` is a key that is there, or this machine."""
HEAVIEST = 99
"""How many times points count at the most."""


@record(kw_only=True)
class Need:
    """What a model must have. ``supports`` are capabilities, in their own words or others (vision, thinking).

    ``context`` and ``output`` are tokens that it reads and writes at least (200_000, "200k"); the two prices are
    dollars for a million tokens at most, without conditions. ``unknown`` keeps models of which not all of this is
    known, ``deprecated`` those whose day is past, ``every`` those of providers that have no file, which no pipeline
    can ask; `find` then also has the dated forms of models, and other ways to their providers. ``weigh`` says how many
    times the points of a word of `WEIGHED` count where models are recommended (``{"price": 3, "context": 0}``).
    """

    supports: Sequence[str] = ()
    context: int | str = 0
    output: int | str = 0
    max_input_price: Decimal | int | str | None = None
    max_output_price: Decimal | int | str | None = None
    task: str = "chat"
    provider: str = ""
    unknown: bool = False
    deprecated: bool = False
    every: bool = False
    weigh: Mapping[str, int] = field(default_factory=dict)


@record
class Wanted:
    """A need in the house's own words."""

    supports: tuple[str, ...]
    task: str
    least: tuple[tuple[str, int], ...]
    most: tuple[tuple[str, Decimal], ...]
    weights: Mapping[str, int]

    def names(self) -> list[str]:
        """What is wanted beside the task."""
        return [*self.supports, *(name for name, _ in self.least), *(f"{item} price" for item, _ in self.most)]


def read_need(environment: Environment, need: Need) -> Wanted:
    """The need in the house's own words; `UsageError` for what is none."""
    _ = _text("provider", need.provider, "openai")
    lengths = {name: _tokens(name, least) for name, least in (("context", need.context), ("output", need.output))}
    prices = {"input": need.max_input_price, "output": need.max_output_price}
    return Wanted(
        capabilities(environment, _each(need.supports)),
        _task(need.task),
        tuple((name, least) for name, least in lengths.items() if least),
        tuple((item, _dollars(item, most)) for item, most in prices.items() if most is not None),
        _weights(need.weigh),
    )


def _each(said: object) -> list[str]:
    """The texts that a text, or several, are."""
    words = [said] if isinstance(said, str | Mapping) or not isinstance(said, Iterable) else said
    return [_text("supports", word, "tools") for word in words]


def _weights(said: object) -> dict[str, int]:
    """How many times the points of each word of `WEIGHED` count."""
    if not isinstance(said, Mapping):
        hint = 'weigh={"price": 2}'
        raise UsageError("bad_value", f"`weigh` maps words to numbers and is not `{shown(said)}`", hint=hint)
    for word, times in said.items():
        if word not in WEIGHED:
            hint = did_you_mean(str(word), WEIGHED, f"known: {', '.join(WEIGHED)}")
            raise UsageError("bad_value", f"nothing is weighed as `{shown(word)}`", hint=hint)
        if not isinstance(times, int) or isinstance(times, bool) or not 0 <= times <= HEAVIEST:
            message = f"the weight of `{word}` is a whole number from 0 to {HEAVIEST}, not `{shown(times)}`"
            raise UsageError("bad_value", message, hint=f"--weigh {word}=2")
    return dict(said)


def capabilities(environment: Environment, said: Sequence[str]) -> tuple[str, ...]:
    """Capabilities in the house's words, also several in one with commas between; `UsageError` for unknown ones."""
    parts = [part.strip() for word in said for part in word.split(",")]
    words = [part.lower().replace("-", "_") for part in parts if part]
    found = tuple(dict.fromkeys(_SAME_AS.get(word, word) for word in words))
    if said and not found:
        raise UsageError("bad_value", "no capability is named", hint=f"known: {', '.join(CAPABILITIES)}")
    strange = [word for word in found if word not in CAPABILITIES]
    own = {word for model in listed(environment.catalog) for word in _told(model)} if strange else set()
    for word in strange:
        if word not in own:
            known = (*CAPABILITIES, *sorted(own - {*CAPABILITIES}))
            hint = did_you_mean(word, (*known, *_SAME_AS), f"known: {', '.join(known)}")
            raise UsageError("bad_value", f"`{word}` is no capability", hint=hint)
    return found


def _told(model: Model) -> frozenset[str]:
    return (model.card.supports or frozenset()) if model.card else frozenset()


def _task(said: str) -> str:
    word = _text("task", said, "chat").strip().lower().replace("-", "_")
    word = _SAME_TASK.get(word, word)
    if word not in TASKS:
        hint = did_you_mean(word, (*TASKS, *_SAME_TASK), f"known: {', '.join(TASKS)}")
        raise UsageError("bad_value", f"`{shortened(said)}` is no task", hint=hint)
    return word


def _tokens(name: str, least: int | str) -> int:
    """Tokens as they are written: 200000, 200_000, 200,000, 200k, 1m, 1e6."""
    text = shown(least).strip().lower()
    found = _TOKENS.fullmatch(text)
    amount = Decimal(re.sub("[_,]", "", found[1])).scaleb(_THOUSANDS[found[2]]) if found else Decimal("NaN")
    if isinstance(least, bool) or not amount.is_finite() or amount != amount.to_integral_value():
        message = f"the least {name} is a number of tokens, not `{shown(least)}`"
        raise UsageError("bad_value", message, hint=f"--{name} 200000")
    return int(amount)


def _dollars(item: str, most: Decimal | int | str) -> Decimal:
    amount = number_of(most)
    if amount is None:
        message = f"the {item} price is a number of dollars for a million tokens, not `{shown(most)}`"
        raise UsageError("bad_value", message, hint=f"--max-{item}-price 1.50")
    return amount


def _text(name: str, said: object, example: str) -> str:
    if not isinstance(said, str):
        message = f"`{name}` is told in words, not as `{shown(said)}`"
        raise UsageError("bad_value", message, hint=f"{name}={example}")
    return said
