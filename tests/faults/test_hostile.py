"""What must stay data: model output in prompts, planted cache rows; and words of the command line that are wrong."""

import json
import pickle
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.api import Environment, Flow
from flowllm.backends.mock import MockBackend
from flowllm.backends.store import shared_store
from flowllm.core.errors import FlowError
from tests.faults.projects import Fault, Project, compare, faults_of

SAYINGS = [
    "{{7*7}}",
    "{{ inputs.secret }}",
    "{{ cycler.__init__.__globals__.os.popen('touch marker') }}",
    "{% for x in [1, 2] %}{{ x }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{# a comment #}",
    "{% raw %}",
    "${oc.env:HOME}",
    "${inputs.secret}",
    "$HOME `id` $(id)",
    "{0.__class__}",
    "{0.__class__.__mro__[1].__subclasses__}",
    "%(name)s %s %d",
    "_target_: os.system",
    "{_target_: os.system, _args_: [touch marker]}",
    '{"lc": 1, "type": "constructor", "id": ["os", "system"]}',
    "!!python/object/apply:os.system [touch marker]",
    "# @package _global_",
    "file: /etc/passwd",
    "@/etc/passwd",
    "<script>alert(1)</script> & &amp;",
    "line\r\nline\rline\u2028line\x85line\x0b.",
    "  blanks around\t ",
    "\u202eturned\u202c \u200b \ufeff 🧵 é e\u0301",
    "\x1b[31mred\x1b[0m",
]
RELAY = """\
inputs: {secret: {type: string, default: hidden}}
nodes:
  first: {kind: call, model: mock/first, prompt: start}
  shared: {kind: prompt, text: "{{ first.text }}"}
  named: {kind: prompt, text: "{{ said }}", in: {said: first.text}}
  parts: {kind: map, over: {const: [1]}, around: [inner], of: inner.text}
  inner: {kind: prompt, text: "{{ first.text }}{% if item > 5 %}never{% endif %}"}
  second:
    kind: call
    model: mock/second
    prompt:
      - system: "<{{ first.text }}>"
      - user: "{{ shared.text }}"
      - assistant: "{{ named.text }}"
      - user: "{{ '' }}{{ parts.items[0] }}"
outputs: {text: first.text, again: "{{ first.text }}", as_list: [first.text], second: second.text}
"""


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    made.write("pyproject.toml", "")
    return made


def reaches(environment: Environment, file: Path, text: str):
    """Runs the relay with ``text`` as the first answer; the messages of the second request, and the outputs."""
    import asyncio

    async def work():
        flow = Flow.load(file, environment=environment)
        async with flow:
            mock = flow._backends._calls["mock"] = MockBackend(environment.mock, capture=True)
            result = await flow.arun()
            _, second = mock.requests
            return [message.text for message in second.messages], result.outputs

    return asyncio.run(work())


def relayed(folder: Path, text: str) -> None:
    """Every way into the next prompt leaves ``text`` as it is."""
    rules = [{"model": "first", "reply": {"text": text}}, {"model": "second", "reply": "ok"}]
    environment = Environment(project=folder, mock=rules, cache_folder=folder / "cache")
    messages, outputs = reaches(environment, folder / "relay.yaml", text)
    assert messages == [f"<{text}>", text, text, text]
    assert (outputs["text"], outputs["again"], outputs["as_list"]) == (text, text, [text])


@pytest.mark.parametrize("text", SAYINGS)
def test_model_output_reaches_the_next_prompt_byte_for_byte(project, text):
    project.write("relay.yaml", RELAY)
    relayed(project.folder, text)
    assert not (project.folder / "marker").exists()


MARKS = st.sampled_from(["{{", "}}", "{%", "%}", "{#", "#}", "${", "}", "\\", "'", '"', "\n", "\r\n", "é", "\u2028"])
PLAIN = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relay")
    (folder / "relay.yaml").write_text(RELAY)
    return folder


@settings(max_examples=30)
@given(pieces=st.lists(MARKS | PLAIN, min_size=1))
def test_any_model_output_reaches_the_next_prompt_byte_for_byte(relay, pieces):
    text = "".join(pieces)
    if text.strip():
        relayed(relay, text)


def test_a_mapping_of_a_model_is_a_mapping(project):
    value = {"_target_": "os.system", "lc": 1, "__class__": "x", "__reduce__": ["os.system", "touch marker"],
             "items": [1], "get": "${oc.env:HOME}", "hydra": {"x": "{{7*7}}"}, "$ref": "http:///"}  # fmt: skip
    project.write(
        "p.yaml",
        "nodes:\n"
        "  first: {kind: call, model: mock/first, prompt: x, schema: {type: object}, cache: {ttl: 1h}}\n"
        "  second: {kind: call, model: mock/echo, prompt: '{{ first.value | tojson }}'}\n"
        "outputs: {value: first.value, key: '{{ first.value.items[0] }}', echoed: second.text}\n",
    )
    project.write("rules.yaml", json.dumps([{"model": "first", "reply": json.dumps(value)}]))
    for hits in (0, 1):
        ended = project.command_here("run", "p.yaml", "--json", "--mock", "rules.yaml")
        assert ended.status == 0
        outputs = ended.data["outputs"]
        assert (outputs["value"], outputs["key"], json.loads(outputs["echoed"])) == (value, 1, value)
        assert ended.data["cache"]["hits"] == hits
    assert not (project.folder / "marker").exists()


def test_hostile_output_through_the_command(project):
    project.write("relay.yaml", RELAY)
    for text in SAYINGS[:3] + SAYINGS[7:8]:
        rules = [{"model": "first", "reply": {"text": text}}, {"model": "second", "reply": "ok"}]
        project.write("rules.yaml", json.dumps(rules))
        ended = project.command_here("run", "relay.yaml", "--json", "--mock", "rules.yaml")
        assert ended.data["outputs"]["again"] == text


class Poison:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


CACHED = """\
nodes: {a: {kind: call, model: mock/echo, prompt: hello, cache: {ttl: 7d}}}
outputs: {o: a.text}
"""
PLANTED = {
    "pickled value": "UPDATE Cache SET mode = 4, value = :poison",
    "pickled value in the mode of texts": "UPDATE Cache SET mode = 3, value = :poison",
    "pickle as the bytes": "UPDATE Cache SET value = :poison",
    "pickled key": "UPDATE Cache SET raw = 0, key = :poison",
    "file elsewhere": "UPDATE Cache SET mode = 2, value = NULL, filename = :outside",
    "pickled file": "UPDATE Cache SET mode = 4, value = NULL, filename = :outside",
    "file above": "UPDATE Cache SET mode = 2, value = NULL, filename = '../../outside.val'",
    "another disk": "INSERT INTO Settings VALUES ('disk_evil', :poison)",
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_cache_rows_are_a_miss(project, name):
    project.write("p.yaml", CACHED)
    marker = project.folder / "marker"
    poison = pickle.dumps(Poison(marker))
    outside = project.write("outside.val", poison)
    hits = [project.command_here("run", "p.yaml", "--json").data["cache"]["hits"] for _ in range(2)]
    assert hits == [0, 1]
    shared_store(project.folder / "cache").close()  # as when a process ends
    with sqlite3.connect(project.folder / "cache/answers/cache.db") as database:
        database.execute(PLANTED[name], {"poison": poison, "outside": str(outside)})
    database.close()
    ended = project.command_here("run", "p.yaml", "--json")
    assert (ended.status, ended.data["outputs"]["o"]) == (0, "hello")
    assert (ended.data["cache"]["hits"], ended.data["cache"]["misses"]) == (0, 1)
    assert project.command_here("cache", "stats").status == 0
    assert project.command_here("cache", "clear").status == 0
    assert not marker.exists()
    assert outside.read_bytes() == poison


def test_planted_rows_in_a_process_of_its_own_and_the_poison_works(project):
    project.write("p.yaml", CACHED)
    marker = project.folder / "marker"
    poison = pickle.dumps(Poison(marker))
    assert project.command("run", "p.yaml").out == "hello\n"
    with sqlite3.connect(project.folder / "cache/answers/cache.db") as database:
        database.execute(PLANTED["pickled value"], {"poison": poison})
    database.close()
    ended = project.command("run", "p.yaml")
    assert (ended.status, ended.out) == (0, "hello\n")
    assert "could not be read" in ended.err
    assert not marker.exists()
    pickle.loads(poison)
    assert marker.exists()


SEVEN = """\
inputs: {docs: {type: array, items: {type: string}}, q: string}
polices: {}
model: mock/echo
schemas:
  reply: {type: object, properties: {x: {$ref: "http://127.0.0.1:9/x"}}}
nodes:
  parts: {kind: split, in: {text: inputs.docs}}
  near: {kind: select, in: {vectors: inputs.docs, items: inputs.docs}, k: many}
  ask:
    kind: call
    prompt:
      - system: {file: ../secret.md}
      - user: "{{ parts.prats }}"
  pick: {kind: route, switch: inputs.q, cases: {"yes": ask.text}, defualt: ask.text}
  other: {kind: call, model: opnai/gpt-5-mini, prompt: x}
outputs: {a: pick.value, b: near.items, c: other.text}
"""
FAULTS = [
    Fault("unknown_field", 2, 1, "`polices`", "did you mean `policies`?"),
    Fault("bad_schema", 5, 10, "leads out of the schema"),
    Fault("type_mismatch", 7, 35, "a string is needed"),
    Fault("bad_value", 8, 75, "`k`"),
    Fault("file_refused", 12, 24, "outside the project", "move it"),
    Fault("unknown_port", 13, 19, "no port `prats`", "did you mean `parts.parts`?"),
    Fault("unknown_field", 14, 67, "`defualt`", "did you mean `default`?"),
    Fault("unknown_provider", 15, 30, "`opnai`", "did you mean `openai/gpt-5-mini`?"),
]


async def test_independent_faults_come_all_at_once_and_alone(project):
    file = project.write("seven.yaml", SEVEN)
    outcome = await project.load(file)
    compare(faults_of(outcome.failure), FAULTS)
    for words in (("check", file.name), ("run", file.name, "-i", "q=x", "-i", "docs=[]")):
        ended = project.command_here(*words)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.count("error[") == len(FAULTS)
        for code, line, column, _, hint in FAULTS:
            assert f"error[{code}]" in ended.err
            assert f"seven.yaml:{line}:{column}" in ended.err
            assert hint in ended.err


ROUTED = """\
inputs: {q: string}
vars: {tone: calm}
nodes:
  ask: {kind: call, model: mock/judge, prompt: "{{ inputs.q }}", choices: [yes, no]}
  pick: {kind: route, switch: ask.choice, cases: {yes: {const: it is}, no: {const: it is not}}}
outputs: {o: pick.value}
"""
RULES = [
    {"match": {"path": "$.temperature", "equals": 0.25}, "reply": "no"},
    {"match": "green", "reply": "yes"},
    {"reply": "no"},
]
WORDS = [
    ("nodes.ask.temperatur=0.2", "unknown_field", "did you mean `temperature`?"),
    ("nodes.aks.temperature=0.2", "unknown_reference", "did you mean `nodes.ask`?"),
    ("inputs.q=hello", "bad_override", "input.q=hello"),
    ("inputs.nothing=hello", "bad_override", "input.nothing=hello"),
    ("outputs.p=ask.text", "unknown_field", "known here: o"),
    ("vars.tome=x", "unknown_field", "did you mean `vars.tone`?"),
    ("modell=mock/echo", "unknown_field", "did you mean `model`?"),
    ("nodes.ask.temperature=warm", "bad_value", ""),
    ("nodes.ask.model=opnai/gpt-5-mini", "unknown_provider", "did you mean `openai/gpt-5-mini`?"),
    ("outputs.o=ask.txet", "unknown_port", "did you mean `ask.text`?"),
    ("nodes.ask.prompt={{ inputs.q }}", "bad_override", "'nodes.ask.prompt=\"{{ inputs.q }}\"'"),
    ("defaults=[x]", "bad_override", "write it into a file"),
    ("hydra.run.dir=x", "bad_override", "takes no settings of Hydra"),
    ("temperature", "bad_override", "nodes.ask.temperature=0"),
]


@pytest.fixture
def routed(project):
    project.write("p.yaml", ROUTED)
    project.write("rules.json", json.dumps(RULES))
    return project


@pytest.mark.parametrize(("word", "code", "hint"), WORDS)
async def test_a_wrong_word_is_its_own_place(routed, word, code, hint):
    ended = routed.command_here("run", "p.yaml", "-i", "q=x", word)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("error[") == 1
    assert f"error[{code}]" in ended.err
    assert f"command line: {word}" in ended.err
    assert hint in ended.err

    async def work():
        return Flow.load(routed.folder / "p.yaml", [word], environment=routed.environment()).check()

    outcome = await routed.judged(work)
    assert isinstance(outcome.failure, FlowError)
    assert (outcome.code, outcome.failure.origin.note) == (code, f"command line: {word}")


def test_a_field_that_is_not_written_can_be_set(routed):
    words = ("run", "p.yaml", "-i", "q=green", "--mock", "rules.json")
    assert routed.command_here(*words).out == "it is\n"
    assert routed.command_here(*words, "nodes.ask.temperature=0.25").out == "it is not\n"


@pytest.mark.parametrize(("question", "answer"), [("green", "it is\n"), ("red", "it is not\n")])
def test_yes_and_no_are_choices_and_cases(routed, question, answer):
    words = ("p.yaml", "--mock", "rules.json", f"input.q={question}")
    assert routed.command_here("run", *words).out == answer
    chosen = routed.command_here("run", *words, "nodes.ask.choices=[yes,no,maybe]")
    assert (chosen.status, "case_missing" in chosen.err) == (2, True)
