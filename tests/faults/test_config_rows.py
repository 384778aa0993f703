"""Rows C1 to C12 of the fault matrix: what people write, by the API and by the command."""

# ruff: noqa: N802  names begin with the row of the matrix

import asyncio
import json
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from flowllm.api import Flow
from flowllm.backends.mock import MockBackend
from tests.faults.oracle import CANARY
from tests.faults.projects import Fault, Project, compare, faults_of

HEAD = "model: mock/echo\ninputs: {q: string}\n"


def nodes(lines: str, output: str = "a.text") -> str:
    """A pipeline whose nodes begin in line 4, column 3."""
    return f"{HEAD}nodes:\n{lines}\noutputs: {{o: {output}}}\n"


def top(lines: str) -> str:
    """Lines at the top, then a pipeline that is right."""
    return f"{lines}\nmodel: mock/echo\nnodes: {{a: {{kind: prompt, text: x}}}}\noutputs: {{o: a.text}}\n"


def schema(text: str) -> str:
    """A schema on a node, in line 4, column 38."""
    return nodes(f"  a: {{kind: call, prompt: x, schema: {text}}}", "a.value")


def bomb(depth: int) -> str:
    """Lists of nine aliases, nine times over."""
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *lines])


DOUBLED = ", ".join(f"d{i}: {{allOf: [{{$ref: '#/$defs/d{i + 1}'}}, {{$ref: '#/$defs/d{i + 1}'}}]}}" for i in range(22))
RULED = "  a: {kind: validate, in: {value: inputs.q}, schema: {type: string, pattern: '%s'}}"

GRAPHS = {
    "circle": (
        nodes("  a: {kind: prompt, text: '{{ b.text }}'}\n  b: {kind: prompt, text: '{{ c.text }}'}\n"
              "  c: {kind: prompt, text: '{{ a.text }}'}"),
        [Fault("cycle", 4, 3, "a -> b -> c -> a")],
    ),
    "self-loop": (nodes("  a: {kind: prompt, text: '{{ a.text }}'}"), [Fault("cycle", 4, 3, "a -> a")]),
    "after": (
        nodes("  a: {kind: prompt, text: x, after: [b]}\n  b: {kind: prompt, text: '{{ a.text }}'}"),
        [Fault("cycle", 4, 3, "a -> b -> a")],
    ),
    "two circles": (
        nodes("  a: {kind: prompt, text: '{{ a.text }}'}\n  b: {kind: prompt, text: '{{ b.text }}'}"),
        [Fault("cycle", 4, 3, "a -> a"), Fault("cycle", 5, 3, "b -> b")],
    ),
    "same id twice": (
        nodes("  a: {kind: prompt, text: x}\n  a: {kind: prompt, text: y}"),
        [Fault("bad_yaml", 5, 3, "`a` is written twice; the first is in line 4", "keep one")],
    ),
}  # fmt: skip
UNKNOWN = {
    "kind": (nodes("  a: {kind: promt, text: x}"), [Fault("unknown_kind", 4, 13, "`promt`", "did you mean `prompt`?")]),
    "provider": (
        nodes("  a: {kind: call, model: opnai/gpt-5-mini, prompt: x}"),
        [Fault("unknown_provider", 4, 26, "`opnai`", "did you mean `openai/gpt-5-mini`?")],
    ),
    "model": (
        nodes("  a: {kind: call, model: writer, prompt: x}") + "models: {writr: mock/echo}\n",
        [Fault("unknown_model", 4, 26, "`writer`", "did you mean `writr`?")],
    ),
    "field": (
        nodes("  a:\n    kind: call\n    prompt: x\n    temperatur: 0"),
        [Fault("unknown_field", 7, 5, "`temperatur`", "did you mean `temperature`?")],
    ),
    "top-level key": (
        nodes("  a: {kind: prompt, text: x}").replace("nodes:", "node:"),
        [Fault("unknown_field", 3, 1, "`node`", "did you mean `nodes`?")],
    ),
    "reference": (
        nodes("  ask: {kind: prompt, text: x}", "aks.text"),
        [Fault("unknown_reference", 5, 14, "`aks.text`", "did you mean `ask.text`?")],
    ),
    "port": (
        nodes("  ask: {kind: prompt, text: x}", "ask.txt"),
        [Fault("unknown_port", 5, 14, "`txt`", "did you mean `ask.text`?")],
    ),
    "inside a block of text": (
        nodes("  a:\n    kind: prompt\n    text: |\n      one\n      {{ inputs.p }}"),
        [Fault("unknown_reference", 8, 10, "`inputs.p`", "known here: q")],
    ),
}
TYPES = {
    "a list for a text": (
        nodes("  b: {kind: split, in: {text: inputs.q}}\n  a: {kind: split, in: {text: b.parts}}", "a.parts"),
        [Fault("type_mismatch", 5, 31, "a string is needed")],
    ),
    "a text for a list": (
        nodes("  a: {kind: embed, in: {text: inputs.q}}\n"
              "  b: {kind: select, in: {vectors: a.vector, items: inputs.q}, k: 3}", "b.items"),
        [Fault("type_mismatch", 5, 52, "a list is needed, and this is a string")],
    ),
    "a part of a text": (
        nodes("  a: {kind: prompt, text: '{{ inputs.q.id }}'}"),
        [Fault("type_mismatch", 4, 31, "`inputs.q` is a string and has no")],
    ),
}  # fmt: skip
HOSTILE = {
    "bomb": (bomb(10), [Fault("bad_yaml", 5, 30, "aliases repeat more than 50000", "write values out")]),
    "100,000 brackets": ("a: " + "[" * 100_000, [Fault("bad_yaml", 1, 67, "nested deeper than 64")]),
    "100,000 braces": ("{a: " * 100_000, [Fault("bad_yaml", 1, 257, "nested deeper than 64")]),
    "1,300 lines of blocks": (
        "\n".join(" " * i + "a:" for i in range(1300)),
        [Fault("bad_yaml", 65, 65, "nested deeper than 64")],
    ),
    "recursive alias": ("a: &a [*a]", [Fault("bad_yaml", 1, 8, "stands inside its own anchor")]),
    "python tag": (
        "a: !!python/object/apply:os.system ['touch marker']",
        [Fault("bad_yaml", 1, 4, "`python/object/apply:os.system` is not allowed", "remove the tag")],
    ),
    "own tag": ("a: !mine x", [Fault("bad_yaml", 1, 4, "`!mine` is not allowed")]),
    "two documents": ("name: a\n---\nname: b\n", [Fault("bad_yaml", 2, 1, "more than one document", "---")]),
    "too large": ("a: " + "x" * 2**20, [Fault("bad_yaml", 1, 1, "larger than 1024 KiB")]),
    "merge key": (
        top("vars: {x: &x {y: 1}, z: {<<: *x}}"),
        [Fault("bad_yaml", 1, 26, "`<<` is not part of YAML 1.2")],
    ),
    "NUL": (top('name: "a\\0b"'), [Fault("bad_yaml", 1, 7, "NUL")]),
    "nothing": ("", [Fault("bad_yaml", 1, 1, "a pipeline is a mapping")]),
    "a list": ("[1]", [Fault("bad_yaml", 1, 1, "a pipeline is a mapping")]),
}
SCALARS = {
    "tab": (nodes("\ta: {kind: prompt, text: x}"), [Fault("bad_yaml", 4, 1, "a tab", "indent with blanks")]),
    "duplicate key": (
        nodes("  a:\n    kind: prompt\n    text: x\n    text: y"),
        [Fault("bad_yaml", 7, 5, "`text` is written twice; the first is in line 6", "keep one")],
    ),
    "012": (nodes("  a: {kind: call, prompt: x, temperature: 012}"), [Fault("bad_value", 4, 43, "`temperature`")]),
    "1:30": (nodes("  a: {kind: call, prompt: x, max_output_tokens: 1:30}"), [Fault("bad_value", 4, 49, "integer")]),
    "no": (nodes("  a: {kind: call, prompt: x, temperature: no}"), [Fault("bad_value", 4, 43, "number")]),
    ".nan": (nodes("  a: {kind: call, prompt: x, temperature: .nan}"), [Fault("bad_value", 4, 43, "`.nan`", '".nan"')]),
    "1e999": (
        nodes("  a: {kind: call, prompt: x, temperature: 1e999}"),
        [Fault("bad_value", 4, 43, "`1e999`", '"1e999"')],
    ),
}
LOOKS = {
    "two spellings": (
        top("vars: {\u00e9: 1, e\u0301: 2}"),
        [Fault("bad_key", 1, 14, "two Unicode spellings", "keep one")],
    ),
    "turned around": (top("vars: {a\u202eb: 1}"), [Fault("bad_key", 1, 8, "<U+202E>")]),
    "no width": (top("vars: {a\u200bb: 1}"), [Fault("bad_key", 1, 8, "<U+200B>")]),
    "Cyrillic node": (
        nodes("  \u0430: {kind: prompt, text: x}", "\u0430.text"),
        [Fault("bad_name", 4, 3, "is no name that templates can read")],
    ),
    "Cyrillic node read in Latin": (
        nodes("  \u0430sk: {kind: prompt, text: x}", "ask.text"),
        [Fault("bad_name", 4, 3, "is no name that templates can read")],
    ),
    "Cyrillic input": (top("inputs: {\u0430sk: string}"), [Fault("bad_name", 1, 10, "is no name")]),
    "Cyrillic output": (
        nodes("  a: {kind: prompt, text: x}").replace("{o:", "{\u043e:"),
        [Fault("bad_name", 5, 11, "is no name")],
    ),
    "wide letters": (
        nodes("  \uff41: {kind: prompt, text: x}", "\uff41.text"),
        [Fault("bad_name", 4, 3, "no name", "`a`")],
    ),
    "Cyrillic field": (nodes("  a: {k\u0456nd: prompt, text: x}"), [Fault("missing_field", 4, 7, "`kind`")]),
}
RESOLVERS = {
    "unknown": (top("vars: {v: '${nosuch:1}'}"), [Fault("bad_value", 1, 12, "no resolver `nosuch`")]),
    "circle": (top("vars: {v: '${vars.w}', w: '${vars.v}'}"), [Fault("bad_value", 1, 12, "leads back to itself")]),
    "nothing there": (top("vars: {v: '${vars.x}'}"), [Fault("bad_value", 1, 12, "leads to nothing")]),
    "20,000 openings": (top(f"vars: {{v: '{'${' * 20_000}'}}"), [Fault("bad_value", 1, 12, "more than 64 `${`")]),
}
CODE = {
    "_target_": (
        nodes("  a: {kind: prompt, text: x, _target_: os.system}"),
        [Fault("untrusted_key", 4, 30, "`_target_`", "remove it")],
    ),
    "@package": (top("# @package _global_"), [Fault("untrusted_key", 1, 1, "`# @package`")]),
    "hydra": (top("hydra: {searchpath: ['file:///']}"), [Fault("untrusted_key", 1, 1, "`hydra`")]),
    "../ in defaults": (
        top("defaults: [../outside/sec]"),
        [Fault("untrusted_key", 1, 12, "reaches outside", "name a file of a group")],
    ),
    "logging in defaults": (
        top("defaults: [override hydra/job_logging: x]"),
        [Fault("untrusted_key", 1, 12, "`override hydra/job_logging`")],
    ),
    "global default": (top("defaults: [retry@_global_: standard]"), [Fault("untrusted_key", 1, 12, "reaches outside")]),
    "default of a package": (top("defaults: [pkg://os]"), [Fault("untrusted_key", 1, 12, "reaches outside")]),
}
FILES = {
    "../": (nodes("  a: {kind: prompt, text: {file: ../outside.md}}"), "it is outside the project"),
    "absolute": (nodes("  a: {kind: prompt, text: {file: /etc/hostname}}"), "a path in a pipeline is relative"),
    "sub/../../": (nodes("  a: {kind: prompt, text: {file: sub/../../outside.md}}"), "it is outside the project"),
    "symlink": (nodes("  a: {kind: prompt, text: {file: link.md}}"), "it is outside the project"),
    "linked folder": (nodes("  a: {kind: prompt, text: {file: linked/outside.md}}"), "it is outside the project"),
    "FIFO": (nodes("  a: {kind: prompt, text: {file: pipe}}"), "it is no regular file"),
    "folder": (nodes("  a: {kind: prompt, text: {file: sub}}"), "it is a folder"),
    "/proc": (nodes("  a: {kind: prompt, text: {file: /proc/self/environ}}"), "a path in a pipeline is relative"),
    "NUL": (nodes('  a: {kind: prompt, text: {file: "a\\0.md"}}'), ""),
}
SCHEMAS = {
    "remote": (schema("{$ref: 'URL'}"), [Fault("bad_schema", 4, 38, "leads out of the schema")]),
    "remote, deep": (
        schema("{properties: {x: {items: {$ref: 'URL'}}}}"),
        [Fault("bad_schema", 4, 38, "leads out of the schema")],
    ),
    "file": (schema("{$ref: 'file:///etc/passwd'}"), [Fault("bad_schema", 4, 38, "leads out of the schema")]),
    "remote draft": (schema("{$schema: 'URL', type: object}"), [Fault("bad_schema", 4, 38, "2020-12")]),
    "dynamic": (schema("{$dynamicRef: 'URL#m'}"), [Fault("bad_schema", 4, 38, "$dynamicRef")]),
    "of an input": (
        "inputs: {q: {$ref: 'URL'}}\n" + nodes("  a: {kind: prompt, text: x}").removeprefix(HEAD),
        [Fault("bad_schema", 1, 13, "leads out of the schema")],
    ),
    "named, not used": (top("schemas: {s: {$ref: 'URL'}}"), [Fault("bad_schema", 1, 14, "leads out of the schema")]),
    "doubled allOf": (
        top(f"schemas: {{s: {{$ref: '#/$defs/d0', $defs: {{{DOUBLED}, d22: {{type: string}}}}}}}}"),
        [Fault("bad_schema", 1, 14, "multiply to more than 5000 checks")],
    ),
    "a circle": (top("schemas: {s: {$ref: '#'}}"), [Fault("bad_schema", 1, 14, "round in a circle")]),
    "look-ahead": (nodes(RULED % "^(?=a)b$", "a.value"), [Fault("bad_schema", 4, 54, "not one of RE2")]),
    "back reference": (nodes(RULED % r"(a+)\1", "a.value"), [Fault("bad_schema", 4, 54, "not one of RE2")]),
    "5,000 repeats": (nodes(RULED % "a{1,5000}", "a.value"), [Fault("bad_schema", 4, 54, "not one of RE2")]),
}

TABLES = {
    "C1": GRAPHS, "C2": UNKNOWN, "C3": TYPES, "C4": HOSTILE, "C5": SCALARS, "C6": LOOKS, "C7": RESOLVERS, "C8": CODE,
    "C9": FILES, "C10": SCHEMAS,
}  # fmt: skip


class Listener:
    """Counts who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/schema.json"
        self.hits = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.hits += 1
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class Tables:
    """Every file of the tables, and what one command in a process of its own said of them all."""

    def __init__(self, root: Path, listener: Listener) -> None:
        self.project = Project(root / "project")
        self.listener = listener
        for name in ("pyproject.toml", "sub/x.md"):
            self.project.write(name, "")
        (root / "outside.md").write_text("outside")
        (self.project.folder / "link.md").symlink_to(root / "outside.md")
        (self.project.folder / "linked").symlink_to(root)
        os.mkfifo(self.project.folder / "pipe")
        self.files = {
            (row, name): self.project.write(f"{row}-{number}.yaml", case[0].replace("URL", self.listener.url))
            for row, table in TABLES.items()
            for number, (name, case) in enumerate(table.items())
        }
        self.said = self.project.command("check", *(path.name for path in self.files.values()), "--json")

    def of(self, row: str, name: str) -> list[tuple[str, int, int, str, str]]:
        """What the command found in one file."""
        file = self.files[row, name].name
        (one,) = [one for one in self.said.data["files"] if one["file"] == file]
        keys = (("code", ""), ("line", 0), ("column", 0), ("message", ""), ("hint", ""))
        return [tuple(problem.get(key, absent) for key, absent in keys) for problem in one["problems"]]

    async def hold(self, row: str, name: str, expected: list[Fault]) -> None:
        """The API and the command find exactly what is expected."""
        compare(faults_of((await self.project.load(self.files[row, name])).failure), expected)
        compare(self.of(row, name), expected)
        assert self.said.status == 2
        assert not (self.project.folder / "marker").exists()


@pytest.fixture(scope="module")
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tables(tmp_path_factory, listener):
    return Tables(tmp_path_factory.mktemp("rows"), listener)


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project")
    made.write("pyproject.toml", "")
    return made


@pytest.mark.parametrize("name", GRAPHS)
async def test_C1_graphs_that_cannot_run(tables, name):
    await tables.hold("C1", name, GRAPHS[name][1])


async def test_C1_an_orphan_is_a_warning_and_an_error_when_strict(project):
    text = nodes("  a: {kind: prompt, text: x}\n  b: {kind: prompt, text: y}")
    file = project.write("orphan.yaml", text)
    (warning,) = (await project.load(file)).value
    assert (warning.code, warning.origin.line, warning.origin.column) == ("unreachable", 5, 3)
    ended = project.command_here("check", file.name, "--strict")
    assert ended.status == 2
    assert "orphan.yaml:5:3" in ended.err


@pytest.mark.parametrize("name", UNKNOWN)
async def test_C2_unknown_words_have_a_place_and_a_suggestion(tables, name):
    await tables.hold("C2", name, UNKNOWN[name][1])


@pytest.mark.parametrize("name", TYPES)
async def test_C3_types_along_edges(tables, name):
    await tables.hold("C3", name, TYPES[name][1])


async def test_C3_no_call_is_made(project):
    file = project.write(
        "p.yaml", nodes("  c: {kind: call, prompt: x}\n  a: {kind: split, in: {text: c.usage}}", "a.parts")
    )
    flow = Flow.load(file, environment=project.environment())
    async with flow:
        mock = flow._backends._calls["mock"] = MockBackend(capture=True)
        outcome = await project.run(flow, {"q": "x"})
        assert mock.requests == []
    assert outcome.code == "type_mismatch"
    ended = project.command("run", file.name, "-i", "q=x")
    assert (ended.status, ended.out) == (2, "")
    assert "p.yaml:5:31" in ended.err


@pytest.mark.parametrize("name", HOSTILE)
async def test_C4_hostile_yaml(tables, name):
    await tables.hold("C4", name, HOSTILE[name][1])


@pytest.mark.parametrize("name", ["bomb", "100,000 brackets", "python tag"])
def test_C4_hostile_yaml_in_other_files(project, name):
    text = HOSTILE[name][0]
    project.write("conf/x/evil.yaml", text)
    project.write("evil.yaml", text)
    project.write("rules.yaml", text)
    project.write("providers/evil.yaml", text)
    project.write("group.yaml", top("defaults: [{x@vars: evil}]"))
    project.write("use.yaml", nodes("  a: {kind: pipeline, use: ./evil.yaml}"))
    project.write("fine.yaml", top(""))
    for words in (("check", "group.yaml"), ("check", "use.yaml"), ("run", "fine.yaml", "--mock", "rules.yaml")):
        ended = project.command(*words)
        assert (ended.status, ended.out) == (2, ""), words
        assert "error[bad_yaml]" in ended.err
        assert not (project.folder / "marker").exists()


@pytest.mark.parametrize("name", SCALARS)
async def test_C5_scalars_and_layout(tables, name):
    await tables.hold("C5", name, SCALARS[name][1])


def test_C5_the_raw_scalar_is_shown(tables):
    raw = ["012", "1:30", "no", ".nan", "1e999"]
    for name in raw:
        line = SCALARS[name][0].splitlines()[3]
        shown = tables.project.command_here("check", tables.files["C5", name].name).err.splitlines()
        place = shown.index(f"    4 | {line}")
        marked = shown[place + 1].split("|", 1)[1]
        assert line[marked.index("^") - 1 :].startswith(name)


async def test_C5_words_that_yaml_1_1_would_turn_stay_text(project):
    file = project.write(
        "p.yaml", nodes("  a: {kind: call, prompt: x, choices: [yes, no, on, off, 1:30, 0o7]}", "a.choice")
    )
    flow = Flow.load(file, environment=project.environment())
    assert flow.spec.nodes["a"].params["choices"] == ["yes", "no", "on", "off", "1:30", 7]


@pytest.mark.parametrize("name", LOOKS)
async def test_C6_keys_that_look_alike(tables, name):
    await tables.hold("C6", name, LOOKS[name][1])


@pytest.mark.parametrize("name", RESOLVERS)
async def test_C7_resolvers_of_the_project(tables, name):
    await tables.hold("C7", name, RESOLVERS[name][1])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("vars: {v: '${oc.env:CANARY}'}", "untrusted_resolver"),
        ("vars: {v: '${oc.decode:${oc.env:CANARY}}'}", "untrusted_resolver"),
        ("vars: {v: '${nosuch:1}'}", "untrusted_resolver"),
        ("vars: {v: '${oc.select:${oc.env:CANARY}}'}", "untrusted_resolver"),
        ("vars: {v: '${vars.w}', w: '${vars.v}'}", "bad_value"),
        (nodes("  a: {kind: call, prompt: x, temperature: '${oc.env:CANARY}'}"), "untrusted_resolver"),
    ],
)
async def test_C7_resolvers_of_a_library(project, monkeypatch, text, code):
    from flowllm.config import load

    monkeypatch.setenv("CANARY", CANARY)
    file = project.write("library.yaml", top(text) if text.startswith("vars") else text)

    async def work():
        spec = load(file, kinds=project.environment().kinds, project=project.folder, trusted=False)
        return {problem.code for problem in spec.problems}

    outcome = await project.judged(work)
    assert code in ({outcome.code} if outcome.failure else outcome.value)


def test_C7_a_secret_of_the_environment_is_not_shown(project):
    file = project.write("p.yaml", nodes("  a: {kind: call, prompt: x, temperature: '${oc.env:CANARY}'}"))
    for words in (
        ("check", file.name),
        ("check", file.name, "--json"),
        ("run", file.name, "-i", "q=x", "--log-level", "debug"),
    ):
        assert project.command_here(*words).status == 2


@pytest.mark.parametrize("name", CODE)
async def test_C8_keys_that_load_code(tables, name):
    await tables.hold("C8", name, CODE[name][1])


TARGETS = [
    "os.system", "subprocess.Popen", "subprocess.run", "builtins.eval", "builtins.exec", "builtins.open",
    "builtins.__import__", "pathlib.Path.write_text", "pathlib.Path.touch", "shutil.copy", "shutil.rmtree",
    "os.getenv", "urllib.request.urlopen", "logging.FileHandler", "jinja2.Template.render", "importlib.import_module",
    "runpy.run_path", "pickle.loads", "collections._sys.modules.get", "hydra.utils.instantiate",
]  # fmt: skip


def test_C8_twenty_dangerous_targets(project):
    """Each as a file of its own, as a file of a group and as a sub-pipeline, in one command."""
    marker = project.folder / "marker"
    files = []
    for number, target in enumerate(TARGETS):
        evil = f'{{_target_: {target}, _args_: ["touch {marker}", "w"], args: ["touch {marker}"], shell: true}}'
        project.write(f"conf/x/evil{number}.yaml", evil)
        project.write(f"inner{number}.yaml", top(f"vars: {evil}"))
        texts = {
            "own": top(f"vars: {{v: {evil}}}"),
            "group": top(f"defaults: [{{x@vars: evil{number}}}]"),
            "sub": nodes(f"  a: {{kind: pipeline, use: ./inner{number}.yaml}}"),
        }
        files += [project.write(f"{name}{number}.yaml", text).name for name, text in texts.items()]
    ended = project.command("check", *files, "--json", HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE="*")
    assert ended.status == 2
    found = {one["file"]: {problem["code"] for problem in one["problems"]} for one in ended.data["files"]}
    assert found == {file: {"untrusted_key"} for file in files}
    assert not marker.exists()


@pytest.mark.parametrize("word", ["+hydra.job.name=x", "hydra.searchpath=[file:///]", "++nodes.a._target_=os.system"])
def test_C8_words_of_the_command_line_load_no_code_either(project, word):
    file = project.write("p.yaml", top(""))
    ended = project.command_here("run", file.name, word)
    assert (ended.status, ended.out) == (2, "")
    assert f"command line: {word}" in ended.err


@pytest.mark.parametrize("name", FILES)
async def test_C9_files_that_a_pipeline_names(tables, name):
    column = 4 + FILES[name][0].splitlines()[3][4:].index("file: ") + len("file: ") + 1
    if name == "NUL":
        await tables.hold("C9", name, [Fault("bad_yaml", 4, column, "NUL")])
    else:
        await tables.hold("C9", name, [Fault("file_refused", 4, column, FILES[name][1])])


@pytest.mark.parametrize("name", ["../outside.md", "/etc/hostname", "link.md", "linked/outside.md", "pipe"])
def test_C9_samples_that_a_pipeline_names(tables, name):
    file = tables.project.write("sample.yaml", top(f"inputs: {{q: {{type: string, sample: {{file: {name}}}}}}}"))
    ended = (
        tables.project.command_here("run", file.name) if name != "pipe" else tables.project.command("run", file.name)
    )
    assert (ended.status, ended.out) == (2, "")
    assert "error[file_refused]" in ended.err


ECHO = nodes("  a: {kind: call, prompt: '{{ inputs.q }}'}")


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("q=@pipe", "file_refused"),
        ("@pipe", "file_refused"),
        ("q=@/dev/zero", "file_refused"),
        ("q=@/dev/tty", "file_refused"),
        ("q=@sub", "file_refused"),
        ("q=@none.txt", "file_refused"),
        ("q=@/proc/self/environ", "bad_value"),
        ("q=@large", "file_refused"),
    ],
)
def test_C9_what_is_typed_and_no_regular_file_is_refused(tables, word, code):
    tables.project.write("echo.yaml", ECHO)
    with tables.project.write("large", "").open("wb") as file:
        file.truncate(11 * 2**20)
    hangs = "pipe" in word or "/dev/" in word
    command = tables.project.command if hangs else tables.project.command_here
    ended = command("run", "echo.yaml", "-i", word)
    assert (ended.status, ended.out) == (2, "")
    assert f"error[{code}]" in ended.err
    assert "hint: " in ended.err


@pytest.mark.parametrize("word", ["q=@../outside.md", "q=@link.md", "q=@-", "@-"])
def test_C9_what_is_typed_has_the_rights_of_the_user(tables, word):
    tables.project.write("echo.yaml", ECHO)
    stdin = b'{"q": "outside"}' if word == "@-" else b"outside"
    ended = tables.project.command_here("run", "echo.yaml", "-i", word, stdin=stdin)
    assert (ended.status, ended.out) == (0, "outside\n")


def test_C9_a_pipeline_that_is_a_pipe_is_refused(tables):
    ended = tables.project.command("run", "pipe")
    assert ended.status == 2
    assert "it is no regular file" in ended.err


@pytest.mark.parametrize("name", SCHEMAS)
async def test_C10_schemas_that_reach_out_or_never_end(tables, name):
    expected = [fault._replace(hint="") for fault in SCHEMAS[name][1]]
    await tables.hold("C10", name, expected)
    assert tables.listener.hits == 0


async def test_C10_the_listener_counts(tables):
    before = tables.listener.hits
    _, writer = await asyncio.open_connection("127.0.0.1", int(tables.listener.url.split(":")[2].split("/")[0]))
    writer.close()
    await writer.wait_closed()
    for _ in range(1000):
        if tables.listener.hits > before:
            break
        await asyncio.sleep(0.005)
    assert tables.listener.hits == before + 1
    tables.listener.hits = before


async def test_C10_patterns_and_unique_items_are_linear(project):
    """What would run for hours by backtracking, or by comparing all pairs, ends."""
    shape = "{type: object, properties: {s: {pattern: '^(a+)+$'}, l: {uniqueItems: true}}}"
    node = f"{{kind: validate, in: {{value: inputs.v}}, schema: {shape}}}"
    file = project.write("p.yaml", f"inputs: {{v: {{}}}}\nnodes: {{a: {node}}}\noutputs: {{o: a.ok}}\n")
    value = {"s": "a" * 100_000 + "!", "l": [{"n": number} for number in range(20_000)]}
    outcome = await project.run(Flow.load(file, environment=project.environment()), {"v": value})
    assert outcome.code == "bad_output"
    assert "$.s" in str(outcome.failure)
    row = project.write("row.json", json.dumps({"v": value | {"s": "aaa"}}))
    assert project.command("run", file.name, "-i", f"@{row.name}", "--no-stream").out == "true\n"


@pytest.fixture
def shallow():
    """A stack that a walk along a chain would overflow."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(500)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    ("count", "reads"),
    [
        (10_000, lambda i: {"a": f"n{i // 2}.text", "b": f"n{i - 1}.text" if i % 100 else "inputs.q"}),
        (5_000, lambda i: {"a": f"n{i - 1}.text", "b": "inputs.q"}),
    ],
    ids=["10,000 nodes", "a chain of 5,000"],
)
async def test_C12_large_graphs_run(project, shallow, count, reads):
    def node(i):
        given = reads(i) if i else {"a": "inputs.q", "b": "inputs.q"}
        return {"kind": "prompt", "text": "{{ b[:1] }}", "in": given}

    written = {"inputs": {"q": "string"}, "nodes": {f"n{i}": node(i) for i in range(count)}}
    written["outputs"] = {f"o{i}": f"n{i}.text" for i in range(0, count, 997)} | {"last": f"n{count - 1}.text"}
    flow = Flow.of(written, environment=project.environment())
    outcome = await project.run(flow, {"q": "qx"})
    assert outcome.failure is None
    assert set(outcome.value.outputs.values()) == {"q"}
    assert len(flow.plan.steps) == count


async def test_C12_a_circle_of_5000_is_named(project, shallow):
    ring = {f"n{i}": {"kind": "prompt", "text": f"{{{{ n{(i - 1) % 5000}.text }}}}"} for i in range(5000)}
    outcome = await project.run(
        Flow.of({"nodes": ring, "outputs": {"o": "n0.text"}}, environment=project.environment())
    )
    assert outcome.code == "cycle"
    assert len(str(outcome.failure)) < 300
