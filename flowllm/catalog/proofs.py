"""What a provider file says of the headers of requests, and of the place of a key, that no request could carry."""

import re
from collections.abc import Iterator

from flowllm.catalog.entries import ProviderEntry
from flowllm.text.misfits import Misfit, Part, Steps

_NAME_OF_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_OURS = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers that a request has by itself: another value would break it, or change nothing."""
_EXAMPLES = {"header": "X-Api-Key", "query": "key"}


def unsendable(entry: ProviderEntry) -> Iterator[Misfit]:
    """A key without a place to stand in, and headers that are none."""
    auth = entry.auth
    if auth.scheme in _EXAMPLES and not auth.name:
        message = f"the scheme {auth.scheme} needs the `name` under which the key is sent"
        yield Misfit("missing_field", message, ("auth",), f"name: {_EXAMPLES[auth.scheme]}")
    elif auth.name and auth.scheme != "query":
        yield from _name(auth.name, ("auth", "name"), "name: X-Api-Key")
    yield from _value(auth.prefix, ("auth", "prefix"))
    for name, value in entry.headers.items():
        yield from _name(name, ("headers", name), "headers: {X-Acme-Version: '2'}")
        yield from _value(value, ("headers", name))


def _name(name: str, steps: Steps, hint: str) -> Iterator[Misfit]:
    part: Part = "key" if steps[0] == "headers" else "value"
    if not re.fullmatch(_NAME_OF_HEADER, name):
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
        near = hint if not plain else f"name: {plain}" if steps[0] == "auth" else f"{plain}:"
        message = f"`{name}` is no name of a header: letters, digits and `-` alone"
        yield Misfit("bad_value", message, steps, near, part)
    elif name.lower() in _OURS:
        message = f"the header `{name}` is part of every request and is not set in a file"
        yield Misfit("bad_value", message, steps, hint if steps[0] == "auth" else "remove it", part)


def _value(value: str, steps: Steps) -> Iterator[Misfit]:
    if not (value.isascii() and (value.isprintable() or not value)):
        message = f"`{steps[-1]}` holds a sign that no header can carry, such as a line break"
        yield Misfit("bad_value", message, steps, "write it in one line of ASCII letters")
