"""A chat to the text and the tokens that a decoder reads, by the model's own chat template, and what it refuses.

Nothing is loaded for it: the small files of a model say it, so that checks count by it what a writer reads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowllm.backends.local.generation.families import family_of
from flowllm.backends.local.generation.fencing import Fence, tokens_of
from flowllm.backends.local.generation.graph import unfit
from flowllm.backends.local.layout import Description
from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.card import Refusal
from flowllm.core.record import record
from flowllm.core.request import Chat

if TYPE_CHECKING:
    from flowllm.backends.local.generation.chat_templates import ChatTemplate

_UNABLE = "capability_mismatch"


@record
class Prompt:
    """What a model reads: text with its marks cut, and its tokens."""

    text: str
    tokens: list[int]


class Prompting:
    """The prompts of one model that writes. ``family`` are the marks of its template."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self.family = family_of(description.chat_template or "")
        self._template: ChatTemplate | None = None

    def prompt(self, request: Chat, wall: float, fence: Fence, tokenizer: Tokenizer) -> Prompt:
        """The whole of it; ``wall`` is now in seconds since 1970. Raises `FlowError` where the template fails."""
        cut, seam = fence.cut(request)
        text = self.text(cut, wall)
        return Prompt(text, tokens_of(text, seam, tokenizer.ids, tokenizer.further_ids))

    def text(self, request: Chat, wall: float) -> str:
        """The same as text alone, where no message spells a special token."""
        thinks = None if request.reasoning is None else request.reasoning != "none"
        more: dict[str, Any] = {} if thinks is None and not held(request) else {"enable_thinking": bool(thinks)}
        if thinks:
            more["reasoning_effort"] = request.reasoning
        told = request if offers(request) else replace(request, tools=())
        return self._opened().render(told, wall, more)

    def refusals(self, request: Chat) -> Iterator[Refusal]:
        """What this model cannot be asked, whatever the messages say."""
        if offers(request) and self.family.calls is None:
            message = f"the chat template of `{request.model}` has no place for tools that is known here"
            yield Refusal(_UNABLE, message, "leave `tools` out", ("tools",))
        if request.tool_choice not in (None, "auto", "none"):
            message = f"`{request.model}` cannot be held to `tool_choice: {request.tool_choice}`"
            yield Refusal(_UNABLE, message, "tool_choice: auto", ("tool_choice",))
        if held(request) and offers(request):
            message = f"an answer of `{request.model}` is held to a schema or choices, or may call tools"
            yield Refusal(_UNABLE, message, "ask for tools and for JSON in two nodes", ("tools",))

    def _opened(self) -> "ChatTemplate":
        from flowllm.backends.local.generation.chat_templates import ChatTemplate

        if self._template is None:
            source, special = self._description.chat_template, self._description.special
            if not source:
                raise unfit("it has no chat template", "a file chat_template.jinja beside the model")
            names = {"bos_token": special.bos, "eos_token": special.eos, "pad_token": special.pad}
            self._template = ChatTemplate(source, {**names, "unk_token": special.unk})
        return self._template


def held(request: Chat) -> bool:
    """Whether the answer is held to a shape while it is drawn."""
    return request.schema is not None or bool(request.choices)


def offers(request: Chat) -> bool:
    """Whether the model may call tools."""
    return bool(request.tools) and request.tool_choice != "none"


def sampled_by(description: Description) -> Mapping[str, Any]:
    """What the model's own files say of drawing."""
    found = description.generation or description.genai.get("search")
    return found if isinstance(found, Mapping) else {}


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Special tokens: their text and number."""
    added = tokenizer.raw.get_added_tokens_decoder()
    return {str(one.content): int(token) for token, one in added.items() if one.special}
