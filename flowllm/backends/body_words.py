"""What quirks say of paths and of the words of a body, held to what the formats have.

``drop`` and ``rename`` work on the words that a format writes into its body: one that no format writes is a slip, and
one without which nothing is asked cannot be left out. A word of another format stays, for a provider's file is
also asked in the other formats that it names.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowllm.core.nearest import did_you_mean
from flowllm.text.misfits import Misfit, Steps

_CHAT = (
    "model messages temperature top_p max_tokens stop seed logprobs top_logprobs reasoning_effort tools tool_choice"
    " parallel_tool_calls response_format stream stream_options"
)
_WORDS = {
    "openai_chat": _CHAT,
    "openai_completions": "model prompt temperature top_p max_tokens stop seed logprobs stream stream_options",
    "openai_embeddings": "model input dimensions encoding_format",
    "openai_responses": "model instructions input temperature top_p max_output_tokens tools tool_choice"
    " parallel_tool_calls text reasoning include top_logprobs store stream",
    "anthropic_messages": "model max_tokens system messages temperature top_p stop_sequences tools tool_choice thinking"
    " output_config stream",
    "gemini_generate": "temperature topP maxOutputTokens stopSequences seed responseLogprobs logprobs responseMimeType"
    " responseJsonSchema thinkingConfig",
    "cohere_v2": "model messages temperature p max_tokens stop_sequences seed tools tool_choice response_format"
    " thinking stream texts input_type embedding_types output_dimension",
    "bedrock_converse": "messages system inferenceConfig toolConfig outputConfig maxTokens temperature topP"
    " stopSequences",
    "replicate_predictions": "system_prompt prompt image temperature top_p max_tokens stop_sequences seed",
    "watsonx": f"{_CHAT} model_id tool_choice_option input inputs parameters query",
}
_ANY = frozenset(word for words in _WORDS.values() for word in words.split())
_ASKED = frozenset({
    "messages", "input", "inputs", "contents", "prompt", "texts", "query", "system", "instructions", "system_prompt",
})  # fmt: skip
_NAMES = frozenset({"model", "model_id"})
_TEMPLATES = "templates"


def word_misfits(wires: Sequence[str], quirks: Mapping[str, Any]) -> Iterator[Misfit]:
    """What is wrong with the paths, ``drop`` and ``rename`` of quirks that fit their wires; steps begin at them."""
    yield from _paths(quirks, ())
    words = {word for wire in wires for word in _WORDS.get(wire, "").split()}
    if words:
        yield from _dropped(quirks, words)
        yield from _renamed(quirks, words)


def _paths(quirks: Mapping[str, Any], way: Steps) -> Iterator[Misfit]:
    for name, value in quirks.items():
        steps = (*way, name)
        if isinstance(value, Mapping) and (name == _TEMPLATES or _TEMPLATES in way) and name != "body":
            yield from _paths(value, steps)
        elif isinstance(value, str) and value and (name == "path" or name.endswith("_path")):
            if "://" in value or value.startswith("//"):
                rest = "/" + value.partition("//")[2].partition("/")[2]
                message = f"`{name}` is what follows the base_url, not a whole address"
                yield Misfit("bad_value", message, steps, f"{name}: {_quoted(rest)}")
            elif not value.startswith("/"):
                message = f"`{name}` starts with a slash: it follows the base_url"
                yield Misfit("bad_value", message, steps, f"{name}: {_quoted('/' + value)}")


def _quoted(path: str) -> str:
    return f'"{path}"' if "{" in path else path


def _dropped(quirks: Mapping[str, Any], words: set[str]) -> Iterator[Misfit]:
    for place, word in enumerate(quirks.get("drop", ())):
        steps = ("drop", place)
        if word in _ASKED or (word in _NAMES and not _model_in_path(quirks)):
            message = f"`drop` leaves out `{word}`, without which nothing is asked"
            yield Misfit("bad_value", message, steps, f"another name for it: rename: {{{word}: ...}}")
        elif word not in _ANY:
            yield _unknown(word, words, "drop", steps)


def _renamed(quirks: Mapping[str, Any], words: set[str]) -> Iterator[Misfit]:
    rename = quirks.get("rename", {})
    kept = words - {*rename, *quirks.get("drop", ())}
    for word, name in rename.items():
        steps = ("rename", word)
        if word not in _ANY:
            yield _unknown(word, words, "rename", steps)
        elif name in kept or list(rename.values()).count(name) > 1:
            message = f"`rename` calls two words of the body `{name}`, and one would be lost"
            yield Misfit("bad_value", message, steps, f"{word}: a name that no other word has")


def _unknown(word: str, words: set[str], field: str, steps: Steps) -> Misfit:
    hint = did_you_mean(word, words, f"known here: {', '.join(sorted(words))}")
    message = f"`{field}` names `{word}`, which is no word of any request"
    return Misfit("bad_value", message, steps, hint, "value" if field == "drop" else "key")


def _model_in_path(quirks: Mapping[str, Any]) -> bool:
    return any("{model}" in value for name, value in quirks.items() if name.endswith("path") and type(value) is str)
