"""What a shell offers: pipelines, node ids, their fields, models, override keys. Silent when anything is wrong.

Completion must be quick, so a pipeline's file is not parsed: its keys are read off its indentation.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowllm.policies import WRITTEN

if TYPE_CHECKING:
    from flowllm.core.card import ProviderCard

LARGEST = 1024 * 1024
_KEY = r"( *)([A-Za-z_][\w-]*):(?:\s|$)(.*)"
_KIND = r"\bkind:\s*([A-Za-z_]\w*)"
_MODEL_KEYS = ("model", "embedder")


def pipelines(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """YAML files and folders that continue what was typed."""
    with suppress(Exception):
        return sorted(_paths(incomplete))
    return []


def _paths(incomplete: str) -> Iterator[str]:
    folder, _, start = incomplete.rpartition("/")
    shown = f"{folder}/" if "/" in incomplete else ""
    for path in Path(shown or ".").expanduser().iterdir():
        if path.name.startswith(start) and (start.startswith(".") or not path.name.startswith(".")):
            if path.is_dir():
                yield f"{shown}{path.name}/"
            elif path.suffix in (".yaml", ".yml") and not path.name.endswith(".test.yaml"):
                yield f"{shown}{path.name}"


def models(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """``provider/model`` of what is installed."""
    with suppress(Exception):
        return [name for name in _models() if name.startswith(incomplete)]
    return []


def providers(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Providers that are installed."""
    with suppress(Exception):
        return [name for name in _catalog() if name.startswith(incomplete)]
    return []


def overrides(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Words that set something: ``model=``, ``input.words=``, ``nodes.ask.temperature=``."""
    with suppress(Exception):
        return sorted(_overrides(_outline(ctx), incomplete, ctx.params.get("overrides") or []))
    return []


def inputs(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Inputs of the pipeline, as ``-i`` takes them."""
    with suppress(Exception):
        return [f"{name}=" for name in _outline(ctx).inputs if name.startswith(incomplete)]
    return []


def kinds(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Kinds of nodes."""
    with suppress(Exception):
        from flowllm.core.kinds import Kinds

        return [name for name in Kinds().names() if name.startswith(incomplete)]
    return []


def among(*words: str) -> Callable[[typer.Context, list[str], str], list[str]]:
    """Those of fixed words that continue what was typed."""

    def offered(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return offered


def nodes(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Ids of the pipeline's nodes, as addresses begin."""
    with suppress(Exception):
        return [name for name in _outline(ctx).nodes if name.startswith(incomplete)]
    return []


def _outline(ctx: typer.Context) -> "Outline":
    """The pipeline named on the line; an option without its value yet leaves the words unread in ``args``."""
    unread = (word for word in ctx.args if word.endswith((".yaml", ".yml")))
    return Outline.read(str(ctx.params.get("pipeline") or next(unread, "")))


class Outline:
    """The keys of a pipeline's file: top-level ones, inputs, and nodes with their kinds."""

    def __init__(self, text: str) -> None:
        self.top: list[str] = []
        self.inputs: list[str] = []
        self.nodes: dict[str, str] = {}
        self.variables: list[str] = []
        self._inner, self._section = 0, ""
        for line in text.splitlines():
            self._read_line(line)

    @classmethod
    def read(cls, file: str) -> "Outline":
        """The outline of a file, empty when it cannot be read."""
        path = Path(file).expanduser()
        usable = path.is_file() and path.stat().st_size <= LARGEST
        return cls(path.read_text("utf-8", "replace") if usable else "")

    def _read_line(self, line: str) -> None:
        found = re.match(_KEY, line)
        if found is None:
            return
        depth, key, rest = len(found[1]), found[2], found[3]
        if depth == 0:
            self.top.append(key)
            self._section, self._inner = key, 0
            for inner, value in _flow_keys(rest):
                self._take(inner, value)
            return
        self._inner = self._inner or depth
        if depth == self._inner:
            self._take(key, rest)
        elif key == "kind" and self._section == "nodes" and self.nodes:
            last = next(reversed(self.nodes))
            self.nodes[last] = self.nodes[last] or rest.strip()

    def _take(self, key: str, rest: str) -> None:
        if self._section == "inputs":
            self.inputs.append(key)
        elif self._section == "vars":
            self.variables.append(key)
        elif self._section == "nodes":
            kind = re.search(_KIND, rest)
            self.nodes[key] = kind[1] if kind else ""


def _flow_keys(text: str) -> Iterator[tuple[str, str]]:
    """The keys of ``{a: 1, b: {c: 2}}`` on one line, each with the text up to the next."""
    if not text.startswith("{"):
        return
    starts, depth = [], 0
    for place, character in enumerate(text):
        depth += (character in "{[") - (character in "}]")
        if depth == 1 and character in "{,":
            starts.append(place + 1)
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        found = re.match(_KEY, text[start:end])
        if found is not None:
            yield found[2], found[3]


def _overrides(outline: Outline, incomplete: str, before: list[str]) -> Iterator[str]:
    key, equals, value = incomplete.partition("=")
    words = [word for word in before if word != "="]
    if words and "=" not in words[-1] and not words[-1].startswith("~") and not equals:
        # bash takes `=` for a word of its own and asks for what stands behind it.
        yield from (word for word in _values(outline, words[-1]) if word.startswith(incomplete))
    elif equals:
        yield from (f"{key}={word}" for word in _values(outline, key) if word.startswith(value))
    else:
        yield from (word for word in _keys(outline, incomplete) if word.startswith(incomplete))


def _values(outline: Outline, key: str) -> Iterator[str]:
    last = key.rpartition(".")[2]
    if last in _MODEL_KEYS:
        yield from _models()
    elif last == "print":
        yield from ("null",)


def _keys(outline: Outline, incomplete: str) -> Iterator[str]:
    parts = incomplete.split(".")
    if parts[0] == "nodes" and len(parts) > 2:  # noqa: PLR2004  nodes.ID.FIELD
        yield from (f"nodes.{parts[1]}.{field}=" for field in _fields(outline.nodes.get(parts[1], "")))
        return
    if parts[0] == "providers" and len(parts) > 1:
        yield from (f"providers.{name}.base_url=" for name in _catalog())
        return
    yield from (f"{key}=" for key in outline.top if key in (*_MODEL_KEYS, "print"))
    yield from (f"input.{name}=" for name in outline.inputs)
    yield from (f"vars.{name}=" for name in outline.variables)
    yield from (f"nodes.{name}." for name in outline.nodes)
    yield "providers."


def _fields(kind: str) -> list[str]:
    from flowllm.core.kinds import Kinds

    found = Kinds().find(kind)
    if found is None:
        return []
    own = [info.alias or name for name, info in found.model_fields.items()]
    return [*own, "when_failed", *(("model", *WRITTEN) if found.calls else ("timeout",))]


def _models() -> list[str]:
    catalog = _catalog()
    return sorted(f"{name}/{model}" for name, card in catalog.items() for model in (card.models or [""]))


def _catalog() -> "Mapping[str, ProviderCard]":
    from flowllm.cli.opening import here

    return here().catalog.providers
