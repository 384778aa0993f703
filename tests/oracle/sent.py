"""What a vendor's own client sends for the same arguments, against what the wire encodes."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit


class Caught(Exception):
    """Raised in place of an answer: the request is known and nobody is asked."""


class Trap:
    """A transport's handler that keeps the request, of httpx or its like, and answers none."""

    def __init__(self) -> None:
        self.request: Any = None

    def __call__(self, request: Any) -> Any:
        """The handler."""
        self.request = request
        raise Caught


def difference(
    row: Mapping[str, Any],
    trap: Trap,
    prefix: str,
    send: Callable[[], Any],
    said: Mapping[str, Any] | None = None,
    spelled: Callable[[Any], Any] = lambda body: body,
) -> str:
    """What the client sends otherwise, empty where nothing; ``prefix`` is the part of its path in our ``base_url``.

    ``said`` are defaults that the client says where a caller does not; ``spelled`` gives both bodies one spelling.
    What the client refuses to send is raised as its own error.
    """
    trap.request = None
    try:
        answer = send()
        if hasattr(answer, "__next__"):
            next(answer)
    except Exception:
        if trap.request is None:
            raise
    address = urlsplit(str(trap.request.url))
    path = address.path.removeprefix(prefix) + (f"?{address.query}" if address.query else "")
    if (trap.request.method, unquote(path)) != (row["method"], unquote(row["path"])):
        return f"the client asks {trap.request.method} {path}"
    ours, theirs = spelled(row["body"]), spelled(json.loads(trap.request.content))
    return next(_differences(ours, theirs, said or {}, "body"), "")


def _differences(ours: Any, theirs: Any, said: Mapping[str, Any], place: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        unsaid = {name for name in theirs.keys() - ours.keys() if name in said and theirs[name] == said[name]}
        yield from (f"{place}.{name} is not in the client's request" for name in sorted(ours.keys() - theirs.keys()))
        yield from (
            f"{place}.{name} is said by the client alone" for name in sorted(theirs.keys() - ours.keys() - unsaid)
        )
        for name in ours.keys() & theirs.keys():
            yield from _differences(ours[name], theirs[name], said, f"{place}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, said, f"{place}.{index}")
    elif ours != theirs:
        yield f"{place} is {str(theirs)[:200]!r} in the client's request"
