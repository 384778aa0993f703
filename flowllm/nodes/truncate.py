"""``kind: truncate``: a text or a conversation cut to a number of tokens."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, NotRequired, TypedDict, cast

from pydantic import Field

from flowllm.core.errors import NodeFailure
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema
from flowllm.text.counting import Counting
from flowllm.text.tokens import LARGE
from flowllm.text.truncation import Keep, TooLong, truncate_messages, truncate_text

Messages = list[dict[str, Any]]


class Truncated(TypedDict):
    """What is left, in the port that came in.

    ``tokens`` is its length, ``dropped`` what went: tokens of a text, messages of a conversation.
    """

    text: NotRequired[str]
    messages: NotRequired[Messages]
    tokens: int
    dropped: int


class Truncate(Counting):
    """Cuts a text or a conversation so that it fits; whole turns go, the last user message stays."""

    must: ClassVar[tuple[str, ...]] = ("text|messages", "max_tokens|limit")
    summary: ClassVar[str] = "Cut a text or a conversation to a number of tokens."

    max_tokens: int | None = Field(default=None, ge=1, description="How long the result may be; the port `limit` wins.")
    keep: Keep = Field(
        default="smart",
        description="What stays: head, tail, middle (both ends, cut in the middle), sliding_window (the latest), "
        "smart (the beginning and the latest, cut at sentences or turns).",
    )
    mark: str = Field(
        default="\u2026", max_length=200, description="Stands where something of a text was cut; it counts as well."
    )

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """The port that came in, ``tokens`` and ``dropped``."""
        ports = super().output_ports(inputs, schemas)
        absent = "messages" if "text" in inputs else "text" if "messages" in inputs else ""
        return {name: schema for name, schema in ports.items() if name != absent}

    async def run(
        self, scope: Scope, text: str | None = None, messages: Messages | None = None, limit: int | None = None
    ) -> Truncated:
        """Cut; fails with ``context_too_long`` where what has to stay does not fit."""
        most = self.max_tokens if limit is None else limit
        if most is None or (text is None) == (messages is None):
            raise NodeFailure("node_failed", "give text or messages, and max_tokens or limit", hint="max_tokens: 4000")
        work = partial(self._cut, text, messages, most)
        if messages is not None or len(text or "") > LARGE or self._counts.exact:
            return cast("Truncated", await scope.run_in_thread(work))
        return work()

    def _cut(self, text: str | None, messages: Messages | None, limit: int) -> Truncated:
        counter = self._counts
        try:
            if text is not None:
                cut = truncate_text(text, limit, self.keep, mark=self.mark, counter=counter)
                return {"text": cut.text, "tokens": cut.tokens, "dropped": cut.dropped}
            kept = truncate_messages(messages or [], limit, self.keep, counter=counter, model=self.counted_for or "")
        except TooLong as error:
            what = "the last user message needs" if text is None else "one character needs"
            message = f"{what} {error.needed} tokens, and {limit} are allowed"
            raise NodeFailure("context_too_long", message, hint=f"max_tokens: {error.needed}") from None
        return {"messages": cast("Messages", kept.messages), "tokens": kept.tokens, "dropped": kept.dropped}
