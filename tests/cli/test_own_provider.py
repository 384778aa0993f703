"""A provider that is like no other, as a YAML in a project, asked through the command line."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint

import pytest

from flowllm.core import secrets

CARD = """\
name: acme
base_url: {url}/api
wire: {{chat: openai_chat}}
auth: {{scheme: header, name: X-Acme-Key, prefix: "Key ", env: ACME_KEY}}
quirks:
  path: /talk
  rename: {{max_tokens: answer_limit}}
  drop: [seed, stream_options]
  reasoning_field: musing
  thoughts: calls
  end_mark: none
  finish: {{full: length}}
  usage: {{input: answer.meter.in.total, output: answer.meter.out, cached_input: answer.meter.in.again}}
  errors:
    message: answer.fault.text
    code: answer.fault.kind
    codes: {{NO_COINS: quota}}
    statuses: {{420: rate_limited, 451: content_filter}}
models:
  acme-1: {{context: 9000, price: {{input: 1, output: 2}}, checked: 2026-11-20}}
"""
PIPELINE = """\
flowllm: 1
model: acme/acme-1
nodes:
  ask: {kind: call, prompt: hi, max_output_tokens: 7, seed: 3, retry: {attempts: 1}}
outputs: {text: ask.text, reasoning: ask.reasoning, finish: ask.finish, usage: ask.usage}
"""


def events(*chunks):
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def piece(**delta):
    return {"choices": [{"delta": delta}]}


METER = {"meter": {"in": {"total": 11, "again": 4}, "out": 5}}
WHOLE = events(piece(musing="hm"), piece(content="a"), piece(content="b"), METER)


class Server(ThreadingHTTPServer):
    """Gives the answers in turn and keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(
            (self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(body))
        )
        status, kind, answer = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def acme(server, folder, monkeypatch):
    """The project, with the provider's file in it; gives the server."""
    monkeypatch.setenv("ACME_KEY", "a-secret")
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text(CARD.format(url=server.url))
    (folder / "ask.yaml").write_text(PIPELINE)
    return server


def test_its_file_is_all_it_takes(acme, flowllm):
    acme.answers.append((200, "text/event-stream", WHOLE))
    told = flowllm("run", "ask.yaml", "--json", "--no-cache")
    assert told.status == 0, told.err
    outputs = told.data["outputs"]
    assert (outputs["text"], outputs["reasoning"], outputs["finish"]) == ("ab", "hm", None)
    assert [outputs["usage"][name] for name in ("input", "output", "cached_input")] == [11, 5, 4]
    ((path, headers, body),) = acme.asked
    assert path == "/api/talk"
    assert headers["x-acme-key"] == "Key a-secret"
    assert "authorization" not in headers
    assert (body["answer_limit"], body["model"], body["stream"]) == (7, "acme-1", True)
    assert not {"seed", "max_tokens", "stream_options"} & body.keys()
    assert "a-secret" not in told.out + told.err


def test_its_own_word_for_an_end(acme, flowllm):
    acme.answers.append((200, "text/event-stream", events({"choices": [{"delta": {"content": "a"},
                                                                       "finish_reason": "full"}]})))  # fmt: skip
    assert flowllm("run", "ask.yaml", "--json", "--no-cache").data["outputs"]["finish"] == "length"


@pytest.mark.parametrize(
    ("status", "body", "code", "exit_", "words"),
    [
        (400, {"fault": {"text": "the purse is empty", "kind": "NO_COINS"}}, "quota", 4, "the purse is empty"),
        (400, {"fault": {"text": "which one?", "kind": "model_not_found"}}, "not_found", 4, "which one?"),
        (400, {"fault": {"text": "prompt is too long"}}, "context_too_long", 4, "prompt is too long"),
        (420, {"fault": {"text": "calm down"}}, "rate_limited", 4, "calm down"),
        (451, {"fault": {"text": "not that"}}, "content_filter", 4, "not that"),
        (500, {"oops": 1}, "server_error", 4, "HTTP status 500"),
        (200, {"fault": {"text": "the purse is empty", "kind": "NO_COINS"}}, "quota", 4, "the purse is empty"),
    ],
)
def test_its_errors_mean_what_its_file_says(acme, flowllm, status, body, code, exit_, words):
    acme.answers.append((status, "application/json", json.dumps(body).encode()))
    told = flowllm("run", "ask.yaml", "--no-cache")
    assert told.status == exit_
    assert f"error[{code}]" in told.err
    assert words in told.err
    assert len(acme.asked) == 1


TOOL = """\
flowllm: 1
model: acme/acme-1
nodes:
  first:
    kind: call
    prompt: where
    tools: [{name: look, parameters: {type: object}}]
    tool_choice: look
    parallel_tool_calls: false
  then:
    kind: call
    in: {messages: "{{ first.messages + result.value }}"}
  result: {kind: validate, in: {value: {const: [{role: tool, content: Ulm, tool_call_id: c1}]}}}
outputs: {text: then.text}
"""


def test_a_second_call_goes_on_with_what_was_thought(acme, flowllm, folder):
    (folder / "tool.yaml").write_text(TOOL)
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"at": 1}'}}
    acme.answers += [
        (200, "text/event-stream", events(piece(musing="h"), piece(musing="m"), piece(tool_calls=[call]))),
        (200, "text/event-stream", WHOLE),
    ]
    told = flowllm("run", "tool.yaml", "--no-cache", "--quiet")
    assert (told.status, told.out) == (0, "ab\n"), told.err
    first, second = (body for _, _, body in acme.asked)
    assert first["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert first["parallel_tool_calls"] is False
    asked, said, result = second["messages"]
    assert asked == {"role": "user", "content": "where"}
    assert (said["musing"], said["tool_calls"][0]["function"]) == ("hm", {"name": "look", "arguments": '{"at": 1}'})
    assert result == {"role": "tool", "content": "Ulm", "tool_call_id": "c1"}


def test_a_model_that_is_not_listed_works_and_is_said_to_be_unknown(acme, flowllm):
    assert (
        "no price and no window is known for acme/brand-new" in flowllm("check", "ask.yaml", "model=acme/brand-new").err
    )
    shown = flowllm("run", "ask.yaml", "model=acme/brand-new", "--dry-run")
    assert shown.status == 0
    assert "unknown" in shown.out
    acme.answers.append((200, "text/event-stream", WHOLE))
    told = flowllm("run", "ask.yaml", "model=acme/brand-new", "--json", "--no-cache")
    assert (told.status, told.data["cost"]["total"]) == (0, None)
    assert acme.asked[0][2]["model"] == "brand-new"


@pytest.mark.parametrize(("typo", "meant"), [("acmee", "acme"), ("opnai", "openai"), ("antropic", "anthropic")])
def test_a_typo_in_the_name_is_never_another_provider(acme, flowllm, typo, meant):
    told = flowllm("run", "ask.yaml", f"model={typo}/acme-1")
    assert told.status == 2
    assert "error[unknown_provider]" in told.err
    assert f"did you mean `{meant}/acme-1`?" in told.err
    assert acme.asked == []


@pytest.fixture
def package(folder, monkeypatch):
    """A package with providers that is installed, and must never be imported."""
    inside = folder.parent / "site/acme_flowllm"
    (inside / "providers").mkdir(parents=True)
    (inside / "__init__.py").write_text("raise RuntimeError")
    points = [EntryPoint("acme", "acme_flowllm.providers", "flowllm.providers")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [p for p in points if p.group == group])
    monkeypatch.syspath_prepend(folder.parent / "site")
    return inside / "providers"


def test_a_provider_of_an_installed_package(package, server, flowllm, folder, monkeypatch):
    monkeypatch.setenv("ACME_KEY", "a-secret")
    (package / "acme.yaml").write_text(CARD.format(url=server.url))
    (folder / "ask.yaml").write_text(PIPELINE)
    server.answers.append((200, "text/event-stream", WHOLE))
    told = flowllm("run", "ask.yaml", "--json", "--no-cache")
    assert (told.status, told.data["outputs"]["text"]) == (0, "ab"), told.err
    assert "acme" in [row["name"] for row in flowllm("providers", "list", "--json").data["providers"]]
    assert "did you mean `acme/x`?" in flowllm("run", "ask.yaml", "model=acmee/x").err


def test_a_package_shadows_neither_the_project_nor_what_came_with_flowllm(package, acme, flowllm, folder):
    (package / "acme.yaml").write_text("base_url: https://elsewhere.example\nwire: {chat: openai_chat}\n")
    (package / "mock.yaml").write_text("base_url: https://elsewhere.example\nwire: {chat: openai_chat}\n")
    acme.answers.append((200, "text/event-stream", WHOLE))
    assert flowllm("run", "ask.yaml", "--no-cache", "--json").data["outputs"]["text"] == "ab"
    assert flowllm("run", "ask.yaml", "model=mock/echo", "--json").data["outputs"]["text"] == "hi"


CUT = events(piece(content="Hel")) + b'data: {"choices": [{"delta": {"content": "w'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (events(piece(content="Hel"), piece(content="lo")).rstrip(), "Hello"),
        (CUT, "stream_interrupted"),
        (CUT + b"\xc3", "stream_interrupted"),
        (CUT + b'\xc3\xb6"', "stream_interrupted"),
        (events(piece(content="Hel")) + b"event: more\n", "stream_interrupted"),
        (events({"choices": []}), "empty_response"),
        (b'{"choices": []}', "empty_response"),
        (events(piece()), "empty_response"),
        (events(METER), "empty_response"),
        (b"hello", "invalid_response"),
        (b"hello\n\nworld\n", "invalid_response"),
        (b"null", "invalid_response"),
    ],
)
def test_without_an_end_mark_no_text_is_lost_in_silence(acme, flowllm, body, said):
    acme.answers.append((200, "text/event-stream", body))
    told = flowllm("run", "ask.yaml", "--json", "--no-cache")
    outcome = told.data["outputs"]["text"] if told.status == 0 else told.data["errors"][0]["code"]
    assert outcome == said
    assert "broke off" not in told.err + told.out or said == "stream_interrupted"


LINES = """\
base_url: {url}
wire: {{chat: http_template}}
auth: {{scheme: none}}
quirks: {{templates: {{chat: {{path: /gen, body: {{p: "{{prompt}}"}}, text: answer.t,
  stream: {{json_form: lines, text: answer.t}}}}}}}}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"t": "Hel"}\n{"t": "lo"}', "Hello"),
        (b'{"t": "Hel"}\n{"t": "lo', "stream_interrupted"),
        (b'{"t": "Hel"}\n{"t": "l\xc3', "stream_interrupted"),
    ],
)
def test_lines_that_just_end_lose_nothing_either(acme, folder, flowllm, body, said):
    (folder / "providers/rows.yaml").write_text(LINES.format(url=acme.url))
    acme.answers.append((200, "application/x-ndjson", body))
    told = flowllm("run", "ask.yaml", "model=rows/one", "--json", "--no-cache")
    outcome = told.data["outputs"]["text"] if told.status == 0 else told.data["errors"][0]["code"]
    assert outcome == said


@pytest.mark.parametrize("escaped", [False, True])
def test_an_answer_that_repeats_the_key_is_not_on_disk(acme, folder, flowllm, monkeypatch, escaped):
    key = 'canary"\\0123456789' if escaped else "canary-0123456789"
    monkeypatch.setenv("ACME_KEY", key)
    monkeypatch.setenv("FLOWLLM_CACHE_DIR", str(folder / "kept"))
    (folder / "ask.yaml").write_text(PIPELINE.replace("seed: 3,", "seed: 3, cache: 1d,"))
    acme.answers.append((200, "text/event-stream", events(piece(content=f"your key is {key}"))))
    told = flowllm("run", "ask.yaml", "--json")
    assert told.status == 0, told.err
    assert "repeats a key" in told.err
    assert key not in told.out + told.err
    kept = b"".join(file.read_bytes() for file in (folder / "kept").rglob("*") if file.is_file())
    assert b"0123456789" not in kept


def test_an_answer_with_a_short_word_for_a_key_is_kept(acme, folder, flowllm, monkeypatch):
    monkeypatch.setattr(secrets, "_SECRETS", {})
    monkeypatch.setenv("ACME_KEY", "acme-1")
    (folder / "ask.yaml").write_text(PIPELINE.replace("seed: 3,", "seed: 3, cache: 1d,"))
    acme.answers.append((200, "text/event-stream", WHOLE))
    assert [flowllm("run", "ask.yaml").status for _ in range(2)] == [0, 0]
    assert len(acme.asked) == 1


def test_junk_for_counts_is_told_as_counts_that_are_not_known(acme, flowllm):
    junk = {"meter": {"in": {"total": "many"}, "out": -5}}
    acme.answers.append((200, "text/event-stream", events(piece(content="a"), {"choices": []} | junk)))
    told = flowllm("run", "ask.yaml", "--no-cache")
    assert "the tokens of 1 call are not known" in told.err
    assert "price" not in told.err


def test_a_pause_that_is_too_long_is_told_with_the_field_to_raise(server, acme, flowllm, monkeypatch):
    def send_error(self):
        self.send_response(429)
        self.send_header("retry-after", "9999")
        self.send_header("content-length", "0")
        self.end_headers()

    monkeypatch.setattr(Handler, "do_POST", send_error)
    for more in ((), ("--json",)):
        told = flowllm("run", "ask.yaml", "nodes.ask.retry.attempts=3", *more)
        assert told.status == 4
        assert "it asks for a pause of 9999 s" in (told.out if more else told.err)
        assert "retry: {longest: 9999s}" in (told.out if more else told.err)


def test_no_address_is_a_setting_that_is_missing(folder, flowllm):
    (folder / "ask.yaml").write_text(PIPELINE)
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text("wire: {chat: openai_chat}\n")
    told = flowllm("run", "ask.yaml", "--json")
    (error,) = told.data["errors"]
    assert (told.status, error["code"]) == (3, "missing_setting")
    assert error["hint"] == "providers.acme.base_url=https://..."


def test_a_query_in_an_address_is_refused_without_a_word_of_it(acme, folder, flowllm):
    (folder / "providers/other.yaml").write_text(
        "base_url: https://a.example/v1?k=hidden99\nwire: {chat: openai_chat}\n"
    )
    told = flowllm("run", "ask.yaml", "model=other/one")
    assert told.status == 2
    assert "a base_url holds neither a user nor a query" in told.err
    assert "https://a.example/v1?" in told.err
    assert "hidden99" not in told.err


def test_names_of_models_cannot_steer_a_terminal(server, acme, flowllm, monkeypatch):
    def send_list(self):
        answer = json.dumps({"data": [{"id": "m1"}, {"id": "m2\x1b[31mred"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    monkeypatch.setattr(Handler, "do_GET", send_list, raising=False)
    for words in (("providers", "check", "acme"), ("models", "list", "--live", "acme")):
        told = flowllm(*words)
        assert "m2\\x1b[31mred" in told.out
        assert "\x1b" not in told.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sk-first-0123\nsk-second-456\n", "more than one line"),
        ("sk-first 0123\n", "a blank in it"),
        ('"sk-first-0123"\n', "in quotes"),
        ("Bearer sk-first-0123\n", "the word that goes before it"),
        ("sk-first-0123\n\n", None),
    ],
)
def test_a_key_is_kept_alone(flowllm, monkeypatch, given, said):
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    told = flowllm("keys", "set", "OTHER_KEY")
    assert told.status == (2 if said else 0)
    assert (said or "is kept") in told.err
    assert "0123" not in told.out + told.err
