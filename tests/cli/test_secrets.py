"""A key goes to its server and nowhere else: not to stdout, stderr or disk, in no form."""

import asyncio
import base64
from pathlib import Path
from urllib.parse import quote

import pytest

from flowllm.sinks.redact import Redactor
from tests.cli.command import PATIENCE, run_here, start_apart
from tests.faults.server import STREAM, FaultServer, error, event, fin, head, ok, response, rst, send

CANARY = "cany/+key=5f3a9b7c1d2e4f60"
SCHEMES = {
    "bearer": "{scheme: bearer, env: ACME_API_KEY}",
    "header": "{scheme: header, env: ACME_API_KEY, name: x-acme-key}",
    "query": "{scheme: query, env: ACME_API_KEY, name: key}",
}
MIRROR = f"your key {CANARY} and {quote(CANARY, safe='')} and {base64.b64encode(CANARY.encode()).decode()}"
SERVERS = {
    "401": [send(error(401, MIRROR)), fin],
    "302": [
        send(head(302, 0, Location=f"http://127.0.0.1:9/{quote(CANARY, safe='')}?key={quote(CANARY, safe='')}")),
        fin,
    ],
    "broken JSON": [send(response(b'{"choices": [' + MIRROR.encode())), fin],
    "reset": [rst],
    "cut": [send(STREAM, event(MIRROR)), rst],
    "mirrored": [send(ok(MIRROR)), fin],
}
PIPELINE = """\
flowllm: 1
model: acme/m
nodes: {a: {kind: call, prompt: hi, cache: {}, retry: {attempts: 1}}}
outputs: {o: a.text}
"""


def forms(secret: str) -> list[bytes]:
    whole = [secret, quote(secret), quote(secret, safe=""), secret.encode().hex()]
    cores = [base64.b64encode(b"\0" * shift + secret.encode())[4:-4].decode() for shift in range(3)]
    return [form.encode() for form in whole + cores]


def project(folder: Path, scheme: str) -> None:
    (folder / "p.yaml").write_text(PIPELINE)
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text(
        f"name: acme\nbase_url: http://127.0.0.1:1/v1\nwire: {{chat: openai_chat}}\nauth: {SCHEMES[scheme]}\n"
    )


def everything_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fault", SERVERS)
async def test_the_key_is_nowhere(tmp_path, fault, scheme):
    work = tmp_path / "work"
    work.mkdir()
    project(work, scheme)
    folders = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA", "STATE")}
    async with FaultServer(SERVERS[fault]) as server:
        words = ("run", "p.yaml", f"providers.acme.base_url={server.base_url}", "--debug", "--events", "--json")
        process = await start_apart(*words, cwd=work, ACME_API_KEY=CANARY, **folders)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        sent = b"".join(part for request in server.requests for part in request)
    assert fault == "reset" or any(form in sent for form in forms(CANARY)), "it went to its server"
    shown = out + err + everything_under(tmp_path)
    if fault == "mirrored":
        # What a model answers is data: stdout and stderr are masked, the cache holds the answer.
        shown = out + err
    assert [form for form in forms(CANARY) if form in shown] == []
    assert process.returncode == (0 if fault == "mirrored" else 4), err


def test_without_the_redactor_the_key_would_be_shown(tmp_path, capsys, monkeypatch):
    """What the test above looks for is there to be found."""
    project(tmp_path, "bearer")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME_API_KEY", CANARY)
    monkeypatch.setattr(Redactor, "clean", lambda self, text: text)
    monkeypatch.setattr(Redactor, "exact", lambda self, text: text)
    assert CANARY in run_here(capsys, "run", "p.yaml", f"providers.acme.base_url=http://127.0.0.1:1/{CANARY}/v1").err


def test_a_secret_in_a_file_is_masked_in_the_excerpt_of_its_error(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    secret = "sk-proj-0123456789abcdefghij"
    (tmp_path / "p.yaml").write_text(
        f"flowllm: 1\nvars: {{key: {secret}}}\nnodes: {{a: {{kind: cal, k: {secret}}}}}\noutputs: {{o: a.x}}\n"
    )
    outcome = run_here(capsys, "check", "p.yaml")
    assert outcome.status == 2
    assert secret not in outcome.out + outcome.err
