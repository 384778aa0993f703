"""OpenAI's own types: the TypedDicts of its package's parameters, and what its client sends for them."""

import httpx2
import openai
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from tests.oracle.sent import Trap, difference
from tests.oracle.shapes import problems
from tests.oracle.verdicts import main

TRAP = Trap()
CLIENT = openai.OpenAI(
    api_key="k", base_url="http://oracle/v1", max_retries=0,
    http_client=httpx2.Client(transport=httpx2.MockTransport(TRAP)),
)  # fmt: skip
OPERATIONS = {
    "/chat/completions": (chat_create_params.CompletionCreateParams, CLIENT.chat.completions.create),
    "/responses": (response_create_params.ResponseCreateParams, CLIENT.responses.create),
    "/completions": (completion_create_params.CompletionCreateParams, CLIENT.completions.create),
    "/embeddings": (embedding_create_params.EmbeddingCreateParams, CLIENT.embeddings.create),
}


def judge(row) -> str:
    """What is wrong with a request, empty where nothing is."""
    if row["path"] not in OPERATIONS:
        return f"no operation has {row['path']}"
    shape, create = OPERATIONS[row["path"]]
    found = "; ".join(problems(row["body"], shape))
    return found or difference(row, TRAP, "/v1", lambda: create(**row["body"]))


def _planted(path="/chat/completions", method="POST", **body):
    return {"method": method, "path": path, "body": {"model": "m", **body}}


SAID = {"role": "user", "content": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
PLANTED = [
    _planted("/chat", messages=[SAID]),
    _planted(method="GET", messages=[SAID]),
    _planted(),
    _planted(messages=[SAID], max_output_tokens=1),
    _planted(messages=[SAID], seed="1"),
    _planted(messages=[SAID], stream=1),
    _planted(messages=[SAID], stop=7),
    _planted(messages=[SAID], reasoning_effort="much"),
    _planted(messages=[SAID | {"cache_control": {}}]),
    _planted(messages=[SAID | {"role": "human"}]),
    _planted(messages=[SAID | {"content": [IMAGE | {"image_url": "data:,"}]}]),
    _planted(messages=[SAID | {"role": "assistant", "content": [IMAGE]}]),
    _planted(messages=[{"role": "tool", "content": "1"}]),
    _planted(messages=[SAID], tools=[{"type": "function", "name": "f"}]),
    _planted(messages=[SAID], response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
    _planted("/responses", input=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]),
    _planted("/responses", input=[{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]),
    _planted("/responses", input=[{"type": "function_call_output", "call_id": "c"}]),
    _planted("/responses", input="Hi", tools=[{"type": "function", "function": {"name": "f"}}]),
    _planted("/responses", input="Hi", reasoning_effort="low"),
    _planted("/completions", prompt="Hi", messages=[]),
    _planted("/embeddings", input={"text": "Hi"}),
    _planted("/embeddings", input="Hi", dimensions="256"),
]

if __name__ == "__main__":
    main(f"openai {openai.__version__}", judge, PLANTED)
