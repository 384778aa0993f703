"""The table of prices and windows that LiteLLM publishes (MIT), read as facts.

It is untrusted: numbers are read as decimals from their text, names and sizes are bounded, and what cannot be is
left out and told. Every entry ends as a model, as variants of a model (sizes of pictures), or skipped with a reason.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from flowllm.catalog.importing import fields
from flowllm.catalog.importing.entry import Table
from flowllm.catalog.importing.names import LONGEST, id_of, is_sound, not_a_model, provider_of
from flowllm.catalog.importing.twins import Gathered, key_of
from flowllm.catalog.registry import NAME
from flowllm.catalog.registry_rows import Head, tasks_of
from flowllm.core.card import ModelCard
from flowllm.core.prices import UNITS, Hours, Multiplier, Prices, Rate

DEEPEST = 12
"""How deep lists and objects of a table may nest."""

MODES = {
    "embedding": "embed", "image_generation": "image", "audio_transcription": "transcription",
    "audio_speech": "speech", "video_generation": "video",
}  # fmt: skip
"""Modes that flowllm calls otherwise."""

CAPABILITIES = {
    "function_calling": "tools", "parallel_function_calling": "parallel_tools", "vision": "images",
    "image_input": "images", "response_schema": "json_schema", "prompt_caching": "caching",
    "native_streaming": "streaming", "reasoning": "reasoning", "tool_choice": "tool_choice",
    "system_messages": "system_messages", "pdf_input": "pdf", "audio_input": "audio_input",
    "audio_output": "audio_output", "video_input": "video_input", "web_search": "web_search",
    "url_context": "url_context", "assistant_prefill": "prefill", "computer_use": "computer_use",
    "tool_search": "tool_search", "embedding_image_input": "images", "sampling_params": "sampling",
    "forced_tool_use": "forced_tools", "image_size": "image_size",
}  # fmt: skip
"""The flags ``supports_...`` that are facts of a model, and flowllm's words for them."""

FACTS = frozenset(
    {"litellm_provider", "mode", "max_tokens", "max_input_tokens", "max_output_tokens", "source", "deprecation_date",
     "supported_endpoints", "supported_modalities", "supported_output_modalities",
     fields.SEARCHES, fields.TIERS, fields.OFF_PEAK, fields.OWN, *fields.MULTIPLIERS}
)  # fmt: skip
IGNORED = frozenset(
    {"metadata", "comment", "rpm", "tpm", "rules", "token_count_model", "token_count_framing", "token_count_tokenizer",
     "prompt_cache_min_tokens", "output_vector_size", "reasoning_effort_levels", "reasoning_contexts",
     "reasoning_modes", "default_reasoning_effort", "thinking_always_on", "web_search_billing_unit",
     "search_free_requests", "input_dbu_cost_per_token", "output_dbu_cost_per_token", "supported_regions",
     "use_openai_responses_path", "uses_embed_content", "vertex_ai_audio_api", "supported_audio_formats",
     "audio_transcription_config", "gemini_native_audio", "gemini_audio_only_live",
     "bedrock_output_config_effort_ceiling", "bedrock_converse_supports_strict_tools"}
)  # fmt: skip
"""Keys that are known and not taken: notes, allowances of an account, and words for one program's own wires."""

_CHAT_ENDPOINTS = frozenset({"/v1/chat/completions", "/v1/responses", "/v1/messages"})
_WORD = re.compile(r"[a-z][a-z0-9_ -]{0,39}", re.ASCII)


class NotATable(ValueError):
    """A text that is no table; the message is one sentence with the place."""


def parse(text: bytes) -> tuple[dict[str, Any], list[str]]:
    """The entries of a table by name, numbers as decimals, and the keys that an object has twice."""
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            twice.extend(repeated(key for key, _ in found))
        return made

    try:
        value = json.loads(text, parse_float=_exact, parse_constant=_constant, object_pairs_hook=pairs)
    except NotATable:
        raise
    except json.JSONDecodeError as error:
        raise NotATable(f"it is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotATable(f"lists and objects nest deeper than {DEEPEST} levels") from None
    except UnicodeDecodeError as error:
        raise NotATable(f"it is no UTF-8 at byte {error.start}") from None
    except ValueError:
        raise NotATable("a number in it has more digits than any number needs") from None
    if not isinstance(value, dict) or not all(isinstance(row, dict) for row in value.values()):
        raise NotATable("a table maps the names of models to objects")
    if _deep(value, DEEPEST):
        raise NotATable(f"lists and objects nest deeper than {DEEPEST} levels")
    return value, twice


def repeated(names: Iterable[str]) -> list[str]:
    """The names that are there more than once, each looked at once."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def _exact(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise NotATable(f"{digits[:40]} is no number that can be") from None


def _constant(word: str) -> NoReturn:
    raise NotATable(f"{word} is no JSON number")


def _deep(value: Any, left: int) -> bool:
    if left < 0:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_deep(one, left - 1) for one in inner if isinstance(one, dict | list))


def read_table(text: bytes, head: Head) -> Table:
    """The models of a table; `NotATable` for a text that is none."""
    rows, twice = parse(text)
    table = Table(head, rows=len(rows))
    for key in twice:
        table.doubt("told_twice", key)
    variants, gathered = [], Gathered(table)
    # A row by the provider's own prefix goes before one without: the later of two is the repetition.
    for name in sorted(rows, key=lambda name: (not name.startswith(f"{rows[name].get('litellm_provider')}/"), name)):
        row = rows[name]
        provider, id_, variant, reason = _place(name, row)
        if reason:
            table.skip(reason, name)
            continue
        card = _Reading(table, name, row, head, variant).card(id_)
        if variant:
            variants.append((provider, card))
        else:
            gathered.add(provider, card, name)
    for provider, card in variants:
        gathered.add_variant(provider, card)
    gathered.finish()
    return table


def _place(name: str, row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The provider, id and variant of an entry, or the reason to skip it."""
    reason = not_a_model(name) if len(name) <= LONGEST else "its name is too long"
    told = row.get("litellm_provider")
    if not reason and not isinstance(told, str):
        reason = "it names no provider"
    if reason or not isinstance(told, str):
        return "", "", "", reason
    provider, (id_, variant) = provider_of(told), id_of(name, told)
    if not NAME.fullmatch(provider):
        return "", "", "", "its provider's name cannot be a file's name"
    return provider, id_, variant, "" if is_sound(id_) else "its name cannot be asked for"


class _Reading:
    """One entry as it is read; what is doubtful goes to the table."""

    def __init__(self, table: Table, name: str, row: Mapping[str, Any], head: Head, variant: str) -> None:
        self._table, self._name, self._row, self._head, self._variant = table, name, row, head, variant
        told = row.get("mode")
        self._company = str(row.get("litellm_provider"))
        self._mode = MODES.get(told, told) if isinstance(told, str) and _WORD.fullmatch(told) else ""

    def card(self, id_: str) -> ModelCard:
        supports, lacks = self._capabilities()
        self._unknown_keys()
        source = self._text("source", 400)
        return ModelCard(
            id=id_,
            max_input=self._tokens("max_input_tokens", "max_tokens"),
            output=self._tokens("max_output_tokens"),
            supports=supports,
            lacks=lacks,
            prices=self._prices(source),
            tasks=self._tasks(),
            mode=self._mode,
            modalities=self._words("supported_modalities"),
            output_modalities=self._words("supported_output_modalities"),
            deprecated=self._day(),
            source=source,
            checked=self._head.as_of,
        )

    def _tasks(self) -> frozenset[str]:
        """What can be asked; a model of another mode that is asked as a chat does that too."""
        tasks, own = tasks_of(self._mode), self._row.get("supported_endpoints")
        chats = isinstance(own, list) and any(one in _CHAT_ENDPOINTS for one in own if isinstance(one, str))
        writes = self._words("supported_output_modalities")
        return tasks | {"chat"} if chats or (self._mode == "image" and "text" in writes) else tasks

    def _tokens(self, *keys: str) -> int | None:
        value = next((self._row[key] for key in keys if self._row.get(key) is not None), None)
        if value is None:
            return None
        if not fields.is_count(value) or not value:
            self._doubt_number(keys[0], value)
            return None
        return int(value)

    def _doubt_number(self, field: str, value: Any) -> None:
        # 0 stands for "none" where a model has no window of tokens.
        if value != 0 or isinstance(value, bool):
            self._table.doubt("bad_number", f"{self._name}: {field}")

    def _text(self, key: str, longest: int) -> str:
        value = self._row.get(key)
        return value.strip() if isinstance(value, str) and len(value) <= longest and value.isprintable() else ""

    def _words(self, key: str) -> tuple[str, ...]:
        value = self._row.get(key)
        words = value if isinstance(value, list) else ()
        return tuple(word for word in words if isinstance(word, str) and _WORD.fullmatch(word))

    def _day(self) -> str:
        text = self._text("deprecation_date", 10)
        try:
            return date.fromisoformat(text).isoformat() if text else ""
        except ValueError:
            self._table.doubt("bad_number", f"{self._name}: deprecation_date")
            return ""

    def _capabilities(self) -> tuple[frozenset[str], frozenset[str]]:
        told = {key.removeprefix("supports_"): value for key, value in self._row.items() if key.startswith("supports_")}
        yes = {CAPABILITIES[word] for word, value in told.items() if word in CAPABILITIES and value is True}
        no = {CAPABILITIES[word] for word, value in told.items() if word in CAPABILITIES and value is False}
        if "chat" in tasks_of(self._mode) and "image" in self._words("supported_modalities"):
            yes.add("images")
        return frozenset(yes), frozenset(no - yes)

    def _unknown_keys(self) -> None:
        for key, value in self._row.items():
            if key in FACTS or key in IGNORED or (key.startswith("supports_") and isinstance(value, bool)):
                continue
            if key in fields.UNPRICED:
                self._table.doubt("unpriced_unit", f"{self._name}: {key}")
            elif fields.rate_of(key, Decimal(0)) is None:
                self._table.doubt("unknown_key", f"{self._name}: {key}")

    def _prices(self, source: str) -> Prices | None:
        rates = tuple(_unique(self._as_billed(self._with_cached(self._all_rates()))))
        hours, multipliers = tuple(self._hours()), tuple(self._multipliers())
        if not rates:
            return None
        reached = self._company == "xai"
        return Prices(rates, multipliers, hours, reached, source, self._head.as_of, self._head.title)

    def _with_cached(self, rates: Iterator[Rate]) -> Iterator[Rate]:
        return fields.with_cached(list(rates), self._company) if "chat" in self._tasks() else rates

    def _all_rates(self) -> Iterator[Rate]:
        yield from self._tiers()
        yield from self._rates(self._row)
        told = self._row.get(fields.SEARCHES)
        for variant, value in fields.searches(told) if isinstance(told, Mapping) and told else ():
            if self._sound(fields.SEARCHES, value, "searches"):
                yield Rate("searches", fields.amount_of(value), variant=variant)

    def _rates(self, row: Mapping[str, Any]) -> Iterator[Rate]:
        """Rates of price fields, in the order of `STEMS`, so that the first of two names of a price counts."""
        order = {stem: number for number, stem in enumerate(fields.STEMS)}
        for key in sorted(row, key=lambda key: (order.get(key, len(order)), key)):
            rate = fields.rate_of(key, Decimal(0))
            if rate is not None and row[key] is not None and self._sound(key, row[key], rate.item):
                yield replace(rate, amount=fields.amount_of(row[key]))

    def _tiers(self) -> Iterator[Rate]:
        """Rows by the prompt's length: each holds above its beginning, for the whole request."""
        told = self._row.get(fields.TIERS)
        for tier in told if isinstance(told, list) else ():
            span = fields.span_of(tier)
            if span is None:
                self._table.doubt("bad_number", f"{self._name}: {fields.TIERS}")
                continue
            for rate in self._rates({key: value for key, value in tier.items() if "cost" in key}):
                yield replace(rate, above=span[0], variant=span[1] or rate.variant)

    def _hours(self) -> Iterator[Hours]:
        told = self._row.get(fields.OFF_PEAK)
        if not isinstance(told, Mapping):
            return
        rates = tuple(self._rates({key: value for key, value in told.items() if "cost" in key}))
        try:
            hours = list(fields.hours_of(told, rates)) if fields.is_short(told, rates) else None
        except (KeyError, TypeError, ValueError, AttributeError):
            hours = None
        if hours is None:
            self._table.doubt("bad_number", f"{self._name}: {fields.OFF_PEAK}")
        yield from hours or ()

    def _multipliers(self) -> Iterator[Multiplier]:
        for field, _, multiplier in fields.multipliers_of(self._row):
            if multiplier is None:
                self._table.doubt("bad_number", f"{self._name}: {field}")
            else:
                yield multiplier

    def _sound(self, field: str, value: Any, item: str) -> bool:
        if fields.is_price(value, item):
            return True
        self._table.doubt("bad_number", f"{self._name}: {field}")
        return False

    def _as_billed(self, rates: Iterator[Rate]) -> Iterator[Rate]:
        """Rates by what is counted in this mode: pictures that are made, and seconds that are heard or filmed."""
        known = list(rates)
        items = {rate.item for rate in known}
        made = self._variant or (self._mode == "image" and not items & {"output_images", "output_pixels"})
        for rate in known:
            item = rate.item
            if made and item in ("input_images", "input_pixels"):
                item = item.replace("input", "output")
            elif self._mode == "video" and item in ("input_seconds", "output_seconds"):
                item = item.replace("_seconds", "_video_seconds")
            elif self._mode == "transcription" and item == "output_seconds":
                item = "input_seconds"
            variant = self._variant if self._variant and item in UNITS else rate.variant
            yield replace(rate, item=item, variant=variant)


def _unique(rates: Iterator[Rate]) -> list[Rate]:
    """One rate for an item and its conditions: the first, or the first that is not 0 where the item is one of units."""
    found: dict[tuple[object, ...], Rate] = {}
    for rate in rates:
        key = key_of(rate)
        if key not in found or (rate.item in UNITS and not found[key].amount):
            found[key] = rate
    return [found[key] for key in sorted(found, key=_order)]


def _order(key: tuple[object, ...]) -> tuple[object, ...]:
    return (str(key[2]), str(key[4]), str(key[3]), key[1], str(key[0]))
