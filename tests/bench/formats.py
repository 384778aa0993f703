"""Answers of 1,000 pieces of text as each wire's providers send them, field by field as they were recorded.

``FORMATS`` are the streams by name. A stream is a list of what goes over the network at once: whole events,
lines, items or messages.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from flowllm.backends.framing import JsonForm
from tests.wire.amazon import event as amazon_event
from tests.wire.amazon import message as amazon_message

CHUNKS = 1000
WORDS = [f"word{i} " for i in range(CHUNKS)]
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """``wire`` with ``quirks`` reads ``stream``; ``json`` is what a body of JSON is; ``model`` names what answers.

    ``text`` finds the text in the JSON of an event, None where there is none: it is what a reader that knows
    this one format and nothing else would write.
    """

    wire: str
    stream: Sequence[bytes]
    text: Callable[[Any], Any] = lambda told: None
    quirks: Mapping[str, Any] = field(default_factory=dict)
    json: JsonForm = "whole"
    model: str = "m"


def _sse(*events: Data, named: bool = False, mark: bytes = b"") -> list[bytes]:
    heads = (f"event: {event['type']}\n".encode() if named else b"" for event in events)
    told = [head + b"data: " + orjson.dumps(event) + b"\n\n" for head, event in zip(heads, events, strict=True)]
    return [*told, mark] if mark else told


_DONE = b"data: [DONE]\n\n"


def _completions(
    base: Data, choice: Callable[[str], Data], text: Callable[[Any], Any], wire: str, **more: Any
) -> Format:
    told = [{**base, "choices": [choice(word)]} for word in WORDS]
    last = {**base, "choices": [{**choice(""), "finish_reason": "stop"}]}
    return Format(wire, _sse(*told, last, mark=_DONE), text, **more)


def _openai_chat() -> Format:
    base = {"id": "chatcmpl-D7mVuXauQqcmOCb3XP6IL6yHwJaAL", "object": "chat.completion.chunk", "created": 1770747154}
    base |= {"model": "gpt-4.1-2025-04-14", "service_tier": "default", "system_fingerprint": "fp_8b22347a3e"}
    base |= {"usage": None, "obfuscation": "irwn2mqyB"}

    def choice(word: str) -> Data:
        return {"index": 0, "delta": {"content": word} if word else {}, "logprobs": None, "finish_reason": None}

    return _completions(base, choice, lambda told: told["choices"][0]["delta"].get("content"), "openai_chat")


def _openai_completions() -> Format:
    base = {"id": "cmpl-C47NLjfaDq6oEDpHVhNkYgD6TUnye", "object": "text_completion", "created": 1755097699}
    base |= {"model": "gpt-3.5-turbo-instruct:20230824-v2"}

    def choice(word: str) -> Data:
        return {"text": word, "index": 0, "logprobs": None, "finish_reason": None}

    return _completions(base, choice, lambda told: told["choices"][0]["text"], "openai_completions")


def _openai_responses() -> Format:
    kind = "response.output_text.delta"
    of = {"item_id": "msg_07029544f232b6e5016a6bc6ea0ab48190bf63e8e44360fb68", "output_index": 0, "content_index": 0}
    response = {"id": "resp_1", "object": "response", "model": "gpt-5", "output": [], "usage": None}
    begun = {"type": "response.created", "sequence_number": 0, "response": {**response, "status": "in_progress"}}
    more = {"logprobs": [], "obfuscation": "vmDNQc99xfKi0o6"}
    told = [{"type": kind, **of, "sequence_number": i + 4, "delta": word, **more} for i, word in enumerate(WORDS)]
    usage = {"input_tokens": 5, "output_tokens": CHUNKS}
    ended = {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}}
    stream = _sse(begun, *told, ended, named=True)
    return Format("openai_responses", stream, lambda event: event["type"] == kind and event["delta"])


def _messages() -> list[Data]:
    message = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude", "content": []}
    usage = {"input_tokens": 5, "output_tokens": 1}
    return [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in WORDS),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": CHUNKS}},
        {"type": "message_stop"},
    ]


def _anthropic() -> Format:
    def text(event: Data) -> Any:
        return event["type"] == "content_block_delta" and event["delta"]["text"]

    return Format("anthropic_messages", _sse(*_messages(), named=True), text)


def _contents() -> list[Data]:
    counts = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}], "thoughtsTokenCount": 78}
    told: list[Data] = [
        {
            "candidates": [{"content": {"parts": [{"text": word}], "role": "model"}, "index": 0}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": i, "totalTokenCount": 87 + i, **counts},
            "modelVersion": "gemini-2.5-flash",
            "responseId": "_vr4aYiWEJnYodAPkujX0QM",
        }
        for i, word in enumerate(WORDS, 1)
    ]
    told[-1]["candidates"][0]["finishReason"] = "STOP"
    return told


def _gemini() -> Format:
    def text(event: Data) -> Any:
        return event["candidates"][0]["content"]["parts"][0]["text"]

    return Format("gemini_generate", _sse(*_contents()), text, json="items")


def _gemini_array() -> Format:
    first, *rest = (orjson.dumps(told, option=orjson.OPT_INDENT_2) for told in _contents())
    return Format("gemini_generate", [b"[" + first, *(b"\n,\r\n" + told for told in rest), b"\n]\n"], json="items")


def _cohere() -> Format:
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    told = ({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": w}}}} for w in WORDS)
    tokens = {"tokens": {"input_tokens": 5, "output_tokens": CHUNKS}}
    begun = {"type": "message-start", "id": "x", "delta": {"message": message}}
    ended = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": tokens}}

    def text(event: Data) -> Any:
        return event["type"] == "content-delta" and event["delta"]["message"]["content"]["text"]

    return Format("cohere_v2", _sse(begun, *told, ended, named=True), text)


def _watsonx_chat() -> Format:
    base = {"id": "chatcmpl-AbCdEfGhIjKlMnOp", "model_id": "ibm/granite-3", "created": 1731000000}
    base |= {"created_at": "2025-01-01T00:00:00.000Z", "model_version": "1.1.0"}
    told = [{**base, "choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in WORDS]
    told.append({**base, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]})
    return Format("watsonx", _numbered(told))


def _watsonx_generation() -> Format:
    base = {"model_id": "ibm/granite-13b", "created_at": "2025-01-01T00:00:00.000Z"}
    counts = {"input_token_count": 0, "stop_reason": "not_finished"}
    told = [
        {**base, "results": [{"generated_text": word, "generated_token_count": i, **counts}]}
        for i, word in enumerate(WORDS, 1)
    ]
    last = {"generated_text": "", "generated_token_count": CHUNKS, "input_token_count": 5, "stop_reason": "eos_token"}
    told.append({**base, "results": [last]})
    return Format("watsonx", _numbered(told), quirks={"api": "generation"})


def _numbered(told: Iterable[Data]) -> list[bytes]:
    return [b"id: %d\nevent: message\n%b" % (i, event) for i, event in enumerate(_sse(*told))]


def _ollama() -> Format:
    base = {"model": "llama3.2", "created_at": "2025-01-01T00:00:00.000000Z"}
    told: list[Data] = [{**base, "message": {"role": "assistant", "content": w}, "done": False} for w in WORDS]
    counts = {"done_reason": "stop", "total_duration": 5, "prompt_eval_count": 5, "eval_count": CHUNKS}
    told.append({**base, "message": {"role": "assistant", "content": ""}, "done": True, **counts})
    return Format("ollama_native", [orjson.dumps(line) + b"\n" for line in told], json="lines")


def _replicate() -> Format:
    told = [f"event: output\nid: 1712345678:{i}\ndata: {word}\n\n".encode() for i, word in enumerate(WORDS)]
    return Format("replicate_predictions", [*told, b"event: done\ndata: {}\n\n"])


_STREAM = {"text": "answer.token.text", "skip": "answer.token.special", "finish": "answer.details.finish_reason",
           "output_tokens": "answer.details.generated_tokens"}  # fmt: skip
_TEMPLATE = {"path": "/generate", "body": {"inputs": "{prompt}"}, "text": "answer[0].generated_text"}
_TEMPLATES = {"templates": {"chat": {**_TEMPLATE, "stream": _STREAM}}}


def _tokens() -> list[bytes]:
    tokens = [{"id": 578 + i, "text": word, "logprob": -0.25, "special": False} for i, word in enumerate(WORDS)]
    told: list[Data] = [{"index": i, "token": t, "generated_text": None, "details": None} for i, t in enumerate(tokens)]
    told[-1]["details"] = {"finish_reason": "length", "generated_tokens": CHUNKS, "input_length": 5}
    return [b"data:" + orjson.dumps(event) + b"\n\n" for event in told]


def _template() -> Format:
    return Format("http_template", _tokens(), quirks=_TEMPLATES)


def _sagemaker() -> Format:
    of = {"event_type": "PayloadPart", "content_type": "application/octet-stream", "message_type": "event"}
    return Format("http_template", [amazon_message(event, **of) for event in _tokens()], quirks=_TEMPLATES)


_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _converse() -> Format:
    told = ({"contentBlockIndex": 0, "delta": {"text": word}, "p": _PADDING[: i % 50]} for i, word in enumerate(WORDS))
    stream = [
        amazon_event("messageStart", {"role": "assistant", "p": _PADDING}),
        *(amazon_event("contentBlockDelta", data) for data in told),
        amazon_event("messageStop", {"stopReason": "end_turn", "p": _PADDING}),
        amazon_event("metadata", {"metrics": {"latencyMs": 9}, "usage": {"inputTokens": 5, "outputTokens": CHUNKS}}),
    ]
    return Format("bedrock_converse", stream)


def _invoked(model: str, told: Iterable[Data]) -> Format:
    wrapped = (base64.b64encode(orjson.dumps(data)).decode() for data in told)
    stream = [amazon_event("chunk", {"bytes": data, "p": _PADDING[: i % 50]}) for i, data in enumerate(wrapped)]
    return Format("bedrock_invoke", stream, model=model)


def _nova() -> list[Data]:
    told = ({"contentBlockDelta": {"delta": {"text": word}, "contentBlockIndex": 0}} for word in WORDS)
    counts = {"usage": {"inputTokens": 5, "outputTokens": CHUNKS}}
    return [
        {"messageStart": {"role": "assistant"}},
        *told,
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": counts},
    ]


def _llama() -> list[Data]:
    told = [
        {"generation": word, "prompt_token_count": None, "generation_token_count": i, "stop_reason": None}
        for i, word in enumerate(WORDS, 1)
    ]
    return [*told, {**told[-1], "generation": "", "stop_reason": "stop"}]


FORMATS: Mapping[str, Format] = {
    "openai_chat": _openai_chat(),
    "openai_responses": _openai_responses(),
    "openai_completions": _openai_completions(),
    "anthropic_messages": _anthropic(),
    "gemini_generate": _gemini(),
    "gemini_generate, array": _gemini_array(),
    "cohere_v2": _cohere(),
    "watsonx": _watsonx_chat(),
    "watsonx, generation": _watsonx_generation(),
    "ollama_native": _ollama(),
    "replicate_predictions": _replicate(),
    "http_template": _template(),
    "http_template, SageMaker": _sagemaker(),
    "bedrock_converse": _converse(),
    "bedrock_invoke, Claude": _invoked("anthropic.claude-3", _messages()),
    "bedrock_invoke, Nova": _invoked("amazon.nova-lite", _nova()),
    "bedrock_invoke, Llama": _invoked("meta.llama3", _llama()),
}
"""By wire, and by framing or family where a wire has several."""
SERVED = ("openai_chat", "openai_responses", "openai_completions", "anthropic_messages", "gemini_generate", "cohere_v2")
"""Those that the server of P3 sends, events of SSE all."""
