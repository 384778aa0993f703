"""Keywords of JSON Schema carried out in linear time: patterns by RE2, `uniqueItems` by hashing."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema.exceptions import ValidationError

Found = Iterator[ValidationError]
Keyword = Callable[[Any, Any, Any, Any], Found]


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The pattern for RE2; ValueError with RE2's own words where it has no such pattern."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        words = error.args[0] if error.args else "not understood"
        raise ValueError(words.decode() if isinstance(words, bytes) else str(words)) from None


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern is found anywhere in the text; a lone surrogate never matches."""
    try:
        return compiled(pattern).search(text) is not None
    except UnicodeEncodeError:
        return False


def pattern(checker: Any, wanted: str, instance: Any, schema: Any) -> Found:
    """`pattern`."""
    if isinstance(instance, str) and not matches(wanted, instance):
        yield ValidationError("pattern")


def properties(checker: Any, listed: Mapping[str, Any], instance: Any, schema: Any) -> Found:
    """`properties`; a key whose schema is false is named."""
    if not isinstance(instance, dict):
        return
    for name, inner in listed.items():
        if name in instance and inner is False:
            yield ValidationError("false", validator="false", path=[name])
        elif name in instance:
            yield from checker.descend(instance[name], inner, path=name, schema_path=name)


def pattern_properties(checker: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Found:
    """`patternProperties`."""
    if not isinstance(instance, dict):
        return
    for wanted, inner in patterns.items():
        for name, value in instance.items():
            if matches(wanted, name):
                yield from checker.descend(value, inner, path=name, schema_path=wanted)


def additional_properties(checker: Any, inner: Any, instance: Any, schema: Any) -> Found:
    """`additionalProperties`."""
    if not isinstance(instance, dict):
        return
    others = unlisted(instance, schema)
    if isinstance(inner, dict):
        for name in others:
            yield from checker.descend(instance[name], inner, path=name)
    elif others and not inner:
        yield ValidationError("additionalProperties")


def unlisted(instance: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The keys that neither `properties` nor `patternProperties` speak of."""
    listed, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [name for name in instance if name not in listed and not any(matches(p, name) for p in patterns)]


def unique_items(checker: Any, wanted: bool, instance: Any, schema: Any) -> Found:  # noqa: FBT001  jsonschema's form
    """`uniqueItems`, by hashing."""
    if wanted and isinstance(instance, list) and len({canonical(item) for item in instance}) < len(instance):
        yield ValidationError("uniqueItems")


def canonical(value: Any) -> Hashable:
    """Equal for values that JSON Schema holds equal: 1 and 1.0 are, true and 1 are not."""
    if isinstance(value, dict):
        return ("{", frozenset((key, canonical(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("[", *map(canonical, value))
    if isinstance(value, bool) or value is None:
        return ("=", str(value))
    return value if isinstance(value, Hashable) else repr(value)


KEYWORDS: Mapping[str, Keyword] = {
    "properties": properties,
    "pattern": pattern,
    "patternProperties": pattern_properties,
    "additionalProperties": additional_properties,
    "uniqueItems": unique_items,
}
