"""Google's own types: the models of its package, and what its client sends for them.

The client takes a request apart into arguments and puts it together again, so that what it does not know is missing
then. It spells some names with underscores, levels in capitals and base64 for addresses, all the same to the server.
"""

import re

import httpx2
from google import genai
from google.genai import types

from tests.oracle.sent import Trap, difference
from tests.oracle.shapes import problems
from tests.oracle.verdicts import main

TRAP = Trap()
CLIENT = genai.Client(
    api_key="k",
    http_options=types.HttpOptions(
        base_url="http://oracle", api_version="v1beta",
        httpx_client=httpx2.Client(transport=httpx2.MockTransport(TRAP)),
    ),
)  # fmt: skip
PATH = re.compile(r"/models/([^/:]+):(\w+)(\?alt=sse)?")
PARTS = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
}
PLAIN = str.maketrans("-_", "+/")
EMBEDS = {"content", "model"}


def judge(row) -> str:
    """What is wrong with a request, empty where nothing is."""
    match = PATH.fullmatch(row["path"])
    if match is None:
        return f"no operation has {row['path']}"
    model, operation, _ = match.groups()
    body = _in_capitals(row["body"])
    if operation == "batchEmbedContents":
        return "; ".join(_embedding(body)) or _sent(row, body, lambda: _embed(model, body), {"role": "user"})
    found = [f"body.{name} is unknown" for name in sorted(body.keys() - PARTS.keys())]
    found += [line for name in body.keys() & PARTS for line in problems(body[name], PARTS[name], f"body.{name}")]
    if found or "contents" not in body:
        return "; ".join(found) or "body.contents is missing"
    models = CLIENT.models
    send = {"generateContent": models.generate_content, "streamGenerateContent": models.generate_content_stream}
    if operation not in send:
        return f"there is no operation {operation}"
    more = {name: value for name, value in body.items() if name not in ("contents", "generationConfig")}
    config = {**body.get("generationConfig", {}), **more}
    return _sent(row, body, lambda: send[operation](model=model, contents=body["contents"], config=config), {})


def _embedding(body):
    if body.keys() != {"requests"}:
        yield "body is no batch of requests"
        return
    for index, each in enumerate(body["requests"]):
        more = {name: value for name, value in each.items() if name not in EMBEDS}
        yield from problems(each.get("content"), types.Content, f"body.requests.{index}.content")
        yield from problems(more, types.EmbedContentConfig, f"body.requests.{index}")


def _embed(model, body):
    first, *_ = body["requests"]
    config = {name: value for name, value in first.items() if name not in EMBEDS}
    texts = [one["content"] for one in body["requests"]]
    return CLIENT.models.embed_content(model=model, contents=texts, config=config)


def _sent(row, body, send, said) -> str:
    return difference({**row, "body": body}, TRAP, "/v1beta", send, {"generationConfig": {}, **said}, _spelled)


def _spelled(value, name=""):
    """JSON with humps in its names and plain base64, as the wire writes them; it is done to both sides."""
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if isinstance(value, dict):
        names = {name: re.sub(r"_([a-z])", lambda m: m[1].upper(), name) for name in value}
        return {names[name]: _spelled(item, names[name]) for name, item in value.items()}
    return value.translate(PLAIN) if name in ("data", "thoughtSignature") else value


def _in_capitals(body):
    """The body with its level of thinking spelled as the package does."""
    config = body.get("generationConfig")
    thinking = config.get("thinkingConfig") if isinstance(config, dict) else None
    if not isinstance(thinking, dict) or not isinstance(thinking.get("thinkingLevel"), str):
        return body
    thinking = {**thinking, "thinkingLevel": thinking["thinkingLevel"].upper()}
    return {**body, "generationConfig": {**config, "thinkingConfig": thinking}}


SAID = {"role": "user", "parts": [{"text": "Hi"}]}


def _planted(path="/models/m:generateContent", method="POST", **body):
    return {"method": method, "path": path, "body": {"contents": [SAID], **body}}


def _part(part):
    return _planted(contents=[{"role": "user", "parts": [part]}])


def _config(**words):
    return _planted(generationConfig=words)


PLANTED = [
    _planted("/m:generateContent"),
    _planted("/models/m:generate"),
    _planted("/models/m:streamGenerateContent"),
    _planted(method="GET"),
    _planted(contents="Hi"),
    _planted(messages=[]),
    _planted(systemInstruction="Hi"),
    _planted(temperature=0.5),
    _planted(tools=[{"functionDeclarations": [{"name": "f", "input_schema": {}}]}]),
    _planted(tools=[{"type": "function"}]),
    _part({"text": "Hi", "type": "text"}),
    _part({"inline_data": {"mimeType": "image/png", "data": "AAAA"}}),
    _part({"inlineData": {"mimeType": "image/png", "data": "%"}}),
    _part({"functionCall": {"name": "f", "args": "{}"}}),
    _part({"functionResponse": {"name": "f", "response": "1"}}),
    _config(max_tokens=7),
    _config(stopSequences="END"),
    _config(temperature="0"),
    _config(thinkingConfig={"thinkingLevel": "much"}),
    _config(thinkingConfig={"budget": 7}),
    {"method": "POST", "path": "/models/m:batchEmbedContents", "body": {"content": SAID}},
    {"method": "POST", "path": "/models/m:batchEmbedContents",
     "body": {"requests": [{"model": "models/m", "content": SAID, "dimensions": 7}]}},
    {"method": "POST", "path": "/models/m:batchEmbedContents", "body": {"requests": [{"content": SAID}]}},
]  # fmt: skip

if __name__ == "__main__":
    main(f"google-genai {genai.__version__}", judge, PLANTED)
