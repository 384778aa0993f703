"""How many tokens a text or a conversation is for a model, without asking anybody.

Exact where the model's entry in its provider file names a tokenizer (``tokenizer: FILE``), else an estimate by the
model's family. `flowllm.api.probing.count_tokens` asks the provider instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from flowllm.api.environment import Environment
from flowllm.api.tokenizers import counter_of
from flowllm.core.card import Catalog
from flowllm.text.tokens import LARGE, Count, count_tokens

Content = str | Sequence[Mapping[str, Any]]
"""A text, or messages as they stand in ports."""


def count(
    content: Content,
    model: str | None = None,
    *,
    tools: Iterable[Mapping[str, Any]] = (),
    environment: Environment | None = None,
) -> Count:
    """The tokens, and whether they are exact, of what a model named ``provider/name`` would read.

    Messages and tools are exact for a model of this machine that writes, by its chat template, and for no other: what
    a provider writes around them is not known. Raises `SetupError` for a tokenizer that cannot be used,
    `PipelineInvalid` for a broken provider file.
    """
    catalog = (environment or Environment()).catalog if model else None
    tools = tuple(tools)
    whole = _whole(catalog, model, content, tools) if catalog and model and not isinstance(content, str) else None
    if whole is not None:
        return Count(whole, exact=True)
    counter = counter_of(catalog, model) if catalog and model else None
    return count_tokens(content, model, tools=tools, counter=counter)


def _whole(
    catalog: Catalog, model: str, messages: Sequence[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]]
) -> int | None:
    """The tokens of the prompt that a model of this machine would read; None for other models, and with images."""
    card = catalog.model(model)
    if card is None or card.foresight is None:
        return None
    from flowllm.core.request import Chat, Tool, message_from_data

    try:
        offered = [Tool(tool["name"], tool.get("description", ""), tool.get("parameters", {})) for tool in tools]
        request = Chat(model, tuple(map(message_from_data, messages)), tools=tuple(offered))
    except (KeyError, TypeError):  # these are none that could be sent, and have their words to count
        return None
    return card.foresight.tokens(request)


async def acount(
    content: Content,
    model: str | None = None,
    *,
    tools: Iterable[Mapping[str, Any]] = (),
    environment: Environment | None = None,
) -> Count:
    """The same, in a thread where there is much to count, or a model whose provider file and tokenizer are read."""
    import asyncio

    work = partial(count, content, model, tools=tools, environment=environment)
    small = model is None and isinstance(content, str) and len(content) <= LARGE
    return work() if small else await asyncio.to_thread(work)
