"""Cohere's own types: the arguments of its package's second client and their models, and what it sends for them."""

import inspect
import typing

import cohere
import httpx

from tests.oracle.sent import Trap, difference
from tests.oracle.shapes import problems
from tests.oracle.verdicts import main

TRAP = Trap()
CLIENT = cohere.ClientV2(
    "k", base_url="http://oracle", max_retries=0, httpx_client=httpx.Client(transport=httpx.MockTransport(TRAP))
)


def judge(row) -> str:
    """What is wrong with a request, empty where nothing is."""
    arguments = dict(row["body"])
    name = {"/chat": "chat", "/embed": "embed", "/rerank": "rerank"}.get(row["path"])
    if name is None:
        return f"no operation has {row['path']}"
    if name == "chat":
        streams = arguments.pop("stream", None)
        if not isinstance(streams, bool):
            return "body.stream is no bool"
        name = "chat_stream" if streams else "chat"
    found = "; ".join(_misfits(arguments, getattr(cohere.ClientV2, name)))
    return found or difference(row, TRAP, "/v2", lambda: getattr(CLIENT, name)(**arguments))


def _misfits(arguments, method):
    """Arguments against what the client's method takes."""
    hints = typing.get_type_hints(method, include_extras=True)
    known = inspect.signature(method).parameters.keys() - {"self", "request_options"}
    yield from (f"body.{name} is unknown to {method.__name__}" for name in sorted(arguments.keys() - known))
    for name in sorted(known):
        if name in arguments:
            yield from problems(arguments[name], hints[name], f"body.{name}")
        elif inspect.signature(method).parameters[name].default is inspect.Parameter.empty:
            yield f"body.{name} is missing"


def _planted(path="/chat", method="POST", **body):
    return {"method": method, "path": path, "body": {"model": "m", **body}}


def _chat(**more):
    return _planted(**{"messages": [SAID], "stream": False, **more})


SAID = {"role": "user", "content": "Hi"}
PLANTED = [
    _planted("/v2/chat", messages=[SAID], stream=False),
    _planted(method="GET", messages=[SAID], stream=False),
    _planted(stream=False),
    _planted(messages=[SAID]),
    _chat(top_p=0.9),
    _chat(seed="7"),
    _chat(stop_sequences="END"),
    _chat(thinking={"type": "on"}),
    _chat(response_format={"type": "json_schema", "json_schema": {}}),
    _chat(tools=[{"type": "function", "function": {"name": "f"}}]),
    _chat(tools=[{"function": {"name": "f", "parameters": {}}}]),
    _chat(messages=[SAID | {"role": "developer"}]),
    _chat(messages=[SAID | {"name": "me"}]),
    _chat(messages=[SAID | {"content": [{"type": "image_url", "image_url": "data:,"}]}]),
    _chat(messages=[{"role": "tool", "content": "1"}]),
    _chat(messages=[{"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f"}}]}]),
    _planted("/embed", texts=["Hi"]),
    _planted("/embed", texts=["Hi"], input_type="passage"),
    _planted("/embed", texts=["Hi"], input_type="search_query", embedding_types=["float32"]),
    _planted("/rerank", query="Hi"),
    _planted("/rerank", query="Hi", documents=["Hi"], top_k=1),
]

if __name__ == "__main__":
    main(f"cohere {cohere.__version__}", judge, PLANTED)
