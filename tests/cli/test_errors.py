"""Errors have a place, come all at once, and in every format."""

import json

import pytest

SEVEN = """\
flowllm: 1
name: seven
inputs: {docs: {type: array}}
outptus: {}
model: mock/x
nodes:
  parts: {kind: split, in: {text: inputs.txt}, by: sentences}
  ask:
    kind: call
    temperatur: 0.2
    prompt: |
      Read this:
      {{ prats.parts }}
  other: {kind: cal}
  cut: {kind: truncate, in: {text: hello world}, max_tokens: 3}
  ring: {kind: call, prompt: "{{ ring.text }}"}
outputs:
  answer: ask.text
"""
FAULTS = [
    ("unknown_field", 4, 1, "outputs"),
    ("unknown_reference", 7, 35, "docs"),
    ("unknown_field", 10, 5, "temperature"),
    ("unknown_reference", 13, 10, "parts.parts"),
    ("unknown_kind", 14, 17, "call"),
    ("not_a_path", 15, 36, "const"),
    ("cycle", 16, 3, ""),
]


EXCERPT = """\
error[unknown_reference]: unknown reference `prats.parts`
  --> seven.yaml:13:10
   13 |       {{ prats.parts }}
      |          ^^^^^^^^^^^
hint: did you mean `parts.parts`?
"""


@pytest.fixture
def seven(folder):
    (folder / "seven.yaml").write_text(SEVEN)
    return "seven.yaml"


def test_all_faults_come_at_once_with_place_and_hint(flowllm, seven):
    outcome = flowllm("check", seven, "--json")
    assert outcome.status == 2
    found = outcome.data["files"][0]["problems"]
    for code, line, column, hint in FAULTS:
        here = [p for p in found if (p["code"], p.get("line"), p.get("column")) == (code, line, column)]
        assert len(here) == 1, (code, line, column, found)
        assert hint in here[0].get("hint", "")
    assert len(found) == len(FAULTS) == 7, "no derived ones"


def test_text_shows_the_line_and_marks_the_word(flowllm, seven):
    outcome = flowllm("check", seven)
    assert outcome.out == ""
    assert EXCERPT in outcome.err


def test_run_shows_the_same_errors_and_runs_nothing(flowllm, seven):
    outcome = flowllm("run", seven, "-i", "docs=[]")
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("error[") == 7
    assert outcome.err.endswith("7 errors\n")


def test_run_with_json_gives_the_errors_as_data(flowllm, seven):
    outcome = flowllm("run", seven, "-i", "docs=[]", "--json")
    assert outcome.data["exit"] == outcome.status == 2
    assert len(outcome.data["errors"]) == 7


def test_formats_for_machines(flowllm, seven):
    lines = flowllm("check", seven, "--format", "json").out.splitlines()
    assert [json.loads(line)["code"] for line in lines]
    annotations = flowllm("check", seven, "--format", "github").out.splitlines()
    assert annotations[1].startswith("::error title=unknown_reference,file=seven.yaml,line=7,col=35::")
    sarif = json.loads(flowllm("check", seven, "--format", "sarif").out)
    places = [r["locations"][0]["physicalLocation"]["region"]["startLine"] for r in sarif["runs"][0]["results"]]
    assert 13 in places
    assert {r["id"] for r in sarif["runs"][0]["tool"]["driver"]["rules"]} >= {"unknown_kind", "not_a_path"}


@pytest.mark.parametrize(
    ("word", "code", "hint"),
    [
        ("nodes.say.temperatur=0.2", "unknown_field", "did you mean `temperature`?"),
        ("nodes.sai.temperature=0.2", "unknown_reference", "say"),
        ("inputs.text=hello", "bad_override", "input.text=hello"),
        ("modle=mock/echo", "unknown_field", "model"),
        ("text=hello", "unknown_field", "hint: -i text=hello\n"),
        ("text=[1, 2]", "unknown_field", "hint: -i 'text=[1, 2]'\n"),
        ("model=moc/echo", "unknown_provider", "mock"),
    ],
)
def test_a_word_of_the_command_line_is_a_place(flowllm, echo, word, code, hint):
    outcome = flowllm("run", echo, "-i", "text=x", word)
    assert outcome.status == 2
    assert f"error[{code}]" in outcome.err
    assert f"command line: {word}" in outcome.err
    assert hint in outcome.err


def test_a_field_that_the_file_does_not_write_can_be_set(flowllm, echo):
    assert flowllm("run", echo, "-i", "text=x", "nodes.say.temperature=0.2").out == "x\n"


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("run",), 2, "bad_usage"),
        (("nonsense",), 2, "bad_usage"),
        (("run", "echo.yaml", "--format", "xml"), 2, "bad_usage"),
        (("run", "nothing.yaml"), 2, "file_refused"),
        (("run", "echo.yaml"), 2, "missing_input"),
        (("run", "echo.yaml", "-i", "text"), 2, "bad_usage"),
        (("run", "echo.yaml", "-i", "txet=x"), 2, "unknown_input"),
        (("run", "echo.yaml", "-i", "text=x", "--max-cost", "much"), 2, "bad_usage"),
        (("run", "echo.yaml", "-i", "text=x", "--max-cost", "1e-400000000"), 2, "bad_usage"),
        (("run", "echo.yaml", "-i", "text=x", "--timeout", "soon"), 2, "bad_usage"),
        (("run", "echo.yaml", "-i", "text=x", "--timeout", "0"), 2, "bad_usage"),
        (("run", "echo.yaml", "-i", "text=x", "--record"), 2, "not_available_yet"),
        (("run", "echo.yaml", "-i", "text=x", "model=null"), 3, "no_model"),
        (("run", "echo.yaml", "-i", "text=x", "model=openai/gpt-5-mini"), 3, "missing_key"),
        (("run", "echo.yaml", "-i", "text=x", "model=mock/other"), 4, "not_found"),
        (("serve", "--port", "1"), 2, "not_available_yet"),
        (("schema", "--kind", "cal"), 2, "unknown_kind"),
        (("cache", "explain", "0000"), 2, "bad_usage"),
        (("keys", "remove", "NO_SUCH_KEY"), 2, "bad_usage"),
    ],
)
def test_exit_statuses(flowllm, echo, words, status, code):
    outcome = flowllm(*words)
    assert (outcome.status, outcome.out) == (status, "")
    assert f"error[{code}]" in outcome.err
    as_data = flowllm(*words, "--json")
    assert as_data.status == status
    assert [error["code"] for error in as_data.data["errors"]] == [code]


def test_warnings_are_errors_when_strict(flowllm, folder):
    (folder / "spare.yaml").write_text(
        "flowllm: 1\nmodel: mock/echo\nnodes:\n  a: {kind: call, prompt: x}\n"
        "  b: {kind: call, prompt: y}\noutputs: {o: a.text}\n"
    )
    assert "warning[unreachable]" in (loose := flowllm("run", "spare.yaml")).err
    assert (loose.status, loose.out) == (0, "x\n")
    assert flowllm("run", "spare.yaml", "--strict").status == 2
    assert flowllm("check", "spare.yaml").status == 0
    assert flowllm("check", "spare.yaml", "--strict").status == 2


def test_many_files_are_checked_and_overrides_hold_for_each(flowllm, echo, folder):
    (folder / "broken.yaml").write_text("flowllm: 1\nnodes: [")
    outcome = flowllm("check", "echo.yaml", "broken.yaml", "nodes.say.temperature=0", "--json")
    assert outcome.status == 2
    assert [(row["file"], row["ok"]) for row in outcome.data["files"]] == [("echo.yaml", True), ("broken.yaml", False)]


def test_a_traceback_is_shown_only_when_debugging(flowllm, echo):
    words = ("run", echo, "-i", "text=x", "model=mock/other")
    assert "Traceback" not in flowllm(*words).err
    assert "Traceback" in flowllm(*words, "--debug").err


def test_control_characters_of_a_file_do_not_reach_the_terminal(flowllm, folder):
    (folder / "evil.yaml").write_text(
        'flowllm: 1\nnodes: {a: {kind: call, prompt: "{{ \\e[31mx }}"}}\noutputs: {o: a.text}\n'
    )
    assert "\x1b" not in flowllm("check", "evil.yaml").err


@pytest.mark.parametrize("given", [False, True])
def test_a_mock_without_rules_is_pointed_to_them_once(flowllm, echo, folder, given):
    (folder / "r.yaml").write_text("- {match: something else, reply: no}\n")
    words = ("--mock", "r.yaml") if given else ()
    outcome = flowllm("run", echo, "-i", "text=x", "model=mock/m", *words)
    assert outcome.status == 4
    assert ("hint: --mock FILE" in outcome.err) is not given


@pytest.mark.parametrize(
    ("node", "key", "hint"),
    [
        ("{kind: call, prompt: x}", "model", "model=mock/echo"),
        ("{kind: embed, in: {text: {const: x}}}", "embedder", "embedder=builtin/lexical"),
    ],
)
def test_a_missing_model_has_one_hint(flowllm, folder, node, key, hint):
    port = "text" if key == "model" else "vector"
    (folder / "p.yaml").write_text(f"flowllm: 1\n{key}: null\nnodes: {{a: {node}}}\noutputs: {{o: a.{port}}}\n")
    noted, failed = flowllm("check", "p.yaml"), flowllm("run", "p.yaml")
    assert (noted.status, failed.status) == (0, 3)
    said = [next(line for line in one.err.splitlines() if line.startswith("hint:")) for one in (noted, failed)]
    assert said[0] == said[1]
    assert hint in said[0]


def test_a_broken_provider_file_hides_no_other_mistake(flowllm, folder):
    (folder / "providers").mkdir()
    (folder / "providers/aaa.yaml").write_text("base_url: https://a.example\nmodles: {}\n")
    (folder / "asks.yaml").write_text(
        "nodes:\n  one: {kind: call, model: aaa/m, prompt: x}\n"
        "  two: {kind: call, model: mock/m, prompt: x, temprature: 0}\noutputs: {o: one.text, t: two.text}\n"
    )
    outcome = flowllm("check", "asks.yaml", "--json")
    places = [(found["code"], found["file"], found["line"]) for found in outcome.data["files"][0]["problems"]]
    assert sorted(places) == [
        ("unknown_field", "asks.yaml", 3),
        ("unknown_field", "providers/aaa.yaml", 2),
    ]


def test_a_broken_provider_file_that_is_not_asked_harms_nothing(flowllm, folder, echo):
    (folder / "providers").mkdir()
    (folder / "providers/aaa.yaml").write_text("modles: {}\n")
    assert flowllm("run", echo, "input.text=x").out == "x\n"
    failed = flowllm("run", echo, "input.text=x", "model=null")
    assert (failed.status, "no_model" in failed.err, "modles" in failed.err) == (3, True, False)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("cases: [{name: a, mock: [{match: y, reply: wrong}]}, {name: b, mock: [{match: x, reply: right}]}]", "right"),
        ("mock: [{reply: first}]\ncases: [{mock: [{match: x, reply: second}]}]", "first"),
        ("- {match: x, reply: listed}", "listed"),
    ],
)
def test_rules_of_a_test_file(flowllm, echo, folder, rules, said):
    (folder / "echo.test.yaml").write_text(rules)
    outcome = flowllm("run", echo, "-i", "text=x", "model=mock/m", "--mock", "echo.test.yaml", "--quiet")
    assert (outcome.status, outcome.out) == (0, f"{said}\n")


@pytest.mark.parametrize("rules", ["cases: []", "cases: [{name: a}]", "{}", "3"])
def test_a_file_without_rules(flowllm, echo, folder, rules):
    (folder / "r.yaml").write_text(rules)
    outcome = flowllm("run", echo, "-i", "text=x", "model=mock/m", "--mock", "r.yaml")
    assert (outcome.status, "holds no list of mock rules" in outcome.err) == (2, True)


def test_a_wrong_rule_of_a_case_is_placed(flowllm, echo, folder):
    (folder / "r.yaml").write_text("cases:\n  - name: a\n    mock:\n      - {macth: x, reply: y}\n")
    outcome = flowllm("run", echo, "-i", "text=x", "model=mock/m", "--mock", "r.yaml")
    assert "--> r.yaml:4:10" in outcome.err
