"""docs/reference/models.md: what is known of models, as counts; the models that provider files name, one by one."""

import itertools

from flowllm.api import Environment
from flowllm.api.model_facts import CAPABILITIES, TASKS, listed, models_of
from flowllm.catalog.registry import read_file
from flowllm.cli.models_rows import UNKNOWN, dollars
from tests.docs.blocks import ROOT

MAIN = ("chat", "embed", "rerank", "image", "speech", "transcription", "video")
SHOWN = CAPABILITIES[:12]


def models(head, rows):
    """docs/reference/models.md"""
    catalog = Environment(project=ROOT).catalog
    found = {name: list(models_of(catalog, name)) for name in catalog.providers}
    cards = catalog.providers
    alike = {name: cards[name].registry for name in found if cards[name].registry not in ("", name)}
    found = {name: known for name, known in found.items() if known and name not in alike and not cards[name].local}
    tables = sorted({read_file(path)[0].title for path in (ROOT / "providers/models").glob("*.json")})
    day = max(read_file(path)[0].as_of for path in (ROOT / "providers/models").glob("*.json"))
    text = "# What is known of models\n\n" + head
    text += f"Facts of models are from provider files and from the registry ({', '.join(tables)}, {day}; "
    text += "[how to take another](../how-to/registry.md)). `flowllm models show PROVIDER/NAME` tells all of one, "
    text += "`flowllm models find` looks among all ([how](../how-to/choosing.md)). Entries that hold for one region of "
    text += "a model are not counted here.\n\n## By provider\n\n"
    text += "Of how many models what is known. A model with no day of its end may end all the same. "
    text += f"{', '.join(f'`{name}` has the models of `{other}`' for name, other in alike.items())}.\n\n"
    text += rows(("provider", "models", *MAIN, "others", "window", "price", "day of end"), map(_counted, *_two(found)))
    text += "\n## By capability\n\n"
    text += "Models for chat that are known to do something, and after the stroke those that are known not to; of the "
    text += "rest nothing is known, and `check` is silent about it. Other words are known too: "
    text += f"{', '.join(CAPABILITIES[len(SHOWN) :])}.\n\n"
    text += rows(("provider", "chat", *SHOWN), [row for row in map(_able, *_two(found)) if row[1]])
    text += "\n## Models that provider files name\n\n"
    text += "Tokens, and US dollars for a million of them; an empty cell is unknown.\n\n"
    named = [model for model in listed(catalog) if not cards[model.name.partition("/")[0]].local]
    return text + rows(("model", "context", "max output", "input $", "output $", "can", "ends"), map(_row, named))


def _two(found):
    return list(found), list(found.values())


def _counted(name, known):
    cards = [model.card for model in known]
    tasks = [sum(task in card.tasks for card in cards) or "" for task in MAIN]
    others = sum(not card.tasks & {*MAIN} and bool(card.tasks & {*TASKS}) for card in cards)
    facts = (sum(map(bool, column)) or "" for column in zip(*map(_facts, known), strict=True))
    return f"`{name}`", len(known), *tasks, others or "", *facts


def _facts(model):
    return model.card.window, model.free or model.card.prices, model.card.deprecated


def _able(name, known):
    chat = [model for model in known if "chat" in model.card.tasks]
    answers = ([model.can(word) for model in chat] for word in SHOWN)
    cells = ((told.count(True), told.count(False)) for told in answers)
    return f"`{name}`", len(chat), *(f"{yes} / {no}" if no else yes or "" for yes, no in cells)


def _row(model):
    card = model.card
    prices = (dollars(model, item).removesuffix(UNKNOWN) for item in ("input", "output"))
    can = ", ".join(itertools.islice((word for word in CAPABILITIES if model.can(word)), 8))
    return f"`{model.name}`", card.window or "", card.output or "", *prices, can, card.deprecated
