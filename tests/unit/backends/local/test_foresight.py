"""What is told of local models before anything runs: by checks, plans and rehearsals, with no model loaded."""

import re
from copy import deepcopy

import pytest
from tokenizers import normalizers

from flowllm.api import Environment, Flow, RunOptions
from flowllm.api import local as api
from flowllm.api.counting import count
from flowllm.backends.local.generation.chat_templates import ChatTemplate
from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.delta import Usage
from flowllm.core.errors import FlowError, PipelineInvalid, ProviderFailure
from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Sampling, Text, Tool
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, write_classifier, write_embedder, write_folder
from tests.unit.backends.local.generation.folders_made import folder
from tests.unit.backends.local.generation.tokenizers_made import byte_level

WINDOW = 96
NO_TOOLS = {"eos_token": "<|end|>", "chat_template": "{{ messages[0].content }}"}
STRICT = "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}{{ messages[0].content }}"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    models = tmp_path_factory.mktemp("project") / "models"
    folder(models / "writer")
    folder(models / "toolless", tokenizer_config=NO_TOOLS)
    folder(models / "strict", tokenizer_config={**NO_TOOLS, "chat_template": STRICT})
    spelled = deepcopy(byte_level())
    spelled.normalizer = normalizers.NFKC()
    spelled.save(str(folder(models / "spelled") / "tokenizer.json"))
    write_embedder(models / "tiny")
    write_folder(models / "bare", Encoder())
    write_classifier(models / "cross", Encoder(labels=1), ["LABEL_0"])
    write_classifier(models / "mood", Encoder(labels=2), ["good", "bad"])
    return models.parent


@pytest.fixture
def environment(project, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = Environment(project=project, cache_folder=tmp_path / "cache")
    yield found
    assert api.loaded_models(found) == []


NODES = {
    "call": {"kind": "call", "prompt": "{{ inputs.x }}", "model": "local/writer"},
    "embed": {"kind": "embed", "in": {"text": "inputs.x"}, "model": "local/tiny"},
    "rerank": {"kind": "rerank", "in": {"query": "inputs.x", "items": {"const": ["a"]}}, "model": "local/cross"},
}
OUT = {"call": "a.text", "embed": "a.model", "rerank": "a.indexes"}


def problems(environment, kind, **more):
    node = {**NODES[kind], **more}
    flow = {"inputs": {"x": "string"}, "nodes": {"a": node}, "outputs": {"o": OUT[kind]}}
    try:
        found = Flow.of(flow, environment=environment).check()
    except PipelineInvalid as error:
        found = error.problems
    return [(one.code, one.where, one.message, one.hint) for one in found]


async def failure(environment, request):
    """The failure of the same request in a run."""
    try:
        async for _ in environment.connect()(request, Scope()):
            pass
    except FlowError as error:
        return error.code, error.message, error.hint, error.exit
    finally:
        api.unload(environment)
    return None


CHAT, TURN = Chat("local/writer", ()), (Message("user", (Text("hi"),)),)
TOOL = {"name": "f", "parameters": {}}
REFUSED = [
    ("call", {"extra": {"beams": 2}}, "a.extra.beams", Chat("local/writer", TURN, extra={"beams": 2})),
    ("call", {"extra": {"top_k": -1}}, "a.extra.top_k", Chat("local/writer", TURN, extra={"top_k": -1})),
    ("call", {"extra": {"logprobs": 1}}, "a.extra.logprobs", Chat("local/writer", TURN, extra={"logprobs": 1})),
    ("call", {"seed": 1 << 70}, "a", Chat("local/writer", TURN, Sampling(seed=1 << 70))),
    ("call", {"model": "local/toolless", "tools": [TOOL]}, "a.tools",
     Chat("local/toolless", TURN, tools=(Tool("f"),))),
    ("call", {"tools": [TOOL], "tool_choice": "required"}, "a.tool_choice",
     Chat("local/writer", TURN, tools=(Tool("f"),), tool_choice="required")),
    ("call", {"tools": [TOOL], "schema": {"type": "object"}}, "a.tools",
     Chat("local/writer", TURN, tools=(Tool("f"),), schema={"type": "object"})),
    ("call", {"model": "local/mood"}, "a", Chat("local/mood", TURN)),
    ("call", {"model": "local/mood", "choices": ["good", "ugly"]}, "a.choices",
     Chat("local/mood", TURN, choices=("good", "ugly"))),
    ("call", {"model": "local/mood", "choices": ["good"], "extra": {"top_k": 1}}, "a.extra.top_k",
     Chat("local/mood", TURN, choices=("good",), extra={"top_k": 1})),
    ("embed", {"extra": {"poling": "cls"}}, "a.extra.poling", Embed("local/tiny", ("t",), extra={"poling": "cls"})),
    ("embed", {"extra": {"normalize": 1}}, "a.extra.normalize", Embed("local/tiny", ("t",), extra={"normalize": 1})),
    ("embed", {"model": "local/bare"}, "a.extra", Embed("local/bare", ("t",))),
    ("embed", {"dimensions": 17}, "a.dimensions", Embed("local/tiny", ("t",), dimensions=17)),
    ("rerank", {"extra": {"pooling": "cls"}}, "a.extra.pooling",
     Rerank("local/cross", "q", ("d",), extra={"pooling": "cls"})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more", "where", "request_"), REFUSED)
async def test_a_check_tells_what_a_run_would_refuse(environment, kind, more, where, request_):
    ((code, there, message, hint),) = problems(environment, kind, **more)
    assert there == where
    assert await failure(environment, request_) == (code, message, hint, 4)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("call", {"extra": {"top_k": 4, "min_p": 0.1, "repetition_penalty": 1.1}, "temperature": 0.5, "seed": 3}),
        ("call", {"tools": [TOOL], "tool_choice": "auto"}),
        ("call", {"model": "local/toolless", "tools": [TOOL], "tool_choice": "none"}),
        ("call", {"model": "local/mood", "choices": ["Good", "bad"], "prompt": "word " * 200}),
        ("embed", {"extra": {"pooling": "cls", "normalize": False, "prompt": "query: "}}),
        ("embed", {"model": "local/bare", "extra": {"pooling": "mean"}}),
        ("embed", {"dimensions": 16}),
        ("rerank", {}),
        ("call", {"model": "mock/echo", "extra": {"beams": 2}}),
    ],
)
def test_what_a_run_takes_is_not_told(environment, kind, more):
    assert problems(environment, kind, **more) == []


@pytest.mark.parametrize(
    ("kind", "model", "other"),
    [
        ("rerank", "local/mood", "model: local/cross"),
        ("rerank", "local/tiny", "model: local/cross"),
        ("embed", "local/writer", "model: local/tiny"),
        ("call", "local/cross", "model: local/(?!mood|cross|tiny|bare)[a-z]+"),
    ],
)
def test_a_model_for_another_task_is_told_with_one_of_this_machine_for_it(environment, kind, model, other):
    (hint,) = (hint for code, _, _, hint in problems(environment, kind, model=model) if code == "capability_mismatch")
    assert re.fullmatch(other, hint)


def test_every_wrong_word_is_told_at_its_place(environment, tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_text(
        "inputs: {x: string}\nnodes:\n  a:\n    kind: call\n    model: local/writer\n    prompt: hi\n"
        "    extra:\n      beams: 2\n      top_k: 1.5\noutputs: {o: a.text}\n"
    )
    with pytest.raises(PipelineInvalid) as caught:
        Flow.load(file, environment=environment).check()
    assert [(one.where, one.origin.line, one.origin.column) for one in caught.value.problems] == [
        ("a.extra.beams", 8, 7),  # the word
        ("a.extra.top_k", 9, 14),  # the value
    ]


def test_a_picture_is_told_before_a_run(environment):
    found = problems(environment, "call", images={"const": "https://x.example/a.png"})
    assert [(code, message) for code, _, message, _ in found] == [
        ("capability_mismatch", "`local/writer` takes no images")
    ]


UNNAMED = [
    Chat("local/writer", (Message("user", (Image(url="https://x.example/a.png"),)),)),  # told by its template
    Chat("local/writer", TURN, extra={"beams": 2}),
    Chat("local/mood", TURN),
    Embed("local/bare", ("t",)),
    Embed("local/writer", ("t",)),
]


@pytest.mark.parametrize("request_", UNNAMED)
async def test_a_failure_names_the_model_as_it_was_asked_for(environment, request_):
    with pytest.raises(ProviderFailure) as caught:
        [delta async for delta in environment.connect()(request_, Scope())]
    assert (caught.value.facts.provider, caught.value.facts.model) == ("local", request_.model)
    api.unload(environment)


def written(environment, text, **more):
    """The tokens that the writer's prompt of one user message has, by a count of what its template makes."""
    card = environment.catalog.model("local/writer")
    return card.foresight.tokens(Chat("local/writer", (Message("user", (Text(text),)),), **more))


async def test_tokens_are_those_that_a_run_counts(environment):
    request = Chat(
        "local/writer", (Message("system", (Text("Be <|end|> brief"),)), *TURN), Sampling(max_output_tokens=1)
    )
    deltas = [delta async for delta in environment.connect()(request, Scope())]
    (usage,) = (delta for delta in deltas if isinstance(delta, Usage))
    assert environment.catalog.model("local/writer").foresight.tokens(request) == usage.input
    api.unload(environment)


async def test_a_template_without_an_end_is_waited_for_once(tmp_path, monkeypatch):
    template = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    folder(tmp_path / "models" / "endless", tokenizer_config={"chat_template": template})
    environment, renderings, render = Environment(project=tmp_path), [], ChatTemplate.render
    monkeypatch.setattr(ChatTemplate, "render", lambda *said: renderings.append(1) or render(*said))
    calls = {name: {"kind": "call", "model": "local/endless", "prompt": f"hi {name}"} for name in "abc"}
    Flow.of({"nodes": calls, "outputs": {name: f"{name}.text" for name in calls}}, environment=environment).check()
    assert len(renderings) == 1
    code, message, _, status = await failure(environment, Chat("local/endless", TURN))
    assert (code, status) == ("template_limit", 1)
    assert message == "the model's chat template failed: the template takes more than 4000000 steps"


def longest(environment):
    """The longest of equal words that leaves room for one token, and its tokens."""
    return next(n for n in range(WINDOW, 0, -1) if written(environment, "a" + " b" * n) < WINDOW)


@pytest.mark.parametrize(("more", "long"), [(0, False), (1, True)])
def test_a_prompt_that_is_too_long_with_its_template_is_told(environment, more, long):
    """Its own words would fit: what the template writes around them does not."""
    text = "a" + " b" * (longest(environment) + more)
    assert count(text, "local/writer", environment=environment).n < WINDOW - 1
    tokens = written(environment, text)
    expected = (
        f"the fixed text has {tokens} tokens with the model's chat template, and `local/writer` reads {WINDOW - 1}"
    )
    found = [(code, where, message) for code, where, message, _ in problems(environment, "call", prompt=text)]
    assert found == ([("context_too_long", "a.prompt", expected)] if long else [])


def test_a_character_that_a_tokenizer_spells_out_counts_as_long_as_it_gets(environment):
    """Of U+FDFA a tokenizer that normalizes makes 18 letters: 33 bytes of one character."""
    request = Chat("local/spelled", (Message("user", (Text("\ufdfa" * 4),)),))
    tokens = environment.catalog.model("local/spelled").foresight.tokens(request)
    assert tokens > 4 * 33
    ((code, _, message, _),) = problems(environment, "call", model="local/spelled", prompt="\ufdfa" * 4)
    assert (code, f"has {tokens} tokens" in message) == ("context_too_long", True)


def test_of_a_short_prompt_no_tokenizer_is_read(environment, monkeypatch):
    monkeypatch.setattr(Tokenizer, "__init__", lambda *said: pytest.fail("a tokenizer was read"))
    assert problems(environment, "call", model="local/toolless", prompt="a" * (WINDOW // 4 - 1)) == []


def test_a_word_of_extra_is_not_blamed_for_what_the_call_says(environment):
    found = problems(environment, "call", seed=1 << 70, extra={"top_k": 4, "beams": 2})
    assert [(code, where) for code, where, *_ in found] == [("bad_value", "a"), ("unknown_field", "a.extra.beams")]


HOSTED_FIRST = {"model": "mock/echo", "fallback": ["local/writer"], "extra": {"service_tier": "flex"}}


def test_extra_of_a_hosted_model_with_a_local_fallback_runs_with_a_warning(environment):
    flow = {"nodes": {"a": {"kind": "call", "prompt": "hi", **HOSTED_FIRST}}, "outputs": {"o": "a.text"}}
    message = "`local/writer` knows no `service_tier`, so that as a fallback it would not answer"
    found = [(code, where, message) for code, where, message, _ in problems(environment, "call", **HOSTED_FIRST)]
    assert found == [("unknown_field", "a.extra.service_tier", message)]
    assert Flow.of(flow, environment=environment).run({}).outputs["o"] == "hi"


def test_each_of_two_models_that_refuse_is_named(environment):
    found = problems(environment, "call", extra={"beams": 2}, fallback=["local/strict"])
    assert [message for _, _, message, _ in found] == ["`local/writer` knows no `beams`"]
    found = problems(environment, "call", seed=1 << 70, fallback=["local/strict"])
    assert sorted(message.split("` of `")[1].split("`")[0] for _, _, message, _ in found) == [
        "local/strict",
        "local/writer",
    ]


def test_choices_and_tools_stand_in_the_prompt(environment):
    text = "a" + " b" * longest(environment)
    for more in ({"choices": ["yes", "no"]}, {"tools": [TOOL]}):
        assert [code for code, *_ in problems(environment, "call", prompt=text, **more)] == ["context_too_long"]


def test_an_answer_that_will_be_cut_is_told(environment):
    tokens = written(environment, "a b")
    assert problems(environment, "call", prompt="a b", max_output_tokens=WINDOW - tokens) == []
    ((code, _, message, _),) = problems(environment, "call", prompt="a b", max_output_tokens=WINDOW - tokens + 1)
    assert (code, f"has {tokens} tokens with the model's chat template" in message) == ("over_window", True)


def test_where_a_template_fails_on_what_is_known_its_words_are_counted(environment):
    prompt = [{"system": "word " * 100}, {"user": "{{ inputs.x }}"}]
    ((code, _, message, _),) = problems(environment, "call", model="local/strict", prompt=prompt)
    assert (code, "chat template" in message) == ("context_too_long", False)


def test_a_rehearsal_counts_the_whole_prompt(environment):
    flow = {"inputs": {"x": "string"}, "nodes": {"a": NODES["call"]}, "outputs": {"usage": "a.usage"}}
    found = Flow.of(flow, environment=environment).run({"x": "a b c"}, RunOptions(rehearse=True)).outputs["usage"]
    assert found["input"] == written(environment, "a b c")


def test_messages_are_counted_exactly(environment):
    turn = [{"role": "user", "content": [{"text": "a b c"}]}]
    assert count(turn, "local/writer", environment=environment) == (written(environment, "a b c"), True)
    tools = [{"name": "f", "description": "", "parameters": {}}]
    more = written(environment, "a b c", tools=(Tool("f"),))
    assert count(turn, "local/writer", tools=tools, environment=environment) == (more, True)
    assert not count([{"role": "user", "content": [{"image": {}}]}], "local/writer", environment=environment).exact
    assert not count(turn, "local/tiny", environment=environment).exact
    assert not count([{"content": "a b c"}], "local/writer", environment=environment).exact
