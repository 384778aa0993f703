"""`flowllm providers`: which providers are installed, and which of them could be asked now."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.options import Command
from flowllm.cli.scores import score_rows
from flowllm.core.errors import UsageError
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.api import Environment
    from flowllm.api.probing import Checked
    from flowllm.cli.render import Screen

HELP = "Show and check providers: list, show, compare, recommend, check."
UNKNOWN = "?"
SHOWN = 3
"""Models that the table of a check names."""
Name = Annotated[str, typer.Argument(metavar="NAME", help="A provider.", autocompletion=completion.providers)]


@record(kw_only=True)
class ListProviders(Command):
    """List the providers of this project and of flowllm."""

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a provider."""
        from flowllm.cli.opening import sound_here

        environment, faults = sound_here()
        rows = list(provider_rows(environment))
        self._show(rows, screen)
        screen.problems(faults)
        return 0

    def _show(self, rows: list[dict[str, Any]], screen: "Screen") -> None:
        if self.as_json:
            screen.json({"providers": rows})
            return
        cells = [(r["name"], ", ".join(r["tasks"]), str(r["models"]), r["key"], r["base_url"]) for r in rows]
        screen.table([("provider", "tasks", "models", "key", "address"), *cells], right=frozenset({2}))


def provider_rows(environment: "Environment") -> Iterator[dict[str, Any]]:
    """What is known of each provider; ``key`` says where its key was found, never the key."""
    from flowllm.api.providers import key_state

    for name, card in environment.catalog.providers.items():
        yield {
            "name": name,
            "title": card.title,
            "tasks": sorted(card.tasks),
            "models": len(card.models),
            "open_models": card.open_models,
            "features": {task: dict(known) for task, known in card.features.items()},
            "key": key_state(environment, card).said,
            "base_url": card.base_url,
            "settings": dict(card.settings),
            "unset": dict(card.unset),
            "docs": card.docs,
            "file": card.origin.file,
        }


@record(kw_only=True)
class ShowProvider(Command):
    """Show all that is known of a provider: features, limits, pages, endpoints, key and settings."""

    name: Name

    def carry_out(self, screen: "Screen") -> int:
        """Print the facts, one a line."""
        from flowllm.api.providers import provider_facts
        from flowllm.cli.opening import here

        facts = provider_facts(here(), self.name)
        if self.as_json:
            screen.json(facts)
        else:
            screen.table([(name, value) for name, value in _lines(facts) if value])
        return 0


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Facts as names and texts."""
    for name, value in facts.items():
        if name == "features":
            yield from (
                (f"{task} {word}", _word(known)) for task, told in value.items() for word, known in told.items()
            )
        elif name == "limits":
            yield from ((f"at most {word}", f"{one['value']} ({one['source']})") for word, one in value.items())
        elif isinstance(value, dict):
            yield from ((f"{name} {key}", str(text)) for key, text in value.items())
        else:
            yield name, ", ".join(value) if isinstance(value, list) else _word(value)


def _word(value: Any) -> str:
    return {True: "yes", False: "no", None: UNKNOWN}.get(value, value) if not isinstance(value, str) else value


@record(kw_only=True)
class CompareProviders(Command):
    """Show what several providers are known for, side by side. `?` is unknown."""

    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Two providers or more.", autocompletion=completion.providers)
    ]

    def carry_out(self, screen: "Screen") -> int:
        """Print a column a provider."""
        from flowllm.api.providers import FEATURES, TASKS, provider_facts
        from flowllm.cli.opening import here

        environment = here()
        facts = [provider_facts(environment, name) for name in dict.fromkeys(self.names)]
        if len(facts) == 1:
            hint = f"flowllm providers compare {facts[0]['name']} NAME"
            raise UsageError("bad_usage", "there is one provider alone, and nothing to compare it with", hint=hint)
        if self.as_json:
            screen.json({"providers": facts})
            return 0
        rows = [(task, *(_word(task in one["tasks"]) for one in facts)) for task in TASKS]
        rows += [(word, *(_feature(one, word) for one in facts)) for word in FEATURES]
        limits = dict.fromkeys(word for one in facts for word in one["limits"])
        rows += [
            (f"at most {w}", *(str(one["limits"].get(w, {}).get("value", UNKNOWN)) for one in facts)) for w in limits
        ]
        rows += [(word, *(_own(one, word) for one in facts)) for word in ("free", "local")]
        rows += [(word, *(_word(one[word]) for one in facts)) for word in ("key", "checked")]
        screen.table([("", *(one["name"] for one in facts)), *rows])
        return 0


def _own(facts: dict[str, Any], word: str) -> str:
    """Whether all models are free, or here; which ones are not."""
    but = f", but for {', '.join(facts['elsewhere'])}" if facts[word] and facts["elsewhere"] else ""
    return f"{_word(facts[word])}{but}"


def _feature(facts: dict[str, Any], word: str) -> str:
    return next((_word(told[word]) for told in facts["features"].values() if word in told), UNKNOWN)


@record(kw_only=True)
class RecommendProviders(Command):
    """Say which providers suit a need, and why. What is known not to suit is left out."""

    needs: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="Tasks and features, with commas: tools,vision,embed.")
    ] = None
    local: Annotated[bool, typer.Option("--local", help="Only what answers on this machine.")] = False
    free: Annotated[bool, typer.Option("--free", help="Only what costs nothing.")] = False
    has_key: Annotated[bool, typer.Option("--has-key", help="Only what could be asked now.")] = False

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a provider, the best first."""
        from flowllm.api.providers import Wanted, read_needs, recommend
        from flowllm.cli.opening import here

        wanted = Wanted(read_needs(self.needs or ()), self.local, self.free, self.has_key)
        found = recommend(here(), wanted)
        if self.as_json:
            screen.json({"needs": list(wanted.needs), "providers": [one.to_data() for one in found]})
        elif found:
            screen.table([*score_rows("provider", ((one.provider, one) for one in found))], right=frozenset({1}))
        else:
            screen.note(f"no provider is known that has {', '.join(wanted.needs)}; flowllm providers list shows all")
        return 0


@record(kw_only=True)
class CheckProviders(Command):
    """Ask providers for their models with your keys, which costs nothing. Without names, those whose key is there."""

    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Providers.", autocompletion=completion.providers)
    ] = None

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a provider; the exit status is that of the first that failed."""
        from flowllm.api.probing import check_providers
        from flowllm.api.sync import run_sync
        from flowllm.cli.opening import here
        from flowllm.cli.render import problems_of

        checked = run_sync(check_providers(here(), self.names or ()))
        if self.as_json:
            screen.json({"providers": [one.to_data() for one in checked]})
        elif checked:
            screen.table([("provider", "result", "seconds", "models", "key", "first models"), *map(_checked, checked)])
        else:
            screen.note("no key was found; `flowllm providers list` names the variables, `flowllm keys set` keeps one")
        for one in checked:
            if one.skew is not None:
                ahead = "ahead of" if one.skew > 0 else "behind"
                screen.note(
                    f"the clock of {one.provider} is {abs(one.skew):.0f} s {ahead} this one; set this one right"
                )
        errors = [one.error for one in checked if one.error is not None]
        screen.problems([problem for error in errors for problem in problems_of(error)])
        return errors[0].exit if errors else 0


def _checked(one: "Checked") -> tuple[str, ...]:
    listed = one.listed
    if listed is None:
        return one.provider, one.said, "", "", one.key, ""
    proven = "" if one.key == "not needed" else ", not proven: all may read the list" if listed.open else ", accepted"
    count = f"{len(listed.names)}{'+' if listed.more else ''}"
    return one.provider, one.said, f"{listed.seconds:.2f}", count, one.key + proven, ", ".join(listed.names[:SHOWN])


COMMANDS = {
    "list": ListProviders,
    "show": ShowProvider,
    "compare": CompareProviders,
    "recommend": RecommendProviders,
    "check": CheckProviders,
}
