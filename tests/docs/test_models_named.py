"""Models that pages, hints, templates and pipelines name can be asked for long: their tables know no end of them."""

import re

import pytest

from flowllm.api import Environment
from tests.docs.blocks import ROOT

PLACES = ("README.md", "docs/tutorial", "docs/how-to", "docs/explanation", "pipelines", "flowllm", "conf")
SUFFIXES = {".md", ".py", ".yaml"}
CATALOG = Environment(project=ROOT).catalog
NAMED = re.compile(
    rf"(?<![\w./-])(?:{'|'.join(map(re.escape, CATALOG.providers))})/[\w.:-]*\w", re.ASCII
)  # a model as it is written
SPOKEN_OF = {"docs/how-to/registry.md"}
"""Pages that speak of names, and advise none of them."""


def files():
    for place in PLACES:
        path = ROOT / place
        yield from [path] if path.is_file() else (one for one in path.rglob("*") if one.suffix in SUFFIXES)


def named():
    found = {}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if name not in SPOKEN_OF:
            for model in NAMED.findall(path.read_text("utf-8")):
                found.setdefault(model, name)
    return {model: name for model, name in found.items() if CATALOG.model(model) is not None}


KNOWN = named()


def test_models_are_found():
    assert {"openai/gpt-5.4-mini", "openai/gpt-6-luna", "openai/text-embedding-3-small"} <= KNOWN.keys()


@pytest.mark.parametrize("model", sorted(KNOWN))
def test_a_model_that_is_named_has_no_end_that_is_known_and_a_price(model):
    card = CATALOG.model(model)
    assert card.deprecated == "", KNOWN[model]
    assert card.prices is not None or CATALOG.providers[model.partition("/")[0]].free, KNOWN[model]
