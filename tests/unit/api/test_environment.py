"""What pipelines run in: stores that are shared, kinds of a project, providers that are overridden."""

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import BaseModel

from flowllm.api import Environment, Flow, node
from flowllm.api.environment import kind_name
from flowllm.core.errors import PipelineInvalid, SetupError, UsageError, found_by

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


MODELS = """
from pydantic import BaseModel, field_validator
from pydantic.networks import AnyUrl


class Order(BaseModel):
    article: str
    count: int = 1

    @field_validator("count")
    @classmethod
    def _some(cls, count):
        if count < 1:
            raise ValueError("nothing is ordered")
        return count
"""


class Parcel(BaseModel):
    weight: float
    fragile: bool = False


def parcels(shape="schemas.parcel", **more):
    check = {"kind": "validate", "in": {"text": "inputs.text"}, "schema": shape, "if_bad": "pass"}
    outputs = {"value": "check.value", "errors": "check.errors"}
    return {"inputs": {"text": "string"}, "nodes": {"check": check}, "outputs": outputs, **more}


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


def test_settings_come_from_the_environment_the_project_s_dotenv_and_the_command_line(project, monkeypatch):
    (project / ".env").write_text("AWS_REGION=eu-north-1\nGOOGLE_CLOUD_PROJECT=of-the-file\n")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    (project / "p.yaml").write_text("nodes: {say: {kind: call, model: openai/x, prompt: hi}}\noutputs: {o: say.text}\n")
    words = ["providers.vertex.settings.location=europe-west4"]
    found = Flow.load(project / "p.yaml", words, environment=Environment(project=project)).environment.catalog.providers
    assert found["bedrock"].base_url == "https://bedrock-runtime.eu-north-1.amazonaws.com"
    place = "https://europe-west4-aiplatform.googleapis.com/v1/projects/of-the-environment/locations/europe-west4/"
    assert found["vertex"].base_url.startswith(place)


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


@pytest.mark.parametrize(
    ("text", "code", "line", "words", "hint"),
    [
        ("x = (\n", "bad_module", 1, "SyntaxError: '(' was never closed", "python -c"),
        ("a = 1\nb = a / 0\n", "bad_module", 2, "ZeroDivisionError: division by zero", "python -c"),
        ("import sys\nsys.exit(7)\n", "bad_module", 2, "SystemExit: 7", "python -c"),
        ("import os\nimport no_such_package_of_a_test\n", "missing_extra", 2, "no_such_package_of_a_test", "install"),
        ("from os import no_such_name\n", "missing_extra", 1, "cannot import name 'no_such_name'", "mend the import"),
    ],
)
def test_a_module_that_breaks_is_named_with_its_place(project, monkeypatch, text, code, line, words, hint):
    (project / "broken_kinds_of_a_test.py").write_text(text)
    settings(project, ["broken_kinds_of_a_test"])
    monkeypatch.syspath_prepend(str(project))
    with pytest.raises(SetupError) as caught:
        _ = Environment(project=project).kinds
    error = caught.value
    assert (error.code, Path(error.origin.file).name, error.origin.line) == (code, "broken_kinds_of_a_test.py", line)
    assert "`broken_kinds_of_a_test`" in error.message
    assert words in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ('[tool.flowllm]\nmodules = "my_kinds"\n', 2, 'modules = ["my_kinds"]'),
        ("[tool.flowllm]\n\nmodules = [1]\n", 3, 'modules = ["my_kinds"]'),
        ("[tool]\nflowllm.modules = 3\n", 2, 'modules = ["my_kinds"]'),
        ("[tool.flowllm]\nmodules = [my_kinds]\n", 2, "mend the line"),
        ("[tool.flowllm\n", 1, "mend the line"),
    ],
)
def test_settings_that_name_no_modules_are_refused_with_their_place(project, text, line, hint):
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        _ = Environment(project=project).kinds
    assert (caught.value.code, caught.value.origin.line) == ("bad_value", line)
    assert hint in caught.value.hint


def test_folders_may_be_text_and_kinds_functions(project, monkeypatch):
    monkeypatch.chdir(project)
    environment = Environment(project=".", cache_folder="cc", registered={"twice": lambda n: 2 * n})
    pipeline = {
        "inputs": {"n": "integer"},
        "nodes": {"a": {"kind": "twice", "in": {"n": "inputs.n"}}},
        "outputs": {"n": "a.value"},
    }
    assert Flow.of(pipeline, environment=environment).run({"n": 4})["n"] == 8
    assert Flow.of(ECHO, environment=environment).run({"n": 1}).text == "1"
    assert (project / "cc").is_dir()


def test_what_is_no_kind_is_said_to_be_none():
    with pytest.raises(UsageError, match="`k` is registered with 3"):
        _ = Environment(registered={"k": 3}).kinds


def test_one_override_may_stand_alone(project):
    (project / "p.yaml").write_text("model: mock/a\nnodes: {say: {kind: call, prompt: hi}}\noutputs: {o: say.text}\n")
    assert Flow.load(project / "p.yaml", "model=mock/echo").run().text == "hi"


@pytest.mark.parametrize(
    ("files", "words", "place"),
    [
        ({"acme": "base_url: https://a.example\nmodels:\n  m: {price: {input: 1..2}}\n"}, [], "acme.yaml:3:22"),
        ({"acme": "base_url: https://a.example\nbse: 1\n"}, [], "acme.yaml:2:1"),
        ({"acme": "wire: {chat: openai_chatt}\n"}, [], "acme.yaml:1:14"),
        ({"acme": "wire: {chat: openai_chat}\n"}, ["providers.acme.base_url=ftp://x"], "command line: providers.acme.base_url=ftp://x"),
        ({"acme": "bse: 1\n"}, ["providers.acme.base_url=https://x"], "acme.yaml:1:1"),
        ({}, ["providers.opnai.base_url=http://x"], "command line: providers.opnai.base_url=http://x"),
    ],
)  # fmt: skip
def test_findings_about_providers_have_a_place(project, files, words, place):
    (project / "providers").mkdir()
    for name, text in files.items():
        (project / "providers" / f"{name}.yaml").write_text(text)
    (project / "p.yaml").write_text("nodes: {say: {kind: call, model: acme/m, prompt: hi}}\noutputs: {o: say.text}\n")
    with pytest.raises(PipelineInvalid) as caught:
        Flow.load(project / "p.yaml", words).check()
    problem, *others = caught.value.problems
    assert str(problem.origin).endswith(place)
    assert problem.hint
    assert [(other.code, other.origin.line) for other in others] == [("unknown_provider", 1)] * (not files)


def test_every_fault_of_words_providers_and_the_file_is_told_at_once(project):
    (project / "p.yaml").write_text(
        "inputs: {n: integer}\nnodes: {say: {kind: call, prompt: '{{ inputs.m }}'}}\noutputs: {o: say.text}\n"
    )
    words = ["modl=x", "nodes.x.y=1", "input.n=a", "input.k=1", "input.q", "providers.opnai.base_url=http://x"]
    with pytest.raises(PipelineInvalid) as caught:
        Flow.load(project / "p.yaml", words)
    places = {str(problem.origin).removeprefix("command line: ") for problem in caught.value.problems}
    assert places == {*words, f"{project}/p.yaml:2:39"}


def test_a_provider_set_in_python_is_said_to_be_so(project):
    with pytest.raises(PipelineInvalid) as caught:
        _ = Environment(project=project, providers={"openai": {"base_url": "ftp://x"}}).catalog.providers["openai"]
    assert str(caught.value.problems[0].origin) == "Environment(providers=...): openai.base_url"


@pytest.mark.parametrize(
    ("text", "value", "errors"),
    [
        ('so: {"weight": "2.5"}', {"weight": 2.5, "fragile": False}, []),
        ('{"fragile": 1}', {"fragile": 1}, ["$.weight: field required"]),
    ],
)
def test_validate_takes_a_pydantic_model_that_is_registered(project, text, value, errors):
    environment = Environment(project=project, schemas={"parcel": Parcel})
    result = Flow.of(parcels(), environment=environment).run({"text": text})
    assert result.outputs == {"value": value, "errors": errors}


def test_a_pipelines_own_schema_wins_over_a_registered_model(project):
    own = parcels(schemas={"parcel": {"type": "array"}})
    result = Flow.of(own, environment=Environment(project=project, schemas={"parcel": Parcel})).run({"text": "[1]"})
    assert result.outputs == {"value": [1], "errors": []}


def test_models_of_a_projects_modules_are_named_by_their_classes(project):
    (project / "order_models.py").write_text(MODELS)
    settings(project, '["order_models"]')
    environment = Environment(project=project)
    result = Flow.of(parcels("schemas.Order"), environment=environment).run({"text": '{"article": "tar", "count": 0}'})
    assert result["errors"] == ["$.count: nothing is ordered"]
    assert environment.kinds.schema_names() == ("Order",), "not what the module imports"


def test_models_of_installed_packages_are_found_by_their_entry_point(project, monkeypatch):
    def points(group, name=None):
        found = [EntryPoint("parcel", f"{__name__}:Parcel", "flowllm.schemas")] if group == "flowllm.schemas" else []
        return [point for point in found if name in (None, point.name)]

    monkeypatch.setattr("importlib.metadata.entry_points", points)
    environment = Environment(project=project)
    assert Flow.of(parcels(), environment=environment).run({"text": '{"weight": 1}'})["errors"] == []
    with pytest.raises(PipelineInvalid) as caught:
        Flow.of(parcels("schemas.parcle"), environment=environment).check()
    assert caught.value.problems[0].hint == "did you mean `schemas.parcel`?"


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ("schemas.datetime.date", "unknown_reference"),
        ("schemas.tests.unit.api.test_environment.Parcel", "unknown_reference"),
        ("tests.unit.api.test_environment.Parcel", "bad_value"),
        ({"x-model": "json.JSONDecoder"}, "bad_value"),
    ],
)
def test_nothing_is_imported_by_a_path_in_a_pipeline(project, shape, code):
    with pytest.raises(PipelineInvalid) as caught:
        Flow.of(parcels(shape), environment=Environment(project=project)).check()
    assert [problem.code for problem in caught.value.problems] == [code]


def test_a_call_sends_the_json_schema_of_a_registered_model_alone(project):
    ask = {"kind": "call", "model": "mock/m", "prompt": "x", "schema": "schemas.parcel"}
    pipeline = {"nodes": {"ask": ask}, "outputs": {"weight": "ask.value.weight"}}
    environment = Environment(project=project, schemas={"parcel": Parcel}, mock=[{"reply": {"weight": 3}}])
    flow = Flow.of(pipeline, environment=environment)
    assert flow.run()["weight"] == 3
    made = environment.kinds.find("call").model_validate(dict(flow.plan.steps[0].params))
    assert made.shape == Parcel.model_json_schema()


def test_a_plan_changes_with_the_models_schema(project):
    class Other(BaseModel):
        weight: int

    digests = {
        Flow.of(parcels(), environment=Environment(project=project, schemas={"parcel": model})).plan.digest
        for model in (Parcel, Other)
    }
    assert len(digests) == 2


def test_a_model_that_json_cannot_say_is_refused_before_a_run(project):
    class Odd(BaseModel):
        work: Callable[[], int]

    with pytest.raises(PipelineInvalid, match="the schema of the pydantic model `parcel` cannot be used"):
        Flow.of(parcels(), environment=Environment(project=project, schemas={"parcel": Odd})).check()


@pytest.mark.parametrize(
    ("field", "given", "must", "hint"),
    [
        ("mock", "rules.yaml", "a list, not `'rules.yaml'`", 'mock=[{"match"'),
        ("mock", {"reply": "x"}, "a list, not", 'mock=[{"match"'),
        ("registered", [len], "a mapping, not", 'registered={"shout": shout}'),
        ("providers", ["x"], "a mapping, not", 'providers={"openai"'),
        ("schemas", [1], "a mapping, not", 'schemas={"reply": Reply}'),
    ],
)
def test_what_is_given_in_another_shape_is_refused_at_once(field, given, must, hint):
    with pytest.raises(UsageError, match=f"`{field}` of an Environment is {must}") as caught:
        Environment(**{field: given})
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("nodes", "codes"),
    [
        ("a: {kind: prompt, text: hi}", ["bad_value"]),
        ("a: {kind: prompt, text: '{{ inputs.x }}'}", ["bad_value", "unknown_reference"]),
        ("a: {kind: maybe_own, text: hi}", ["bad_value"]),
        (
            "a: {kind: call, model: mock/echo, prompt: hi, schema: schemas.Maybe, nope: 1}",
            ["bad_value", "unknown_field"],
        ),
    ],
)
def test_broken_settings_hide_nothing_else_and_no_kind_is_unknown_for_them(project, nodes, codes):
    (project / "pyproject.toml").write_text("[tool.flowllm\n")
    (project / "p.yaml").write_text(f"nodes:\n  {nodes}\noutputs: {{o: a.text}}\n")
    with pytest.raises((UsageError, PipelineInvalid)) as caught:
        Flow.load(project / "p.yaml")
    assert [problem.code for problem in found_by(caught.value)] == codes


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("bogus.yaml", "with flowllm come"),
        ("small.yaml", "did you mean `smell.yaml`?"),
        ("sumarize", "did you mean `summarize`?"),
    ],
)
def test_a_pipeline_that_is_not_there_is_likened_by_its_name_alone(project, monkeypatch, word, hint):
    monkeypatch.chdir(project)
    for name in ("u16.yaml", "smell.yaml"):
        (project / name).write_text("")
    with pytest.raises(UsageError) as caught:
        Flow.load(word)
    assert caught.value.hint.startswith(hint)


def test_a_sub_pipeline_by_an_absolute_path_is_a_path(project):
    (project / "p.yaml").write_text("nodes: {a: {kind: pipeline, use: /etc/passwd}}\noutputs: {o: a.x}\n")
    with pytest.raises(PipelineInvalid, match="relative to it"):
        Flow.load(project / "p.yaml").check()
