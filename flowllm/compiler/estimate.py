"""What a plan would ask for and cost, read off the plan alone: nothing is rendered, asked or run.

Low is what every run sends: the fixed text of the prompts of steps that always run, with their tools, schemas
and images, counted as their models do, answered at no length. High is what a run can come to: for every request
the longest prompt and the longest answer, at the dearest of the models that may be asked, as often as the regions
around may repeat it. Expected is what `ASSUMED` says. The cache is taken for empty. What cannot be bounded is
unknown (None), never 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from flowllm.compiler.candidates import asked
from flowllm.compiler.explain import alternatives, certain, possible
from flowllm.compiler.fixed_text import fixed_text_of
from flowllm.core.card import Catalog, ModelCard
from flowllm.core.delta import Usage
from flowllm.core.plan import Plan, Step
from flowllm.core.record import record
from flowllm.core.slot import ImageOf, ListOf, Literal, PromptTemplate
from flowllm.pricing.bounds import asked_beside, most
from flowllm.pricing.cost import Pricing
from flowllm.text.tokens import compact_json, count_tokens, counter_for

DATA = 1_000
ANSWER = 500
ITEMS = 10
ASSUMED = (
    f"expected: {DATA:,} tokens of data in each request, answers of {ANSWER}, {ITEMS} items where their number is not "
    "known, one attempt of the first model, and of routes the dearest case"
)
"""What an expected cost rests on, in words."""

Most = int | None
"""How often at most; None: no bound is known."""

SENDING = ("embed", "rerank")
"""Kinds whose requests are as long as the data, and whose answers are not paid by length."""
ASKING = ("call", *SENDING)
ATTEMPTS = 3
"""Attempts of a region `retry` that does not say how many."""


@record
class Estimate:
    """What one node would ask for. Dollars and tokens; None is unknown, ``why`` says of what.

    ``reached``: a rehearsal came here; a plan can always come to what is foreseen. Tokens are the most.
    ``choice`` is the route and its case that alone lead here. ``expected`` lies between low and high.
    """

    node: str
    models: tuple[str, ...] = ()
    calls: int = 0
    most_calls: Most = 0
    input: int | None = 0
    output: int | None = 0
    low: Decimal | None = Decimal(0)
    high: Decimal | None = Decimal(0)
    reached: bool = True
    why: str = ""
    choice: tuple[str, str] = ("", "")
    expected: Decimal | None = Decimal(0)

    def to_data(self) -> dict[str, Any]:
        """As plain data, money as text."""
        return {
            "node": self.node,
            "models": list(self.models),
            "calls": {"low": self.calls, "high": self.most_calls},
            "tokens": {"input": self.input, "output": self.output},
            "cost": {"low": _text(self.low), "expected": _text(self.expected), "high": _text(self.high)},
            "reached": self.reached,
        }


def totalled(rows: list[Estimate]) -> Estimate:
    """The sum of all rows, of a route's cases the most that one comes to; unknown where one of them is."""
    return Estimate(
        "total",
        (),
        sum(row.calls for row in rows),
        _most(rows, lambda row: row.most_calls),
        _most(rows, lambda row: row.input),
        _most(rows, lambda row: row.output),
        total_of([Decimal(0), *(row.low for row in rows)]),
        total_of([Decimal(0), _most(rows, lambda row: row.high)]),
        expected=total_of([Decimal(0), _most(rows, lambda row: row.expected)]),
    )


def _most(rows: list[Estimate], of: Callable[[Estimate], Any]) -> Any:
    """The most that one run comes to: it takes one case of each route."""
    cases: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        cases.setdefault(row.choice, []).append(of(row))
    routes: dict[str, list[Any]] = {}
    for (route, _), values in cases.items():
        routes.setdefault(route, []).append(total_of(values))
    return total_of([_largest(values) for values in routes.values()])


def total_of(values: list[Any]) -> Any:
    """The sum; None where one of them is."""
    return None if None in values else sum(values)


def free(models: tuple[str, ...], price: Pricing) -> bool:
    """Whether every model costs nothing, however much is asked."""
    return {price(model, None).total for model in models} == {Decimal(0)}


def foreseen(plan: Plan, catalog: Catalog, price: Pricing) -> Iterator[Estimate]:
    """One row for each node that can ask a model, in the order of the plan."""
    choices = _choices(plan)
    for node, step, times, groups in asking(plan):
        row = _row(node, step, times, asked(step, groups), _Facts(catalog, price))
        yield replace(row, choice=choices.get(node, row.choice))


def _choices(plan: Plan, prefix: str = "", outer: tuple[str, str] = ("", "")) -> dict[str, tuple[str, str]]:
    """The route and its case that alone lead to a node, by its name."""
    found, own = {}, alternatives(plan)
    for index, step in enumerate(plan.steps):
        route, case = own.get(index, ("", ""))
        choice = (f"{prefix}{route}", case) if route else outer
        found[f"{prefix}{step.id}"] = choice
        if step.body is not None:
            found |= _choices(step.body, f"{prefix}{step.id}/", choice)
    return found


@record
class Times:
    """How often a step is carried out in one run; ``attempts`` alone is how often regions `retry` repeat it.

    ``usual`` is how often, for one attempt of each of these and `ITEMS` items where their number is not known.
    """

    low: int = 1
    high: Most = 1
    attempts: int = 1
    usual: int = 1

    def inside(self, region: Step) -> "Times":
        """The same for a step inside a region."""
        if region.kind == "retry":
            attempts = int(region.params.get("attempts") or ATTEMPTS)
            return Times(self.low, _times(self.high, attempts), self.attempts * attempts, self.usual)
        if region.kind != "map":
            return self
        items = _items(region)
        usual = self.usual * (ITEMS if items is None else items)
        return Times(self.low * (items or 0), _times(self.high, items), self.attempts, usual)


def asking(
    plan: Plan, prefix: str = "", times: Times | None = None, groups: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, Step, Times, Mapping[str, Any]]]:
    """Steps that can ask a model, with node names, how often they do, and the groups of models they see."""
    times, groups = times or Times(), {**(groups or {}), **plan.models}
    sure, can = certain(plan), possible(plan)
    for index in sorted(can):
        step = plan.steps[index]
        own = times if index in sure else replace(times, low=0)
        if step.body is not None:
            yield from asking(step.body, f"{prefix}{step.id}/", own.inside(step), groups)
        elif step.kind in ASKING or step.model or step.models:
            yield f"{prefix}{step.id}", step, own, groups


def _items(region: Step) -> Most:
    """How many items a map has, where the file itself says so."""
    over = region.inputs.get("over")
    items = over.items if isinstance(over, ListOf) else over.value if isinstance(over, Literal) else None
    return len(items) if isinstance(items, list | tuple) else None


@record
class _Facts:
    """What is known of models."""

    catalog: Catalog
    price: Pricing

    def card(self, model: str) -> ModelCard | None:
        return self.catalog.model(model)

    def tokens(self, model: str, step: Step) -> Usage | None:
        """The most that one request can be, with how long the cache is to keep it; None where no bound is known."""
        card = self.card(model)
        output = step.params.get("max_output_tokens") or (card.output if card else None)
        bounded = step.kind not in SENDING and card is not None and card.longest_prompt and output
        if not bounded or card is None:
            return None
        return asked_beside(card, Usage(card.longest_prompt, output, written=dict.fromkeys(_lifetimes(step), 0)))

    def least(self, model: str, step: Step) -> Usage:
        """What one request surely is: what it says whatever is given to it, answered at no length."""
        return asked_beside(self.card(model), Usage(_sent(step, model, sure=True), 0))

    def most(self, model: str, usage: Usage | None) -> Decimal | None:
        """The most that so much can cost."""
        return None if usage is None else most(self.price, model, usage)


def _row(node: str, step: Step, times: Times, models: tuple[str, ...], facts: _Facts) -> Estimate:
    nothing = free(models, facts.price)
    lows = [facts.price(model, facts.least(model, step)).total for model in models]
    longest = [facts.tokens(model, step) for model in models]
    highs = [facts.most(model, usage) for model, usage in zip(models, longest, strict=True)]
    high = Decimal(0) if nothing or times.high == 0 else _times(_largest(highs), times.high)
    low = Decimal(0) if times.low == 0 else _times(_smallest(lows), times.low)
    expected = _usual(step, models, facts)
    return Estimate(
        node,
        models,
        times.low,
        times.high,
        _times(_largest([usage and usage.input for usage in longest]), times.high),
        _times(_largest([usage and usage.output for usage in longest]), times.high),
        low,
        high,
        expected=between(low, Decimal(0) if times.usual == 0 else _times(expected, times.usual), high),
        why="" if high is not None else _why(step, times, models, facts),
    )


def _usual(step: Step, models: tuple[str, ...], facts: _Facts) -> Decimal | None:
    """What one request of the first model costs as `ASSUMED` says; no more than its window and its longest answer."""
    if not models:
        return None
    card = facts.card(models[0])
    longest = step.params.get("max_output_tokens") or (card.output if card else None) or ANSWER
    written = 0 if step.kind in SENDING else min(ANSWER, longest)
    sent = _sent(step, models[0], sure=False) + DATA
    read = min(sent, (card.longest_prompt if card else None) or sent)
    return facts.price(models[0], asked_beside(card, Usage(input=read, output=written))).total


def between(low: Decimal | None, value: Decimal | None, high: Decimal | None) -> Decimal | None:
    """A value within bounds; None where it is not known."""
    if value is None:
        return None
    value = value if low is None else max(low, value)
    return value if high is None else min(value, high)


def _why(step: Step, times: Times, models: tuple[str, ...], facts: _Facts) -> str:
    """Why there is no bound."""
    if not models:
        return "no model is chosen"
    unpriced = [model for model in models if not facts.price(model, None).source]
    if unpriced:
        windows = all((card := facts.card(model)) is not None and card.longest_prompt for model in unpriced)
        return f"no price {'' if windows else 'and no window '}is known for {' and '.join(unpriced)}"
    if times.high is None:
        return "how often it is asked depends on the data"
    if step.kind in SENDING:
        return "how much is sent depends on the data"
    if all(facts.tokens(model, step) for model in models):
        return "how much it searches, reads or makes is not known"
    return "the longest prompt or answer is not known; max_output_tokens bounds the answer"


def _prompts(step: Step) -> Iterable[PromptTemplate]:
    return (value for value in step.inputs.values() if isinstance(value, PromptTemplate))


def _sent(step: Step, model: str, *, sure: bool) -> int:
    """Tokens of a request beside its data, as its model counts them, with its images, its tools and its schema.

    Where it is to be ``sure``, messages that data alone fills are left out, for they may be blank, and so are images
    of which nothing is known.
    """
    turns = [turn for prompt in _prompts(step) for turn in _turns(prompt, sure=sure)]
    shown = list(_images([step.inputs["images"]] if "images" in step.inputs else (), sure=sure))
    if shown:
        turns = (
            [*turns[:-1], {**turns[-1], "content": [*turns[-1]["content"], *shown]}] if turns else [{"content": shown}]
        )
    tools = [tool for tool in step.params.get("tools") or () if isinstance(tool, Mapping)]
    schema = step.params.get("schema")
    asked = counter_for(model).count(compact_json(schema)) if isinstance(schema, Mapping) else 0
    return asked + (count_tokens(turns, model, tools=tools).n if turns or tools else 0)


def _turns(prompt: PromptTemplate, *, sure: bool) -> Iterator[dict[str, Any]]:
    """The messages of a prompt as they stand in ports, with nothing for what is not known."""
    for message in prompt.messages:
        slots = [part.slot for part in message.parts if isinstance(part, ImageOf)]
        text, images = fixed_text_of(message), list(_images(slots, sure=sure))
        if text.strip() or images or not sure:
            yield {"role": message.role, "content": [{"text": text}, *images]}


def _images(slots: Iterable[Any], *, sure: bool) -> Iterator[dict[str, Any]]:
    """Parts of a message for the images of slots; of one that the data brings the size is not known."""
    for slot in slots:
        if isinstance(slot, ListOf):
            yield from _images(slot.items, sure=sure)
        elif isinstance(slot, Literal) and isinstance(slot.value, list | tuple):
            yield from _images(map(Literal, slot.value), sure=sure)
        elif isinstance(slot, Literal):
            yield {"image": slot.value if isinstance(slot.value, Mapping) else {"url": slot.value}}
        elif not sure:
            yield {"image": {}}


def _lifetimes(step: Step) -> set[str]:
    """How long the provider is to keep parts of the prompt."""
    told = [message.prompt_cache for prompt in _prompts(step) for message in prompt.messages]
    told += [tool.get("prompt_cache") or "" for tool in step.params.get("tools") or () if isinstance(tool, Mapping)]
    return set(filter(None, told))


def _largest(values: list[Any]) -> Any:
    return None if None in values or not values else max(values)


def _smallest(values: list[Any]) -> Any:
    return None if None in values or not values else min(values)


def _times(value: Any, times: Most) -> Any:
    return None if value is None or times is None else value * times


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
