"""Whether a JSON Schema is safe to use: its size, its references, its patterns. Nothing is fetched.

Only places that hold schemas are looked at: a property may be called `$ref`, and `const`, `enum`,
`default` and `examples` hold data.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

BYTES, DEPTH, REFERENCES, EXPANSION = 256 * 1024, 32, 500, 5_000
"""Bytes in JSON, levels of nesting, `$ref`s, and subschemas that one value can meet at one place."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ONE = ("additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else",
        "unevaluatedItems", "unevaluatedProperties", "contentSchema")  # fmt: skip
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SAME_VALUE = frozenset(("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"))

Found = Iterator[tuple[str, Any]]


class _Refused(Exception):
    """A finding that makes further checks pointless."""


def shape_problems(schema: Any) -> list[str]:
    """What makes a schema unsafe or unreadable, one sentence each."""
    if isinstance(schema, bool):
        return []
    if not isinstance(schema, Mapping):
        return ["a schema is a mapping, true or false"]
    try:
        _check_data(schema)
        parts = _parts(schema)
        problems = [problem for place, part in parts for problem in _part_problems(place, part, schema)]
        return problems or _clash(parts) or _expansion_problems(schema)
    except _Refused as refused:
        return [str(refused)]
    except RecursionError:
        return ["the schema's references nest too deep"]


def _check_data(schema: Any) -> None:
    waiting: list[tuple[Any, int]] = [(schema, 1)]
    nodes = 0
    while waiting:
        item, depth = waiting.pop()
        nodes += 1
        if depth > DEPTH:
            raise _Refused(f"the schema nests deeper than {DEPTH} levels")
        if nodes > BYTES:
            break
        waiting.extend((part, depth + 1) for part in _children(item))
    if nodes > BYTES or len(json.dumps(schema)) > BYTES:
        raise _Refused(f"the schema is larger than {BYTES // 1024} KiB")


def _children(item: Any) -> Iterator[Any]:
    if isinstance(item, Mapping):
        wrong = next((key for key in item if not isinstance(key, str)), None)
        if wrong is not None:
            raise _Refused(f"the key {wrong} of the schema is no string; quote it")
        yield from item.values()
    elif isinstance(item, list | tuple):
        yield from item
    elif isinstance(item, float) and not math.isfinite(item):
        raise _Refused(f"the schema holds {item}, which JSON does not have")
    elif not isinstance(item, str | int | float | None):
        raise _Refused(f"the schema holds a {type(item).__name__}, which JSON does not have")


def _inner(schema: Any) -> Found:
    """The subschemas of a schema with their places, keyword first."""
    if not isinstance(schema, Mapping):
        return
    for key in _ONE:
        if isinstance(schema.get(key), Mapping):
            yield key, schema[key]
    for key in _MAPS:
        if isinstance(schema.get(key), Mapping):
            yield from ((f"{key}/{name}", part) for name, part in schema[key].items())
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            yield from ((f"{key}/{i}", part) for i, part in enumerate(schema[key]))


def _parts(root: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every subschema that can be reached, through references too, once."""
    found: dict[int, tuple[str, Mapping[str, Any]]] = {}
    waiting: list[tuple[str, Any]] = [("#", root)]
    references = 0
    while waiting:
        place, part = waiting.pop()
        if not isinstance(part, Mapping) or id(part) in found:
            continue
        found[id(part)] = (place, part)
        waiting.extend((f"{place}/{name}", inner) for name, inner in _inner(part))
        if "$ref" in part:
            references += 1
            waiting.append((str(part["$ref"])[:80], _target(root, part["$ref"])))
    if references > REFERENCES:
        raise _Refused(f"the schema has more than {REFERENCES} references")
    return list(found.values())


def _target(root: Mapping[str, Any], reference: Any) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise _Refused(f"the reference `{str(reference)[:80]}` leads out of the schema; put what it names under $defs")
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return _anchored(root, reference)
    item: Any = root
    for word in reference[2:].split("/"):
        item = _step(item, word.replace("~1", "/").replace("~0", "~"), reference)
    return item


def _step(item: Any, word: str, reference: str) -> Any:
    from urllib.parse import unquote

    word = unquote(word)
    if isinstance(item, Mapping) and word in item:
        return item[word]
    if isinstance(item, list) and word.isdecimal() and int(word) < len(item):
        return item[int(word)]
    raise _Refused(f"the reference `{reference[:80]}` leads nowhere: there is no `{word[:40]}`")


def _anchored(root: Mapping[str, Any], reference: str) -> Any:
    waiting: list[Any] = [root]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping) and part.get("$anchor") == reference[1:]:
            return part
        waiting.extend(inner for _, inner in _inner(part))
    raise _Refused(f"the reference `{reference[:80]}` leads nowhere: there is no such $anchor")


def _part_problems(place: str, part: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    if "$id" in part and part is not root:
        yield f"{place}: only the whole schema may have an $id"
    if "$dynamicRef" in part or "$recursiveRef" in part:
        yield f"{place}: $dynamicRef is not supported; use $ref"
    if str(part.get("$schema", DRAFT)).rstrip("#") != DRAFT:
        yield f"{place}: only JSON Schema 2020-12 is read; leave $schema out"
    yield from _pattern_problems(place, part)


def _clash(parts: list[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """`unevaluatedProperties` would match the names of `patternProperties` without RE2."""
    keys = {key for _, part in parts for key in part}
    if {"unevaluatedProperties", "patternProperties"} <= keys:
        return ["unevaluatedProperties cannot stand beside patternProperties; use additionalProperties"]
    return []


def _pattern_problems(place: str, part: Mapping[str, Any]) -> Iterator[str]:
    from flowllm.text.json_keywords import compiled

    properties = part.get("patternProperties")
    patterns = [part.get("pattern"), *(properties if isinstance(properties, Mapping) else ())]
    for pattern in patterns:
        if isinstance(pattern, str):
            try:
                compiled(pattern)
            except ValueError as error:
                yield f"{place}: the pattern `{pattern[:80]}` is not one of RE2: {str(error)[:120]}"


def _expansion_problems(root: Mapping[str, Any]) -> list[str]:
    """References that lead round on one value, or that multiply."""
    if largest_expansion(root) > EXPANSION:
        return [f"the schema's references multiply to more than {EXPANSION} checks of one value"]
    return []


def largest_expansion(root: Any) -> int:
    """The most subschemas that one value can meet at one place of a schema."""
    if not isinstance(root, Mapping):
        return 1
    sizes: dict[int, int] = {}
    return max(_size(part, root, sizes, set()) for _, part in _parts(root))


def _size(part: Any, root: Mapping[str, Any], sizes: dict[int, int], above: set[int]) -> int:
    """How many subschemas one value meets at this part."""
    if not isinstance(part, Mapping):
        return 1
    key = id(part)
    if key in above:
        raise _Refused("the schema's references lead round in a circle on the same value")
    if key not in sizes:
        inner = [each for name, each in _inner(part) if name.split("/")[0] in _SAME_VALUE]
        if "$ref" in part:
            inner.append(_target(root, part["$ref"]))
        sizes[key] = 1 + sum(_size(each, root, sizes, above | {key}) for each in inner)
    return sizes[key]
