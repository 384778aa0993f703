"""The commands around `run`."""

import json
import shlex
import stat

import pytest

from flowllm.backends.store import shared_store
from flowllm.cli.init import TEMPLATES
from flowllm.cli.later import NAMES
from flowllm.cli.main import GROUPS, SINGLE
from flowllm.compiler.estimate import ASSUMED
from tests.cli.command import Outcome

REAL = "abc123-not-a-real-key-4242"


def test_help_lists_every_command_and_what_is_to_come(flowllm):
    shown = flowllm("--help").out
    assert all(f"\n  {name} " in shown for name in (*SINGLE, *GROUPS))
    assert all(name in shown and f"\n  {name} " not in shown for name in NAMES)
    assert flowllm().out == shown


def test_the_version(flowllm):
    assert flowllm("--version").out == "flowllm 0.1.0\n"


@pytest.mark.parametrize("name", NAMES)
def test_commands_to_come_say_so(flowllm, name):
    outcome = flowllm(name, "anything", "--some=thing")
    assert outcome.status == 2
    assert f"`flowllm {name}` is not available yet" in outcome.err


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_command_that_init_prints_works_offline(flowllm, template):
    written = flowllm("init", "a new folder", "--template", template)
    assert written.status == 0
    words = shlex.split(written.out)
    assert words[0] == "flowllm"
    ran = flowllm(*words[1:], "--json")
    assert ran.status == 0, ran.err
    assert all(ran.data["outputs"].values())


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_are_without_fault_and_fit_their_schema(flowllm, folder, template):
    import jsonschema

    from flowllm.config import load_yaml

    flowllm("init", ".", "--template", template)
    assert flowllm("check", f"{template}.yaml", "--strict").status == 0
    text = (folder / f"{template}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./schema.json")
    jsonschema.Draft202012Validator(json.loads((folder / "schema.json").read_text())).validate(load_yaml(text)[0])


def test_init_writes_over_nothing(flowllm, folder):
    (folder / "blank.yaml").write_text("mine")
    refused = flowllm("init", ".", "--template", "blank")
    assert refused.status == 2
    assert (folder / "blank.yaml").read_text() == "mine"
    assert flowllm("init", ".", "--template", "blank", "--force").status == 0
    assert flowllm("init", ".", "--template", "poem").status == 2


@pytest.mark.parametrize("words", [(), ("run",), ("keys", "set")])
def test_help_is_a_word_too(flowllm, words):
    asked, meant = flowllm("help", *words), flowllm(*words, "--help")
    assert (asked.status, asked.out) == (0, meant.out)
    assert asked.out.startswith("Usage: flowllm " + " ".join(words))


def test_a_quiet_check_says_nothing_of_warnings(flowllm, folder):
    (folder / "idle.yaml").write_text(
        "nodes:\n  a: {kind: prompt, text: x}\n  b: {kind: prompt, text: x}\noutputs: {o: a.text}\n"
    )
    assert "warning[unreachable]" in flowllm("check", "idle.yaml").err
    assert flowllm("check", "idle.yaml", "-q") == Outcome(0, "", "")
    assert "[unreachable]" in flowllm("check", "idle.yaml", "-q", "--strict").err


def test_keys_are_read_from_stdin_kept_and_never_shown(flowllm, monkeypatch, tmp_path):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(REAL + "\n"))
    shown = [flowllm("keys", "set", "OPENAI_API_KEY")]
    path = flowllm("keys", "path").out.strip()
    assert path.startswith(str(tmp_path))
    assert stat.S_IMODE((tmp_path / "config/flowllm/keys.json").stat().st_mode) == 0o600
    shown += [
        flowllm("keys", "list"),
        flowllm("keys", "list", "--json"),
        flowllm("providers", "list"),
        flowllm("doctor"),
    ]
    assert all(outcome.status == 0 for outcome in shown)
    assert all(REAL not in outcome.out + outcome.err for outcome in shown)
    assert "OPENAI_API_KEY" in shown[1].out
    assert "(keys)" in shown[3].out
    assert flowllm("keys", "remove", "OPENAI_API_KEY").status == 0
    assert flowllm("keys", "list", "--json").data == {"keys": []}


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (("OPENAI_API_KEY=" + REAL,), "", "keys are not taken from the command line"),
        (("OPENAI_API_KEY", REAL), "", "keys are not taken from the command line"),
        (("OPENAI_API_KEY", "--", REAL), "", "keys are not taken from the command line"),
        ((REAL,), REAL, "the name of a key has letters"),
        (("OPENÄI_API_KEY",), REAL, "the name of a key has letters"),
        (("2ND_KEY",), REAL, "the name of a key has letters"),
        (("",), REAL, "the name of a key has letters"),
        (("OPENAI_API_KEY",), "", "the key that was given is empty"),
        (("OPENAI_API_KEY",), "  ", "the key that was given is empty"),
    ],
)
@pytest.mark.parametrize("manner", [(), ("--json",)])
def test_a_key_that_cannot_be_kept_is_not_repeated(flowllm, monkeypatch, words, given, said, manner):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(given + "\n"))
    outcome = flowllm("keys", "set", *manner, *words)
    assert outcome.status == 2
    assert said in outcome.err
    assert "error[bad_usage]" in outcome.err
    assert REAL not in outcome.out + outcome.err
    assert flowllm("keys", "list", "--json").data == {"keys": []}


@pytest.mark.parametrize(
    ("word", "variable"),
    [("openai", "OPENAI_API_KEY"), ("Anthropic", "ANTHROPIC_API_KEY"), ("anthropi", "ANTHROPIC_API_KEY")],
)
def test_a_key_is_not_kept_by_a_provider_s_name(flowllm, monkeypatch, word, variable):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    outcome = flowllm("keys", "set", word)
    assert outcome.status == 2
    assert f"hint: flowllm keys set {variable}" in outcome.err
    assert flowllm("keys", "list", "--json").data == {"keys": []}


@pytest.mark.parametrize(
    ("name", "meant"), [("OPENAI_KEY", "OPENAI_API_KEY"), ("OPENAI_API_KEY", ""), ("MY_OWN_KEY", "")]
)
def test_a_name_that_nothing_reads_is_kept_and_said(flowllm, monkeypatch, name, meant):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    outcome = flowllm("keys", "set", name)
    assert outcome.status == 0
    assert ("did you mean" in outcome.err) == bool(meant)
    assert meant in outcome.err


def test_a_key_that_is_found_names_a_model_and_chooses_none(flowllm, echo, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", REAL)
    outcome = flowllm("run", echo, "-i", "text=x", "model=null")
    assert outcome.status == 3
    assert "model=openai/" in outcome.err
    assert REAL not in outcome.err


def test_doctor_reports_and_breaks_on_a_clash(flowllm, monkeypatch):
    report = flowllm("doctor", "--json")
    assert (report.status, report.data["ok"]) == (0, True)
    topics = {row["topic"] for row in report.data["findings"]}
    names = (
        "python",
        "packages",
        "extras",
        "kinds",
        "providers",
        "local models",
        "keys",
        "cache",
        "folders",
        "terminal",
    )
    assert topics == set(names)

    from flowllm.cli import doctor

    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "9.9" if name == "flowllm" else version(name))
    broken = flowllm("doctor")
    assert broken.status == 3
    assert "another project" in broken.out


@pytest.mark.parametrize(("system", "runtime"), [("linux", "onnxruntime-gpu"), ("darwin", "onnxruntime")])
def test_doctor_names_what_extras_bring_on_this_system(flowllm, monkeypatch, system, runtime):
    monkeypatch.setattr("flowllm.cli.doctor.sys.platform", system)
    rows = [row["name"] for row in flowllm("doctor", "--json").data["findings"] if row["topic"] == "extras"]
    assert [name for name in rows if "onnxruntime" in name and "(gpu)" in name] == [f"{runtime} (gpu)"]
    assert {"onnxruntime-genai (genai)", "onnxruntime-genai-cuda (genai-gpu)"} <= {*rows}
    assert not any(name.startswith("flowllm") for name in rows)


def test_doctor_finds_a_cache_of_another_version(flowllm, tmp_path):
    (tmp_path / "cache/answers").mkdir(parents=True)
    (tmp_path / "cache/answers/VERSION").write_text("flowllm cache 99")
    broken = flowllm("doctor")
    assert broken.status == 3
    assert "flowllm cache clear" in broken.out
    assert flowllm("cache", "clear").status == 0
    assert flowllm("doctor").status == 0


CARD = "name: acme\nbase_url: https://api.acme.example/v1\nwire: {chat: openai_chatt}\n"
MODULES = '[tool.flowllm]\nmodules = ["no_such_module"]\n'


@pytest.mark.parametrize(
    ("file", "text", "topic", "said"),
    [
        ("providers/acme.yaml", CARD, "providers", ("acme.yaml:3", "there is no wire `openai_chatt`")),
        ("providers/acme.yaml", "name: acme\nbase_url: [\n", "providers", ("acme.yaml", "not valid YAML")),
        ("pyproject.toml", MODULES, "kinds", ("no_such_module",)),
        ("../config/flowllm/keys.json", "[]", "keys", ("keys.json", "cannot be read")),
    ],
)
def test_doctor_finds_what_is_broken_under_its_title(flowllm, folder, file, text, topic, said):
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text)
    report = flowllm("doctor", "--json")
    assert (report.status, report.data["ok"]) == (3, False)
    broken = [row for row in report.data["findings"] if not row["ok"]]
    assert {row["topic"] for row in broken} >= {topic}
    assert all(any(word in f"{row['name']}: {row['value']}" for row in broken) for word in said)
    assert all(row["value"].count("bad_") == 0 for row in broken), "no codes within sentences"
    titles = [line for line in flowllm("doctor").out.splitlines() if not line.startswith(" ")]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("command", [("models", "list"), ("providers", "list")])
def test_what_is_installed(flowllm, command):
    assert "mock" in flowllm(*command).out
    assert len(next(iter(flowllm(*command, "--json").data.values()))) > 3


@pytest.mark.parametrize(
    ("word", "said"), [("rnu", "did you mean `run`?"), ("cahce", "did you mean `cache`?"), ("tset", "command 'tset'\n")]
)
def test_only_commands_that_are_there_are_offered(flowllm, word, said):
    assert "error[bad_usage]: no such command" in (err := flowllm(word).err)
    assert said in err


def test_no_model_of_that_name(flowllm):
    outcome = flowllm("models", "list", "gpt", "zzz")
    assert (outcome.status, outcome.out) == (0, "")
    assert "no model's name holds gpt and zzz" in outcome.err


def test_models_are_filtered_by_words(flowllm):
    names = [row["model"] for row in flowllm("models", "list", "gpt", "mini", "--json").data["models"]]
    assert names
    assert all("gpt" in name and "mini" in name for name in names)


def test_a_provider_of_the_project_is_listed(flowllm, folder):
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text(
        "name: acme\nbase_url: https://api.acme.example/v1\nwire: {chat: openai_chat}\n"
        "auth: {scheme: bearer, env: ACME_API_KEY}\n"
    )
    assert "$ACME_API_KEY is not set" in flowllm("providers", "list").out


ROUTED = """\
flowllm: 1
name: routed
model: mock/echo
nodes:
  a: {kind: call, prompt: a, timeout: 5s, cache: {ttl: 1d}, retry: {attempts: 2}}
  b: {kind: call, prompt: b}
  r: {kind: route, switch: {const: "${model}"}, cases: {"null": b.text}, default: a.text}
outputs: {o: r.value}
"""


def test_plan_shows_policies_in_order_and_strikes_out_what_never_runs(flowllm, folder):
    (folder / "routed.yaml").write_text(ROUTED)
    shown = flowllm("plan", "routed.yaml").out
    row = next(line for line in shown.splitlines() if line.startswith("a "))
    order = ["timeout", "cache", "single-flight", "retry", "meter"]
    assert sorted(order, key=row.index) == order
    assert "\u0336" not in shown
    assert next(line for line in shown.splitlines() if line.startswith("null ")).split() == ["null", "case", "never"]
    assert "mock/echo" in row


def test_plan_as_json_is_the_plan(flowllm, folder):
    from flowllm.compiler.plan_json import from_json

    (folder / "routed.yaml").write_text(ROUTED)
    plan = from_json(flowllm("plan", "routed.yaml", "--json").data)
    assert [step.id for step in plan.steps][-1] == "r"


@pytest.mark.parametrize(
    ("drawing", "begins"), [("tree", "routed"), ("mermaid", "flowchart"), ("dot", "digraph"), ("json", "{")]
)
def test_graph(flowllm, folder, drawing, begins):
    (folder / "routed.yaml").write_text(ROUTED)
    assert flowllm("graph", "routed.yaml", "--as", drawing).out.startswith(begins)


def test_the_schema_knows_every_kind_and_takes_interpolations(flowllm, folder):
    import jsonschema

    from flowllm.core.kinds import Kinds

    schema = flowllm("schema").data
    assert set(Kinds().names()) <= set(schema["$defs"])
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid

    def pipeline(**node):
        return {"flowllm": 1, "nodes": {"a": node}, "outputs": {"o": "a.text"}}

    assert valid(pipeline(kind="call", prompt="x", temperature=0.5))
    assert valid(pipeline(kind="call", prompt="x", retry=3))
    assert not valid(pipeline(kind="call", prompt="x", meter=False))
    assert valid(pipeline(kind="call", prompt="x", temperature="${vars.t}"))
    assert not valid(pipeline(kind="call", prompt="x", temperature="hot"))
    assert not valid(pipeline(kind="call", prompt="x", temperatur=1))
    assert not valid(pipeline(kind="cal"))
    assert not valid({**pipeline(kind="call", prompt="x"), "outptus": {}})


def test_the_schema_of_one_kind(flowllm):
    schema = flowllm("schema", "--kind", "call").data
    assert schema["properties"]["kind"] == {"const": "call"}
    assert {"prompt", "temperature", "schema", "cache", "retry", "each"} <= set(schema["properties"])


def test_an_entry_of_the_cache_is_explained(flowllm, echo):
    for text in ("x", "y"):
        events = flowllm("run", echo, "-i", f"text={text}", "nodes.say.cache=true", "--events").out.splitlines()
    key = next(event["key"] for event in map(json.loads, events) if event["event"] == "CacheMiss")
    shared_store().flush()  # as when a process ends
    lines = flowllm("cache", "explain", key).out.splitlines()
    assert json.loads(lines[-1].removeprefix("value: ")) == flowllm("cache", "explain", key, "--json").data["value"]
    assert "no entry has a key that begins with `zz`" in flowllm("cache", "explain", "zz").err
    assert "more than one entry" in flowllm("cache", "explain", "").err


NOTHING = {"low": "0", "expected": "0", "high": "0"}
COSTS = """\
flowllm: 1
model: {model}
nodes:
  ask: {{kind: call, prompt: hello, max_output_tokens: 1000}}
outputs: {{o: ask.text}}
"""


@pytest.mark.parametrize(
    ("model", "said", "low", "high"),
    [
        (
            "openai/gpt-5-mini",
            f"ok, cost $0.000002 to $0.07, expected $0.001252\n{ASSUMED}",
            "0.000002",
            "0.07",
        ),
        ("mock/m", "ok, cost $0", "0", "0"),
        (
            "openai/gpt-of-tomorrow",
            "ok, cost unknown\n  ask: no price and no window is known for openai/gpt-of-tomorrow",
            None,
            None,
        ),
    ],
)
def test_check_shows_what_a_run_would_cost(flowllm, folder, model, said, low, high):
    (folder / "costs.yaml").write_text(COSTS.format(model=model))
    assert flowllm("check", "costs.yaml").err == f"costs.yaml: {said}\n"
    (row,) = flowllm("check", "costs.yaml", "--json").data["files"]
    for cost in (row["nodes"][0]["cost"], row["total"]["cost"]):
        assert (cost["low"] and float(cost["low"]), cost["high"] and float(cost["high"])) == (
            low and float(low),
            high and float(high),
        )


def test_check_shows_no_cost_of_what_asks_nobody_or_cannot_run(flowllm, folder):
    (folder / "quiet.yaml").write_text("nodes: {p: {kind: prompt, text: x}}\noutputs: {o: p.text}\n")
    assert flowllm("check", "quiet.yaml").err == "quiet.yaml: ok\n"
    assert flowllm("check", "quiet.yaml", "--json").data["files"][0]["total"]["cost"] == NOTHING
    (folder / "costs.yaml").write_text(COSTS.format(model="openai"))
    assert flowllm("check", "costs.yaml").err.endswith("costs.yaml: 1 error\n")
    (row,) = flowllm("check", "costs.yaml", "--json").data["files"]
    assert set(row) == {"file", "ok", "problems"}
