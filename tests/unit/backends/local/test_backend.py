import asyncio
import json

import numpy as np
import pytest

from flowllm.api import Environment, Flow
from flowllm.api import local as api
from flowllm.backends.local.backend import LocalBackend
from flowllm.backends.local.shelf import Shelf
from flowllm.core.delta import Finish, Meta, Usage, Vectors
from flowllm.core.errors import PipelineInvalid, ProviderFailure, SetupError, UsageError
from flowllm.core.request import Chat, Embed, Message, Rerank, Text
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, embedding, ids_of, write_classifier, write_embedder

ENCODER, CROSS, MOOD = Encoder(), Encoder(labels=1, seed=3), Encoder(labels=3, seed=5)
LABELS = ["Very good", "bad", "so-so"]
DOCS = ["the quick red fox", "birds fly over the sea", "cats eat fish and apples under the old tree"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = tmp_path_factory.mktemp("project")
    write_embedder(project / "models" / "tiny", ENCODER)
    write_classifier(project / "models" / "cross", CROSS, ["LABEL_0"])
    write_classifier(project / "models" / "mood", MOOD, LABELS)
    return project


@pytest.fixture
def environment(project, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return Environment(project=project, cache_folder=tmp_path / "cache")


@pytest.fixture
def call(environment):
    return environment.connect()


async def answered(call, request):
    return [delta async for delta in call(request, Scope())]


def asked(text, **more):
    return Chat("local/mood", (Message("system", (Text("Be strict"),)), Message("user", (Text(text),))), **more)


async def test_vectors_with_exact_usage(call):
    meta, vectors, usage, finish = await answered(call, Embed("local/tiny", tuple(DOCS)))
    assert (meta, finish) == (Meta(model="tiny"), Finish("stop"))
    assert np.abs(vectors.vectors - np.stack([embedding(ENCODER, text) for text in DOCS])).max() < 1e-5
    assert usage == Usage(input=sum(len(ids_of(text)[0]) for text in DOCS), output=0)


async def test_shorter_vectors_are_cut_and_of_length_one(call):
    _, vectors, *_ = await answered(call, Embed("local/tiny", (DOCS[0],), dimensions=4))
    cut = embedding(ENCODER, DOCS[0])[:4]
    assert np.allclose(vectors.vectors[0], cut / np.linalg.norm(cut), atol=1e-5)


async def test_no_texts_have_no_vectors_of_any_length(call):
    _, vectors, usage, _ = await answered(call, Embed("local/tiny", (), dimensions=4))
    assert (len(vectors.vectors), usage) == (0, Usage(input=0, output=0))


async def test_ranks_are_those_of_the_reference(call):
    _, scores, usage, _ = await answered(call, Rerank("local/cross", "birds", tuple(DOCS), k=2))
    logits = [CROSS.logits(*ids_of("birds", text))[0] for text in DOCS]
    order = sorted(range(3), key=lambda i: -logits[i])[:2]
    assert scores.indexes == order
    assert np.allclose(scores.scores, [1 / (1 + np.exp(-logits[i])) for i in order], atol=1e-5)
    assert usage.input == sum(len(ids_of("birds", text)[0]) for text in DOCS)


@pytest.mark.parametrize("choices", [("very good", "bad", "SO SO"), ("bad", "so-so")])
async def test_the_choice_is_the_best_of_those_allowed(call, choices):
    shares = dict(zip(("verygood", "bad", "soso"), MOOD.logits(*ids_of(DOCS[0])), strict=True))
    best = max(choices, key=lambda choice: shares[choice.lower().replace(" ", "").replace("-", "")])
    deltas = await answered(call, asked(DOCS[0], choices=choices))
    assert deltas[1].text == best


REFUSED = [
    (Rerank("local/tiny", "q", ("d",)), "`local/tiny` makes vectors, and a ranking was asked of it", ""),
    (Embed("local/cross", ("t",)), "`local/cross` ranks, and vectors were asked of it", ""),
    (Chat("local/tiny", ()), "`local/tiny` makes vectors, and a chat was asked of it", ""),
    (asked("x"), "this call has no `choices`", "choices: [Very good, bad, so-so]"),
    (asked("x", choices=("bad", "ugly")), "knows no label ugly", "choices: [Very good, bad, so-so]"),
    (
        Embed("local/tiny", ("t",), dimensions=99),
        "makes vectors of 16 numbers, and 99 were asked for",
        "dimensions: 16",
    ),
]


@pytest.mark.parametrize(("request_", "words", "hint"), REFUSED)
async def test_a_model_for_another_task_is_told(call, request_, words, hint):
    with pytest.raises(ProviderFailure) as caught:
        await answered(call, request_)
    assert words in caught.value.message
    assert (caught.value.hint, caught.value.exit) == (hint, 4)


def test_the_router_asks_local_models_what_they_lack(call):
    call.check("local/tiny")
    with pytest.raises(SetupError) as caught:
        call.check("local/tinny")
    assert (caught.value.code, caught.value.hint) == ("missing_model_file", "did you mean `local/tiny`?")


def test_identities_are_of_the_files(call, project, environment):
    first = call.identity("local/tiny")
    assert first != call.identity("local/cross")
    assert call.identity("local/nothing") == ""
    file = project / "models" / "tiny" / "model.onnx"
    file.write_bytes(file.read_bytes())
    api.preload(environment, "local/tiny")
    assert call.identity("local/tiny") != first


@pytest.mark.parametrize("name", ["tiny", "local/tiny"])
def test_a_model_is_loaded_and_let_go_by_either_name(environment, name):
    api.preload(environment, name, "local/cross")
    assert {"tiny", "cross"} <= {held.name for held in api.loaded_models(environment)}
    assert api.describe_local(environment, name)["task"] == "embed"
    assert api.unload(environment, name) == ["tiny"]
    assert api.unload(environment, name) == []
    assert "tiny" not in {held.name for held in api.loaded_models(environment)}


@pytest.mark.parametrize("ask", [api.preload, api.unload, api.describe_local])
def test_a_list_is_no_name(environment, ask):
    with pytest.raises(UsageError) as caught:
        ask(environment, ["tiny"])
    assert (caught.value.code, caught.value.message) == ("bad_usage", "the name of a model is a text, not list")


def test_a_project_s_own_provider_of_that_name_is_asked_in_its_place(tmp_path):
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "local.yaml").write_text("{base_url: 'http://127.0.0.1:9', wire: {chat: openai_chat}}")
    call = Environment(project=tmp_path).connect()
    call.check("local/anything")
    assert call.identity("local/anything") == ""


PIPELINE = {
    "inputs": {"docs": {"type": "array", "items": {"type": "string"}}},
    "embedder": "local/tiny",
    "nodes": {
        "rows": {"kind": "embed", "in": {"text": "inputs.docs"}},
        "one": {"kind": "embed", "in": {"text": "inputs.docs[0]"}},
        "best": {"kind": "rerank", "in": {"query": {"const": "birds"}, "items": "inputs.docs"}, "model": "local/cross"},
        "mood": {
            "kind": "call",
            "model": "local/mood",
            "prompt": [{"user": "{{ inputs.docs[0] }}"}],
            "choices": LABELS,
        },
    },
    "outputs": {"rows": "rows.vectors", "one": "one.vector", "best": "best.items", "mood": "mood.choice"},
}


def flow(environment, **more):
    return Flow.of({**PIPELINE, **more}, environment=environment)


def test_a_pipeline_runs_with_local_models_alone(environment):
    result = flow(environment).run({"docs": DOCS})
    rows = np.array(result.outputs["rows"])
    assert np.abs(rows - np.stack([embedding(ENCODER, text) for text in DOCS])).max() < 1e-5
    assert np.allclose(result.outputs["one"], rows[0], atol=1e-6)
    assert sorted(result.outputs["best"]) == sorted(DOCS)
    assert result.outputs["mood"] in LABELS
    assert {held.name for held in api.loaded_models(environment)} == {"tiny", "cross", "mood"}


def test_runs_share_what_is_loaded(environment):
    flow(environment).run({"docs": DOCS})
    shelf = api.shelf_of(environment)
    with shelf.in_use("tiny") as first:
        pass
    flow(Environment(project=environment.project, cache_folder=environment.cache_folder)).run({"docs": DOCS})
    with shelf.in_use("tiny") as second:
        assert second is first


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"device": "cuda"}, "device_unavailable"),
        ({"device": "mine"}, "device_unavailable"),
        ({"memory": "1kB"}, "device_unavailable"),
        ({"memory": "much"}, "missing_setting"),
    ],
)
def test_settings_are_told_by_the_run(project, tmp_path, settings, code):
    providers = {"local": {"settings": settings}}
    environment = Environment(project=project, cache_folder=tmp_path, providers=providers)
    with pytest.raises(SetupError) as caught:
        flow(environment).run({"docs": DOCS})
    assert caught.value.code == code


def test_a_model_that_is_nowhere_cannot_be_unloaded(environment):
    with pytest.raises(SetupError) as caught:
        api.unload(environment, "local/tinny")
    assert (caught.value.code, caught.value.hint) == ("missing_model_file", "did you mean `local/tiny`?")


def test_a_device_of_the_project(environment, tmp_path):
    (tmp_path / "conf" / "device").mkdir(parents=True)
    (tmp_path / "conf" / "device" / "small.yaml").write_text("{provider: cuda, fallback: cpu, threads: 1}")
    (tmp_path / "conf" / "device" / "bad.yaml").write_text("{provider: cpu, thread: 1}")
    write_embedder(tmp_path / "models" / "tiny")
    found = Environment(project=tmp_path, providers={"local": {"settings": {"device": "small"}}})
    assert api.describe_local(found, "tiny")["provider"] == "CPUExecutionProvider"
    with pytest.raises(PipelineInvalid) as caught:
        api.find_device(found, "bad")
    (problem,) = caught.value.problems
    assert (problem.hint, problem.origin.line, problem.origin.column) == ("did you mean `threads`?", 1, 17)


def test_every_shipped_device_can_be_read(environment):
    names = ("auto", "cpu", "cuda", "tensorrt", "migraphx", "rocm", "coreml", "directml")
    assert [api.find_device(environment, name).provider for name in names] == list(names)


def test_a_list_tells_broken_models_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    write_embedder(tmp_path / "models" / "fine")
    write_embedder(tmp_path / "data" / "flowllm" / "models" / "acme" / "broken")
    (tmp_path / "data" / "flowllm" / "models" / "acme" / "broken" / "model.onnx").write_bytes(b"")
    found = {model.name: model for model in api.local_models(Environment(project=tmp_path))}
    assert found["fine"].description.task == "embed"
    assert found["acme/broken"].error.code == "bad_model_file"
    json.dumps(api.model_facts(found["fine"].description))


async def test_a_writer_is_held_while_it_writes():
    class Writer:
        provider, description = "", None

        async def generate(self, request, scope):
            for word in ("a", "b"):
                yield Meta(model=word)

        def close(self):
            """Nothing to end."""

    class Holding(Shelf):
        def __init__(self):
            self.users = 0

        def held(self, name):
            return self

        async def __aenter__(self):
            self.users += 1
            return Writer()

        async def __aexit__(self, *error):
            self.users -= 1

    shelf = Holding()
    deltas = LocalBackend(shelf)(Chat("local/w", ()), Scope())
    assert (await anext(deltas)).model == "a"
    assert shelf.users == 1
    await deltas.aclose()
    assert shelf.users == 0


async def test_many_callers_at_once_get_their_own(call):
    texts = [(f"{DOCS[i % 3]} {'bird ' * (i % 7)}",) for i in range(60)]
    replies = await asyncio.gather(*(answered(call, Embed("local/tiny", each)) for each in texts))
    for (text,), deltas in zip(texts, replies, strict=True):
        (vectors,) = (delta for delta in deltas if isinstance(delta, Vectors))
        assert np.allclose(vectors.vectors[0], embedding(ENCODER, text), atol=1e-5)


def test_a_pipeline_is_checked_against_the_files_of_local_models(environment):
    embedded = {"rows": {"kind": "embed", "in": {"text": "inputs.docs"}, "model": "local/cross"}}
    with pytest.raises(PipelineInvalid) as caught:
        flow(environment, nodes=embedded, outputs={"rows": "rows.vectors"}).check()
    assert caught.value.problems[0].code == "capability_mismatch"
    assert "`local/cross` answers no embed requests" in caught.value.problems[0].message
    flow(environment).check()


def test_tokens_are_counted_by_the_model_s_own_tokenizer(environment):
    from flowllm.api.counting import count

    text = "the quick red fox jumps"
    assert count(text, "local/tiny", environment=environment) == (5, True)
    cut = {"cut": {"kind": "truncate", "in": {"text": {"const": text}}, "max_tokens": 3, "for": "local/tiny"}}
    cut["cut"] |= {"keep": "head", "mark": ""}
    assert flow(environment, nodes=cut, outputs={"text": "cut.text"}).run({"docs": []}).text.strip() == "the quick red"


def test_the_catalog_knows_the_models_that_are_there(environment, project):
    card = environment.catalog.providers["local"]
    assert sorted(card.models) == ["cross", "mood", "tiny"]
    assert (card.models["tiny"].context, card.models["tiny"].tasks) == (32, {"embed"})
    assert card.models["mood"].tasks == {"chat"}
    assert card.models.get("nothing") is None
    assert environment.catalog.model(f"local/./models/{'tiny'}").context == 32


def test_settings_that_change_no_answer_change_no_key(project):
    def facts(**settings):
        found = Environment(project=project, providers={"local": {"settings": settings}})
        return found.catalog.facts("local/tiny")

    assert facts() == facts(memory="3GB", wait="1s")
