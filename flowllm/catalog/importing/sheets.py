"""YAML of one provider as ExLLM writes it: windows, capabilities, and prices in dollars for a million tokens."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from flowllm.catalog.importing import fields
from flowllm.catalog.importing.entry import Table, doubts
from flowllm.catalog.importing.names import is_sound, provider_of
from flowllm.catalog.importing.table import MODES, NotATable
from flowllm.catalog.registry import NAME
from flowllm.catalog.registry_rows import Head, tasks_of
from flowllm.core.card import ModelCard
from flowllm.core.prices import EXACT, Prices, Rate

CAPABILITIES = {
    "streaming": "streaming", "function_calling": "tools", "tools": "tools",
    "parallel_function_calling": "parallel_tools", "vision": "images", "structured_output": "json_schema",
    "response_schema": "json_schema", "json_schema": "json_schema",
    "reasoning": "reasoning", "prompt_caching": "caching", "context_caching": "caching",
    "system_messages": "system_messages", "tool_choice": "tool_choice", "web_search": "web_search",
    "audio_input": "audio_input", "audio_output": "audio_output", "pdf_input": "pdf", "computer_use": "computer_use",
    "assistant_prefill": "prefill",
}  # fmt: skip
"""Its words for capabilities, and flowllm's."""

_PRICES = {
    "input": "input", "output": "output", "reasoning": "reasoning",
    "cached_input": "cached_input", "cache_write": "cache_write",
}  # fmt: skip
_KEYS = frozenset(
    {"context_window", "max_output_tokens", "pricing", "capabilities", "mode", "supported_endpoints",
     "supported_modalities", "supported_output_modalities", "deprecation_date", "name", "description", "source"}
)  # fmt: skip


def read_sheet(value: Any, head: Head) -> Table:
    """The models of a parsed file; `NotATable` for what is none."""
    models = value.get("models") if isinstance(value, Mapping) else None
    told = value.get("provider") if isinstance(value, Mapping) else None
    if not isinstance(models, Mapping) or not isinstance(told, str):
        raise NotATable("it needs `provider: NAME` and `models: {ID: {...}}`")
    provider = provider_of(told)
    if not NAME.fullmatch(provider):
        raise NotATable(f"`{provider[:40]}` cannot be a provider's name")
    table = Table(head, rows=len(models), whole=False, models={provider: {}})
    for id_, row in models.items():
        name = f"{provider}/{id_}"
        if not isinstance(id_, str) or not is_sound(id_) or not isinstance(row, Mapping):
            table.skip("its name cannot be asked for" if isinstance(row, Mapping) else "it is no mapping", name)
            continue
        card = _card(table, name, id_, row)
        table.models[provider][id_] = card
        for fault in doubts(card, head.as_of):
            table.doubt(fault, name)
    return table


def _card(table: Table, name: str, id_: str, row: Mapping[str, Any]) -> ModelCard:
    for key in sorted(str(key) for key in row.keys() - _KEYS):
        table.doubt("unknown_key", f"{name}: {key}")
    mode = MODES.get(str(row.get("mode")), _text(row.get("mode")))
    told = _words(row.get("capabilities"))
    return ModelCard(
        id=id_,
        context=_tokens(table, name, row, "context_window"),
        output=_tokens(table, name, row, "max_output_tokens"),
        # What is not listed there is unknown: the lists are not whole.
        supports=frozenset(CAPABILITIES[word] for word in told if word in CAPABILITIES),
        lacks=frozenset(),
        prices=_prices(table, name, row),
        tasks=tasks_of(mode),
        mode=mode,
        modalities=_words(row.get("supported_modalities")),
        output_modalities=_words(row.get("supported_output_modalities")),
        deprecated=_day(table, name, row.get("deprecation_date")),
        source=_text(row.get("source")),
        checked=table.head.as_of,
    )


def _prices(table: Table, name: str, row: Mapping[str, Any]) -> Prices | None:
    told = row.get("pricing")
    rates = []
    for word, value in told.items() if isinstance(told, Mapping) else ():
        amount = _decimal(value)
        item = _PRICES.get(str(word))
        if item is None:
            table.doubt("unknown_key", f"{name}: pricing.{word}")
        elif amount is None or not fields.is_price(amount, item):
            table.doubt("bad_number", f"{name}: pricing.{word}")
        else:
            rates.append(Rate(item, fields.amount_of(amount)))
    head = table.head
    known = Prices(tuple(rates), source=_text(row.get("source")), as_of=head.as_of, version=head.title)
    return known if rates else None


def _decimal(value: Any) -> Decimal | None:
    """Dollars for one token; a number is read by its shortest text, as it was written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return number.scaleb(-6, context=EXACT) if number.is_finite() and abs(number.adjusted()) < 30 else None  # noqa: PLR2004


def _tokens(table: Table, name: str, row: Mapping[str, Any], key: str) -> int | None:
    value = row.get(key)
    if value is None:
        return None
    if type(value) is not int or not fields.is_count(value) or not value:
        table.doubt("bad_number", f"{name}: {key}")
        return None
    return value


def _day(table: Table, name: str, value: Any) -> str:
    try:
        return date.fromisoformat(str(value)).isoformat() if value else ""
    except ValueError:
        table.doubt("bad_number", f"{name}: deprecation_date")
        return ""


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word for word in value if _text(word)) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""
