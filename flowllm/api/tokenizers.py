"""The tokenizers that the entries of models name, and the steps of a plan that count by them.

Runs ask for them: what estimates tokens is imported for those alone whose steps count some.
"""

from typing import TYPE_CHECKING

from flowllm.core.card import Catalog

if TYPE_CHECKING:
    from flowllm.runtime.bind import BoundFrame, BoundStep
    from flowllm.text.tokens import Counter


def counter_of(catalog: Catalog, model: str) -> "Counter | None":
    """What counts by the tokenizer that a model's entry names; None where it names none."""
    provider, _, name = model.partition("/")
    card = catalog.providers[provider].models.get(name) if provider in catalog.providers else None
    if card is None or not card.tokenizer:
        return None
    from flowllm.text.token_files import file_counter

    return file_counter(card, model)


def use_tokenizers(frame: "BoundFrame", catalog: Catalog) -> None:
    """Have the steps that count ``for`` a model count by the tokenizer of its entry."""
    for bound in frame.steps:
        if "for" in bound.step.params:
            _use_tokenizer(bound, catalog)
        if bound.body is not None:
            use_tokenizers(bound.body, catalog)


def _use_tokenizer(bound: "BoundStep", catalog: Catalog) -> None:
    from flowllm.text.counting import Counting

    node = bound.params
    if isinstance(node, Counting) and node.counted_for and (counter := counter_of(catalog, node.counted_for)):
        node.count_with(counter)
