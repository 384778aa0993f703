"""How tools are to be called and what else is asked: what a format cannot say is refused by encoders, not left out."""

from collections.abc import Mapping
from typing import NoReturn

from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat

WORDS = ("auto", "none", "required")
LOGPROBS, ONE_CALL = "logprobs", "parallel_tool_calls: false"
UNSAID: Mapping[str, frozenset[str]] = {
    "anthropic_messages": frozenset({LOGPROBS}),
    "bedrock_converse": frozenset({LOGPROBS, ONE_CALL}),
    "cohere_v2": frozenset({LOGPROBS, ONE_CALL}),
    "gemini_generate": frozenset({ONE_CALL}),
    "http_template": frozenset({LOGPROBS}),
    "ollama_native": frozenset({ONE_CALL}),
    "replicate_predictions": frozenset({LOGPROBS}),
    "watsonx": frozenset({ONE_CALL}),
}
"""What a wire refuses in every chat, whoever speaks it, so that it is told before anything runs."""


def choice_of(request: Chat) -> str | None:
    """The word of `WORDS` or the name of a tool; None where nothing is said or no tools are offered."""
    return request.tool_choice if request.tools else None


def only_one(request: Chat) -> bool:
    """Whether the model is to call one tool at a time."""
    return request.parallel_tool_calls is False and bool(request.tools)


def require_parallel(request: Chat) -> None:
    """`ProviderFailure` ``bad_request`` for one call at a time, where the format cannot ask for it."""
    if only_one(request):
        refuse(ONE_CALL)


def require_no_logprobs(request: Chat) -> None:
    """`ProviderFailure` ``bad_request`` for log probabilities, where the format has no place for them."""
    if request.sampling.logprobs is not None:
        refuse(LOGPROBS)


def refuse(what: str) -> NoReturn:
    """`ProviderFailure` ``bad_request``: the format has no word for ``what``."""
    message = f"this provider's format cannot say `{what}`"
    raise ProviderFailure("bad_request", message, hint="model: a model of another provider")
