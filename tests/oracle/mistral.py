"""Mistral's own types: the models of its package's requests, and what its client sends for them."""

import httpx2
from mistralai.client import Mistral, __version__, models

from tests.oracle.sent import Trap, difference
from tests.oracle.shapes import problems
from tests.oracle.verdicts import main

TRAP = Trap()
CLIENT = Mistral(api_key="k", server_url="http://oracle", client=httpx2.Client(transport=httpx2.MockTransport(TRAP)))
# What the client says of itself where nothing is said.
SAID = {"stream": False, "index": 0, "prefix": False}


def judge(row) -> str:
    """What is wrong with a request, empty where nothing is."""
    body = row["body"]
    if row["path"] == "/embeddings":
        found = "; ".join(problems(body, models.EmbeddingRequest))
        return found or difference(row, TRAP, "/v1", lambda: CLIENT.embeddings.create(**_named(body)))
    if row["path"] != "/chat/completions":
        return f"no operation has {row['path']}"
    streams = body.get("stream")
    shape = models.ChatCompletionStreamRequest if streams else models.ChatCompletionRequest
    send = CLIENT.chat.stream if streams else CLIENT.chat.complete
    return "; ".join(problems(body, shape)) or difference(row, TRAP, "/v1", lambda: send(**body), SAID)


def _named(body):
    """The arguments of the client: what travels as ``input`` is called ``inputs``."""
    return {"inputs" if name == "input" else name: value for name, value in body.items()}


def _planted(path="/chat/completions", method="POST", **body):
    return {"method": method, "path": path, "body": {"model": "m", **body}}


ASKED = {"role": "user", "content": "Hi"}
CALLED = {"id": "abcdefghi", "function": {"name": "f", "arguments": "{}"}}
PLANTED = [
    _planted("/chat", messages=[ASKED]),
    _planted(method="GET", messages=[ASKED]),
    _planted(),
    _planted(messages=[ASKED], seed=7),
    _planted(messages=[ASKED], max_completion_tokens=7),
    _planted(messages=[ASKED], stream=True, stream_options={"include_usage": True}),
    _planted(messages=[ASKED], random_seed="7"),
    _planted(messages=[ASKED], reasoning_effort="much"),
    _planted(messages=[ASKED], stop=[1]),
    _planted(messages=[ASKED | {"role": "developer"}]),
    _planted(messages=[ASKED | {"name": "me"}]),
    _planted(messages=[ASKED | {"content": [{"type": "image", "image": "data:,"}]}]),
    _planted(messages=[{"role": "assistant", "tool_calls": [CALLED | {"signature": "x"}]}]),
    _planted(messages=[{"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi"}]}]),
    _planted(messages=[ASKED], tools=[{"type": "function", "function": {"name": "f"}}]),
    _planted(messages=[ASKED], response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
    _planted("/embeddings", inputs=["Hi"]),
    _planted("/embeddings", input=["Hi"], dimensions=256),
]

if __name__ == "__main__":
    main(f"mistralai {__version__}", judge, PLANTED)
