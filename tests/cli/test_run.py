"""`flowllm run`: outputs, inputs, events, rehearsals, sweeps, the cache."""

import json
from decimal import Decimal

import pytest

from flowllm.backends.store import shared_store

TWO = """\
flowllm: 1
name: two
inputs: {text: {type: string, sample: {const: hi}}, n: {type: integer, default: 2}}
model: mock/echo
print: said
nodes:
  say: {kind: call, prompt: "{{ inputs.text }}"}
outputs: {said: say.text, n: inputs.n, odd: {const: false}, list: {const: [1]}}
"""
CALLS = """\
flowllm: 1
name: calls
model: mock/m
nodes:
  ask: {kind: call, prompt: ask me, cache: {}}
  more: {kind: call, prompt: "more of {{ ask.text }}"}
outputs: {o: more.text}
"""
RULES = "- {match: more of, reply: much more}\n- {match: ask me, reply: here}\n"


@pytest.fixture
def two(folder):
    (folder / "two.yaml").write_text(TWO)
    return "two.yaml"


@pytest.fixture
def calls(folder):
    (folder / "calls.yaml").write_text(CALLS)
    (folder / "rules.yaml").write_text(RULES)
    return ("calls.yaml", "--mock", "rules.yaml")


def test_the_printed_output_is_text_and_short_ones_are_told_on_stderr(flowllm, two):
    outcome = flowllm("run", two)
    assert (outcome.status, outcome.out) == (0, "hi\n")
    told = outcome.err.splitlines()
    assert "input `text` is the pipeline's sample; give your own with -i text=@FILE" in told
    assert {"n: 2", "odd: false"} <= set(told)
    assert not any(line.startswith("list:") for line in told)
    assert told[-1].startswith("1 call, ")


def test_quiet_says_nothing_on_stderr(flowllm, two):
    outcome = flowllm("run", two, "--quiet")
    assert (outcome.out, outcome.err) == ("hi\n", "")


def test_json_has_everything(flowllm, two):
    data = flowllm("run", two, "--json").data
    assert list(data) == ["run", "outputs", "usage", "cost", "nodes", "cache"]
    assert data["outputs"] == {"said": "hi", "n": 2, "odd": False, "list": [1]}
    assert data["nodes"]["say"]["calls"] == 1


def test_several_outputs_without_print_are_json(flowllm, two, folder):
    (folder / two).write_text(TWO.replace("print: said\n", ""))
    assert flowllm("run", two).data["list"] == [1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("-i", "text=free text, with = and {{ }}"), "free text, with = and {{ }}"),
        (("-i", "text=@in.txt"), "from a file\r\nwith lines"),
        (("-i", "@row.json"), "from a row"),
        (("input.text=word",), "word"),
        (("input.text='two words'",), "two words"),
        (("-i", "text=a", "input.text=b"), "b"),
    ],
)
def test_inputs(flowllm, two, folder, given, said):
    (folder / "in.txt").write_bytes(b"\xef\xbb\xbffrom a file\r\nwith lines")
    (folder / "row.json").write_text('{"text": "from a row"}')
    assert flowllm("run", two, *given, "--json").data["outputs"]["said"] == said


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"ok \xff", "3"), (b"\xff\xfea\x00", "UTF-16"), (b"a\x00b", "NUL")],
    ids=["invalid UTF-8", "UTF-16", "NUL"],
)
def test_files_that_are_no_text(flowllm, two, folder, data, word):
    (folder / "in.txt").write_bytes(data)
    outcome = flowllm("run", two, "-i", "text=@in.txt")
    assert (outcome.status, outcome.out) == (2, "")
    assert word in outcome.err


@pytest.mark.parametrize("value", ["1.5", "nan", "1e400", "true", "'x'", "[1]", ""])
def test_values_of_another_type_are_refused_and_shown(flowllm, two, value):
    outcome = flowllm("run", two, "-i", f"n={value}")
    assert outcome.status == 2
    assert "error[bad_value]" in outcome.err
    assert value in outcome.err


def test_a_sample_is_never_an_answer_to_check(flowllm, two):
    assert flowllm("check", two).status == 0


def test_a_pipeline_that_came_with_flowllm_runs_from_anywhere(flowllm):
    outcome = flowllm("run", "summarize", "input.words=30")
    assert outcome.status == 0
    assert 20 < len(outcome.out.split()) < 40


def test_events_are_json_lines_with_the_outputs_in_the_last(flowllm, two):
    lines = [json.loads(line) for line in flowllm("run", two, "--events").out.splitlines()]
    assert lines[0]["event"] == "RunStarted"
    assert {"CallStarted", "CallFinished", "StepFinished"} <= {line["event"] for line in lines}
    assert lines[-1]["outputs"]["said"] == "hi"


def test_events_beside_json_go_to_stderr(flowllm, two):
    outcome = flowllm("run", two, "--events", "--json")
    assert outcome.data["outputs"]["said"] == "hi"
    assert json.loads(outcome.err.splitlines()[1])["event"] == "RunStarted"


def test_streamed_text_is_the_text(flowllm, two):
    assert flowllm("run", two, "--stream", "-i", "text=one two three").out == "one two three\n"


def test_a_held_stream_is_said_once(flowllm, folder):
    (folder / "held.yaml").write_text(
        "flowllm: 1\nmodel: mock/echo\nnodes:\n  a: {kind: call, prompt: x y}\n"
        "  v: {kind: validate, in: {text: a.text}}\n"
        "  r: {kind: retry, around: [a, v], of: v.value, attempts: 2}\noutputs: {o: r.value}\n"
    )
    outcome = flowllm("run", "held.yaml", "--stream")
    assert (outcome.status, outcome.out) == (0, "x y\n")
    assert outcome.err.count("may try again, so its text is shown when an attempt is good") == 1


def test_the_cache_is_used_seen_and_left_alone_on_request(flowllm, calls):
    def made(*words):
        data = flowllm("run", *calls, "--json", *words).data
        return data["usage"]["calls"], data["cache"]["hits"]

    assert made("--no-cache") == (2, 0)
    assert made() == (2, 0)
    assert made() == (1, 1)
    assert made("--no-cache") == (2, 0)
    assert made("--refresh", "ask") == (2, 0)
    shared_store().flush()  # as when a process ends
    stats = flowllm("cache", "stats", "--json").data
    assert (stats["entries"], stats["groups"][0]["model"]) == (1, "mock/m")
    assert "1 from the cache" in flowllm("run", *calls).err


def test_an_entry_of_the_cache_is_explained_and_cleared(flowllm, calls):
    events = flowllm("run", *calls, "--events").out.splitlines()
    key = next(json.loads(line)["key"] for line in events if '"CacheMiss"' in line)
    shared_store().flush()  # as when a process ends
    entry = flowllm("cache", "explain", key[:12], "--json").data
    assert entry["key"] == key
    assert "here" in json.dumps(entry["value"])
    assert flowllm("cache", "clear", "--model", "mock/other", "--json").data == {"removed": 0}
    assert flowllm("cache", "clear").status == 0
    assert flowllm("cache", "stats", "--json").data["entries"] == 0


def test_a_rehearsal_asks_nobody_and_names_what_is_unknown(flowllm, calls):
    outcome = flowllm(
        "run", *calls[:1], "--dry-run", "model=openai/gpt-5-mini", "nodes.ask.max_output_tokens=1000", "--json"
    )
    assert outcome.status == 0, "no key is needed"
    ask, more = outcome.data["nodes"]
    assert ask["calls"] == {"low": 1, "high": 1}
    assert ask["tokens"]["output"] == 1000
    assert 0.002 < float(ask["cost"]["high"]) < 0.0021
    assert float(ask["cost"]["low"]) < 0.0001
    assert more["models"] == ["openai/gpt-5-mini"]
    local = flowllm("run", *calls[:1], "--dry-run", "model=ollama/qwen3", "--json").data["nodes"][0]
    assert local["tokens"]["output"] is None
    unknown = flowllm("run", *calls[:1], "--dry-run", "model=openai/gpt-of-tomorrow")
    assert "unknown" in unknown.out


def test_a_rehearsal_counts_attempts_and_cases_not_taken(flowllm, folder):
    (folder / "paths.yaml").write_text(
        "flowllm: 1\nmodel: openai/gpt-5-mini\nnodes:\n"
        "  pick: {kind: call, choices: [a, b], prompt: which}\n"
        "  one: {kind: call, prompt: one}\n"
        "  two: {kind: call, prompt: two}\n"
        "  sure: {kind: retry, around: [one], of: one.text, attempts: 4}\n"
        "  way: {kind: route, switch: pick.choice, cases: {a: sure.value, b: two.text}}\n"
        "outputs: {o: way.value}\n"
    )
    rows = {row["node"]: row for row in flowllm("run", "paths.yaml", "--dry-run", "--json").data["nodes"]}
    assert rows["pick"]["calls"] == {"low": 1, "high": 1}
    assert rows["sure/one"]["calls"] == {"low": 0, "high": 4}
    assert (rows["two"]["reached"], rows["two"]["calls"]) == (False, {"low": 0, "high": 1})
    bound = Decimal(rows["two"]["cost"]["high"])
    told = rows["sure/one"]["cost"]
    assert (told["low"], told["high"]) == ("0", str(4 * bound))
    assert told["expected"] == rows["two"]["cost"]["expected"], "one attempt is expected"
    assert 0 < Decimal(rows["pick"]["cost"]["high"]) < bound, "its prompt is known"


def test_a_rehearsal_gives_no_bound_that_made_up_answers_led_to(flowllm, folder):
    (folder / "loop.yaml").write_text(
        "flowllm: 1\nmodel: openai/gpt-5-mini\ninputs: {text: string}\nnodes:\n"
        "  parts: {kind: split, in: {text: inputs.text}, by: paragraphs, max_tokens: 8}\n"
        "  say: {kind: call, each: parts.parts, prompt: '{{ item }}'}\n"
        "  list: {kind: split, in: {text: '{{ say.items[0].text }}'}, by: sentences}\n"
        "  then: {kind: call, each: list.parts, prompt: '{{ item }}'}\noutputs: {o: then.items}\n"
    )
    words = ("run", "loop.yaml", "--dry-run", "--json", "-i", "text=One two three.\n\nFour five six seven.\n")
    rows = [row["calls"] for row in flowllm(*words).data["nodes"]]
    assert rows == [{"low": 2, "high": 2}, {"low": 0, "high": None}]


def test_a_rehearsal_leaves_out_what_never_runs(flowllm, folder):
    (folder / "idle.yaml").write_text(
        "flowllm: 1\nmodel: openai/gpt-5-mini\nnodes:\n  one: {kind: call, prompt: one}\n"
        "  idle: {kind: call, prompt: idle}\noutputs: {o: one.text}\n"
    )
    data = flowllm("run", "idle.yaml", "--dry-run", "--json", "--quiet").data
    assert [row["node"] for row in data["nodes"]] == ["one"]
    assert data["total"]["cost"]["high"] is not None


def test_a_sweep_runs_every_combination_and_goes_on_after_failures(flowllm, echo):
    words = ("run", echo, "-m", "input.text=a,b", "model=mock/none,mock/echo,null")
    outcome = flowllm(*words, "--json")
    assert outcome.status == 4, "the worst of all"
    rows = [(*row["overrides"], row.get("outputs", {}).get("said")) for row in outcome.data["runs"]]
    assert rows == [
        ("input.text=a", "model=mock/none", None),
        ("input.text=a", "model=mock/echo", "a"),
        ("input.text=a", "model=null", None),
        ("input.text=b", "model=mock/none", None),
        ("input.text=b", "model=mock/echo", "b"),
        ("input.text=b", "model=null", None),
    ]
    table = flowllm(*words).out.splitlines()
    assert table[0].split() == ["input.text", "model", "said", "cost", "seconds", "status"]
    assert [line.split()[-1] for line in table[1:]] == ["not_found", "ok", "no_model"] * 2


def test_several_values_without_m_are_refused_with_the_way_out(flowllm, echo):
    outcome = flowllm("run", echo, "input.text=x", "nodes.say.temperature=0,1")
    assert outcome.status == 2
    assert "-m" in outcome.err


@pytest.mark.parametrize(
    ("rule", "status", "code"),
    [
        ("{error: {status: 401}}", 4, "auth"),
        ("{error: {status: 400}}", 4, "bad_request"),
        ("{reply: not good}", 5, "invalid_json"),
        ('{reply: "\\"x\\""}', 5, "bad_output"),
    ],
)
def test_failures_of_a_run(flowllm, folder, rule, status, code):
    (folder / "strict.yaml").write_text(
        "flowllm: 1\nmodel: mock/m\nnodes:\n  ask: {kind: call, prompt: x, schema: {type: integer}}\n"
        "outputs: {o: ask.value}\n"
    )
    (folder / "rules.yaml").write_text(f"- {rule}\n")
    outcome = flowllm("run", "strict.yaml", "--mock", "rules.yaml")
    assert (outcome.status, outcome.out) == (status, "")
    assert f"error[{code}]" in outcome.err
    assert "strict.yaml:4:" in outcome.err


def test_the_repair_loop_tells_what_was_wrong_and_gives_up_with_5(flowllm, folder):
    (folder / "loop.yaml").write_text(
        "flowllm: 1\nmodel: mock/m\nnodes:\n"
        '  ask: {kind: call, prompt: "give n{% if sure.problem %} not: {{ sure.problem }}{% endif %}", '
        "schema: {type: object, required: [n], properties: {n: {type: integer}}}}\n"
        "  sure: {kind: retry, around: [ask], of: ask.value, attempts: 3}\noutputs: {o: sure.value}\n"
    )
    good = '- {match: "not: .*n", replies: ["{}", {n: 3}]}\n- {match: give n, reply: "{}"}\n'
    (folder / "good.yaml").write_text(good)
    (folder / "bad.yaml").write_text('- {reply: "{}"}\n')
    data = flowllm("run", "loop.yaml", "--mock", "good.yaml", "--json").data
    assert (data["outputs"], data["usage"]["calls"]) == ({"o": {"n": 3}}, 3)
    assert flowllm("run", "loop.yaml", "--mock", "bad.yaml").status == 5


def test_the_budget_ends_a_run_with_6(flowllm, echo, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "nothing is sent")
    outcome = flowllm("run", echo, "-i", "text=x", "model=openai/gpt-5-mini", "--max-cost", "0")
    assert outcome.status == 6
    assert "error[over_budget]" in outcome.err


def test_what_is_free_keeps_a_budget_of_nothing(flowllm, calls):
    assert flowllm("run", *calls, "--max-cost", "0").status == 0


def test_a_run_that_takes_too_long(flowllm, echo, folder):
    (folder / "slow.yaml").write_text("- {reply: late, latency: 30}\n")
    outcome = flowllm("run", echo, "-i", "text=x", "model=mock/slow", "--mock", "slow.yaml", "--timeout", "50ms")
    assert outcome.status == 1
    assert "error[timeout]" in outcome.err


@pytest.mark.parametrize("rules", ["x: 1", "- {reply: a, replies: [b]}", "- {rply: a}", "- [", "text"])
def test_mock_rules_that_are_none(flowllm, echo, folder, rules):
    (folder / "rules.yaml").write_text(rules)
    outcome = flowllm("run", echo, "-i", "text=x", "model=mock/m", "--mock", "rules.yaml")
    assert (outcome.status, outcome.out) == (2, "")


@pytest.mark.parametrize(
    "text", ["{{7*7}}", "${oc.env:HOME}", "{0.__class__}", "{_target_: os.system}", "{% include 'x' %}"]
)
def test_what_looks_like_code_comes_out_as_it_went_in(flowllm, echo, text):
    assert flowllm("run", echo, "-i", f"text={text}").out == text + "\n"


@pytest.mark.parametrize(
    ("words", "told"), [((), 1), (("--json",), 1), (("-q",), 0), (("--stream",), 1), (("--no-stream", "--no-cache"), 1)]
)
def test_an_answer_that_was_cut_gets_a_line(folder, flowllm, words, told):
    (folder / "rules.yaml").write_text("- {reply: {text: half an ans, finish: length}}\n")
    (folder / "cut.yaml").write_text(
        "flowllm: 1\nmodel: mock/m\nnodes: {ask: {kind: call, prompt: hi}}\noutputs: {said: ask.text}\n"
    )
    done = flowllm("run", "cut.yaml", "--mock", "rules.yaml", *words)
    assert done.status == 0
    assert done.err.count("ask: warning: the answer was cut at its longest length") == told
    assert done.data["outputs"] == {"said": "half an ans"} if "--json" in words else done.out == "half an ans\n"
