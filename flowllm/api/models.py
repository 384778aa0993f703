"""Models from Python: ``flowllm.models``. What is known of them, which one suits a need, what a usage costs.

    from flowllm import models

    models.show("openai/gpt-5.4-mini").can("tools")
    models.find(models.Need(supports=["vision", "tools"], context=200_000, max_input_price="1"))
    models.price("openai/gpt-5.4-mini", {"input": 300_000, "output": 1_000}).cost.total

Every function takes an `Environment`; without one it is that of the working folder. Nothing is asked of a network,
and a provider's part of the registry is read at the first question about it. Raises `UsageError` for unknown names.
"""

import builtins
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowllm.api.environment import Environment
from flowllm.api.model_bill import Bill, bill, usage_of_mapping
from flowllm.api.model_choice import Match, Recommended, first_of
from flowllm.api.model_choice import find as _find
from flowllm.api.model_choice import recommend as _recommend
from flowllm.api.model_excluded import Excluded
from flowllm.api.model_excluded import excluded as _excluded
from flowllm.api.model_facts import Model, known_models
from flowllm.api.model_facts import listed as _listed
from flowllm.api.model_facts import show as _show
from flowllm.api.model_need import Need
from flowllm.core.delta import Usage
from flowllm.core.errors import UsageError
from flowllm.core.record import record

__all__ = [
    "Bill", "Compared", "Excluded", "Match", "Model", "Need", "Recommended", "compare", "excluded", "find", "list",
    "price", "recommend", "show",
]  # fmt: skip


def _here(environment: Environment | None) -> Environment:
    from flowllm.config import project_of

    return environment or Environment(project=project_of(Path.cwd() / "pipeline.yaml"))


def list(  # noqa: A001  the name of the command
    words: Sequence[str] | str = (), *, provider: str = "", every: bool = False, environment: Environment | None = None
) -> tuple[Model, ...]:
    """Models whose names hold all words; without words and provider those that provider files name.

    ``every``: also of providers that have no file, which no pipeline can ask.
    """
    catalog = _here(environment).catalog
    said = [word.lower() for word in ([words] if isinstance(words, str) else words)]
    models = known_models(catalog, provider, every=every) if said or provider or every else _listed(catalog)
    return tuple(model for model in models if all(word in model.name.lower() for word in said))


def show(name: str, *, environment: Environment | None = None) -> Model:
    """All that is known of ``provider/model``."""
    return _show(_here(environment), name)


def find(need: Need, *, limit: int | None = None, environment: Environment | None = None) -> tuple[Match, ...]:
    """The models that fit, the cheapest first; what is not known never counts as fitting."""
    return first_of(_find(_here(environment), need), limit)


def recommend(need: Need, *, limit: int | None = 5, environment: Environment | None = None) -> tuple[Recommended, ...]:
    """The models that fit, the best first, each with the reasons for its score."""
    return first_of(_recommend(_here(environment), need), limit)


def excluded(need: Need, *, environment: Environment | None = None) -> Excluded:
    """Why no model fits: how many meet each condition of a need alone, the strictest first."""
    return _excluded(_here(environment), need)


@record
class Compared:
    """A model among others; ``bill`` says what a usage costs with it, where one was given."""

    model: Model
    bill: Bill | None = None


def compare(
    names: Sequence[str], usage: Usage | Mapping[str, Any] | None = None, *, environment: Environment | None = None
) -> tuple[Compared, ...]:
    """Models side by side, and with a usage what it costs with each."""
    there = _here(environment)
    models = [_show(there, name) for name in dict.fromkeys(names)]
    if usage is None:
        return tuple(map(Compared, models))
    return tuple(Compared(model, price(model.name, usage, environment=there)) for model in models)


def price(name: str, usage: Usage | Mapping[str, Any], *, environment: Environment | None = None) -> Bill:
    """What a usage costs, line by line. ``usage`` maps the words of the command to counts, or is a `Usage`.

    ``cost.total`` is None where a price or a count is not known. Amounts are exact US dollars.
    """
    if not isinstance(usage, Usage) and all(value is None for value in usage.values()):
        raise UsageError("bad_usage", "no usage is told", hint='{"input": 300000, "output": 1000}')
    counted, at = (usage, None) if isinstance(usage, Usage) else usage_of_mapping(usage)
    return bill(_here(environment), name, counted, at)


def __dir__() -> builtins.list[str]:
    """Names that completion offers."""
    return sorted(__all__)
