"""What vendors' own types are asked about: chats in no vendor's words, and a few texts to embed and to rank.

Every oracle takes the same ones; a target names the model that they are put to.
"""

import base64
from dataclasses import replace

from flowllm.core.request import Chat, Embed, Image, Message, Request, Rerank, Sampling, Text, Thought, Tool, ToolUse

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SEAL = base64.b64encode(b"a provider's seal, as long as seals are" * 4).decode()
WEATHER = Tool("get_weather", "The weather of a city.", {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
})  # fmt: skip
BARE = Tool("now")
NESTED = Tool("book", "Book rooms.", {
    "type": "object",
    "properties": {
        "rooms": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/room"}},
        "kind": {"type": "string", "enum": ["single", "double"], "description": "One or two beds."},
        "price": {"type": ["number", "null"], "minimum": 0},
    },
    "required": ["rooms"],
    "$defs": {"room": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
})  # fmt: skip
CLOSED = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "sources": {"type": "array", "items": {"type": "string"}}},
    "required": ["answer", "sources"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"answer": {"type": "string"}}}


def said(role, *parts, **more) -> Message:
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts), **more)


def chat(*messages, **more) -> Chat:
    return Chat("", tuple(messages), **more)


def call(name, arguments, identity="") -> ToolUse:
    return ToolUse(name, arguments, identity)


ASK = said("user", "What is the weather in Paris?")
CALLED = said("assistant", tool_calls=(call("get_weather", '{"city":"Paris"}', "call_1"),))
RESULT = said("tool", "Rain, 12 degrees.", tool_call_id="call_1")
BOTH = said("assistant", "I look both up.", tool_calls=(
    call("get_weather", '{"city":"Paris"}', "call_1"), call("get_weather", '{"city":"Oslo"}', "call_2")))  # fmt: skip
SNOW = said("tool", '{"sky": "snow", "degrees": -3}', tool_call_id="call_2")
PNG = Image(media_type="image/png", data=PIXEL)
LETTERS = 'Grüße, 世界, שלום, नमस्ते, e\u0301, \U0001f469\u200d\U0001f467, \u2028, \t, "quoted" \\ {{ braces }}'
LONG_ID = "toolu/01:" + "x" * 90
THOUGHT = Thought("They want the weather; I ask the tool.", SEAL, "rs_1")

CHATS = {
    "a question": chat(said("user", "Hi")),
    "instructions": chat(said("system", "Be kind."), said("user", "Hi")),
    "instructions in two places": chat(
        said("system", "Be kind."), said("user", "Hi"), said("assistant", "Hello."), said("system", "Be brief."),
        said("user", "And?")),
    "sampling": chat(said("user", "Hi"), sampling=Sampling(0.5, 0.9, 99, ("END", "\n\n"), 7)),
    "temperature of zero": chat(said("user", "Hi"), sampling=Sampling(temperature=0.0, max_output_tokens=1)),
    "a stream": chat(said("user", "Hi"), stream=True),
    "letters of the world": chat(said("user", LETTERS)),
    "a long text": chat(said("user", "One line of a long text.\n" * 1000)),
    "a long history": chat(*(said("user" if i % 2 == 0 else "assistant", f"turn {i}") for i in range(101))),
    "one side twice": chat(said("user", "Hi"), said("user", "again"), said("assistant", "Yes."),
                           said("assistant", "Yes?"), said("user", "Well")),
    "blank parts": chat(said("system", ""), said("user", "", "Hi", " "), said("assistant", ""), said("user", "And?")),
    "an image": chat(said("user", "What is this?", PNG)),
    "images of four types": chat(said("user", PNG, Image(media_type="image/jpeg", data="/9j/4AAQ"),
                                      Image(media_type="image/gif", data="R0lGODlh"), "and",
                                      Image(media_type="image/webp", data="UklGRg=="))),
    "an image as a data address": chat(said("user", Image(url=f"data:image/png;base64,{PIXEL}"), "What is this?")),
    "an image at an address": chat(said("user", Image(url="https://example.org/a.png"), "What is this?")),
    "an image in the history": chat(said("user", "Look", PNG), said("assistant", "A dot."), said("user", "Which?")),
    "a tool": chat(ASK, tools=(WEATHER,)),
    "tools with nothing said and much said": chat(ASK, tools=(BARE, NESTED)),
    "a call and its result": chat(ASK, CALLED, RESULT, tools=(WEATHER,)),
    "two calls at once": chat(ASK, BOTH, RESULT, SNOW, said("user", "And tomorrow?"), tools=(WEATHER,)),
    "results in another order": chat(ASK, BOTH, SNOW, RESULT, tools=(WEATHER,)),
    "a result of nothing": chat(said("user", "Go"), said("assistant", tool_calls=(call("now", "", "c"),)),
                                said("tool", "", tool_call_id="c"), tools=(BARE,)),
    "calls without ids": chat(ASK, said("assistant", tool_calls=(call("now", "{}"), call("now", "{}"))),
                              said("tool", "1"), said("tool", "2"), tools=(BARE,)),
    "ids of another provider": chat(
        ASK, replace(CALLED, tool_calls=(call("get_weather", '{"city":"Paris"}', LONG_ID),)),
        replace(RESULT, tool_call_id=LONG_ID), tools=(WEATHER,)),
    "arguments that are no JSON": chat(ASK, replace(CALLED, tool_calls=(call("get_weather", "Paris", "call_1"),)),
                                       RESULT, tools=(WEATHER,)),
    "calls of tools no longer offered": chat(ASK, CALLED, RESULT, said("assistant", "Rain."), said("user", "Thanks")),
    "an answer of a closed shape": chat(said("user", "Who wrote it?"), schema=CLOSED),
    "an answer of an open shape": chat(said("system", "Be kind."), said("user", "Who wrote it?"), schema=OPEN),
    "an answer of a shape, with a tool": chat(ASK, CALLED, RESULT, schema=CLOSED, tools=(WEATHER,)),
    "thinking": chat(said("user", "Why?"), reasoning="high", sampling=Sampling(max_output_tokens=4000)),
    "thoughts kept over turns": chat(
        ASK, replace(CALLED, thoughts=(THOUGHT, Thought(signature=SEAL, sealed=True, id="rs_2"))), RESULT,
        tools=(WEATHER,), reasoning="low"),
    "marks for the cache": chat(
        said("system", Text("Be kind.", "1h")), said("user", replace(PNG, prompt_cache="5m"), "What is this?"),
        said("assistant", "A dot."), said("user", Text("Which?", "5m")),
        tools=(BARE, replace(WEATHER, prompt_cache="1h"))),
    "a choice of the model": chat(ASK, tools=(WEATHER, BARE), tool_choice="auto"),
    "no tool to be called": chat(ASK, tools=(WEATHER, BARE), tool_choice="none"),
    "some tool to be called": chat(ASK, tools=(WEATHER, BARE), tool_choice="required"),
    "one tool to be called": chat(ASK, tools=(WEATHER, BARE), tool_choice="get_weather"),
    "one call at a time": chat(ASK, tools=(WEATHER, BARE), parallel_tool_calls=False),
    "one call of one tool": chat(ASK, tools=(WEATHER, BARE), tool_choice="now", parallel_tool_calls=False),
    "a call that failed": chat(ASK, BOTH, replace(RESULT, failed=True), SNOW, tools=(WEATHER,)),
}  # fmt: skip
EMBEDS = {
    "a text": Embed("", ("Hi",)),
    "a text and a size": Embed("", ("Grüße, 世界",), 256),
    "texts": Embed("", ("Hi", "Grüße, 世界", "x" * 2000)),
}
RERANKS = {
    "documents": Rerank("", "Who wrote it?", ("She did.", "Grüße, 世界", "x" * 2000)),
    "the best of them": Rerank("", "Who wrote it?", ("She did.", "He did."), 1),
}
ALL: dict[str, dict[str, Request]] = {"chat": CHATS, "embed": EMBEDS, "rerank": RERANKS}
