"""Why no model fits a need: how many models meet each of its conditions alone, and which one is the strictest."""

from collections import Counter
from typing import Any

from flowllm.api.environment import Environment
from flowllm.api.model_choice import answers_of, is_meant, is_past
from flowllm.api.model_facts import known_models
from flowllm.api.model_need import Need, read_need
from flowllm.core.record import record

PRESENT = "a day of its end that is not past"


@record
class Excluded:
    """``among`` are the models that were looked at, ``met`` how many of them meet each condition alone.

    The strictest condition is the first.
    """

    among: int
    met: tuple[tuple[str, int], ...]

    @property
    def sentence(self) -> str:
        """In words, what leaves none."""
        if not self.met:
            return "no model is known there"
        condition, number = self.met[0]
        if not number:
            return f"none of {self.among:,} models is known to have {condition}"
        each = ", ".join(f"{name} {count:,}" for name, count in self.met)
        return f"no model has all of it; of {self.among:,} models, each alone is met by: {each}"

    def to_data(self) -> dict[str, Any]:
        """As JSON."""
        met = [{"condition": condition, "models": number} for condition, number in self.met]
        return {"among": self.among, "met": met}


def excluded(environment: Environment, need: Need) -> Excluded:
    """How many models meet each condition of a need alone; unknown counts as met only where the need keeps it."""
    wanted, among, met = read_need(environment, need), 0, Counter[str]()
    words = {name: f"{name} of at least {least:,} tokens" for name, least in wanted.least}
    words |= {f"{item} price": f"a price of {item} of at most ${most:f} a million" for item, most in wanted.most}
    conditions = [f"the task {wanted.task}", *(words.get(name, name) for name in wanted.names())]
    conditions += [] if need.deprecated else [PRESENT]
    for model in known_models(environment.catalog, need.provider, every=need.every):
        if model.card is None:
            continue
        among += 1
        met[conditions[0]] += wanted.task in model.card.tasks and is_meant(environment, model, wanted.task)
        met[PRESENT] += not is_past(model, environment.day)
        for name, answer in answers_of(model, model.card, wanted).items():
            met[words.get(name, name)] += bool(answer) or (answer is None and need.unknown)
    return Excluded(among, tuple(sorted(((one, met[one]) for one in conditions if among), key=lambda told: told[1])))
