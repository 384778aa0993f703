"""`flowllm providers` and `models list --live` against a server of the test."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KEY = "canary-secret-key-0123456789abcd"
CARD = """\
name: acme
title: Acme
docs: https://docs.acme.example
base_url: {url}
wire: {{chat: openai_chat}}
auth: {{scheme: bearer, env: ACME_KEY}}
checked: 2026-11-22
features:
  chat: {{tools: true, images: false}}
limits: {{texts: {{value: 96, source: https://docs.acme.example/limits}}}}
endpoints: {{files: /files}}
models: {{tall: {{context: 10, supports: [tools]}}}}
"""


class Handler(BaseHTTPRequestHandler):
    """Lists two models for the right key."""

    def do_GET(self):
        right = self.headers.get("authorization") == f"Bearer {KEY}"
        body = {"data": [{"id": "tall"}, {"id": "new"}]} if right else {"error": {"message": f"wrong: {self.headers}"}}
        self.send_response(200 if right else 401)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def date_time_string(self, timestamp=None):
        return self.server.date or super().date_time_string(timestamp)

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.date = ""
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def acme(folder, server, monkeypatch):
    (folder / "providers").mkdir()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    (folder / "providers/acme.yaml").write_text(CARD.format(url=url))
    monkeypatch.setenv("ACME_KEY", KEY)
    return server


@pytest.mark.usefixtures("acme")
def test_a_check_says_who_answers_and_shows_no_key(flowllm):
    done = flowllm("providers", "check", "acme", "--json")
    (row,) = done.data["providers"]
    assert done.status == 0
    assert (row["result"], row["models"], row["first"], row["key_proven"]) == ("ok", 2, ["tall", "new"], True)
    assert row["key"] == "…abcd (environment)"
    assert abs(row["clock_skew"]) <= 5
    assert row["seconds"] >= 0
    text = flowllm("providers", "check", "acme")
    assert "acme" in text.out
    assert "accepted" in text.out
    assert KEY not in done.out + done.err + text.out + text.err


@pytest.mark.usefixtures("acme")
def test_a_check_without_names_asks_where_a_key_is(flowllm):
    rows = flowllm("providers", "check", "--json").data["providers"]
    assert "acme" in [row["provider"] for row in rows]
    assert "ollama" not in [row["provider"] for row in rows]


@pytest.mark.usefixtures("acme")
def test_a_key_that_is_refused_ends_with_a_failure_of_the_provider(flowllm, monkeypatch):
    wrong = "canary-wrong-key-0123456789wxyz"
    monkeypatch.setenv("ACME_KEY", wrong)
    done = flowllm("providers", "check", "acme")
    assert done.status == 4
    assert "error[auth]: acme answered 401" in done.err
    assert "flowllm keys set ACME_KEY" in done.err
    assert wrong not in done.out + done.err
    row = flowllm("providers", "check", "acme", "--json").data["providers"][0]
    assert (row["result"], row["error"]["code"]) == ("auth", "auth")
    assert wrong not in json.dumps(row)


@pytest.mark.parametrize(
    ("name", "status", "result"),
    [("sagemaker", 0, "no free probe"), ("builtin", 0, "in this process"), ("openai", 3, "missing_key")],
)
def test_who_cannot_be_asked_is_told_of(flowllm, monkeypatch, name, status, result):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    done = flowllm("providers", "check", name, "--json")
    assert (done.status, done.data["providers"][0]["result"]) == (status, result)


def test_a_clock_that_is_wrong_is_told_of(flowllm, acme):
    acme.date = "Mon, 01 Jan 2001 00:00:00 GMT"
    done = flowllm("providers", "check", "acme")
    assert done.status == 0
    assert "behind this one" in done.err


@pytest.mark.usefixtures("acme")
def test_models_are_listed_live_with_what_is_known(flowllm):
    rows = flowllm("models", "list", "--live", "acme", "--json").data["models"]
    assert [(row["model"], row["context"]) for row in rows] == [("acme/tall", 10), ("acme/new", None)]
    rows = flowllm("models", "list", "new", "--live", "acme", "--json").data["models"]
    assert [row["model"] for row in rows] == ["acme/new"]


@pytest.mark.usefixtures("acme")
def test_a_provider_is_shown(flowllm):
    facts = flowllm("providers", "show", "acme", "--json").data
    assert facts["features"] == {"chat": {"tools": True, "images": False}}
    assert facts["limits"] == {"texts": {"value": 96, "source": "https://docs.acme.example/limits"}}
    assert (facts["title"], facts["checked"], facts["endpoints"]) == ("Acme", "2026-11-22", {"files": "/files"})
    text = flowllm("providers", "show", "acme").out
    assert "chat images" in text
    assert "https://docs.acme.example/limits" in text
    assert KEY not in text


@pytest.mark.usefixtures("acme")
def test_providers_are_compared_and_unknown_is_said(flowllm):
    lines = flowllm("providers", "compare", "acme", "voyage").out.splitlines()
    cells = {line[:18].strip(): line[18:].split() for line in lines[1:]}
    assert cells["tools"] == ["yes", "?"]
    assert cells["images"] == ["no", "?"]
    assert cells["rerank"] == ["no", "yes"]
    told = flowllm("providers", "compare", "acme", "voyage", "--json").data["providers"]
    assert [one["name"] for one in told] == ["acme", "voyage"]


@pytest.mark.usefixtures("acme")
def test_a_recommendation_gives_reasons(flowllm):
    done = flowllm("providers", "recommend", "--needs", "tools", "--has-key", "--json").data
    (acme,) = [one for one in done["providers"] if one["provider"] == "acme"]
    assert done["needs"] == ["tools"]
    assert {"points": 10, "reason": "supports tools"} in acme["reasons"]
    assert acme["score"] == sum(one["points"] for one in acme["reasons"])
    text = flowllm("providers", "recommend", "--needs", "tools", "--has-key").out
    assert "supports tools (+10)" in text


@pytest.mark.parametrize(
    "words", [("show", "opnai"), ("compare", "opnai"), ("check", "opnai"), ("recommend", "--needs", "tool")]
)
def test_a_wrong_word_is_an_error_with_a_suggestion(flowllm, words):
    done = flowllm("providers", *words)
    assert done.status == 2
    assert "did you mean" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "openai"), "flowllm providers compare openai NAME"),
        (("compare", "openai", "openai"), "flowllm providers compare openai NAME"),
        (("recommend", "--needs", ",,,"), "no need is named"),
        (("show", "openai/gpt-5-mini"), "flowllm models show openai/gpt-5-mini"),
        (("show", "OpenAI"), "did you mean `openai`?"),
        (("show", "nope"), "hint: flowllm providers list"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(flowllm, words, said):
    done = flowllm("providers", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_what_has_no_address_could_not_be_asked_now(flowllm, folder, monkeypatch):
    monkeypatch.setenv("ACME_KEY", KEY)
    (folder / "providers").mkdir()
    for name, address in {"lost": "", "found": "base_url: https://api.acme.example\n"}.items():
        text = f"{address}wire: {{chat: openai_chat}}\nauth: {{scheme: bearer, env: ACME_KEY}}\n"
        (folder / f"providers/{name}.yaml").write_text(text)
    told = flowllm("providers", "recommend", "--has-key", "--json").data["providers"]
    names = {one["provider"] for one in told}
    assert "found" in names
    assert "lost" not in names
    assert "lost" in {one["provider"] for one in flowllm("providers", "recommend", "--json").data["providers"]}
