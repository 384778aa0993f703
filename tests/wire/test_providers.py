"""Every provider that is shipped: its words are known, and each of its tasks becomes a request."""

import orjson
import pytest
import yaml

from flowllm.backends.addresses import require_place
from flowllm.backends.auth.signing import shown
from flowllm.backends.wire import check_quirks, find_wire
from flowllm.catalog import load_catalog, packaged_providers
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.request import Chat, Embed, Message, Rerank, Sampling, Text, Tool


def _read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


CATALOG = load_catalog([packaged_providers()], _read, check_quirks=check_quirks, environment={})
REMOTE = {name: card for name, card in CATALOG.providers.items() if not card.local}
TEXT_ALONE = {"replicate_predictions", "http_template"}
ONE_MODEL = {"baseten-predict", "tei-native"}
VERTEX = "https://aiplatform.googleapis.com/v1/projects/{project}/locations/global/publishers"
ASKED = {
    "chat": Chat("{}/m", (Message("user", (Text("hi"),)),), Sampling(1.0, 0.95, 99, ("x",), 7),
                 {"type": "object"}, tools=(Tool("f"),), reasoning="low"),
    "embed": Embed("{}/m", ("a", "b"), 8),
    "rerank": Rerank("{}/m", "q", ("a", "b"), 1),
}  # fmt: skip

# Where a name says whose format the model takes.
NAMED = {("bedrock", "embed"): "cohere.m"}


def sent(name, task, **more):
    request = ASKED[task]
    if task == "chat" and REMOTE[name].wire[task] in TEXT_ALONE:
        more = {"tools": ()} | more
    model = NAMED.get((name, task), "m")
    fields = {field: getattr(request, field) for field in request.__slots__} | {"model": f"{name}/{model}"} | more
    return find_wire(REMOTE[name].wire[task], REMOTE[name]).encode(type(request)(**fields))


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in REMOTE for task in REMOTE[name].wire])
def test_each_task_of_a_provider_becomes_a_request(name, task):
    parts = sent(name, task)
    assert parts.path.startswith("/")
    body = orjson.loads(parts.body)
    assert body
    named = (body.get("model"), body.get("model_id"), *parts.path.partition(":")[0].split("/"))
    assert NAMED.get((name, task), "m") in named or task == "rerank" or name in ONE_MODEL


@pytest.mark.parametrize(
    ("name", "task", "url", "header"),
    [
        ("anthropic", "chat", "https://api.anthropic.com/v1/messages", {"x-api-key": "K"}),
        ("gemini", "chat", "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
         {"x-goog-api-key": "K"}),
        ("gemini", "embed", "https://generativelanguage.googleapis.com/v1beta/models/m:batchEmbedContents",
         {"x-goog-api-key": "K"}),
        ("groq", "chat", "https://api.groq.com/openai/v1/chat/completions", {"authorization": "Bearer K"}),
        ("cohere", "chat", "https://api.cohere.com/v2/chat", {"authorization": "Bearer K"}),
        ("cohere", "rerank", "https://api.cohere.com/v2/rerank", {"authorization": "Bearer K"}),
        ("bedrock", "chat", "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse",
         {"authorization": "Bearer K"}),
        ("bedrock-rerank", "rerank", "https://bedrock-agent-runtime.us-east-1.amazonaws.com/rerank",
         {"authorization": "Bearer K"}),
        ("bedrock-mantle", "chat", "https://bedrock-mantle.us-east-1.api.aws/v1/chat/completions",
         {"authorization": "Bearer K"}),
        ("bedrock-mantle-responses", "chat", "https://bedrock-mantle.us-east-1.api.aws/openai/v1/responses",
         {"authorization": "Bearer K"}),
        ("baseten", "chat", "https://inference.baseten.co/v1/chat/completions", {"authorization": "Api-Key K"}),
        ("replicate", "chat", "https://api.replicate.com/v1/models/m/predictions", {"authorization": "Bearer K"}),
        ("huggingface", "chat", "https://router.huggingface.co/v1/chat/completions", {"authorization": "Bearer K"}),
        ("huggingface", "embed", "https://router.huggingface.co/hf-inference/models/m/pipeline/feature-extraction",
         {"authorization": "Bearer K"}),
        ("tei-native", "embed", "http://localhost:8080/embed", {"authorization": "Bearer K"}),
        ("tei", "embed", "http://localhost:8080/v1/embeddings", {"authorization": "Bearer K"}),
        ("ollama-native", "chat", "http://localhost:11434/api/chat", {}),
        ("azure-openai", "chat", "https://{resource}.openai.azure.com/openai/v1/chat/completions", {"api-key": "K"}),
        ("vertex", "chat", f"{VERTEX}/google/models/m:generateContent", {"authorization": "Bearer K"}),
        ("vertex", "embed", f"{VERTEX}/google/models/m:predict", {"authorization": "Bearer K"}),
        ("vertex-express", "chat", "https://aiplatform.googleapis.com/v1/publishers/google/models/m:generateContent",
         {"x-goog-api-key": "K"}),
        ("vertex-anthropic", "chat", f"{VERTEX}/anthropic/models/m:rawPredict", {"authorization": "Bearer K"}),
    ],
)  # fmt: skip
def test_where_a_request_goes_and_how_it_shows_its_key(name, task, url, header):
    card = REMOTE[name]
    assert card.base_url + sent(name, task).path == url
    assert shown(card.auth, "K") == (header, {})


@pytest.mark.parametrize(
    ("name", "task", "said", "unsaid"),
    [
        ("mistral", "chat", {"random_seed": 7}, {"seed"}),
        ("mistral", "embed", {"output_dimension": 8}, {"dimensions"}),
        ("deepseek", "chat", {"response_format": {"type": "json_object"}}, set()),
        ("azure-openai", "chat", {"max_completion_tokens": 99}, {"max_tokens"}),
        ("vertex-anthropic", "chat", {"anthropic_version": "vertex-2023-10-16", "max_tokens": 99}, {"model"}),
        ("voyage", "embed", {"output_dimension": 8}, {"dimensions", "encoding_format"}),
        ("voyage", "rerank", {"top_k": 1, "documents": ["a", "b"]}, {"top_n"}),
        ("jina", "rerank", {"top_n": 1, "return_documents": False}, set()),
        ("watsonx", "chat", {"max_tokens": 99, "reasoning_effort": "low"}, {"stream", "stream_options"}),
        ("watsonx", "embed", {"inputs": ["a", "b"], "model_id": "m"}, {"model", "dimensions"}),
        (
            "watsonx",
            "rerank",
            {"inputs": [{"text": "a"}, {"text": "b"}], "parameters": {"return_options": {"top_n": 1}}},
            {"documents"},
        ),
        (
            "vertex",
            "embed",
            {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 8}},
            {"model"},
        ),
        ("huggingface", "embed", {"inputs": ["a", "b"]}, {"model", "dimensions"}),
        ("tei-native", "embed", {"inputs": ["a", "b"], "dimensions": 8}, {"model"}),
        ("tei-native", "rerank", {"query": "q", "texts": ["a", "b"]}, {"documents", "model", "k"}),
        ("tei", "rerank", {"texts": ["a", "b"]}, {"documents", "model", "top_n", "top_k"}),
    ],
)
def test_what_a_provider_does_differently(name, task, said, unsaid):
    body = orjson.loads(sent(name, task).body)
    assert {key: body.get(key) for key in said} == said
    assert not unsaid & body.keys()


@pytest.mark.parametrize(
    ("name", "variable", "value", "base_url"),
    [
        (
            "azure-openai",
            "AZURE_OPENAI_ENDPOINT",
            "https://r.openai.azure.com/",
            "https://r.openai.azure.com/openai/v1",
        ),
        ("azure-openai", "AZURE_OPENAI_RESOURCE", "r", "https://r.openai.azure.com/openai/v1"),
        ("azure-foundry", "AZURE_AI_RESOURCE", "r", "https://r.services.ai.azure.com/openai/v1"),
        ("vertex", "GOOGLE_CLOUD_PROJECT", "p", f"{VERTEX}/google".replace("{project}", "p")),
        ("databricks", "DATABRICKS_HOST", "https://w.databricks.com", "https://w.databricks.com/serving-endpoints"),
        ("snowflake", "SNOWFLAKE_ACCOUNT", "a", "https://a.snowflakecomputing.com/api/v2/cortex/v1"),
        ("watsonx", "WATSONX_PROJECT_ID", "p", "https://us-south.ml.cloud.ibm.com/ml/v1"),
        ("baseten-predict", "BASETEN_MODEL_ID", "a", "https://model-a.api.baseten.co/environments/production"),
        ("cloudflare", "CLOUDFLARE_ACCOUNT_ID", "a", "https://api.cloudflare.com/client/v4/accounts/a/ai/v1"),
    ],
)
def test_a_place_of_ones_own(name, variable, value, base_url):
    folder = [packaged_providers()]
    named = load_catalog(folder, _read, check_quirks=check_quirks, environment={variable: value})
    assert named.providers[name].base_url == base_url
    require_place(named.providers[name])
    # No key can go anywhere before the place is said.
    with pytest.raises(SetupError, match=rf"\${variable}\b") as caught:
        require_place(REMOTE[name])
    assert (caught.value.code, caught.value.hint[:10]) == ("missing_setting", "providers.")


@pytest.mark.parametrize("name", ["vertex", "vertex-anthropic"])
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("", "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
    ],
)
def test_a_location_of_google_has_a_server(name, location, host):
    environment = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": location}
    card = load_catalog([packaged_providers()], _read, environment=environment).providers[name]
    require_place(card)
    assert card.base_url.startswith(f"https://{host}/v1/projects/p/locations/{location or 'global'}/publishers/")
    assert card.origins == ()


CLAUDE_HOSTS = {"anthropic": "{}", "vertex-anthropic": "{}@default", "bedrock": "us.anthropic.{}-v1:0"}
SAMPLED = (
    "claude-3-5-sonnet-20241022",
    "claude-3-7-sonnet-latest",
    "claude-sonnet-4-20250514",
    "claude-opus-4-1",
    "claude-sonnet-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
)
# Those of the vendor's list of models that take no sampling.
UNSAMPLED = ("claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5", "claude-sonnet-5",
             "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5", "claude-fable-5-1", "claude-mythos-5",
             "claude-mythos-5-1", "claude-mythos-preview")  # fmt: skip


@pytest.mark.parametrize("name", CLAUDE_HOSTS)
@pytest.mark.parametrize(("model", "takes"), [*((m, True) for m in SAMPLED), *((m, False) for m in UNSAMPLED)])
def test_the_newest_models_of_anthropic_take_no_sampling(name, model, takes):
    model = f"{name}/{CLAUDE_HOSTS[name].format(model)}"
    warm = {"model": model, "reasoning": None, "sampling": Sampling(0.2), "tools": ()}
    if takes:
        assert b'"temperature":0.2' in sent(name, "chat", **warm).body
    else:
        with pytest.raises(ProviderFailure, match=r"temperature: 0\.2.*this model takes none"):
            sent(name, "chat", **warm)
    assert b"temperature" not in sent(name, "chat", **warm | {"sampling": Sampling()}).body
