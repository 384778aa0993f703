"""Settings of a provider, such as its region: where their values come from, and where they may stand.

A value comes from the first variable that is set, else from the file or the command line; a region of AWS
from the profile that its tools would use, before the one that the file has for want of a variable. It is put
into the texts of the card as it is, and only where it cannot change what the text around it means: a
setting in the name of a server can lead to no other server, one in a path stays one step of it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from flowllm.catalog.entries import ProviderEntry, SettingEntry
from flowllm.catalog.switches import followed, names_read, switch_misfits, unfit_texts
from flowllm.core.nearest import did_you_mean
from flowllm.core.placeholders import placeholders
from flowllm.core.record import record
from flowllm.text.misfits import Misfit, Steps

_HOST = (r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "the name of a server")
_STEP = (r"(?!\.{1,2}\Z)[^\s/?#%\\@{}\x00-\x20\x7f]+", "one step of a path")
_LINE = (r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", "one line of plain letters and signs")
_BRACES = r"\{([^{}]*)\}|[{}]"

_Fit = tuple[str, str]
"""A regular expression for a whole value, and what fits it."""


@record
class Settings:
    """``values`` by name; ``unset``: settings that are needed and have none, with the reason; ``base_url`` unfilled."""

    base_url: str
    values: Mapping[str, str]
    unset: Mapping[str, str]
    misfits: tuple[Misfit, ...]


@record
class _Use:
    """A placeholder: its name, where it stands, what its value must be; ``loose`` where it may be another's slot."""

    name: str
    steps: Steps
    fit: _Fit
    loose: bool = False


def settle(entry: ProviderEntry, environment: Mapping[str, str], said: str = "") -> Settings:
    """The settings of a provider file; ``said`` is a server that replaces the written one."""
    base_url = said or entry.base_url
    values = {name: value for name, one in entry.settings.items() if (value := value_of(one, environment)) is not None}
    sources = {name: f"${found}" for name, one in entry.settings.items() if (found := _variable(one, environment))}
    if entry.auth.scheme == "aws" and "region" not in sources:
        _take_region(entry, environment, values, sources)
    values |= followed(entry, values)
    unset: dict[str, str] = {}
    uses = list(_uses(entry, "" if said else base_url))
    misfits = [*([] if said else _braces(base_url, entry)), *switch_misfits(entry)]
    misfits += [misfit for one in uses for misfit in unfit_texts(one.name, *one.fit, entry)]
    for use in (replace(one, name=name) for one in uses for name in names_read(one.name, entry)):
        setting = entry.settings.get(use.name)
        if setting is None:
            misfits += [] if use.loose else [_unknown(use.name, use.steps, entry)]
        elif not values.get(use.name):
            unset[use.name] = _absent(entry, use, setting)
        elif not re.fullmatch(use.fit[0], values[use.name]):
            _unfit(use, sources.get(use.name, ""), unset, misfits)
    return Settings(base_url, values, unset, tuple(misfits))


def _take_region(
    entry: ProviderEntry, environment: Mapping[str, str], values: dict[str, str], sources: dict[str, str]
) -> None:
    """The region of the profile, which goes before the one that stands for variables, not before one that was said."""
    setting = entry.settings.get("region")
    if setting is None or not setting.env:
        return
    from flowllm.core.aws_profile import profile_name, sections

    profile = values.get("profile") or profile_name(environment)
    if region := next((found.region for found in sections(environment, profile) if found.region), ""):
        values["region"], sources["region"] = region, f"the region of the profile `{profile}`"


def unread(entry: Mapping[str, Any], over: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[Misfit]:
    """Settings that ``over`` gives and neither the file ``entry`` nor a text of ``merged`` knows."""
    given, known = over.get("settings"), entry.get("settings")
    if not isinstance(given, Mapping):
        return
    names = set(known) if isinstance(known, Mapping) else set()
    texts = [merged.get("base_url"), *_texts(merged.get("headers")), *_texts(merged.get("query"))]
    used = {name for text in texts if isinstance(text, str) for name in placeholders(text)}
    for name in given:
        if name not in names | used:
            hint = did_you_mean(str(name), names, f"known here: {', '.join(sorted(names))}" if names else "")
            yield Misfit("unknown_field", f"the provider has no setting `{name}`", ("settings", name), hint, "key")


def _texts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _variable(setting: SettingEntry, environment: Mapping[str, str]) -> str:
    """The first variable of the setting that is set."""
    return next((name for name in setting.env if environment.get(name, "").strip()), "")


def value_of(setting: SettingEntry, environment: Mapping[str, str]) -> str | None:
    """What a setting is: its variable's value, else what stands for it."""
    name = _variable(setting, environment)
    return environment[name].strip() if name else setting.default


def _uses(entry: ProviderEntry, base_url: str) -> Iterator[_Use]:
    rest = base_url.partition("://")[2]
    host, _, path = rest.partition("/")
    for text, fit in ((host, _HOST), (path, _STEP)):
        yield from (_Use(name, ("base_url",), fit) for name in placeholders(text))
    for text in entry.origins:
        yield from (_Use(name, ("origins",), _HOST) for name in placeholders(text))
    for word, text in entry.endpoints.items():
        host = text.partition("://")[2].partition("/")[0]
        fits = dict.fromkeys(placeholders(host), _HOST)
        yield from (_Use(name, ("endpoints", word), fits.get(name, _STEP)) for name in placeholders(text))
    for part, texts in (("headers", entry.headers), ("query", entry.query)):
        yield from (_Use(name, (part, key), _LINE) for key, text in texts.items() for name in placeholders(text))
    if entry.auth.scheme == "aws":
        yield _Use("region", ("auth",), _HOST)
    of_models = {name: {"quirks": model.quirks} for name, model in entry.models.items() if model}
    for words, first in ((entry.quirks, ("quirks",)), (of_models, ("models",))):
        for way, text in _strings(words, first):
            yield from (_Use(name, way, _LINE, loose=True) for name in placeholders(text))


def _strings(value: Any, way: Steps) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, str):
        yield way, value
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for step, part in inner:
        yield from _strings(part, (*way, step))


def _braces(base_url: str, entry: ProviderEntry) -> Iterator[Misfit]:
    """Braces in an address that hold no name of a setting."""
    for found in re.finditer(_BRACES, base_url):
        if not placeholders(found[0]):
            yield _unknown(found[1] or found[0], ("base_url",), entry)


def _unknown(name: str, steps: Steps, entry: ProviderEntry) -> Misfit:
    message = f"`{name}` in `{steps[-1]}` is no setting of this provider"
    otherwise = f"settings: {{{name}: {{env: {entry.name.upper().replace('-', '_') or 'ACME'}_{name.upper()}}}}}"
    return Misfit("bad_value", message, steps, did_you_mean(name, entry.settings, otherwise))


def _absent(entry: ProviderEntry, use: _Use, setting: SettingEntry) -> str:
    """Why there is no value: the variables that could hold one."""
    server = [entry.base_url_env] if entry.base_url_env and use.steps == ("base_url",) else []
    names = [f"${name}" for name in (*server, *setting.env)]
    if not names:
        return "it has no value"
    return f"neither {' nor '.join(names)} is set" if len(names) > 1 else f"{names[0]} is not set"


def _unfit(use: _Use, source: str, unset: dict[str, str], misfits: list[Misfit]) -> None:
    """A value of the environment is wrong when the provider is used, one that was written at once."""
    if source:
        unset[use.name] = f"{source} does not hold {use.fit[1]}"
        return
    message = f"`{use.name}` stands in `{use.steps[-1]}` and is not {use.fit[1]}"
    misfits.append(Misfit("bad_value", message, ("settings", use.name), f"{use.name}: eu-west-1"))
