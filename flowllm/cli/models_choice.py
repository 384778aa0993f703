"""`flowllm models find`, `compare`, `recommend`: which model suits."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.models_rows import HEAD, UNKNOWN, Names, cells, dollars, number, word
from flowllm.cli.options import Command
from flowllm.cli.scores import score_rows
from flowllm.core.record import record
from flowllm.text.wording import shortened

if TYPE_CHECKING:
    from flowllm.api.model_choice import Match
    from flowllm.api.model_need import Need
    from flowllm.api.models import Compared
    from flowllm.cli.render import Screen

DIFFERS = "*"
_WEIGHT = re.compile(r"\d{1,2}", re.ASCII)
UNMEASURED = "scores tell what was asked for, prices, windows and keys; none tells how good the answers are"


@record(kw_only=True)
class Choosing(Command):
    """What a model must have."""

    supports: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="Capabilities, with commas: tools,vision,json_schema.")
    ] = None
    context: Annotated[str, typer.Option(metavar="TOKENS", help="It reads at least so many: 200000, 200k.")] = "0"
    output: Annotated[str, typer.Option(metavar="TOKENS", help="It writes at least so many: 8000, 8k.")] = "0"
    max_input_price: Annotated[
        str | None, typer.Option(metavar="DOLLARS", help="At most for a million tokens that it reads.")
    ] = None
    max_output_price: Annotated[
        str | None, typer.Option(metavar="DOLLARS", help="At most for a million tokens that it writes.")
    ] = None
    task: Annotated[str, typer.Option(metavar="TASK", help="What it is made for: chat, embed, rerank, image.")] = "chat"
    provider: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER", help="Only models of one provider.", autocompletion=completion.providers),
    ] = None
    unknown: Annotated[bool, typer.Option("--unknown", help="Also models of which not all of this is known.")] = False
    deprecated: Annotated[bool, typer.Option("--deprecated", help="Also models whose last day is past.")] = False
    every: Annotated[
        bool,
        typer.Option("--all", help="Also models of providers that have no file, and with `find` forms of a model."),
    ] = False

    def need(self) -> "Need":
        """The options as a need."""
        from flowllm.api.model_need import Need

        return Need(
            supports=self.supports or (),
            context=self.context,
            output=self.output,
            max_input_price=self.max_input_price,
            max_output_price=self.max_output_price,
            task=self.task,
            provider=self.provider or "",
            unknown=self.unknown,
            deprecated=self.deprecated,
            every=self.every,
            weigh=self.weights(),
        )

    def weights(self) -> dict[str, int]:
        """How much each reason counts; all the same."""
        return {}

    def why_none(self, found: "Sequence[object]") -> dict[str, Any]:
        """For JSON: what each condition alone leaves, where all of them leave none."""
        from flowllm.api import models
        from flowllm.cli.opening import here

        return {} if found else {"excluded": models.excluded(self.need(), environment=here()).to_data()}

    def say_why(self, screen: "Screen") -> None:
        """Say which condition leaves none."""
        from flowllm.api import models
        from flowllm.cli.opening import here

        said = models.excluded(self.need(), environment=here()).sentence
        screen.note(f"no model is known that fits{'' if self.unknown else '; --unknown shows those that may'}")
        screen.note(said)


@record(kw_only=True)
class FindModels(Choosing):
    """Find models by what they can do and cost, the cheapest first. What is not known never counts as fitting."""

    limit: Annotated[int, typer.Option(min=0, metavar="N", help="The most models; 0 is all.")] = 20

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a model."""
        from flowllm.api import models
        from flowllm.cli.opening import here

        found = models.find(self.need(), environment=here())
        shown = found[: self.limit or None]
        if self.as_json:
            screen.json({"total": len(found), "models": [one.to_data() for one in shown], **self.why_none(found)})
            return 0
        if not found:
            self.say_why(screen)
            return 0
        unknown = any(one.unknown for one in shown)
        head = (*HEAD, "unknown") if unknown else HEAD
        screen.table([head, *(_found(one, unknown=unknown) for one in shown)], right=frozenset({2, 3, 4, 5}))
        screen.note(f"{len(shown)} of {len(found):,} models that fit")
        return 0


def _found(one: "Match", *, unknown: bool) -> tuple[str, ...]:
    row = cells(one.model)
    return (*row, ", ".join(one.unknown)) if unknown else row


@record(kw_only=True)
class RecommendModels(Choosing):
    """Say which models suit a need best, and why: the score is the sum of the points of its reasons."""

    limit: Annotated[int, typer.Option(min=0, metavar="N", help="The most models; 0 is all.")] = 5
    weigh: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Times points count: price=3,context=0; also needs, place, file, end."),
    ] = None

    def weights(self) -> dict[str, int]:
        """What `--weigh` says."""
        return {} if self.weigh is None else dict(_weights(self.weigh))

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a model, the best first."""
        from flowllm.api import models
        from flowllm.cli.opening import here

        found = models.recommend(self.need(), limit=self.limit or None, environment=here())
        if self.as_json:
            screen.json({"models": [one.to_data() for one in found], **self.why_none(found)})
        elif found:
            screen.table([*score_rows("model", ((one.model.name, one) for one in found))], right=frozenset({1}))
            screen.note(UNMEASURED)
        else:
            self.say_why(screen)
        return 0


def _weights(said: str) -> Iterator[tuple[str, int]]:
    """Words and how many times they count, each once."""
    from flowllm.core.errors import UsageError

    told = set()
    for part in said.split(","):
        word, _, times = map(str.strip, part.lower().partition("="))
        if not _WEIGHT.fullmatch(times):
            message = f"a weight is a word and a whole number from 0 to 99, not `{shortened(part)}`"
            raise UsageError("bad_value", message, hint=f"--weigh {word or 'price'}=2")
        if word in told:
            raise UsageError("bad_value", f"`{shortened(word)}` is weighed twice", hint=f"--weigh {word}={times}")
        told.add(word)
        yield word, int(times)


@record(kw_only=True)
class CompareModels(Command):
    """Show models side by side; rows in which they differ begin with `*`, and `?` is unknown."""

    models: Names
    usage: Annotated[
        str | None, typer.Option(metavar="WORDS", help="What it would cost: input=300000,output=1000.")
    ] = None

    def carry_out(self, screen: "Screen") -> int:
        """Print a column a model."""
        from flowllm.api import models
        from flowllm.api.model_bill import usage_of_words
        from flowllm.cli.opening import here
        from flowllm.core.errors import UsageError
        from flowllm.core.shell_line import shell_line

        usage = usage_of_words(self.usage.split(","))[0] if self.usage is not None else None
        if len(set(self.models)) == 1:
            hint = shell_line("flowllm", "models", "compare", self.models[0], "MODEL")
            raise UsageError("bad_usage", "there is one model alone, and nothing to compare it with", hint=hint)
        found = models.compare(self.models, usage, environment=here())
        rows = list(_compared(found))
        differ = [name for name, *told in rows if len(set(told)) > 1]
        if self.as_json:
            screen.json({"models": [_as_data(one) for one in found], "differ": differ})
        else:
            head = ("", "", *(one.model.name for one in found))
            screen.table([head, *((DIFFERS if row[0] in differ else "", *row) for row in rows)])
        return 0


def _as_data(one: "Compared") -> dict[str, Any]:
    return {**one.model.facts(), **({} if one.bill is None else {"bill": one.bill.to_data()})}


def _compared(found: "Sequence[Compared]") -> Iterator[tuple[str, ...]]:
    """A row a fact, its name first."""
    facts = [one.model.facts() for one in found]
    yield "tasks", *(word(one["tasks"]) for one in facts)
    for title, name in (("context", "context"), ("max input", "max_input"), ("max output", "output")):
        yield title, *(number(one[name]) for one in facts)
    for item in ("input", "output"):
        yield f"{item} $", *(dollars(one.model, item) for one in found)
    for name in dict.fromkeys(name for one in facts for name in one["capabilities"]):
        answers = [one["capabilities"].get(name) for one in facts]
        if any(answer is not None for answer in answers):
            yield name, *({True: "yes", False: "no", None: UNKNOWN}[answer] for answer in answers)
    for name in ("deprecated", "prices_as_of"):
        yield name.replace("_", " "), *(one[name] or UNKNOWN for one in facts)
    bills = [one.bill for one in found if one.bill is not None]
    if bills:
        yield "cost", *("unknown" if bill.cost.total is None else f"${bill.cost.total:f}" for bill in bills)
