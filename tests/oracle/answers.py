"""Recorded answers as the vendors' own clients read them: `python -m tests.oracle.answers` beside their packages.

It reads rows of JSON with ``protocol``, ``stream``, ``content_type`` and ``body``, and prints what was said: ``text``
(a refusal where nothing else was said), ``calls`` (name and arguments), and the tokens ``input`` and ``output``.
"""

import json
import sys


def _client(make, row, base):
    import httpx2

    def answer(request):
        return httpx2.Response(200, headers={"content-type": row["content_type"]}, content=row["body"].encode())

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    return make(api_key="k", base_url=base, max_retries=0, http_client=transport)


def _openai(row):
    import openai

    return _client(openai.OpenAI, row, "http://oracle/v1")


def chat(row):
    """Chat completions."""
    told = _openai(row).chat.completions.create(model="m", messages=[], stream=row["stream"])
    text, refusal, calls, usage = "", "", {}, None
    for chunk in told if row["stream"] else [told]:
        usage = chunk.usage or usage
        for choice in chunk.choices[:1]:
            said = choice.delta if row["stream"] else choice.message
            text += said.content or ""
            refusal += said.refusal or ""
            for place, call in enumerate(said.tool_calls or ()):
                held = calls.setdefault(call.index if row["stream"] else place, ["", ""])
                held[0] += call.function.name or ""
                held[1] += call.function.arguments or ""
    counted = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    return _told(text or refusal, list(calls.values()), *counted)


def responses(row):
    """Responses; a stream ends with the whole of it."""
    told = _openai(row).responses.create(model="m", input="", stream=row["stream"])
    if row["stream"]:
        told = [event.response for event in told if event.type in ("response.completed", "response.incomplete")][-1]
    calls = [
        [item.name, item.arguments if item.type == "function_call" else item.input]
        for item in told.output
        if item.type in ("function_call", "custom_tool_call")
    ]
    parts = [part for item in told.output if item.type == "message" for part in item.content]
    refusal = "".join(part.refusal for part in parts if part.type == "refusal")
    return _told(told.output_text or refusal, calls, told.usage.input_tokens, told.usage.output_tokens)


def messages(row):
    """Messages of Anthropic; the client's own stream puts a message together."""
    import anthropic

    client = _client(anthropic.Anthropic, row, "http://oracle")
    if row["stream"]:
        with client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
            told = stream.get_final_message()
    else:
        told = client.messages.create(model="m", max_tokens=1, messages=[])
    text = "".join(block.text for block in told.content if block.type == "text")
    calls = [[block.name, json.dumps(block.input)] for block in told.content if block.type == "tool_use"]
    usage = told.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return _told(text, calls, usage.input_tokens + cached, usage.output_tokens)


def _told(text, calls, read, written):
    calls = [[name, arguments_of(arguments)] for name, arguments in calls]
    return {"text": text, "calls": calls, "input": read, "output": written}


def arguments_of(text):
    """Arguments as JSON; tools of free text get what is none."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


READERS = {"openai-chat": chat, "openai-responses": responses, "anthropic-messages": messages}

if __name__ == "__main__":
    for line in sys.stdin:
        row = json.loads(line)
        try:
            told = READERS[row["protocol"]](row)
        except Exception as error:  # noqa: BLE001  whatever a client raises is what it makes of the answer
            told = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(told) + "\n")
