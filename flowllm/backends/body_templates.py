"""Templates of paths and bodies: what fills their slots, and slots that nothing can fill.

A string that is nothing but ``{name}`` takes the value as it is, one with something unsaid in it is left out. An
item of a list that names ``{text}`` or ``{document}`` stands there for each of them. A path holds all that it names.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from flowllm.core.errors import ProviderFailure
from flowllm.core.nearest import did_you_mean
from flowllm.core.placeholders import filled, placeholders
from flowllm.text.misfits import Misfit, Steps

_EACH = {"text": "texts", "document": "documents"}
_BRACES = re.compile(r"\{[^{}]*\}|[{}]")


def slots_of(template: Any) -> list[str]:
    """The slots of a template."""
    return [name for name, _, _ in _slots(template, (), inside=False)]


def filled_body(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with the values in their slots."""
    if isinstance(template, str):
        names = placeholders(template)
        if names and template == f"{{{names[0]}}}":
            return values.get(names[0])
        said = {name: str(values[name]) for name in names if values.get(name) is not None}
        return filled(template, said) if len(said) == len({*names}) else None
    if isinstance(template, Mapping):
        pairs = ((name, filled_body(part, values)) for name, part in template.items())
        return {name: value for name, value in pairs if value is not None}
    if isinstance(template, list):
        filled_parts = (filled_body(part, named) for part in template for named in _repeated(part, values))
        return [value for value in filled_parts if value is not None]
    return template


def filled_path(template: str, values: Mapping[str, Any]) -> str:
    """The path with the values in their slots; `ProviderFailure` ``bad_request`` where one of them is not said."""
    names = placeholders(template)
    for name in names:
        if values.get(name) is None:
            message = f"the path of this provider's requests needs `{name}`, and it is not said"
            raise ProviderFailure("bad_request", message, hint=f"{name}: ...")
    return filled(template, {name: quote(str(values[name]), safe="/") for name in names})


def slot_misfits(path: str, body: Any, known: Collection[str], steps: Steps) -> Iterator[Misfit]:
    """Slots of a template at ``steps`` that are not in ``known``, and those that stand where nothing fills them."""
    for found in _BRACES.findall(path):
        name = found.strip("{}")
        if not placeholders(found) or name not in known or name in _EACH:
            yield _unknown(name or found, {*known} - {*_EACH}, (*steps, "path"))
    for name, way, inside in _slots(body, (*steps, "body"), inside=False):
        if name not in known:
            yield _unknown(name, known, way)
        elif name in _EACH and not inside:
            message = f"`{{{name}}}` is one of several and stands in an item of a list"
            yield Misfit("bad_value", message, way, f'["{{{name}}}"], or "{{{_EACH[name]}}}" for all')


def _unknown(name: str, known: Collection[str], steps: Steps) -> Misfit:
    message = f"`{name}` in a template is no part of a request and no setting of this provider"
    return Misfit("bad_value", message, steps, did_you_mean(name, known, f"known here: {', '.join(sorted(known))}"))


def _slots(template: Any, way: Steps, *, inside: bool) -> Iterator[tuple[str, Steps, bool]]:
    """Every slot, the way to it, and whether it is inside an item of a list."""
    if isinstance(template, str):
        yield from ((name, way, inside) for name in placeholders(template))
    elif isinstance(template, Mapping):
        for key, part in template.items():
            yield from _slots(part, (*way, key), inside=inside)
    elif isinstance(template, list):
        for place, part in enumerate(template):
            yield from _slots(part, (*way, place), inside=True)


def _repeated(part: Any, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The values for an item of a list: once, or for every text where it names one of them."""
    names = slots_of(part)
    one = next((name for name in _EACH if name in names and values.get(_EACH[name]) is not None), None)
    return [values] if one is None else [{**values, one: text} for text in values[_EACH[one]]]
