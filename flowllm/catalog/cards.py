"""What a provider file may hold, checked and made into cards.

A file names facts and no code: keys that could load some, interpolations and secrets are refused.
A secret is a handle, ``{env: NAME}`` or the name of the variable; prices are decimals in US dollars
per million tokens, exact as written.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from flowllm.catalog.entries import AuthEntry, ModelEntry, ProviderEntry, http_url
from flowllm.catalog.proofs import unsendable
from flowllm.catalog.settings import Settings, settle, value_of
from flowllm.core.card import CHAT, Auth, ModelCard, ProviderCard
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.origin import Origin
from flowllm.core.placeholders import filled
from flowllm.core.prices import Hours, Multiplier, Prices, Rate, per_million
from flowllm.core.secrets import holds_key
from flowllm.text.misfits import Misfit, Part, Steps, example_of, misfits

VERSION = "api_version"
"""The setting that chooses among the versions of a file."""

CheckQuirks = Callable[[Sequence[str], Mapping[str, Any], Sequence[str]], Sequence[Misfit]]
"""Wires, quirks and the names of settings to what is wrong; steps begin with ``wire`` and its name, or ``quirks``."""

Place = Callable[[Steps, Part], Origin]
"""Where the key or the value stands that steps lead to."""

_FILE = "a provider file"
_WHOLE = "{base_url: https://api.acme.example/v1, wire: {chat: openai_chat}, auth: {scheme: bearer, env: ACME_API_KEY}}"
_EXAMPLES = {
    "": _WHOLE,
    "base_url": "https://api.acme.example/v1",
    "base_url_env": "ACME_BASE_URL",
    "wire": "{chat: openai_chat}",
    "settings": "{region: {env: ACME_REGION, default: eu-west-1}}",
    "default": "eu-west-1",
    "origins": "[https://stream.acme.example]",
    "docs": "https://docs.acme.example",
    "status": "https://status.acme.example",
    "pricing": "https://acme.example/pricing",
    "checked": "2026-11-22",
    "features": "{chat: {tools: true, images: false}}",
    "limits": "{texts: {value: 96, source: https://docs.acme.example/limits}}",
    "limits.*": "{value: 96, source: https://docs.acme.example/limits}",
    "value": "96",
    "source": "https://docs.acme.example/limits",
    "endpoints": "{models: /models}",
    "endpoints.models": "/models",
    "endpoints.*": "/files",
    "headers": '{X-Acme-Version: "2"}',
    "query": '{v: "2"}',
    "token_url": "https://iam.acme.example/token",
    "versions": "{2024-10-21: {features: {chat: {json_schema: true}}}}",
    "auth": "{scheme: bearer, env: ACME_API_KEY}",
    "env": "ACME_API_KEY",
    "models": "{acme-large: {context: 131072}}",
    "context": "131072",
    "output": "8192",
    "price.output": "4.80",
    "price.reasoning": "4.80",
    "price.*": "1.20",
    "models.*": "{context: 131072}",
    "versions.*": "{quirks: {structured: json_object}}",
    "features.*": "{tools: true}",
    "settings.*": "eu-west-1",
    "wire.*": "openai_chat",
    "rates": "[{item: input, amount: '0.0000024'}]",
    "multipliers": "[{factor: 1.1, region: eu}]",
    "hours": "[{start: '16:30', end: '00:30', rates: []}]",
    "item": "input",
    "amount": "'0.0000024'",
    "factor": "1.1",
    "region": "eu",
    "supports": "[tools, json_schema]",
    "price": "{input: 1.20, output: 4.80}",
    "prices": "{rates: [{item: input, above: 200000, amount: '0.0000024'}]}",
    "input": "1.20",
    "cached_input": "0.30",
    "cache_write": "1.50",
    "tasks": "[chat]",
    "tokenizer": "tokenizers/acme-large.json",
    "registry": "openai",
    "elsewhere": '["*-cloud"]',
    "start": '"16:30"',
    "end": '"00:30"',
}

_CODE_KEYS = frozenset({"_target_", "_partial_", "_args_", "_convert_", "_recursive_", "hydra", "defaults"})
_TOKEN = re.compile(r"(?i:bearer)\s+[\w.-]{16,}")
_VARIABLE = r"\$\{oc\.env:\s*([A-Za-z][A-Za-z0-9_]*)"
_FILLED = frozenset({"headers", "query", "origins", "endpoints", "quirks", "models"})
"""Parts of a file whose texts may name settings."""
_SECRET_NAMES = re.compile(r"(?i)^(x-|x-goog-)?(authorization|api[-_]?key|key|token|secret|password)$")


def card_of(
    data: Any,
    name: str,
    origin: Origin,
    check_quirks: CheckQuirks | None = None,
    environment: Mapping[str, str] | None = None,
    place: Place | None = None,
) -> ProviderCard:
    """The mapping of one file to a card; `PipelineInvalid` with everything that is wrong with it.

    ``place`` finds the parts of the file; without it every finding stands at ``origin``.
    """
    at = place or (lambda steps, part: origin)
    problems = list(_refused(data, (), at))
    if problems:
        raise PipelineInvalid(problems)
    try:
        entry = ProviderEntry.model_validate({"name": name, **data} if isinstance(data, Mapping) else data)
    except ValidationError as error:
        found = misfits(error, data, ProviderEntry, _FILE, _EXAMPLES)
        raise PipelineInvalid([problem(misfit, name, at) for misfit in found]) from None
    variables = os.environ if environment is None else environment
    entry, version = _of_version(entry, variables)
    said, refused = _said(entry, variables)
    settings = settle(entry, variables, said)
    wrong = (*_quirks(entry, check_quirks), *settings.misfits, *unsendable(entry))
    problems = [problem(misfit, name, at) for misfit in wrong]
    if entry.name not in ("", name):
        message = f"the file of `{name}` calls itself `{entry.name}`"
        problems.append(Problem("bad_value", message, "name", at(("name",), "value"), hint=f"name: {name}"))
    if problems:
        raise PipelineInvalid(problems)
    made = _card(entry, name, origin, settings)
    return replace(made, api_version=version, unset={**made.unset, **refused})


def _of_version(entry: ProviderEntry, environment: Mapping[str, str]) -> tuple[ProviderEntry, str]:
    """The entry as it is in the version of the API that is set, and that version."""
    setting = entry.settings.get(VERSION)
    version = (setting and value_of(setting, environment)) or ""
    over = entry.versions.get(version)
    if over is None:
        return entry, version
    changed = {word: merged(getattr(entry, word), getattr(over, word)) for word in type(over).model_fields}
    return entry.model_copy(update=changed), version


def merged(mapping: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """``mapping`` with what ``over`` holds in its places, mapping by mapping."""
    made = dict(mapping)
    for key, value in over.items():
        old = made.get(key)
        made[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return made


def problem(misfit: Misfit, name: str, at: Place) -> Problem:
    """A finding of the file ``name``, with its place."""
    where = words_of((name, *misfit.steps))
    return Problem(misfit.code, misfit.message, where, at(misfit.steps, misfit.part), misfit.hint)


def words_of(steps: Steps) -> str:
    """Steps as one path: ``acme.auth.env[0]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _quirks(entry: ProviderEntry, check: CheckQuirks | None) -> Iterator[Misfit]:
    """What is wrong with the wires, else with the quirks of the provider and its models."""
    if check is None:
        return
    wires, settings = tuple(entry.wire.values()), tuple(entry.settings)
    found = check(wires, entry.quirks, settings)
    for misfit in found:
        tasks = [task for task, wire in entry.wire.items() if misfit.steps == ("wire", wire)]
        yield from [replace(misfit, steps=("wire", task)) for task in tasks] or [misfit]
    if any(misfit.steps[0] == "wire" for misfit in found):
        return
    for version, over in entry.versions.items():
        spoken = tuple({**entry.wire, **over.wire}.values())
        for misfit in check(spoken, merged(entry.quirks, over.quirks), settings):
            yield replace(misfit, steps=("versions", version, *misfit.steps))
    for id_, model in entry.models.items():
        for misfit in check(wires, model.quirks, settings) if model and model.quirks else ():
            yield replace(misfit, steps=("models", id_, *misfit.steps))


def _card(entry: ProviderEntry, name: str, origin: Origin, settings: Settings) -> ProviderCard:
    auth, values = entry.auth, settings.values
    return ProviderCard(
        name=name,
        base_url=filled(settings.base_url, values),
        wire={str(task): wire for task, wire in entry.wire.items()},
        auth=Auth(**{name: getattr(auth, name) for name in AuthEntry.model_fields}),
        headers={key: filled(text, values) for key, text in entry.headers.items()},
        query={key: filled(text, values) for key, text in entry.query.items()},
        quirks=dict(entry.quirks),
        models={id_: _model(id_, model or ModelEntry(), entry, origin) for id_, model in entry.models.items()},
        docs=entry.docs,
        local=entry.local,
        free=entry.free,
        elsewhere=entry.elsewhere,
        open_models=entry.open_models,
        settings=values,
        unset=settings.unset,
        origins=tuple(filled(text, values) for text in entry.origins),
        title=entry.title,
        status=entry.status,
        pricing=entry.pricing,
        checked=str(entry.checked or ""),
        features={
            str(task): {str(word): known for word, known in told.items()} for task, told in entry.features.items()
        },
        limits={str(word): (limit.value, limit.source) for word, limit in entry.limits.items()},
        endpoints={str(word): filled(text, values) for word, text in entry.endpoints.items()},
        registry=entry.registry,
        origin=origin,
    )


def _model(name: str, entry: ModelEntry, provider: ProviderEntry, origin: Origin) -> ModelCard:
    checked = str(entry.checked or "")
    free = provider.free and not any(fnmatchcase(name, pattern) for pattern in provider.elsewhere)
    return ModelCard(
        id=name,
        context=entry.context,
        max_input=entry.max_input,
        output=entry.output,
        supports=entry.supports,
        prices=prices_of(entry, checked) or (FREE if free else None),
        tasks=frozenset(entry.tasks) if "tasks" in entry.model_fields_set else CHAT,
        checked=checked,
        quirks=dict(entry.quirks),
        source=entry.source,
        tokenizer=str(Path(origin.file or "").parent / entry.tokenizer) if entry.tokenizer else "",
    )


FREE = per_million({"input": Decimal(0), "output": Decimal(0)})


def prices_of(entry: ModelEntry, checked: str) -> Prices | None:
    """What a file says that a model costs; None where it says nothing."""
    amounts = entry.price.model_dump(exclude_none=True) if entry.price else {}
    known = per_million(amounts, source=entry.source, as_of=checked)
    more = entry.prices
    if more is None:
        return known if amounts else None
    rates = (*known.rates, *(Rate(**row.model_dump()) for row in more.rates))
    hours = (Hours(h.start, h.end, tuple(Rate(**row.model_dump()) for row in h.rates), h.weekdays) for h in more.hours)
    multipliers = tuple(Multiplier(**row.model_dump()) for row in more.multipliers)
    return replace(known, rates=rates, multipliers=multipliers, hours=tuple(hours), reached=more.reached)


def _said(entry: ProviderEntry, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The server that the variable of the file names, if one does, and why what it holds is none."""
    said = environment.get(entry.base_url_env or "", "").strip().rstrip("/")
    try:
        return (http_url(_address(said, entry)) if said else ""), {}
    except ValueError:
        return "", {"base_url": f"${entry.base_url_env} does not hold an address"}


def _address(said: str, entry: ProviderEntry) -> str:
    """``host``, ``:port``, ``host:port`` or a URL as one whole address; ValueError for what is none of them."""
    written = urlsplit(entry.base_url)
    parts = urlsplit(said if "://" in said else f"{written.scheme}://{said}")
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1"}.get(parts.hostname or "", parts.hostname or "")  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    port = parts.port or (written.port if parts.scheme == "http" else None)
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path or written.path}"


def _refused(data: Any, way: Steps, at: Place) -> Iterator[Problem]:
    """Keys that could load code, interpolations, and secrets written out."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            inner = (*way, key)
            if key in _CODE_KEYS:
                message = f"`{key}` is not allowed in a provider file"
                yield Problem("untrusted_key", message, words_of(inner), at(inner, "key"), "remove it")
            elif isinstance(value, str) and _SECRET_NAMES.match(str(key)):
                yield _secret(inner, at)
            else:
                yield from _refused(value, inner, at)
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from _refused(value, (*way, position), at)
    elif isinstance(data, str) and "${" in data:
        message, hint = "`${` is not allowed in a provider file", _instead_of_variable(data, way)
        yield Problem("untrusted_resolver", message, words_of(way), at(way, "value"), hint)
    elif isinstance(data, str) and (holds_key(data) or _TOKEN.search(data)):
        yield _secret(way, at)


def _instead_of_variable(text: str, way: Steps) -> str:
    """How a file takes a value of the environment: as the server, or as a setting that texts name."""
    first = way[0] if way else ""
    found = re.search(_VARIABLE, text)
    name = found[1] if found else "ACME_REGION"
    if first == "base_url":
        return f"base_url_env: {name}"
    if first not in _FILLED:
        return f"{way[-1]}: {example_of(way, _EXAMPLES) or 'word'}" if way else "write the value itself"
    key = "" if isinstance(way[-1], int) else f"{way[-1]}: "
    return f"settings: {{{name.lower()}: {{env: {name}}}}}, then: {key}'{{{name.lower()}}}'"


def _secret(way: Steps, at: Place) -> Problem:
    return Problem(
        "literal_secret",
        "a secret is written into the file",
        words_of(way),
        at(way, "value"),
        hint="auth: {scheme: bearer, env: ACME_API_KEY}, then: flowllm keys set ACME_API_KEY",
    )
