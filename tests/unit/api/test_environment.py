"""What pipelines run in: stores that are shared, kinds of a project, providers that are overridden."""

import asyncio
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from flowllm.api import Environment, Flow, node
from flowllm.api.environment import kind_name
from flowllm.core.errors import PipelineInvalid, SetupError

ECHO = {
    "inputs": {"n": "integer"},
    "model": "mock/echo",
    "nodes": {"say": {"kind": "call", "prompt": "{{ inputs.n }}", "cache": True}},
    "outputs": {"said": "say.text"},
}
KINDS = '''
from typing import ClassVar, TypedDict
from flowllm.core.node import Node


class Number(TypedDict):
    value: int


class Doubled(Node):
    """Twice the number."""

    async def run(self, n: int) -> Number:
        return {"value": 2 * n}


class Renamed(Doubled):
    kind: ClassVar[str] = "thrice"

    async def run(self, n: int) -> Number:
        return {"value": 3 * n}
'''


def open_files():
    return len([*Path("/dev/fd").iterdir()])


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def settings(project, modules):
    (project / "pyproject.toml").write_text(f"[tool.flowllm]\nmodules = {modules}\n")


def test_flows_share_the_store_of_a_folder(project):
    before = threading.active_count(), open_files()
    flows = [Flow.of(ECHO, environment=Environment(project=project, cache_folder=project / "cache")) for _ in range(20)]
    assert [flow.run({"n": i}).text for i, flow in enumerate(flows)] == [str(i) for i in range(20)]
    assert len({id(flow.environment.store) for flow in flows}) == 1
    assert threading.active_count() - before[0] <= 1, "the writer"
    assert open_files() - before[1] < 20


def test_kinds_come_from_the_project_s_modules(project, monkeypatch):
    (project / "own_kinds_of_a_test.py").write_text(KINDS)
    settings(project, ["own_kinds_of_a_test"])
    monkeypatch.syspath_prepend(str(project))
    pipeline = {
        "inputs": {"n": "integer"},
        "nodes": {
            "a": {"kind": "doubled", "in": {"n": "inputs.n"}},
            "b": {"kind": "thrice", "in": {"n": "a.value"}},
        },
        "outputs": {"n": "b.value"},
    }
    assert Flow.of(pipeline, environment=Environment(project=project)).run({"n": 7})["n"] == 42


def test_registered_kinds_win_over_the_project_s(project, monkeypatch):
    (project / "more_kinds_of_a_test.py").write_text(KINDS)
    settings(project, ["more_kinds_of_a_test"])
    monkeypatch.syspath_prepend(str(project))

    @node
    def doubled(n: int) -> str:
        return "mine"

    environment = Environment(project=project, registered={kind_name(doubled): doubled})
    assert environment.kinds.find("doubled") is doubled
    assert environment.kinds.find("thrice").__name__ == "Renamed"


def test_a_module_that_is_not_there_is_named(project):
    settings(project, ["no_such_module_of_a_test"])
    with pytest.raises(SetupError, match="no_such_module_of_a_test") as caught:
        _ = Environment(project=project).kinds
    assert (caught.value.code, bool(caught.value.hint)) == ("missing_extra", True)


@pytest.mark.parametrize("text", ["", "[tool.other]\nmodules = ['x']\n", "# [tool.flowllm]\n"])
def test_a_project_without_modules_has_the_kinds_of_flowllm(project, text):
    (project / "pyproject.toml").write_text(text)
    environment = Environment(project=project)
    assert environment.kinds.find("call") is not None
    assert environment.kinds.find("doubled") is None


def test_an_override_changes_a_provider_and_leaves_the_rest(project):
    plain, changed = (Environment(project=project, providers=words).catalog for words in (
        {}, {"openai": {"base_url": "https://proxy.example/v1"}},
    ))  # fmt: skip
    assert changed.providers["openai"].base_url == "https://proxy.example/v1"
    assert changed.providers["openai"].auth == plain.providers["openai"].auth
    assert changed.providers["groq"] == plain.providers["groq"]


def test_words_of_a_load_override_providers_over_the_environment_s(project):
    (project / "p.yaml").write_text("nodes: {say: {kind: call, model: openai/x, prompt: hi}}\noutputs: {o: say.text}\n")
    urls = {name: {"base_url": f"https://{name}.example/v1"} for name in ("openai", "groq")}
    environment = Environment(project=project, providers=urls)
    flow = Flow.load(
        project / "p.yaml", ["providers.openai.base_url=https://nearer.example/v1"], environment=environment
    )
    found = flow.environment.catalog.providers
    assert (found["openai"].base_url, found["groq"].base_url) == (
        "https://nearer.example/v1",
        "https://groq.example/v1",
    )
    assert environment.catalog.providers["openai"].base_url == "https://openai.example/v1"


def test_the_project_s_provider_wins_over_flowllm_s(project):
    (project / "providers").mkdir()
    (project / "providers" / "openai.yaml").write_text(
        "name: openai\nbase_url: https://own.example/v1\nwire: {chat: openai_chat}\nauth: {scheme: none}\n"
    )
    catalog = Environment(project=project).catalog
    assert catalog.providers["openai"].base_url == "https://own.example/v1"
    assert "groq" in catalog.providers


def test_an_override_of_no_provider_is_refused(project):
    with pytest.raises(PipelineInvalid, match="opnai"):
        _ = Environment(project=project, providers={"opnai": {"base_url": "x"}}).catalog


def test_a_connection_keeps_no_requests(project):
    flow = Flow.of(ECHO, environment=Environment(project=project, cache_folder=project / "cache"))

    async def main():
        async with flow:
            await flow.arun({"n": 1})
            return flow._backends._calls["mock"].requests

    assert asyncio.run(main()) == []
    assert isinstance(flow.run({"n": 1}).cost, Decimal)
