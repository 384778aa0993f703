"""What a file says of keys and headers that no request could carry is told when the file is read."""

import pytest
import yaml

from flowllm.catalog import card_of
from flowllm.core.errors import PipelineInvalid
from flowllm.core.origin import Origin

FILE = {"base_url": "https://api.acme.example/v1", "wire": {"chat": "openai_chat"}}


def findings(more):
    with pytest.raises(PipelineInvalid) as caught:
        card_of(FILE | more, "acme", Origin("acme.yaml"))
    return [(problem.where, problem.message, problem.hint) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("auth", "where", "hint"),
    [
        ({"scheme": "header"}, "acme.auth", "name: X-Api-Key"),
        ({"scheme": "query"}, "acme.auth", "name: key"),
        ({"scheme": "header", "name": "X Key"}, "acme.auth.name", "name: X-Key"),
        ({"scheme": "header", "name": "Content-Length"}, "acme.auth.name", "name: X-Api-Key"),
        ({"scheme": "header", "name": "Host"}, "acme.auth.name", "name: X-Api-Key"),
        ({"scheme": "header", "name": "é"}, "acme.auth.name", "name: X-Api-Key"),
    ],
)
def test_a_key_has_a_place_in_the_request(auth, where, hint):
    auth = {**auth, "env": "ACME_API_KEY"}
    ((place, _, said),) = findings({"auth": auth})
    assert (place, said) == (where, hint)
    card_of(FILE | {"auth": auth | yaml.safe_load(said)}, "acme", Origin("acme.yaml"))


def test_a_prefix_is_one_line():
    auth = {"scheme": "header", "name": "X-Key", "prefix": "Key\n", "env": "ACME_API_KEY"}
    ((place, message, _),) = findings({"auth": auth})
    assert place == "acme.auth.prefix"
    assert "line break" in message


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("X Key", "a", "X-Key:"),
        ("X:Key", "a", "X-Key:"),
        ("", "a", "headers: {X-Acme-Version: '2'}"),
        ("Transfer-Encoding", "chunked", "remove it"),
        ("content-length", "5", "remove it"),
        ("Host", "x", "remove it"),
        ("Content-Type", "text/plain", "remove it"),
        ("X-Acme", "a\r\nX-Other: b", "write it in one line of ASCII letters"),
        ("X-Acme", "é", "write it in one line of ASCII letters"),
    ],
)
def test_headers_are_those_that_a_request_can_carry(name, value, hint):
    ((place, _, said),) = findings({"headers": {name: value}})
    assert place == f"acme.headers.{name}"
    assert said == hint


@pytest.mark.parametrize(
    "more",
    [
        {"auth": {"scheme": "header", "name": "X-Api-Key", "prefix": "Key ", "env": "A"}},
        {"auth": {"scheme": "query", "name": "key", "env": "A"}},
        {"headers": {"X-Acme-Version": "2", "OpenAI-Organization": "{org}", "User-Agent": "", "Accept": "a b"},
         "settings": {"org": "x"}},
    ],
)  # fmt: skip
def test_what_a_request_can_carry_is_taken(more):
    card_of(FILE | more, "acme", Origin("acme.yaml"))
