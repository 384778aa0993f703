"""What is sent to Amazon Bedrock: requests and quirks to paths and bodies, for each family of models."""

import orjson
import pytest

from flowllm.backends.framing import Frame
from flowllm.backends.hosted import family_of
from flowllm.backends.wire import check_quirks, find_wire
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.delta import fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Sampling, Text, Thought, Tool, ToolUse

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
NOVA = "amazon.nova-lite-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL = Tool("f", "Does f.", {"type": "object", "properties": {"a": {"type": "integer"}}})
ARGUMENTS = {"type": "object", "properties": {}}
POINT = {"cachePoint": {"type": "default"}}


def said(role, *parts, **more):
    return Message(role, tuple(Text(p) if isinstance(p, str) else p for p in parts), **more)


USER = said("user", "hi")
HISTORY = (
    said("system", "be kind", ""),
    said("user", "look", Image(media_type="image/jpg", data="QUJD"), Image(url="s3://bucket/a.PNG")),
    said("assistant", "so", tool_calls=(ToolUse("f", '{"a":1}', "x/1"), ToolUse("g", "", "y")),
         thoughts=(Thought("hm", "S"), Thought("", "D", sealed=True, format="bedrock_converse"), Thought("unsealed"),
                   Thought("", "F", format="anthropic_messages"))),
    said("tool", "1", tool_call_id="x/1"),
    said("tool", "", tool_call_id="y"),
    said("system", "be brief"),
    said("user", "and?"),
)  # fmt: skip


def encoded(wire, model=CLAUDE, request=None, quirks=None, model_quirks=None, **more):
    models = {model: ModelCard(model, quirks=model_quirks or {})}
    card = ProviderCard("acme", quirks=quirks or {}, models=models, settings={"region": "eu-west-1"})
    request = request or Chat(**{"model": f"acme/{model}", "messages": (USER,)} | more)
    return find_wire(wire, card).encode(request)


def body(*of, **more):
    return orjson.loads(encoded(*of, **more).body)


def converse(model=CLAUDE, **more):
    return body("bedrock_converse", model, **more)


def invoke(model, **more):
    return body("bedrock_invoke", model, **more)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (CLAUDE, "anthropic"), (NOVA, "nova"), ("us.amazon.nova-2-lite-v1:0", "nova"),
        ("amazon.titan-embed-text-v2:0", "titan"), ("amazon.rerank-v1:0", ""), ("meta.llama3-8b", "llama"),
        ("global.cohere.embed-v4:0", "cohere"), ("openai.gpt-oss-120b-1:0", "openai"), (ARN, ""), ("m", ""), ("", ""),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x", "anthropic"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.amazon.nova-pro-v1:0", "nova"),
    ],
)  # fmt: skip
def test_whose_model_it_is(name, family):
    assert family_of(name) == family


@pytest.mark.parametrize(
    ("wire", "model", "stream", "path"),
    [
        ("bedrock_converse", CLAUDE, False, f"/model/{CLAUDE.replace(':', '%3A')}/converse"),
        ("bedrock_converse", CLAUDE, True, f"/model/{CLAUDE.replace(':', '%3A')}/converse-stream"),
        ("bedrock_converse", ARN, False, f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/converse"),
        ("bedrock_invoke", CLAUDE, False, f"/model/{CLAUDE.replace(':', '%3A')}/invoke"),
        ("bedrock_invoke", NOVA, True, f"/model/{NOVA.replace(':', '%3A')}/invoke-with-response-stream"),
        ("bedrock_invoke", "meta.llama3", True, "/model/meta.llama3/invoke-with-response-stream"),
    ],
)
def test_where_a_chat_goes(wire, model, stream, path):
    parts = encoded(wire, model, stream=stream)
    assert (parts.method, parts.path, parts.stream) == ("POST", path, stream)
    assert b'"stream"' not in parts.body


def test_history_for_converse():
    told = converse(messages=HISTORY)
    assert told["system"] == [{"text": "be kind"}, {"text": "be brief"}]
    assert told["messages"] == [
        {"role": "user", "content": [
            {"text": "look"},
            {"image": {"format": "jpeg", "source": {"bytes": "QUJD"}}},
            {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.PNG"}}}}]},
        {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "S"}}},
            {"reasoningContent": {"redactedContent": "D"}},
            {"text": "so"},
            {"toolUse": {"toolUseId": "x_1", "name": "f", "input": {"a": 1}}},
            {"toolUse": {"toolUseId": "y", "name": "g", "input": {}}}]},
        {"role": "user", "content": [
            {"toolResult": {"toolUseId": "x_1", "content": [{"text": "1"}]}},
            {"toolResult": {"toolUseId": "y", "content": []}},
            {"text": "and?"}]},
    ]  # fmt: skip
    # A history with calls is refused where no tools are given.
    assert told["toolConfig"]["tools"] == [
        {"toolSpec": {"name": name, "inputSchema": {"json": ARGUMENTS}}} for name in ("f", "g")
    ]


def test_sampling_and_tools_for_converse():
    told = converse(sampling=Sampling(0.5, 0.9, 99, ("x",), 7), tools=(TOOL, Tool("g")), extra={"serviceTier": {}})
    assert told["inferenceConfig"] == {"temperature": 0.5, "topP": 0.9, "maxTokens": 99, "stopSequences": ["x"]}
    assert told["toolConfig"] == {"tools": [
        {"toolSpec": {"name": "f", "description": "Does f.", "inputSchema": {"json": TOOL.parameters}}},
        {"toolSpec": {"name": "g", "inputSchema": {"json": ARGUMENTS}}}]}  # fmt: skip
    assert told["serviceTier"] == {}
    assert converse().keys() == {"messages"}


def test_ids_longer_than_allowed_stay_apart_and_alike():
    ids = ["x" * 65, "x" * 66]
    calls = tuple(ToolUse("f", "{}", identity) for identity in ids)
    results = tuple(said("tool", "1", tool_call_id=identity) for identity in ids)
    asked, answered = converse(messages=(USER, said("assistant", tool_calls=calls), *results))["messages"][1:]
    sent = [block["toolUse"]["toolUseId"] for block in asked["content"]]
    assert sent == [block["toolResult"]["toolUseId"] for block in answered["content"]]
    assert [len(identity) for identity in sent] == [64, 64]
    assert sent[0] != sent[1]


def test_an_image_of_the_web_is_refused_with_a_hint():
    with pytest.raises(ProviderFailure, match="takes images as data") as caught:
        converse(messages=(said("user", Image(url="https://x.example/a.png")),))
    assert (caught.value.code, caught.value.hint) == ("bad_request", "read the image from a file")


SHAPE = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {
    "name": "answer", "schema": orjson.dumps(CLOSED).decode()}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "quirks", "schema", "output", "choice", "words"),
    [
        (CLAUDE, {}, CLOSED, SHAPE, None, False),
        (CLAUDE, {}, OPEN, None, None, True),
        (NOVA, {}, OPEN, None, {"tool": {"name": "answer"}}, False),
        (NOVA, {}, {"type": "array"}, None, None, True),
        (NOVA, {"structured": "none"}, OPEN, None, None, True),
        ("meta.llama3-8b", {}, CLOSED, None, None, True),
        (ARN, {"structured": "tool"}, CLOSED, None, {"tool": {"name": "answer"}}, False),
    ],
)
def test_how_the_shape_of_an_answer_is_asked_for(model, quirks, schema, output, choice, words):
    told = converse(model, schema=schema, quirks=quirks)
    assert told.get("outputConfig") == output
    assert told.get("toolConfig", {}).get("toolChoice") == choice
    assert ("JSON Schema" in orjson.dumps(told.get("system")).decode()) is words


def test_a_shape_by_a_tool_leaves_the_choice_where_there_are_others():
    told = converse(NOVA, schema=CLOSED, tools=(TOOL,))["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in told["tools"]] == ["f", "answer"]
    assert told["toolChoice"] == {"any": {}}


ADAPTIVE = {"thinking": {"type": "adaptive"}}


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "fields", "output"),
    [
        (CLAUDE, "family", "high", ADAPTIVE, {"effort": "high"}),
        (CLAUDE, "family", "minimal", ADAPTIVE, {"effort": "low"}),
        (CLAUDE, "family", "none", {"thinking": {"type": "disabled"}}, None),
        (CLAUDE, "budget", "high", {"thinking": {"type": "enabled", "budget_tokens": 1250}}, None),
        (CLAUDE, "none", "high", None, None),
        (NOVA, "family", "minimal", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        (NOVA, "family", "xhigh", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None),
        (NOVA, "family", "none", {"reasoningConfig": {"type": "disabled"}}, None),
        ("openai.gpt-oss-120b-1:0", "family", "low", {"reasoning_effort": "low"}, None),
        (ARN, "family", "low", None, {"effort": "low"}),
        (ARN, "family", "none", None, None),
        (ARN, "adaptive", "low", ADAPTIVE, {"effort": "low"}),
    ],
)
def test_how_a_model_is_told_how_much_to_think(model, thinking, effort, fields, output):
    limit = Sampling(max_output_tokens=2500)
    told = converse(model, reasoning=effort, model_quirks={"thinking": thinking}, sampling=limit)
    assert (told.get("additionalModelRequestFields"), told.get("outputConfig")) == (fields, output)


def test_what_stays_the_same_is_marked():
    told = converse(messages=HISTORY, tools=(TOOL,), quirks={"cache": "prefix"})
    marked = (told["system"], told["toolConfig"]["tools"], told["messages"][-1]["content"])
    assert [part[-1] for part in marked] == [POINT] * 3
    assert orjson.dumps(told).count(b"cachePoint") == 3
    thought = said("assistant", thoughts=(Thought("hm", "S"),))
    assert b"cachePoint" not in encoded("bedrock_converse", messages=(USER, thought), quirks={"cache": "prefix"}).body
    assert converse(quirks={"cache": "prefix"})["messages"] == [{"role": "user", "content": [{"text": "hi"}, POINT]}]


def test_claude_is_asked_in_the_messages_format():
    told = invoke(CLAUDE, messages=HISTORY[:1] + HISTORY[2:], tools=(TOOL,), stream=True, quirks={"cache": "prefix"})
    assert told["anthropic_version"] == "bedrock-2023-05-31"
    assert told.keys() == {"anthropic_version", "max_tokens", "system", "messages", "tools"}
    assert told["messages"][0]["content"][-1] == {"type": "tool_use", "id": "y", "name": "g", "input": {}}
    assert told["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert invoke(CLAUDE, model_quirks={"max_tokens": 5})["max_tokens"] == 5


def test_nova_is_asked_in_the_format_of_converse():
    told = invoke(NOVA, reasoning="low", sampling=Sampling(max_output_tokens=9))
    assert told == {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "hi"}]}],
                    "inferenceConfig": {"maxTokens": 9},
                    "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}  # fmt: skip


def test_words_of_a_model_are_those_of_this_format():
    told = invoke(NOVA, schema=OPEN, model_quirks={"structured": "json_schema"})
    assert told["toolConfig"]["toolChoice"] == {"tool": {"name": "answer"}}


TALK = (said("system", "S"), said("user", "A"), said("assistant", "B"), said("user", "C"), said("user", "D"))
DRAWN = Sampling(0.5, 0.9, 99, ("x",), 7)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("amazon.titan-text-express-v1",
         {"inputText": "S\n\nUser: A\n\nAssistant: B\n\nUser: C\n\nUser: D\n\nAssistant:",
          "textGenerationConfig": {"maxTokenCount": 99, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]}}),
        ("meta.llama3-8b-instruct-v1:0",
         {"prompt": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
                    "<|start_header_id|>user<|end_header_id|>\n\nA<|eot_id|>"
                    "<|start_header_id|>assistant<|end_header_id|>\n\nB<|eot_id|>"
                    "<|start_header_id|>user<|end_header_id|>\n\nC<|eot_id|>"
                    "<|start_header_id|>user<|end_header_id|>\n\nD<|eot_id|>"
                    "<|start_header_id|>assistant<|end_header_id|>\n\n",
          "max_gen_len": 99, "temperature": 0.5, "top_p": 0.9}),
        ("meta.llama2-13b-chat-v1",
         {"prompt": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nA [/INST] B</s><s>[INST] C\n\nD [/INST]",
          "max_gen_len": 99, "temperature": 0.5, "top_p": 0.9}),
        ("mistral.mistral-7b-instruct-v0:2",
         {"prompt": "<s>[INST] S\n\nA [/INST] B</s><s>[INST] C\n\nD [/INST]", "max_tokens": 99, "temperature": 0.5,
          "top_p": 0.9, "stop": ["x"]}),
        ("cohere.command-r-v1:0",
         {"message": "D", "preamble": "S", "chat_history": [{"role": "USER", "message": "A"},
          {"role": "CHATBOT", "message": "B"}, {"role": "USER", "message": "C"}], "max_tokens": 99,
          "temperature": 0.5, "p": 0.9, "stop_sequences": ["x"], "seed": 7}),
        ("ai21.j2-mid-v1",
         {"prompt": "S\n\nUser: A\n\nAssistant: B\n\nUser: C\n\nUser: D\n\nAssistant:", "maxTokens": 99,
          "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]}),
    ],
)  # fmt: skip
def test_bodies_of_text_models(model, told):
    assert invoke(model, messages=TALK, sampling=DRAWN) == told


@pytest.mark.parametrize(
    ("model", "limit"),
    [("openai.gpt-oss-120b-1:0", "max_completion_tokens"), ("deepseek.v3-v1:0", "max_completion_tokens"),
     ("ai21.jamba-1-5-large-v1:0", "max_tokens"), ("mistral.pixtral-large-2502-v1:0", "max_tokens")],
)  # fmt: skip
def test_models_that_understand_chat_completions(model, limit):
    told = invoke(model, messages=TALK, sampling=Sampling(max_output_tokens=9), tools=(TOOL,), stream=True)
    assert told.keys() == {"messages", "tools", limit}


@pytest.mark.parametrize("model", ["amazon.titan-text", "meta.llama3", "cohere.command-r", "ai21.j2", "mistral.m"])
@pytest.mark.parametrize("more", [{"tools": (TOOL,)}, {"messages": HISTORY}])
def test_text_models_refuse_what_they_cannot_hold(model, more):
    with pytest.raises(ProviderFailure, match="holds text alone") as caught:
        invoke(model, **more)
    assert caught.value.code == "bad_request"


def test_a_shape_is_asked_for_in_words():
    for model in ("amazon.titan-text-lite-v1", "meta.llama3", "cohere.command-r-v1:0", "cohere.command-text-v14"):
        assert b"JSON Schema" in encoded("bedrock_invoke", model, schema=CLOSED).body


def test_a_family_that_the_name_does_not_say():
    with pytest.raises(ProviderFailure, match="does not say whose format") as caught:
        invoke(ARN)
    assert caught.value.hint == "write `quirks: {family: anthropic}` with the model"
    assert "anthropic_version" in invoke(ARN, model_quirks={"family": "anthropic"})


@pytest.mark.parametrize(
    ("model", "texts", "dimensions", "told"),
    [
        ("amazon.titan-embed-text-v2:0", ("a",), 256, {"inputText": "a", "dimensions": 256}),
        ("amazon.titan-embed-text-v1", ("a",), None, {"inputText": "a"}),
        ("cohere.embed-v4:0", ("a", "b"), 256, {"texts": ["a", "b"], "input_type": "search_query",
         "embedding_types": ["float"], "output_dimension": 256}),
        ("cohere.embed-english-v3", ("a",), None, {"texts": ["a"], "input_type": "search_query",
         "embedding_types": ["float"]}),
    ],
)  # fmt: skip
def test_texts_to_embed(model, texts, dimensions, told):
    request = Embed(f"acme/{model}", texts, dimensions)
    assert invoke(model, request=request, quirks={"input_type": "search_query"}) == told


def test_titan_embeds_one_text_a_request_and_goes_on_with_the_next():
    request = Embed(f"acme/{TITAN}", ("a", "b", "c"), 2)
    wire = find_wire("bedrock_invoke", ProviderCard("acme"))
    decoder, parts, sent, deltas = wire.decoder(request), wire.encode(request), [], []
    while parts is not None:
        sent.append(orjson.loads(parts.body))
        deltas += decoder.feed(Frame(orjson.dumps({"embedding": [len(sent), 0], "inputTextTokenCount": 3}), whole=True))
        parts = decoder.follow
    assert sent == [{"inputText": text, "dimensions": 2} for text in "abc"]
    reply = fold([*deltas, *decoder.finish()])
    assert (reply.vectors, reply.usage.input) == ([[1, 0], [2, 0], [3, 0]], 9)
    assert [type(delta).__name__ for delta in deltas] == ["Vectors", "Usage"] * 3


@pytest.mark.parametrize(
    ("name", "named"),
    [("cohere.rerank-v3-5:0", "arn:aws:bedrock:eu-west-1::foundation-model/cohere.rerank-v3-5:0"), (ARN, ARN)],
)
def test_documents_to_rank(name, named):
    quirks = {"model_arn": "arn:aws:bedrock:{region}::foundation-model/{model}"}
    told = body("bedrock_rerank", name, request=Rerank(f"acme/{name}", "q", ("a",), 1), quirks=quirks)
    assert told == {
        "queries": [{"type": "TEXT", "textQuery": {"text": "q"}}],
        "sources": [{"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": "a"}}}],
        "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL", "bedrockRerankingConfiguration": {
            "modelConfiguration": {"modelArn": named}, "numberOfResults": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("wire", ["bedrock_converse", "bedrock_invoke", "bedrock_rerank"])
def test_the_vocabulary_of_quirks_is_closed(wire):
    assert [misfit.steps for misfit in check_quirks([wire], {"famly": "nova"})] == [("quirks", "famly")]
