"""Anthropic's own types: the TypedDicts of its package's parameters, and what its client sends for them."""

import anthropic
import httpx2
from anthropic.types.message_create_params import MessageCreateParams

from tests.oracle.sent import Trap, difference
from tests.oracle.shapes import problems
from tests.oracle.verdicts import main

TRAP = Trap()
CLIENT = anthropic.Anthropic(
    api_key="k", base_url="http://oracle", max_retries=0, timeout=1,
    http_client=httpx2.Client(transport=httpx2.MockTransport(TRAP)),
)  # fmt: skip

SAMPLING = "types since version 2 know no sampling, which the newest models refuse; older ones take what a user asks"
EXCEPTIONS = {
    f"body.{name} is unknown to MessageCreateParamsNonStreaming": SAMPLING for name in ("temperature", "top_p")
}


def judge(row) -> str:
    """What is wrong with a request, empty where nothing is."""
    if row["path"] != "/messages":
        return f"no operation has {row['path']}"
    found = "; ".join(problems(row["body"], MessageCreateParams))
    return found or difference(row, TRAP, "/v1", lambda: CLIENT.messages.create(**row["body"]))


def _planted(path="/messages", method="POST", **body):
    return {"method": method, "path": path, "body": {"model": "m", "max_tokens": 9, "messages": [SAID], **body}}


SAID = {"role": "user", "content": "Hi"}


def _content(*blocks, role="user"):
    return _planted(messages=[{"role": role, "content": list(blocks)}])


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PLANTED = [
    _planted("/chat/completions"),
    _planted(method="GET"),
    _planted(messages=None),
    _planted(seed=7),
    _planted(max_tokens="9"),
    _planted(temperature=0, top_k=5, seed=7),
    _planted(stop_sequences="END"),
    _planted(system={"type": "text", "text": "Hi"}),
    _planted(messages=[SAID | {"role": "tool"}]),
    _planted(messages=[SAID | {"name": "me"}]),
    _planted(thinking={"type": "enabled"}),
    _planted(thinking={"type": "adaptive", "budget_tokens": 1024}),
    _planted(output_config={"effort": "much"}),
    _planted(tools=[{"type": "function", "function": {"name": "f"}}]),
    _planted(tools=[{"name": "f"}]),
    _content(IMAGE | {"source": {"type": "base64", "media_type": "image/bmp", "data": "AAAA"}}),
    _content({"type": "image_url", "image_url": {"url": "data:,"}}),
    _content({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1d"}}),
    _content({"type": "tool_use", "id": "c", "name": "f", "input": "{}"}, role="assistant"),
    _content({"type": "tool_result", "content": "1"}),
    _content({"type": "thinking", "thinking": "Hm"}, role="assistant"),
]

if __name__ == "__main__":
    main(f"anthropic {anthropic.__version__}", judge, PLANTED, EXCEPTIONS)
