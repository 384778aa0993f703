"""A flow: what it is given, how often it compiles, many threads and loops, what its results show."""

import asyncio
import importlib
import json
import threading
import traceback
from decimal import Decimal

import pytest

from flowllm.api import Budget, Environment, Flow, RunOptions
from flowllm.api import flow as module
from flowllm.api.sync import iterate_sync
from flowllm.core.delta import Text
from flowllm.core.errors import BudgetExceeded, NodeFailure, PipelineInvalid, UsageError

binding = importlib.import_module("flowllm.runtime.bind")

ECHO = {
    "name": "echo",
    "inputs": {"n": {"type": "integer"}, "word": {"type": "string", "default": "none"}},
    "model": "mock/echo",
    "nodes": {"say": {"kind": "call", "prompt": "{{ inputs.n }} {{ inputs.word }}"}},
    "outputs": {"said": "say.text"},
}
WARNS = ECHO | {"nodes": {**ECHO["nodes"], "idle": {"kind": "call", "prompt": "x"}}}
LOST = ECHO | {"outputs": {"said": "sai.text"}}
GIVEN = ECHO | {"nodes": {"all": {"kind": "prompt", "text": "x"}}, "outputs": {"n": "inputs.n", "text": "all.text"}}


def flow_of(pipeline, tmp_path, **options):
    return Flow.of(pipeline, environment=Environment(project=tmp_path, cache_folder=tmp_path / "cache", **options))


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "echo.yaml").write_text(json.dumps(ECHO))
    environment = Environment(project=tmp_path)
    return lambda *words: Flow.load(tmp_path / "echo.yaml", words, environment=environment)


@pytest.mark.parametrize(
    ("words", "inputs", "said"),
    [
        (["input.n=2"], None, "2 none"),
        (["input.n=2"], {}, "2 none"),
        (["input.n=2"], {"n": 3}, "3 none"),
        (["input.n=2"], {"word": "x"}, "2 x"),
        (["input.n=2", "input.word=y"], {"word": "x"}, "2 x"),
        ([], {"n": 3, "word": "x"}, "3 x"),
    ],
)
async def test_the_nearer_input_wins(loaded, words, inputs, said):
    flow = loaded(*words)
    assert (await flow.arun(inputs)).text == said
    async with flow.astream(inputs) as stream:
        assert "".join([piece.text async for piece in stream]) == said
    assert flow.check(inputs or {}) == ()


@pytest.mark.parametrize(
    ("pipeline", "given", "strict", "codes"),
    [
        (ECHO, None, True, []),
        (ECHO, {}, False, ["missing_input"]),
        (ECHO, {"n": 1}, True, []),
        (WARNS, {"n": 1}, False, []),
        (WARNS, {"n": 1}, True, ["unreachable"]),
        (WARNS, {}, True, ["missing_input", "unreachable"]),
        (LOST, {}, False, ["missing_input", "unknown_reference"]),
        (LOST, None, True, ["unknown_reference"]),
    ],
)
def test_check_refuses(tmp_path, pipeline, given, strict, codes):
    flow = flow_of(pipeline, tmp_path)
    try:
        flow.check(given, strict=strict)
    except PipelineInvalid as error:
        found = sorted(problem.code for problem in error.problems)
    else:
        found = []
    assert found == codes


@pytest.mark.parametrize(
    ("pipeline", "options", "times"),
    [(ECHO, {}, 1), (ECHO, {"given": {"n": 1}}, 1), (ECHO, {"strict": True}, 1), (WARNS, {"given": {"n": 1}}, 1)],
)
def test_a_flow_is_compiled_once(tmp_path, monkeypatch, pipeline, options, times):
    compiled, compile_spec = [], module.compile_spec
    monkeypatch.setattr(module, "compile_spec", lambda *a, **b: compiled.append(a) or compile_spec(*a, **b))
    flow = flow_of(pipeline, tmp_path)
    for _ in range(2):
        flow.check(**options)
        flow.run({"n": 1})
    assert len(compiled) == times


def test_a_flow_is_bound_once_and_a_rehearsal_apart(tmp_path, monkeypatch):
    bound, bind_step = [], binding._bind_step
    monkeypatch.setattr(binding, "_bind_step", lambda *a: bound.append(a) or bind_step(*a))
    flow = flow_of(ECHO, tmp_path)
    for n in range(3):
        assert flow.run({"n": n}).text == f"{n} none"
    assert len(bound) == 1
    flow.run({"n": 1}, RunOptions(rehearse=True))
    assert len(bound) == 2
    assert flow.run({"n": 1}).text == "1 none"


def test_what_is_bound_once_knows_no_run_s_options(tmp_path):
    flow = flow_of({**ECHO, "policies": {"cache": True}}, tmp_path)
    asked = [RunOptions(), RunOptions(), RunOptions(read_cache=False), RunOptions(refresh=["say"]), RunOptions()]
    assert [flow.run({"n": 1}, options).to_data()["cache"]["hits"] for options in asked] == [0, 1, 0, 0, 1]


async def test_run_works_where_a_loop_runs(tmp_path):
    flow = flow_of(ECHO, tmp_path)
    assert flow.run({"n": 1}).text == "1 none"
    assert "".join(piece.text for piece in flow.stream({"n": 2})) == "2 none"


def test_one_flow_serves_many_threads(tmp_path):
    flow, found = flow_of(ECHO, tmp_path), {}
    threads = [
        threading.Thread(target=lambda n=n: found.__setitem__(n, flow.run({"n": n}).text), daemon=True)
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {n: f"{n} none" for n in range(12)}


def test_one_flow_serves_many_loops(tmp_path):
    flow = flow_of(ECHO, tmp_path)
    assert [asyncio.run(flow.arun({"n": n})).text for n in range(3)] == ["0 none", "1 none", "2 none"]


def test_connections_are_kept_within_a_context_and_made_anew_in_the_next(tmp_path, monkeypatch):
    made, connect = [], Environment.connect
    monkeypatch.setattr(Environment, "connect", lambda self: made.append(connect(self)) or made[-1])
    flow = flow_of(ECHO, tmp_path)

    async def several():
        async with flow:
            return [(await flow.arun({"n": n})).text for n in range(3)]

    for times in (1, 2):
        assert asyncio.run(several()) == ["0 none", "1 none", "2 none"]
        assert len(made) == times
    flow.run({"n": 1})
    assert len(made) == 3


class Hanging:
    """Answers one word, then nothing."""

    def __init__(self):
        self.fate = []

    async def __call__(self, request, scope):
        yield Text("word")
        try:
            await asyncio.sleep(30)
            self.fate.append("came to its end")
        except asyncio.CancelledError:
            self.fate.append("cancelled")
            raise


def test_a_stream_of_a_silent_model_can_be_left(tmp_path, monkeypatch):
    model, connect = Hanging(), Environment.connect

    def hang(self):
        backends = connect(self)
        backends._calls["mock"] = model
        return backends

    monkeypatch.setattr(Environment, "connect", hang)
    pieces = flow_of(ECHO, tmp_path).stream({"n": 1})
    assert next(pieces).text == "word"
    pieces.close()
    assert model.fate == ["cancelled"]


def test_a_stream_ends_with_the_run_s_failure(tmp_path):
    flow = flow_of(ECHO | {"model": "mock/other"}, tmp_path, mock=[{"match": "9", "reply": "nine"}])
    assert [piece.text for piece in flow.stream({"n": 9})] == ["nine"]
    with pytest.raises(Exception, match="no mock rule"):
        list(flow.stream({"n": 1}))


PRICED = ECHO | {"model": "acme/m"}
CARD = """\
name: acme
base_url: https://acme.example/v1
wire: {chat: openai_chat}
auth: {scheme: none}
models:
  m: {context: 1000, output: 100, price: {input: 1000000, output: 0}}
"""


@pytest.fixture
def priced(tmp_path, monkeypatch):
    """Every word of a prompt costs a dollar."""
    from flowllm.backends.mock import MockBackend

    (tmp_path / "providers").mkdir()
    (tmp_path / "providers/acme.yaml").write_text(CARD)
    connect = Environment.connect

    def connected(self):
        backends = connect(self)
        backends._calls["acme"] = MockBackend([{"reply": "x"}])
        return backends

    monkeypatch.setattr(Environment, "connect", connected)
    return flow_of(PRICED, tmp_path)


def test_a_budget_is_one_for_all_runs_that_are_given_it(priced):
    budget = Budget(Decimal(3))
    for _ in range(2):
        assert priced.run({"n": 1}, RunOptions(budget=budget)).cost == 2
    assert budget.spent == 4
    with pytest.raises(BudgetExceeded):
        priced.run({"n": 1}, RunOptions(budget=budget))


def test_a_cost_limit_is_one_for_each_run(priced):
    assert [priced.run({"n": 1}, RunOptions(max_cost=Decimal(1))).cost for _ in range(3)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(2**70, '"n": 1180591620717411303424'), (-(2**64), '"n": -18446744073709551616'), (7, '"n": 7')],
)
def test_integers_of_any_size_come_out_as_they_are(tmp_path, value, text):
    result = flow_of(GIVEN, tmp_path).run({"n": value})
    assert result["n"] == value
    assert text in result.text
    assert json.loads(result.text) == {"n": value, "text": "x"}


def test_what_a_result_shows(tmp_path):
    one, two = flow_of(ECHO, tmp_path).run({"n": 1}), flow_of(GIVEN, tmp_path).run({"n": 1})
    assert (one.text, one["said"], one.shown) == ("1 none", "1 none", "said")
    assert (json.loads(two.text), two["n"], two.shown) == ({"n": 1, "text": "x"}, 1, None)
    assert {*one.to_data()} == {"run", "outputs", "usage", "cost", "nodes", "cache"}
    assert one.to_data()["outputs"] == {"said": "1 none"}
    assert one._repr_mimebundle_() == {"text/plain": "1 none", "application/json": one.to_data()}
    with pytest.raises(KeyError):
        _ = one["sad"]


def test_the_output_named_by_print_is_shown(tmp_path):
    assert flow_of(GIVEN | {"print": "text"}, tmp_path).run({"n": 1}).text == "x"


def test_a_notebook_shows_a_flow_s_graph(tmp_path):
    shown = flow_of(ECHO, tmp_path)._repr_mimebundle_()
    assert {*shown} == {"text/plain", "text/markdown"}
    assert shown["text/markdown"].startswith("```mermaid\n")
    assert all("say" in text for text in shown.values())


def test_a_timeout_of_a_run_is_the_run_s(tmp_path):
    flow = flow_of(ECHO | {"model": "mock/slow"}, tmp_path, mock=[{"reply": "x", "latency": 60}])
    with pytest.raises(NodeFailure) as caught:
        flow.run({"n": 1}, RunOptions(timeout=0.01))
    assert caught.value.code == "timeout"


def test_a_stream_that_is_not_begun_starts_nothing():
    def source():
        raise AssertionError

    iterate_sync(source).close()


@pytest.mark.parametrize(
    ("work", "message", "hint"),
    [
        (lambda flow: Flow.of([]), "a pipeline is a mapping, not `[]`", "a file is loaded by Flow.load(FILE)"),
        (lambda flow: flow.run("hello"), "from names to values, not `'hello'`", 'run({"n": ...})'),
        (lambda flow: flow.stream(["x"]), "from names to values, not", 'run({"n": ...})'),
        (lambda flow: flow.run({"n": 1}, {"timeout": 3}), "RunOptions, not `{'timeout': 3}`", "RunOptions(timeout=3)"),
        (lambda flow: list(flow.stream({"n": 1}, "5s")), "RunOptions, not `'5s'`", "RunOptions(timeout=3)"),
        (lambda flow: flow.run({"n": 1}, RunOptions(timeout="5 parsecs")), "no length of time", 'timeout="90s"'),
        (lambda flow: flow.run({3: "hello"}), "an input's name is a text, not `3`", 'run({"n": ...})'),
        (lambda flow: Flow.load(3), "by its file's name, not `3`", 'Flow.load("pipeline.yaml")'),
        (lambda flow: Flow.load("summarize", 3), "overrides are a list of texts, not `3`", "Flow.load(FILE, ["),
        (lambda flow: Flow.load("summarize", [3]), "overrides are a list of texts, not `[3]`", "Flow.load(FILE, ["),
        (lambda flow: Environment(mock=["x"]), "in `mock` of an Environment is a mapping, not `'x'`", "mock=[{"),
        (lambda flow: RunOptions(max_cost="x"), "`max_cost` is an amount of dollars, not `'x'`", "max_cost=Decimal("),
        (lambda flow: Budget(Decimal(1), "maybe"), "`unknown_price` is one of fail, warn, zero", 'unknown_price="w'),
        (lambda flow: RunOptions(max_cost=-1), "`max_cost` is an amount of dollars, not `-1`", "max_cost=Decimal("),
        (lambda flow: RunOptions(max_cost=True), "`max_cost` is an amount of dollars, not `True`", "max_cost=Decimal("),
        (lambda flow: Budget(Decimal("NaN")), "`limit` is an amount of dollars, not", "limit=Decimal("),
        (lambda flow: Flow.load("sumarize"), "there is no such file", "did you mean `summarize`?"),
    ],
)
def test_what_is_given_in_another_shape_is_refused_in_plain_words(tmp_path, work, message, hint):
    with pytest.raises(UsageError) as caught:
        work(flow_of(ECHO, tmp_path))
    assert message in str(caught.value)
    assert caught.value.hint.startswith(hint)


def test_a_run_s_time_may_be_text(tmp_path):
    assert flow_of(ECHO, tmp_path).run({"n": 1}, RunOptions(timeout="5s")).text == "1 none"


def test_a_pipeline_that_came_with_flowllm_is_loaded_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Flow.load("summarize").run({"text": "One. Two."}).text == "One. Two."


def test_a_traceback_begins_with_the_error_and_shows_no_engine(tmp_path):
    with pytest.raises(UsageError) as caught:
        flow_of(ECHO, tmp_path).run({"m": 1})
    told = "".join(traceback.format_exception(caught.value))
    assert "RuntimeError" not in told
    assert "asyncio" not in told
    assert told.endswith("the pipeline has no input `m`\nhint: its inputs are: n, word\n")


def test_an_invalid_pipeline_says_where_and_what_to_write(tmp_path):
    file = tmp_path / "lost.yaml"
    file.write_text("nodes:\n  say: {kind: prompt, text: x}\noutputs: {said: sai.text}\n")
    with pytest.raises(PipelineInvalid) as caught:
        Flow.load(file).check()
    assert str(caught.value) == (
        f"{file}:3:17: unknown_reference outputs.said: unknown reference `sai.text` (hint: did you mean `say.text`?)"
    )


@pytest.mark.parametrize(
    ("outputs", "pieces"),
    [({"n": "inputs.n", "said": "say.text"}, ['{\n  "n": 1,\n  "said": "1 none"\n}']), ({"n": "inputs.n"}, ["1"])],
)
def test_a_stream_without_text_gives_what_the_command_prints(tmp_path, outputs, pieces):
    flow = flow_of({**ECHO, "outputs": outputs}, tmp_path)
    assert [piece.text for piece in flow.stream({"n": 1})] == pieces


def test_a_flow_and_a_result_are_shown_on_one_line(tmp_path):
    flow = flow_of(ECHO, tmp_path)
    result = flow.run({"n": 1})
    assert repr(flow) == "<Flow echo: n, word -> said>"
    assert repr(result).startswith(f"<FlowResult {result.run}: said; 1 call, 2 + 2 tokens, $0.00, ")
    assert str(result) == "1 none"


def test_tuples_are_lists(tmp_path):
    pipeline = {"inputs": {"all": "array"}, "nodes": {}, "outputs": {"all": "inputs.all"}}
    given = [{"deep": (1, [(2,)])}]
    assert flow_of(pipeline, tmp_path).run({"all": ("a", given)}).outputs == {"all": ["a", [{"deep": [1, [[2]]]}]]}
    assert given == [{"deep": (1, [(2,)])}]


def typed(hint, value):
    def own() -> hint:
        return value

    return own


@pytest.mark.parametrize(
    ("hint", "value", "fits"),
    [
        (int, "notint", False),
        (int, True, False),
        (int, 3, True),
        (float, 3, True),
        (str, 3, False),
        (bool, 0, False),
        (list[str], "x", False),
        (list[str], ("x",), True),
        (dict[str, int], [], False),
        (int | None, None, True),
    ],
)
def test_a_function_gives_what_it_is_annotated_to_give(tmp_path, hint, value, fits):
    pipeline = {"nodes": {"a": {"kind": "own"}}, "outputs": {"value": "a.value"}}
    flow = flow_of(pipeline, tmp_path, registered={"own": typed(hint, value)})
    if fits:
        assert flow.run().outputs["value"] == (list(value) if isinstance(value, tuple) else value)
    else:
        with pytest.raises(NodeFailure, match="own is annotated to return"):
            flow.run()


@pytest.mark.parametrize("given", [3, "project", {"project": "."}])
def test_an_environment_is_one(given, tmp_path):
    (tmp_path / "echo.yaml").write_text(json.dumps(ECHO))
    for load in (
        lambda: Flow.load(tmp_path / "echo.yaml", environment=given),
        lambda: Flow.of(ECHO, environment=given),
    ):
        with pytest.raises(UsageError, match="`environment` is an Environment, not"):
            load()
