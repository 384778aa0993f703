"""``kind: prompt``: a text or messages made from other nodes' values."""

from typing import Any, ClassVar, TypedDict

from pydantic import Field

from flowllm.core.node import Node, Prompted, Templated


class PromptPorts(TypedDict):
    """The prompt in both forms."""

    messages: list[dict[str, Any]]
    text: str


class Prompt(Node):
    """Renders a template to text and to messages, for calls that share a prompt or for output."""

    open_inputs: ClassVar[bool] = True
    must: ClassVar[tuple[str, ...]] = ("text|messages|file",)
    summary: ClassVar[str] = "Make a text or messages from values."

    text: Templated = Field(default=None, description="One template; as messages it is one user turn.")
    messages: Prompted = Field(
        default=None, description="Messages with roles; as text they stand apart by blank lines."
    )
    file: str | None = Field(default=None, description="A file of the project that holds the template `text`.")

    def run(self, text: str | None = None, messages: list[dict[str, Any]] | None = None) -> PromptPorts:
        """Both ports from the one that was written; with both, ``messages`` and ``text`` as they are."""
        if messages is None:
            messages = [{"role": "user", "content": text or ""}]
        return {"messages": messages, "text": _joined(messages) if text is None else text}


def _joined(messages: list[dict[str, Any]]) -> str:
    return "\n\n".join(_text(message["content"]) for message in messages)


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
