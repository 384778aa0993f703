"""One example of every failure, from failure_examples.yaml, run as a user would run it.

An example has `file` (the pipeline, called pipeline.yaml), or `files`; `command` (default: ``flowllm check
pipeline.yaml``); `mock` (rules, a file mock.yaml); `server` (what a server answers to every request, raw;
``@port`` in the other texts is its port); or `because`, why there is none.
"""

import contextlib
import io
import os
import re
import shlex
import socket
import tempfile
import threading
from pathlib import Path

from flowllm.cli.main import main
from flowllm.config import load_yaml

EXAMPLES = Path(__file__).parent / "failure_examples.yaml"
CHECK = "flowllm check pipeline.yaml"
TODAY = "2026-09-01"
"""The day of all examples, by which models count as deprecated."""
PORT = "8000"
"""What pages show in place of the port that was free."""


def read_examples():
    """Examples by code."""
    value, _ = load_yaml(EXAMPLES.read_text("utf-8"), EXAMPLES.name)
    return value


def shown(code, example):
    """The example and what its command prints, as Markdown."""
    command = example.get("command", CHECK)
    text = "".join(
        f'```{Path(name).suffix[1:]} title="{name}"\n{body}```\n\n' for name, body in files_of(example).items() if body
    ).replace("@port", PORT)
    printed, status = run(example)
    if f"[{code}]" not in printed:
        raise AssertionError(f"the example of {code} prints\n{printed}")
    text += f"```console\n$ {command.replace('@port', PORT)}\n{printed}$ echo $?\n{status}\n```\n"
    if "server" in example:
        text += "\nwhere the server answers\n\n```text\n" + example["server"].rstrip("\n") + "\n```\n"
    return text


def files_of(example):
    """File names to texts."""
    files = dict(example.get("files", {}))
    if "file" in example:
        files["pipeline.yaml"] = example["file"]
    if "mock" in example:
        files["mock.yaml"] = example["mock"]
    return files


def run(example):
    """What the command prints, on both streams, and its status; in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        port = stack.enter_context(answering(example["server"])) if "server" in example else ""
        stack.enter_context(environment(Path(folder)))
        stack.enter_context(contextlib.chdir(folder))
        Path("pyproject.toml").write_text("")
        for name, text in files_of(example).items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text.replace("@port", port), "utf-8")
        words = shlex.split(example.get("command", CHECK).replace("@port", port))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main(words[1:])
        text = printed.getvalue().replace(str(Path(folder).resolve()), ".").replace(folder, ".")
        text = re.sub(r"\b(after|in) \d+\.\d s\b", r"\1 0.1 s", text)
        return (text.replace(f":{port}", f":{PORT}") if port else text), status


@contextlib.contextmanager
def environment(folder):
    """No keys, no colours, a width, a day, and a cache of its own."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        del os.environ[name]
    os.environ |= {"FLOWLLM_CACHE_DIR": f"{folder}/cache", "XDG_CONFIG_HOME": f"{folder}/config", "COLUMNS": "100"}
    os.environ["FLOWLLM_TODAY"] = TODAY
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def answering(answer):
    """A server on this machine that gives the same bytes to every request; its port as text."""
    raw = answer.replace("\r\n", "\n").replace("\n", "\r\n").encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        _read_request(connection)
                        connection.sendall(raw)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield str(server.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def _read_request(connection):
    """All of a request, so that closing does not reset the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0)
    while len(body) < length:
        body += connection.recv(65536)
