"""`flowllm run -m`: what the runs of a sweep share."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flowllm.api import Environment, Flow
from flowllm.backends.mock import MockBackend
from flowllm.backends.store import DiskStore
from tests.cli.command import PATIENCE, environment

CARD = """\
name: acme
base_url: https://acme.example/v1
wire: {chat: openai_chat}
auth: {scheme: none}
models:
  m: {context: 1000, output: 100, price: {input: 1000000, output: 0}}
"""
CACHED = """\
flowllm: 1
inputs: {text: string}
model: mock/echo
nodes:
  say: {kind: call, prompt: "{{ inputs.text }}", cache: true}
outputs: {said: say.text}
"""
FEW_FILES = """\
import resource, sys
from flowllm.cli.main import main
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def priced(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A model whose answers cost a dollar for each word of the prompt."""
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text(CARD)
    connect = Environment.connect

    def connected(self):
        backends = connect(self)
        backends._calls["acme"] = MockBackend([{"reply": "x"}])
        return backends

    monkeypatch.setattr(Environment, "connect", connected)


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize(("limit", "status", "reached"), [("1000", 0, False), ("10", 6, True)])
def test_a_cost_limit_is_one_for_the_sweep(flowllm, echo, limit, status, reached):
    values = ",".join(f"w{number}" for number in range(40))
    outcome = flowllm("run", echo, "model=acme/m", "-m", f"input.text={values}", "--max-cost", limit, "--json")
    assert outcome.status == status
    codes = {error["code"] for row in outcome.data["runs"] for error in row.get("errors", ())}
    assert codes == ({"over_budget"} if reached else set())
    paid = [row for row in outcome.data["runs"] if "cost" in row]
    assert (len(paid) < 40) == reached
    assert len(paid) >= 10


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize(
    ("rule", "status", "said"),
    [
        ((), 6, "error[over_budget]: the price of acme/other is not known"),
        (("--unknown-price", "warn"), 0, "warning: a price is not known"),
        (("--unknown-price", "zero"), 0, "the price of 1 call is not known"),
        (("--unknown-price", "maybe"), 2, "none of fail, warn, zero"),
    ],
)
def test_a_price_that_is_not_known_is_refused_under_a_limit_unless_told_otherwise(flowllm, echo, rule, status, said):
    outcome = flowllm("run", echo, "model=acme/other", "-i", "text=x", "--max-cost", "1", *rule)
    assert outcome.status == status
    assert said in " ".join(outcome.err.split())
    assert ("a price is not known:" in outcome.err) == ("warn" in rule)


def test_a_sweep_has_one_store(flowllm, folder, monkeypatch):
    made, make = [], DiskStore.__init__
    monkeypatch.setattr(DiskStore, "__init__", lambda self, *a, **b: made.append(self) or make(self, *a, **b))
    (folder / "cached.yaml").write_text(CACHED)
    assert flowllm("run", "cached.yaml", "-m", "input.text=a,b,c,d", "--quiet").status == 0
    assert len(made) == 1


def test_a_long_sweep_needs_few_files(folder):
    (folder / "cached.yaml").write_text(CACHED)
    values = ",".join(f"w{number}" for number in range(70))
    words = ["run", "cached.yaml", "-m", f"input.text={values}", "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", FEW_FILES, *words],
        env=environment(), cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["runs"]) == 70


@pytest.mark.parametrize("words", [["input.text=a,b", "-i", "text=z"], ["-i", "text=z", "input.text=a,b"]])
def test_what_is_swept_wins_over_what_is_given_for_all(flowllm, echo, words):
    rows = flowllm("run", echo, "-m", *words, "--json").data["runs"]
    assert [row["outputs"]["said"] for row in rows] == ["a", "b"]


def test_an_override_wins_over_an_option_in_a_single_run_too(flowllm, echo):
    assert flowllm("run", echo, "input.text=a", "-i", "text=z", "--quiet").out == "a\n"


@pytest.mark.parametrize("words", [[], ["--debug"]])
def test_a_fault_takes_no_other_run_with_it(flowllm, echo, monkeypatch, words):
    run = Flow.arun

    async def broken(self, inputs, options):
        if inputs["text"] == "bad":
            raise ExceptionGroup("of our own", [ZeroDivisionError()])
        return await run(self, inputs, options)

    monkeypatch.setattr(Flow, "arun", broken)
    outcome = flowllm("run", echo, "-m", "input.text=good,bad", "--json", *words)
    good, bad = outcome.data["runs"]
    assert (outcome.status, good["outputs"]["said"], bad["errors"][0]["code"]) == (1, "good", "internal")
    assert "a fault of flowllm itself: ExceptionGroup: of our own" in outcome.err
    assert ("Traceback" in outcome.err) == bool(words)
