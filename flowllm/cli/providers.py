"""`flowllm providers`: which providers are installed, and which of them could be asked now."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.api import Environment
    from flowllm.cli.render import Screen
    from flowllm.core.card import ProviderCard

HELP = "Show providers: list."


@record(kw_only=True)
class ListProviders(Command):
    """List the providers of this project and of flowllm."""

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a provider."""
        from flowllm.cli.opening import here

        rows = list(provider_rows(here()))
        if self.as_json:
            screen.json({"providers": rows})
            return 0
        cells = [(r["name"], ", ".join(r["tasks"]), str(r["models"]), r["key"], r["base_url"]) for r in rows]
        screen.table([("provider", "tasks", "models", "key", "address"), *cells], right=frozenset({2}))
        return 0


def provider_rows(environment: "Environment") -> Iterator[dict[str, Any]]:
    """What is known of each provider; ``key`` says where its key was found, never the key."""
    for name, card in environment.catalog.providers.items():
        yield {
            "name": name,
            "tasks": sorted(card.tasks),
            "models": len(card.models),
            "open_models": card.open_models,
            "key": key_state(environment, card),
            "base_url": card.base_url,
            "settings": dict(card.settings),
            "unset": dict(card.unset),
            "docs": card.docs,
            "file": card.origin.file,
        }


def key_state(environment: "Environment", card: "ProviderCard") -> str:
    """``not needed``, what was found to sign with and where, or the variable that is not set."""
    from flowllm.backends.auth.found import what_signs
    from flowllm.backends.auth.keys import masked
    from flowllm.backends.auth.signing import LIBRARIES

    if card.auth.scheme == "none":
        return "not needed"
    found = environment.keys.find(card.auth)
    if found is not None:
        return f"{masked(found[0])} ({found[1]})"
    if card.auth.scheme in LIBRARIES:
        return what_signs(card.auth, environment.keys.find)
    name = " or ".join(f"${variable}" for variable in card.auth.env) or "a key"
    return f"{name} is not set" + ("" if card.auth.required else " (not required)")


COMMANDS = {"list": ListProviders}
