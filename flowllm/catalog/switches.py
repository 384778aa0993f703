"""Settings that follow another one: the server of a place, by the name of the place.

Such a setting takes the text that stands in ``cases`` for the other's value, else its ``default``, in which plain
settings may stand. What the other holds is checked as if it stood there itself.
"""

import re
from collections.abc import Iterator, Mapping

from flowllm.catalog.entries import ProviderEntry
from flowllm.core.nearest import did_you_mean
from flowllm.core.placeholders import filled, placeholders
from flowllm.text.misfits import Misfit


def followed(entry: ProviderEntry, values: Mapping[str, str]) -> dict[str, str]:
    """The settings that follow others, by the ``values`` of these."""
    following = {name: one for name, one in entry.settings.items() if one.switch in values}
    texts = {name: one.cases.get(values[one.switch], one.default or "") for name, one in following.items()}
    return {name: filled(text, values) for name, text in texts.items()}


def names_read(name: str, entry: ProviderEntry) -> tuple[str, ...]:
    """The settings whose values stand where ``name`` does: itself, or those that it follows."""
    setting = entry.settings.get(name)
    if setting is None or not setting.switch:
        return (name,)
    return tuple(dict.fromkeys((setting.switch, *placeholders(setting.default or ""))))


def switch_misfits(entry: ProviderEntry) -> Iterator[Misfit]:
    """Settings that follow what is no setting, or one that follows another itself."""
    plain = [name for name, one in entry.settings.items() if not one.switch]
    for name, one in entry.settings.items():
        named = {"switch": [one.switch], "default": placeholders(one.default or "")} if one.switch else {}
        for word, others in named.items():
            for other in (other for other in others if other not in plain):
                message = f"`{other}` in `{word}` is no setting of this provider that has a value of its own"
                hint = did_you_mean(other, plain, "settings: {...}")
                yield Misfit("bad_value", message, ("settings", name, word), hint)


def unfit_texts(name: str, fit: str, what: str, entry: ProviderEntry) -> Iterator[Misfit]:
    """Texts of a setting that follows another, and that are not ``what`` has to stand in its place."""
    setting = entry.settings.get(name)
    for text in (*setting.cases.values(), setting.default or "") if setting and setting.switch else ():
        if not re.fullmatch(fit, filled(text, dict.fromkeys(placeholders(text), "x"))):
            message = f"`{text}` of the setting `{name}` is not {what}"
            yield Misfit("bad_value", message, ("settings", name), f"{name}: {{switch: region, ...}}")
