"""Bodies of the text models on Amazon Bedrock that have formats of their own: Titan, Llama, Cohere, AI21, Mistral.

`BODIES` makes the body of a chat, one function a family; the models take text alone. `TOLD` tells an
answer, or a piece of one, as a chat completion, and `TextDecoder` reads it: each family names the same few
facts otherwise. Claude alone tells messages.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from flowllm.backends.answers import count_of, invalid, object_of
from flowllm.backends.calling import require_no_logprobs
from flowllm.backends.chat_completions import CompletionDecoder, require_known
from flowllm.backends.content import prompt_of, require_text, wanted_shape
from flowllm.backends.framing import Frame
from flowllm.core.request import Chat

Body = dict[str, Any]
Tell = Callable[[Body], Body]

_METRICS = "amazon-bedrock-invocationMetrics"
_ACTION = "amazon-bedrock-guardrailAction"
_INTERVENED = "INTERVENED"


def metrics_of(told: Mapping[str, Any]) -> Body | None:
    """Tokens as the last piece of any streamed answer tells them, as a usage of chat completions."""
    metrics = told.get(_METRICS)
    if not isinstance(metrics, dict):
        return None
    return _usage(metrics.get("inputTokenCount"), metrics.get("outputTokenCount"))


def _titan(name: str, request: Chat) -> Body:
    drawn = _drawn(request, "maxTokenCount", "temperature", "topP", "stopSequences")
    return {"inputText": prompt_of(request), "textGenerationConfig": drawn}


def _llama(name: str, request: Chat) -> Body:
    prompt = _llama_2(request) if "llama2" in name else _llama_3(request)
    return {"prompt": prompt, **_drawn(request, "max_gen_len", "temperature", "top_p")}


def _cohere(name: str, request: Chat) -> Body:
    drawn = _drawn(request, "max_tokens", "temperature", "p", "stop_sequences")
    if "command-r" not in name:
        return {"prompt": prompt_of(request), **drawn}
    turns = _turns(request)
    system = "\n\n".join(text for role, text in turns if role == "system")
    said = [(role, text) for role, text in turns if role != "system"]
    history = [{"role": "USER" if role == "user" else "CHATBOT", "message": text} for role, text in said[:-1]]
    chat = {"message": said[-1][1] if said else "", "chat_history": history or None, "preamble": system or None}
    return _said({**chat, **drawn, "seed": request.sampling.seed})


def _ai21(name: str, request: Chat) -> Body:
    return {"prompt": prompt_of(request), **_drawn(request, "maxTokens", "temperature", "topP", "stopSequences")}


def _mistral(name: str, request: Chat) -> Body:
    prompt = _instructed(_turns(request), "{}\n\n")
    return {"prompt": prompt, **_drawn(request, "max_tokens", "temperature", "top_p", "stop")}


BODIES: Mapping[str, Callable[[str, Chat], Body]] = {
    "titan": _titan,
    "llama": _llama,
    "cohere": _cohere,
    "ai21": _ai21,
    "mistral": _mistral,
}
"""The model's name and a chat to the body, by family."""


def _drawn(request: Chat, *names: str) -> Body:
    """How the answer is drawn, under a family's words for length, temperature, top p and ends; some know no ends."""
    require_no_logprobs(request)
    sampling = request.sampling
    values = (sampling.max_output_tokens, sampling.temperature, sampling.top_p, list(sampling.stop) or None)
    return _said(dict(zip(names, values, strict=False)))


def _said(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}


def _turns(request: Chat) -> list[tuple[str, str]]:
    """Who said what; the words that ask for JSON stand before all."""
    require_text(request)
    said = [(message.role, message.text) for message in request.messages if message.text]
    asked = [("system", wanted_shape(request.schema))] if request.schema is not None else []
    return [*asked, *said]


def _llama_3(request: Chat) -> str:
    turns = [*_turns(request), ("assistant", "")]
    told = [f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in turns]
    return "<|begin_of_text|>" + "".join(told).removesuffix("<|eot_id|>")


def _llama_2(request: Chat) -> str:
    return _instructed(_turns(request), "<<SYS>>\n{}\n<</SYS>>\n\n")


def _instructed(turns: list[tuple[str, str]], system: str) -> str:
    """Instructions in marks and answers between them; what the system says stands before the first question."""
    told = "\n\n".join(text for role, text in turns if role == "system")
    prompt, waiting = "<s>", system.format(told) if told else ""
    for (role, text), (following, _) in pairwise([*(t for t in turns if t[0] != "system"), ("", "")]):
        if role == "assistant":
            prompt += f" {text}</s>" + ("<s>" if following else "")
        else:
            waiting += text
            if following == role:
                waiting += "\n\n"
                continue
            prompt, waiting = f"{prompt}[INST] {waiting} [/INST]", ""
    return prompt


def _titan_told(told: Body) -> Body:
    result = (told.get("results") or [told])[0]
    written = count_of(result.get("tokenCount"), told.get("totalOutputTextTokenCount"))
    raw = result.get("completionReason") or (_INTERVENED if told.get(_ACTION) == _INTERVENED else None)
    return _completion(result["outputText"], raw, _usage(told.get("inputTextTokenCount"), written))


def _llama_told(told: Body) -> Body:
    counted = _usage(told.get("prompt_token_count"), told.get("generation_token_count"))
    return _completion(told["generation"], told.get("stop_reason"), counted)


def _cohere_told(told: Body) -> Body:
    kind = told.get("event_type", "")
    result = (told.get("generations") or [told])[0]
    calls = [{"function": {"name": c["name"], "arguments": c.get("parameters")}} for c in told.get("tool_calls") or ()]
    text = result.get("text") if kind in ("", "text-generation") else ""
    if not kind and text is None and not calls and not result.get("finish_reason"):
        raise KeyError
    answer = _completion(text or "", result.get("finish_reason"), None, result.get("index") or 0, calls)
    return answer | ({} if kind else {"citations": told.get("citations")})


def _chat_told(told: Body) -> Body:
    """Chat completions, but for the name of the end mark; older models tell bare text."""
    for choice in told.get("choices") or ():
        choice.setdefault("finish_reason", choice.get("stop_reason"))
        if "text" in choice:
            choice["message"] = choice["delta"] = {"content": choice["text"]}
    return told


def _ai21_told(told: Body) -> Body:
    if "choices" in told:
        return _chat_told(told)
    (first, *_) = told["completions"]
    return _completion(first["data"]["text"], (first.get("finishReason") or {}).get("reason"), None)


def _mistral_told(told: Body) -> Body:
    if "choices" in told:
        return _chat_told(told)
    (first, *_) = told["outputs"]
    return _completion(first["text"], first.get("stop_reason"), None)


def claude_told(told: Body) -> Body:
    """Messages as they are; the completions that Claude gave before messages as the beginning of one."""
    if "completion" not in told:
        return told
    counted = metrics_of(told) or {}
    usage = {"input_tokens": counted.get("prompt_tokens"), "output_tokens": counted.get("completion_tokens")}
    content = [{"type": "text", "text": told["completion"]}]
    message = {"content": content, "stop_reason": told.get("stop_reason"), "usage": usage if counted else None}
    return {"type": "message_start", "message": message}


class TextDecoder(CompletionDecoder):
    """Frames of an answer of a family to deltas, each told as a chat completion first."""

    __slots__ = ("_family",)

    def __init__(self, family: str) -> None:
        super().__init__()
        self._family = family

    def _load(self, frame: Frame) -> Body:
        body = object_of(frame)
        try:
            told = TOLD[self._family](body)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise invalid(frame, f"is not of the shape of an answer of the family {self._family}") from None
        if "choices" not in told:
            require_known(told, frame, self.kind)
        return told


def _counted(tell: Tell) -> Tell:
    """With the counts that stand beside an answer, where it has none inside."""

    def told(body: Body) -> Body:
        completion = tell(body)
        if not completion.get("usage") and (counted := metrics_of(body)):
            completion["usage"] = counted
        return completion

    return told


TOLD: Mapping[str, Tell] = {
    "titan": _counted(_titan_told),
    "llama": _counted(_llama_told),
    "cohere": _counted(_cohere_told),
    "ai21": _counted(_ai21_told),
    "mistral": _counted(_mistral_told),
    "openai": _counted(_chat_told),
}
"""An answer, or a piece, as a chat completion, by family; KeyError and the like for what is none."""


def _completion(
    text: str, raw: str | None, usage: Body | None, index: int = 0, calls: list[Body] | None = None
) -> Body:
    """Both as a whole and as a piece: a decoder takes what it waits for."""
    said = {"content": text, "tool_calls": calls} if calls else {"content": text}
    told = {"choices": [{"index": index, "message": said, "delta": said, "finish_reason": raw}]}
    return told | ({"usage": usage} if usage else {})


def _usage(read: Any, written: Any) -> Body | None:
    """Counts where both are known; some come as fractions."""
    given = count_of(read), count_of(written)
    return None if None in given else {"prompt_tokens": given[0], "completion_tokens": given[1]}
