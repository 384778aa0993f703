"""Models from a hub onto the shelf of this machine: the one thing that fetches models, and only when asked to."""

import os
from pathlib import Path

from flowllm.api.environment import Environment
from flowllm.api.local import shelf_of
from flowllm.backends.auth.keys import require_plain
from flowllm.backends.local.hub import ADDRESS, Hub
from flowllm.backends.local.places import own_folder
from flowllm.backends.local.pulling import MAX_SIZE, Pulled, Watch, Wish, named_well, parse_source, pull
from flowllm.core.card import Auth
from flowllm.core.errors import UsageError

TOKEN = Auth(scheme="bearer", env=("HF_TOKEN",), required=False)


def wish_of(
    environment: Environment, words: str, *, name: str | None = None, precision: str = "", max_size: int = MAX_SIZE
) -> Wish:
    """What ``OWNER/NAME@REVISION`` asks for; `UsageError` for words that name no repository or model."""
    source = parse_source(words)
    if name is not None and not named_well(name):
        raise UsageError("bad_usage", f"`{name}` is no name of a local model", hint="--name acme/tiny")
    return Wish(source, name or source.repository, shelf_folder(environment), precision, max_size)


def shelf_folder(environment: Environment) -> Path:
    """Where pulled models go: the folder that FLOWLLM_MODELS names, else the user's own."""
    project = environment.project.resolve() / "models"
    named = [folder for folder in shelf_of(environment).places.folders if folder != project]
    return named[0] if named else own_folder()


async def pull_model(environment: Environment, wish: Wish, watch: Watch) -> Pulled:
    """Fetch a model where it is not there yet. Raises `FlowError`.

    The hub is the process's own HF_ENDPOINT: a project's file must not choose who gets the user's token.
    """
    found = environment.keys(TOKEN)
    token = require_plain(found, TOKEN, "huggingface") if found else None
    hub = Hub(os.environ.get("HF_ENDPOINT", "").strip() or ADDRESS, token)
    try:
        return await pull(hub, wish, watch)
    finally:
        await hub.aclose()
