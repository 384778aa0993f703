"""Recorded requests to the neutral form, and both sides brought to one spelling to be compared.

What the neutral form has no place for is raised as `Unsaid`; top-level words that it does not know
travel in ``extra``. Two spellings of the same thing count as the same: text alone or as one block,
unset or false, `strict` of tools (computed from their schema), ids of items that name nothing.
"""

import json

from flowllm.core.request import Chat, Image, Message, Sampling, Text, Thought, Tool, ToolUse


class Unsaid(Exception):
    """Something that a neutral request cannot say."""


def only(data, *names):
    """Refuse what is neither among the names nor empty."""
    extra = {name for name, value in data.items() if name not in names and value not in (None, "", [], {})}
    if extra:
        raise Unsaid(f"{data.get('type') or data.get('role') or 'tool'} with {', '.join(sorted(extra))}")
    return data


def blocks(content):
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or ())


def kept(block):
    """The lifetime of a mark; without a word it is five minutes."""
    mark = block.get("cache_control")
    return only(mark, "type", "ttl").get("ttl", "5m") if mark else ""


def text(block):
    return Text(only(block, "type", "text", "cache_control")["text"], kept(block))


def tool(block):
    only(block, "name", "description", "input_schema", "strict", "cache_control")
    return Tool(block["name"], block.get("description") or "", block["input_schema"], kept(block))


def chat_of(body, messages, tools, sampling, known):
    extra = {name: value for name, value in body.items() if name not in known and value is not None}
    return Chat(f"p/{body['model']}", tuple(messages), sampling, tools=tuple(tools), extra=extra,
                stream=bool(body.get("stream")))  # fmt: skip


# --- Anthropic


def anthropic(body):
    messages = [Message("system", (text(b),)) for b in blocks(body.get("system") or "")
                if b["text"]]  # fmt: skip
    for message in body["messages"]:
        messages += anthropic_turn(message)
    tools = [tool(t) for t in body.get("tools") or ()]
    sampling = Sampling(body.get("temperature"), body.get("top_p"), body["max_tokens"],
                        tuple(body.get("stop_sequences") or ()))  # fmt: skip
    known = ["model", "messages", "system", "tools", "temperature", "top_p", "max_tokens", "stop_sequences", "stream"]
    return chat_of(body, messages, tools, sampling, known), {}


def anthropic_turn(message):
    parts, calls, thoughts, results = [], [], [], []
    for block in blocks(message["content"]):
        match block["type"]:
            case "text":
                parts.append(text(block))
            case "image":
                source = only(block, "type", "source", "cache_control")["source"]
                parts.append(
                    Image(source.get("url", ""), source.get("media_type", ""), source.get("data", ""), kept(block))
                )
            case "thinking":
                thoughts.append(Thought(block["thinking"], block["signature"]))
            case "tool_use":
                calls.append(ToolUse(block["name"], json.dumps(block["input"]), block["id"]))
            case "tool_result":
                only(block, "type", "content", "tool_use_id", "is_error")
                told = tuple(Text(only(b, "type", "text")["text"]) for b in blocks(block["content"]))
                results.append(
                    Message("tool", told, tool_call_id=block["tool_use_id"], failed=bool(block.get("is_error")))
                )
            case other:
                raise Unsaid(other)
    said = [Message(message["role"], tuple(parts), tuple(calls), thoughts=tuple(thoughts))]
    return results + (said if parts or calls or thoughts or not results else [])


def anthropic_spelling(body):
    body = {name: value for name, value in body.items() if value not in (None, False, [], "")}
    body["system"] = blocks(body.get("system") or "")
    for message in body["messages"]:
        message["content"] = blocks(message["content"])
        for block in message["content"]:
            if block["type"] == "tool_result":
                block["content"] = blocks(block["content"])
                if not block.get("is_error"):
                    block.pop("is_error", None)
    for block in [*body["system"], *(block for message in body["messages"] for block in message["content"])]:
        if (block.get("cache_control") or {}).get("ttl") == "5m":
            del block["cache_control"]["ttl"]
    body["tools"] = [{n: v for n, v in tool.items() if v != "" and n != "strict"} for tool in body.get("tools") or ()]
    return body


# --- Responses


def responses(body):
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = [Message("system", (Text(body["instructions"]),))] if body.get("instructions") else []
    for item in items:
        add_item(messages, item)
    tools = [Tool(t["name"], t.get("description") or "", t["parameters"]) for t in body.get("tools") or ()
             if only(t, "type", "name", "description", "parameters", "strict")]  # fmt: skip
    sampling = Sampling(body.get("temperature"), body.get("top_p"), body.get("max_output_tokens"))
    known = ["model", "input", "instructions", "tools", "temperature", "top_p", "max_output_tokens", "stream"]
    marked = any(part.prompt_cache for message in messages for part in message.parts)
    quirks = {"drop": ["store"]} | ({"prompt_cache": "breakpoint"} if marked else {})
    return chat_of(body, messages, tools, sampling, known), quirks


def add_item(messages, item):
    match item.get("type", "message"):
        case "message":
            only(item, "type", "role", "content", "id", "status")
            messages.append(Message(item["role"], tuple(map(responses_part, blocks(item["content"])))))
        case "reasoning":
            text = "".join(part["text"] for part in item["summary"])
            thought = Thought(text, item.get("encrypted_content") or "", item.get("id") or "")
            messages.append(Message("assistant", thoughts=(thought,)))
        case "function_call":
            messages.append(
                Message("assistant", tool_calls=(ToolUse(item["name"], item["arguments"], item["call_id"]),))
            )
        case "function_call_output" if isinstance(item["output"], str):
            messages.append(Message("tool", (Text(item["output"]),), tool_call_id=item["call_id"]))
        case other:
            raise Unsaid(other)


def responses_part(block):
    if block["type"] == "input_image":
        return Image(only(block, "type", "image_url", "detail")["image_url"])
    only(block, "type", "text", "logprobs", "annotations", "prompt_cache_breakpoint")
    return Text(block["text"], "5m" if block.get("prompt_cache_breakpoint") == {"mode": "explicit"} else "")


def responses_spelling(body):
    body = {name: value for name, value in body.items() if value not in (None, False, [], "")}
    given = body["input"]
    body["input"] = [responses_item(item) for item in
                     ([{"role": "user", "content": given}] if isinstance(given, str) else given)]  # fmt: skip
    body["tools"] = [{n: v for n, v in tool.items() if v and n != "strict"} for tool in body.get("tools") or ()]
    return body


def responses_item(item):
    names = {"message": ("role", "content"), "function_call": ("type", "name", "arguments", "call_id")}
    kind = item.get("type", "message")
    item = {name: item[name] for name in names.get(kind, item)}
    if kind == "message" and isinstance(item["content"], list):
        texts = [part.get("text") for part in item["content"]]
        item["content"] = texts[0] if texts[0] and len(texts) == 1 else item["content"]
    return item


# --- Chat completions


def chat(body):
    messages = list(map(chat_turn, body["messages"]))
    tools = [
        Tool(f["name"], f.get("description") or "", f.get("parameters") or {})
        for f in map(function, body.get("tools") or ())
    ]
    stop = body.get("stop") or ()
    sampling = Sampling(body.get("temperature"), body.get("top_p"), body.get("max_tokens"),
                        (stop,) if isinstance(stop, str) else tuple(stop), body.get("seed"))  # fmt: skip
    known = [
        "model",
        "messages",
        "tools",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "seed",
        "stream",
        "stream_options",
    ]
    developer = any(message["role"] == "developer" for message in body["messages"])
    quirks = {"stream_usage": "ask" if body.get("stream_options") else "always",
              "system_role": "developer" if developer else "system"}  # fmt: skip
    return chat_of(body, messages, tools, sampling, known), quirks


def function(tool):
    only(tool, "type", "function")
    return only(tool["function"], "name", "description", "parameters", "strict")


def chat_turn(message):
    only(message, "role", "content", "tool_calls" if message["role"] == "assistant" else "", "tool_call_id")
    parts = tuple(map(chat_part, blocks(message.get("content"))))
    asked = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
    calls = [ToolUse(of["name"], of["arguments"], identity) for identity, of in asked]
    role = "system" if message["role"] == "developer" else message["role"]
    return Message(role, parts, tuple(calls), message.get("tool_call_id") or "")


def chat_part(block):
    only(block, "type", "text", "image_url")
    return Text(block["text"]) if "text" in block else Image(block["image_url"]["url"])


def chat_spelling(body):
    body = {name: value for name, value in body.items() if value not in (None, False, [], "")}
    body["messages"] = [{n: v for n, v in m.items() if v is not None or n == "content"} for m in body["messages"]]
    for message in body["messages"]:
        content = blocks(message.get("content"))
        texts = [part.get("text") for part in content]
        message["content"] = "".join(texts) if all(isinstance(text, str) for text in texts) else content
    body["tools"] = [
        {n: v for n, v in function(tool).items() if v and n != "strict"} for tool in body.get("tools") or ()
    ]
    body["stop"] = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop")
    return body


READERS = {
    "anthropic-messages": (anthropic, anthropic_spelling),
    "openai-responses": (responses, responses_spelling),
    "openai-chat": (chat, chat_spelling),
}
