"""Writes the reference pages that follow from the code: ``python -m tests.docs.generate``.

`PAGES` gives for each page the function that makes its text. Examples of failures are really run:
what a page shows is what the command printed.
"""

import importlib
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_args

import typer
from pydantic import BaseModel

from flowllm.api.providers import FEATURES, TASKS
from flowllm.backends import wire
from flowllm.backends.mock_rules import MockError, MockRule, PathMatch
from flowllm.catalog.entries import (
    AuthEntry,
    LimitEntry,
    ModelEntry,
    PriceEntry,
    ProviderEntry,
    SettingEntry,
    VersionEntry,
)
from flowllm.cli.main import GROUPS, SINGLE, application
from flowllm.cli.options import COMMON
from flowllm.cli.schema import pipeline_schema
from flowllm.config import load_yaml
from flowllm.core.errors import CODES
from flowllm.core.kinds import Kinds
from flowllm.core.node import Holds
from flowllm.policies import SETTABLE
from flowllm.policies.chain import order, policy_model
from tests.docs.blocks import ROOT
from tests.docs.evidence import accepted, recorded, shipped, tick
from tests.docs.failures import read_examples, shown
from tests.docs.models import models as models_page

NO_DEFINITIONS: Mapping = {}
CLOUDS = {"aws": "AWS", "azure": "Azure", "google": "Google Cloud"}
HEAD = "<!-- Written by `python -m tests.docs.generate`; a test compares it with the code. -->\n\n"
HELD = {Holds.SLOT: "slot", Holds.TEMPLATE: "template", Holds.PROMPT: "prompt", Holds.LATE: "mapping of slots"}
ANYWHERE = {
    "in": "a mapping of input ports to slots",
    "after": "nodes that have to be done before, for side effects",
    "timeout": "how long the node may take, with all that is in it",
    "when_failed": "output ports to slots that hold when the node fails",
}
EACH = {
    "each": "a slot with a list: the node runs once for each item",
    "as": "what an item is called, `item` where it is not said",
    "at_once": "items at work together, 8 where it is not said",
    "keep_going": "leave failed items out instead of failing with the first",
}


def kinds():
    """docs/reference/kinds.md"""
    found = Kinds()
    names = [name for name in found.names() if found.find(name).__module__.startswith("flowllm.nodes.")]
    text = "# Kinds of nodes\n\n" + HEAD
    text += "Parameters are configuration unless their type says slot, template or prompt "
    text += (
        "([what these are](language.md#slots-and-templates)). `flowllm schema --kind NAME` prints the JSON Schema.\n\n"
    )
    text += rows(
        ("kind", "what it does"),
        [(f"[{n}](#{n})", found.find(n).summary or prose(found.find(n)).partition(". ")[0]) for n in names],
    )
    text += "\n## Every node\n\n" + rows(("field", "what it is"), [(f"`{k}`", v) for k, v in ANYWHERE.items()])
    text += "\nNodes that are no region and no route also take these:\n\n"
    text += rows(("field", "what it is"), [(f"`{k}`", v) for k, v in EACH.items()])
    text += "\nKinds that ask a model (call, embed, rerank) also take `model` and [policies](policies.md).\n"
    return text + "".join(_kind(name, found.find(name)) for name in names)


def _kind(name, kind):
    text = f"\n## {name}\n\n{prose(kind)}\n\n"
    if kind.control in ("retry", "cache", "map"):
        text += "A region: it owns the nodes that `around` lists, and those that listed regions own.\n\n"
    ports = [(f"`{port}`", in_words(p.schema), "yes" if p.required else "no") for port, p in kind.input_ports().items()]
    if ports:
        text += "Input ports, given with `in`:\n\n" + rows(("port", "type", "required"), ports) + "\n"
    elif kind.open_inputs:
        text += "`in` takes any names.\n\n"
    fields = list(_fields(kind))
    if fields:
        text += "Parameters:\n\n" + rows(("parameter", "type", "default", "what it is"), fields) + "\n"
    asked = [" or ".join(f"`{word}`" for word in must.split("|")) for must in kind.must]
    if asked:
        text += f"Has to be written: {', '.join(asked)}.\n\n"
    if kind.inner_ports or name == "map":
        inner = [f"`{port}`" for port in kind.inner_ports] + (["the `as` name"] if name == "map" else [])
        text += f"Read from inside: {', '.join(inner)}.\n\n"
    return text + "Output ports:" + _outputs(name, kind)


def _outputs(name, kind):
    if name == "pipeline":
        return " the outputs of the pipeline that `use` names.\n"
    node = kind(**({"schema": True, "choices": ("a", "b")} if name == "call" else {}))
    ports = {port: in_words(schema) for port, schema in node.output_ports({}, {}).items()}
    if name == "call":
        ports |= {"value": "as the schema says; only with `schema`", "choice": "one of `choices`; only with these"}
        ports["logprobs"] = "list of {token, logprob, top}, or null; only with `logprobs`"
    return "\n\n" + rows(("port", "type"), [(f"`{port}`", text) for port, text in ports.items()])


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    schema = model.model_json_schema(by_alias=True)
    for name, info in model.model_fields.items():
        word = info.alias or name
        held = next((HELD[m] for m in info.metadata if isinstance(m, Holds)), None)
        kind = held or in_words(schema["properties"][word], schema.get("$defs", {}))
        yield f"`{word}`", kind, _default(info), info.description or ""


def _default(info):
    value = info.get_default(call_default_factory=True)
    if info.is_required():
        return "required"
    if value is None or value in ((), {}) or isinstance(value, BaseModel | frozenset):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def in_words(schema, defs: Mapping = NO_DEFINITIONS):
    """A JSON Schema in a few words."""
    if not isinstance(schema, Mapping) or not schema:
        return "anything"
    if "$ref" in schema:
        return in_words(defs.get(schema["$ref"].rpartition("/")[2], {}), defs)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        parts = [in_words(part, defs) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts)).replace("number, from 0 or string", "duration")
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        inner = in_words(schema.get("items", {}), defs)
        return "list" if inner == "anything" else f"list of {inner}"
    return {"object": "mapping"}.get(kind, kind) + _bounds(schema)


def _bounds(schema):
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum")
    above = "above" if "exclusiveMinimum" in schema else "from"
    words = [f"{above} {low}"] if low is not None else []
    words += [f"to {high}"] if high is not None else []
    return f", {' '.join(words)}" if words else ""


def prose(documented):
    """A docstring as one paragraph of Markdown."""
    return " ".join((documented.__doc__ or "").split()).replace("``", "`")


def rows(head, body):
    """A table."""
    lines = [head, ["---"] * len(head), *body]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def policies():
    """docs/reference/policies.md"""
    text = "# Policies\n\n" + HEAD
    text += "How a call is carried out: fields of a node that asks a model, or defaults for all of them under "
    text += "`policies:` at the top. A value is a mapping of parameters, or the main parameter alone "
    text += "(`timeout: 45s`), or `true`, or `false` to switch it off. Durations are seconds, or `500ms`, `45s`, "
    text += "`5m`, `12h`, `7d`.\n\nThis is the order, outermost first; `flowllm plan` shows it for each call. "
    text += "`when_failed` is the node's own and no part of it.\n"
    for name in order():
        model = policy_model(name)
        text += f"\n## {name}\n\n"
        text += prose(model) + "\n\n"
        if not getattr(model, "available", True):
            text += "Not available yet: its parameters are checked, and a needed call that uses it is refused.\n\n"
        fields = [row[:3] for row in _fields(model)] if name in SETTABLE else []
        if fields:
            text += rows(("parameter", "type", "default"), fields)
            if model.shorthand:
                text += f"\nMain parameter: `{model.shorthand}`, so `{name}: VALUE` is enough.\n"
        else:
            text += "It takes no parameters and is switched on by itself.\n"
    return text


def providers():
    """docs/reference/providers.md"""
    text = "# Providers\n\n" + HEAD
    text += "A provider is one YAML file under `providers/` of the project, or one that came with flowllm; the "
    text += "project's wins. [How to write one](../how-to/own-provider.md).\n\n## Shipped\n\n"
    shipped = []
    for file in sorted((ROOT / "providers").glob("*.yaml")):
        data, _ = load_yaml(file.read_text("utf-8"), file.name)
        auth = data.get("auth") or {}
        minted = f"credentials of {CLOUDS[auth['scheme']]}" if auth.get("scheme") in CLOUDS else ""
        key = ", ".join(filter(None, (_variables(auth), minted))) or "none"
        said = {"base_url": {"env": data.get("base_url_env")}} if data.get("base_url_env") else {}
        said |= data.get("settings") or {}
        settings = "; ".join(": ".join(filter(None, (f"`{name}`", _variables(one)))) for name, one in said.items())
        models = ", ".join(f"`{name}`" for name in data.get("models") or ()) or "any name"
        shipped.append((f"`{file.stem}`", data.get("base_url") or "", key, settings, models))
    text += rows(("provider", "address", "key", "settings", "listed models"), shipped)
    text += "\nA model that is not listed works where the provider allows it; its price and window are then "
    text += "unknown. Prices are US dollars per million tokens.\n" + _known()
    for title, model in (
        ("The file", ProviderEntry),
        ("settings", SettingEntry),
        ("auth", AuthEntry),
        ("limits: one", LimitEntry),
        ("versions: one", VersionEntry),
        ("models", ModelEntry),
        ("price", PriceEntry),
        *((f"quirks of {name}", quirks) for name, quirks in _wires()),
    ):
        text += f"\n## {title}\n\n{prose(model)}\n\n"
        text += rows(("field", "type", "default"), [row[:3] for row in _fields(model)])
    text += "\n## mock\n\n`mock/echo` answers with the last user message. Other `mock/NAME` models answer by rules "
    text += "(`--mock FILE`, or `Environment(mock=[...])`): the first one that matches.\n"
    for title, model in (("A rule", MockRule), ("error", MockError), ("match by path", PathMatch)):
        text += f"\n### {title}\n\n{prose(model)}\n\n"
        text += rows(("field", "type", "default"), [row[:3] for row in _fields(model)])
    return text


def _known():
    """What providers are known for, each claim with its evidence."""
    cards = {name: card for name, card in shipped().items() if card.wire and not card.local}
    recordings, types = recorded(), accepted()
    columns = [(task, task) for task in TASKS]
    columns += [("embed" if word == "dimensions" else "chat", word) for word in FEATURES]
    body = [
        (f"`{name}`", *(tick(card, task, word, recordings, types) for task, word in columns))
        for name, card in cards.items()
    ]
    cells = Counter(cell.partition(" ")[0] for row in body for cell in row[1:])
    text = "\n## What they are known for\n\n"
    text += "*recorded* counts answers of this provider, in the format that its file names, that were recorded and "
    text += "decode to what they must. *types* counts requests that the types of the vendor's own package accept. "
    text += "*documented* has no more than the provider's pages or general knowledge behind it. *no* is known not to "
    text += "be there; of an empty cell nothing is known. A model may do less than its provider. "
    text += f"{cells['recorded']} cells are recorded, {cells['types']} stand on types, {cells['documented']} on "
    text += "documentation alone.\n\n"
    text += rows(("provider", *(word for _, word in columns)), body)
    limits = [
        (f"`{name}`", word, f"{value:,}", f"[source]({source})")
        for name, card in cards.items()
        for word, (value, source) in card.limits.items()
    ]
    text += "\n## Limits\n\nWhere a page of the provider names them.\n\n"
    text += rows(("provider", "at most", "number", "source"), limits)
    pages = [
        (f"`{name}`", card.title, *(f"[{word}]({url})" if url else "" for word, url in _pages(card)), card.checked)
        for name, card in cards.items()
    ]
    return text + "\n## Pages\n\n" + rows(("provider", "name", "docs", "status", "pricing", "checked"), pages)


def _pages(card):
    return (("docs", card.docs), ("status", card.status), ("pricing", card.pricing))


def _variables(said):
    """The variables that a part of a provider file names."""
    env = (said or {}).get("env") or []
    return ", ".join(f"`{name}`" for name in ([env] if isinstance(env, str) else env))


def _wires():
    """The formats by name, each with the vocabulary of its quirks."""
    for found in pkgutil.iter_modules(wire.__path__):
        module = importlib.import_module(f"{wire.__name__}.{found.name}")
        if hasattr(module, "Wire"):
            yield found.name, module.Quirks
            yield from ((f"{found.name}: {name}", inner) for name, inner in _inside(module.Quirks))


def _inside(model, way=""):
    """The models that stand in the fields of a model, with the way to them."""
    for name, info in model.model_fields.items():
        for inner in (info.annotation, *get_args(info.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield f"{way}{name}", inner
                yield from _inside(inner, f"{way}{name}.")


def commands():
    """docs/reference/commands.md"""
    tree = typer.main.get_command(application())
    text = "# Commands\n\n" + HEAD
    text += "stdout is data, stderr is everything else. [Exit codes](exit-codes.md). "
    text += "`flowllm COMMAND --help` prints the same.\n\n## Every command\n\n"
    check = tree.commands["check"].params
    text += rows(("option", "what it does"), [_option(p) for p in check if p.name in COMMON])
    for name in SINGLE:
        text += _command(f"flowllm {name}", tree.commands[name], 2)
    for group in GROUPS:
        text += f"\n## flowllm {group}\n"
        for name, command in tree.commands[group].commands.items():
            text += _command(f"flowllm {group} {name}", command, 3)
    later = ", ".join(f"`{name}`" for name, command in tree.commands.items() if command.hidden)
    return text + f"\n## Not available yet\n\n{later}: known names that end with 2 and say so.\n"


def _command(path, command, level):
    words = [f"[{p.metavar}]" if not p.required else p.metavar for p in command.params if not _is_option(p)]
    text = f"\n{'#' * level} {path}\n\n{command.help}\n\n```text\n{' '.join([path, *words, '[OPTIONS]'])}\n```\n"
    own = [p for p in command.params if p.name not in COMMON]
    if own:
        cells = [_option(p) if _is_option(p) else (f"`{p.metavar}`", p.help) for p in own]
        text += "\n" + rows(("argument or option", "what it does"), cells)
    return text


def _is_option(parameter):
    return parameter.opts[0].startswith("-")


def _option(parameter):
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    value = f" `{parameter.metavar}`" if parameter.metavar else ""
    default = f" Default: `{parameter.default}`." if isinstance(parameter.default, str) else ""
    return names + value, f"{parameter.help}{default}"


def errors():
    """docs/reference/errors.md"""
    text = "# Errors\n\n" + HEAD
    text += "Every finding has a stable word. `flowllm check` shows all of a file at once; what follows from another "
    text += "one is not shown. *Repeated* says that the policy `retry` sends the request again. The outputs below are "
    text += "real: each example is run when this page is written and compared in the tests.\n\n"
    text += rows(("code", "meaning", "severity", "repeated"), [_row(code) for code in CODES.values()])
    for name, example in read_examples().items():
        text += f"\n## {name}\n\n{CODES[name].meaning[:1].upper()}{CODES[name].meaning[1:]}.\n\n"
        text += f"{example['because']}\n" if "because" in example else shown(name, example)
    return text


def _row(code):
    repeated = ("yes" if code.attempts is None else f"up to {code.attempts} attempts") if code.retryable else ""
    return f"[{code.name}](#{code.name})", code.meaning, code.severity, repeated


def schema():
    """docs/schema/pipeline.json"""
    return json.dumps(pipeline_schema(Kinds()), ensure_ascii=False, indent=1) + "\n"


def models():
    """docs/reference/models.md"""
    return models_page(HEAD, rows)


PAGES = {
    "docs/reference/kinds.md": kinds,
    "docs/reference/policies.md": policies,
    "docs/reference/providers.md": providers,
    "docs/reference/models.md": models,
    "docs/reference/commands.md": commands,
    "docs/reference/errors.md": errors,
    "docs/schema/pipeline.json": schema,
}


def main():
    """Write every page."""
    for page, make in PAGES.items():
        target = ROOT / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(make(), "utf-8")
        sys.stdout.write(f"wrote {page}\n")


if __name__ == "__main__":
    main()
