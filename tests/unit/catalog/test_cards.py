from decimal import Decimal

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator

from flowllm.backends.addresses import require_place
from flowllm.backends.wire import check_quirks, find_wire
from flowllm.catalog import card_of, load_catalog, packaged_providers
from flowllm.catalog.entries import ProviderEntry
from flowllm.core.delta import Usage
from flowllm.core.errors import PipelineInvalid, SetupError
from flowllm.core.origin import Origin
from flowllm.core.prices import Hours, Multiplier, Prices, Rate, in_millions
from flowllm.core.request import Chat, Message, Text
from flowllm.pricing.cost import pricing_of
from tests.unit.catalog.faults import FAULTS

ORIGIN = Origin("providers/acme.yaml")
ACME = {"base_url": "https://api.acme.example/v1", "wire": {"chat": "openai_chat", "embed": "openai_embeddings"}}


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def shipped(**environment):
    return load_catalog([packaged_providers()], read, check_quirks=check_quirks, environment=environment)


def card(more, **environment):
    return card_of(ACME | more, "acme", ORIGIN, check_quirks, environment)


def test_every_shipped_provider_loads():
    catalog = shipped()
    assert set(catalog.providers) >= {"openai", "ollama", "compatible", "mock", "builtin"}
    for name, provider in catalog.providers.items():
        assert provider.name == name
        for model in provider.models.values():
            assert provider.free or model.prices is None or model.checked


@pytest.mark.parametrize(
    ("part", "fits"),
    [
        ({"models": {"m": {"price": {"input": 1}}, "n": None}, "auth": {"scheme": "bearer"}}, True),
        ({"models": {"m": {"price": {"input": []}}}}, False),
        ({"models": {"m": {"windw": 1}}}, False),
        ({"versions": {"v1": {"wires": {}}}}, False),
        ({"settings": {"region": {"defalt": "eu"}}}, False),
        ({"auth": {"scheme": "baerer"}}, False),
        ({"limits": {"images": {"value": 0, "source": ""}}}, False),
    ],
)
def test_the_schema_of_a_provider_file_tells_of_its_parts(part, fits):
    schema = Draft202012Validator(ProviderEntry.model_json_schema())
    assert schema.is_valid(ACME | part) is fits


def test_prices_are_exact():
    model = card({"models": {"m": {"price": {"input": 0.1, "output": "0.30", "cached_input": 0}}}}).models["m"]
    assert in_millions(model.prices) == {"input": Decimal("0.1"), "output": Decimal("0.30"), "cached_input": Decimal(0)}


def test_prices_with_conditions():
    told = {
        "rates": [{"item": "input", "above": 200000, "amount": 0.000004}, {"item": "searches", "amount": "0.01"}],
        "multipliers": [{"factor": 1.1, "region": "us"}],
        "hours": [{"start": "16:30", "end": "00:30", "rates": [{"item": "input", "amount": 0}], "weekdays": [5, 6]}],
        "reached": True,
    }
    entry = {"price": {"input": 2}, "prices": told, "checked": "2026-11-20", "source": "https://acme.example/pricing"}
    assert card({"models": {"m": entry}}).models["m"].prices == Prices(
        (
            Rate("input", Decimal("0.000002")),
            Rate("input", Decimal("0.000004"), above=200_000),
            Rate("searches", Decimal("0.01")),
        ),
        (Multiplier(Decimal("1.1"), region="us"),),
        (Hours("16:30", "00:30", (Rate("input", Decimal(0)),), (5, 6)),),
        reached=True,
        source="https://acme.example/pricing",
        as_of="2026-11-20",
    )


@pytest.mark.parametrize("env", ["ACME_KEY", ["ACME_KEY"], {"env": "ACME_KEY"}])
def test_a_secret_is_the_name_of_a_variable(env):
    assert card({"auth": {"scheme": "bearer", "env": env}}).auth.env == ("ACME_KEY",)


@pytest.mark.parametrize(("more", "code", "where"), FAULTS)
def test_what_a_provider_file_must_not_hold(more, code, where):
    with pytest.raises(PipelineInvalid) as caught:
        card(more)
    assert [(p.code, p.where, p.origin) for p in caught.value.problems] == [(code, where, ORIGIN)]
    assert "abcdefghij" not in str(caught.value)


def test_all_problems_come_at_once():
    with pytest.raises(PipelineInvalid) as caught:
        card({"bse_url": "x", "auth": {"scheme": "magic"}, "models": {"m": {"context": -1}}})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("", "http://localhost:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("box:9000", "http://box:9000/v1"),
        ("http://box:9000/", "http://box:9000/v1"),
        ("https://ollama.example", "https://ollama.example/v1"),
        ("http://box/proxy", "http://box:11434/proxy"),
        (":9000", "http://127.0.0.1:9000/v1"),
        ("[::1]:9000", "http://[::1]:9000/v1"),
    ],
)
def test_ollama_is_where_its_variable_says(said, url):
    assert shipped(OLLAMA_HOST=said).providers["ollama"].base_url == url


@pytest.mark.parametrize("said", ["localhost:abc", "box:99999", "[::1", "ftp://box"])
def test_what_is_no_address_is_told_when_the_provider_is_used(said):
    ollama = shipped(OLLAMA_HOST=said).providers["ollama"]
    with pytest.raises(SetupError, match="OLLAMA_HOST does not hold an address") as caught:
        require_place(ollama)
    assert caught.value.hint == "providers.ollama.base_url=https://..."
    over = {"ollama": {"base_url": "http://gpu:1/v1"}}
    catalog = load_catalog([packaged_providers()], read, over, check_quirks, {"OLLAMA_HOST": said})
    require_place(catalog.providers["ollama"])


@pytest.mark.parametrize(
    "url", ["https://iam.example/t", "http://localhost:1/t", "http://127.0.0.1/t", "http://[::1]/t"]
)
def test_a_key_is_changed_into_a_token_over_a_private_way(url):
    assert card({"auth": {"scheme": "ibm", "token_url": url}}).auth.token_url == url


def test_models_are_listed_where_an_override_says():
    def places(over):
        catalog = load_catalog([packaged_providers()], read, {"bedrock": over}, check_quirks, {"AWS_REGION": "r-1"})
        card = catalog.providers["bedrock"]
        return find_wire(card.wire["chat"], card).models.parts(card).path

    gateway = {"base_url": "https://gateway.example"}
    assert places({}) == "https://bedrock.r-1.amazonaws.com/foundation-models"
    assert places(gateway) == "/foundation-models"
    own = {"endpoints": {"models": "https://other.example/models"}}
    assert places(gateway | own) == "https://other.example/models"


def test_prices_of_openai_are_told_by_its_own_pages():
    models = yaml.safe_load((packaged_providers() / "openai.yaml").read_text(encoding="utf-8"))["models"]
    priced = [model["source"] for model in models.values() if "price" in model]
    assert priced
    assert all(page.startswith("https://developers.openai.com/") for page in priced)


def test_an_override_wins_over_file_and_variable():
    catalog = load_catalog(
        [packaged_providers()], read, {"ollama": {"base_url": "http://gpu:1/v1"}}, check_quirks, {"OLLAMA_HOST": "box"}
    )
    assert catalog.providers["ollama"].base_url == "http://gpu:1/v1"


def test_the_first_folder_wins_and_files_are_read_when_asked_for(tmp_path):
    asked = []

    def counted(path):
        asked.append(path.stem)
        return read(path)

    (tmp_path / "openai.yaml").write_text("base_url: https://own.example/v1\n")
    (tmp_path / "broken.yaml").write_text("nonsense: true\n")
    catalog = load_catalog([tmp_path, packaged_providers()], counted)
    assert asked == []
    assert catalog.providers["openai"].base_url == "https://own.example/v1"
    assert catalog.providers["openai"].models == {}
    assert asked == ["openai"]
    with pytest.raises(PipelineInvalid, match=r"broken\.nonsense"):
        catalog.providers["broken"]


@pytest.mark.parametrize(
    ("model", "total"),
    [
        ("openai/gpt-5-mini", Decimal("0.25")),
        ("openai/future-model", None),
        ("ollama/llama3.2:1b", Decimal(0)),
        ("vllm/org/model", Decimal(0)),
        ("compatible/org/model", None),
        ("mock/anything", Decimal(0)),
        ("gone/m", None),
    ],
)
def test_what_a_million_tokens_cost_with_shipped_providers(model, total):
    assert pricing_of(shipped())(model, Usage(1_000_000, 0)).total == total


@pytest.mark.parametrize(("name", "hint"), [("opnai", "did you mean `openai`?"), ("quux", "installed are alibaba")])
def test_an_override_of_no_provider_is_named(name, hint):
    with pytest.raises(PipelineInvalid, match="not installed") as caught:
        load_catalog([packaged_providers()], read, {name: {}})
    assert hint in caught.value.hint


def test_reasoning_models_of_openai_are_asked_in_their_way():
    import orjson

    from flowllm.backends.wire import find_wire
    from flowllm.core.request import Chat, Sampling

    wire = find_wire("openai_chat", shipped().providers["openai"])
    sampling = Sampling(temperature=0.5, max_output_tokens=10, seed=1)
    bodies = [orjson.loads(wire.encode(Chat(f"openai/{m}", (), sampling)).body) for m in ("gpt-5-mini", "gpt-4o-mini")]
    assert [("temperature" in b, b["max_completion_tokens"], "max_tokens" in b) for b in bodies] == [
        (False, 10, False),
        (True, 10, False),
    ]


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        ({"bse_url": "x"}, "a provider file has no `bse_url`", "did you mean `base_url`?"),
        (
            {"auth": {"scheme": "baerer"}},
            "`scheme` is none or bearer or header or query or aws or azure or google or ibm, not `baerer`",
            "`bearer`?",
        ),
        ({"auth": {"nv": "A"}}, "`auth` has no `nv`", "did you mean `env`?"),
        ({"models": {"m": {"context": -1}}}, "`context` is above 0, not `-1`", "context: 131072"),
        ({"models": {"m": {"context": "big"}}}, "`context` is a whole number, not `big`", "context: 131072"),
        ({"models": {"m": {"contxt": 1}}}, "`m` has no `contxt`", "did you mean `context`?"),
        ({"models": {"m": {"price": {"input": "1..2"}}}}, "not `1..2`", "input: 1.20"),
        ({"models": []}, "`models` is a mapping, not a list", "models: {acme-large: {context: 131072}}"),
        ({"local": "maybe"}, "`local` is true or false, not `maybe`", "local: true"),
        ({"wire": {"chat": "openai_chatt"}}, "there is no wire `openai_chatt`", "did you mean `openai_chat`?"),
        ({"wire": {"chat": "quux"}}, "there is no wire `quux`", "known wires: anthropic_messages, "),
        ({"wire": {"chatt": "openai_chat"}}, "`wire` has no `chatt`", "did you mean `chat`?"),
        (
            {"quirks": {"dropp": []}},
            "openai_chat or openai_embeddings as a wire has no `dropp`",
            "did you mean `drop`?",
        ),
        ({"quirks": {"stream_usage": "alway"}}, "`stream_usage` is ask or always, not `alway`", "`always`?"),
    ],
)
def test_findings_speak_of_the_file_and_can_be_mended(more, message, hint):
    with pytest.raises(PipelineInvalid) as caught:
        card(more)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in problem.hint


KNOWN = {
    "title": "Acme",
    "status": "https://status.acme.example",
    "pricing": "https://acme.example/pricing",
    "checked": "2026-11-22",
    "settings": {"region": "eu"},
    "origins": ["https://{region}.acme.example"],
    "features": {"chat": {"tools": True, "images": False}},
    "limits": {"texts": {"value": 96, "source": "https://docs.acme.example/limits"}},
    "endpoints": {"models": "https://{region}.acme.example/models", "files": "/files"},
}


def test_what_a_provider_is_known_for_is_on_its_card():
    made = card(KNOWN)
    assert (made.title, made.status, made.pricing, made.checked) == tuple(KNOWN[w] for w in list(KNOWN)[:4])
    assert made.limits == {"texts": (96, "https://docs.acme.example/limits")}
    assert made.endpoints == {"models": "https://eu.acme.example/models", "files": "/files"}
    assert made.origins == ("https://eu.acme.example",)
    assert [made.supports("chat", w) for w in ("tools", "images", "citations")] == [True, False, None]
    assert made.supports("embed", "dimensions") is None


VERSIONED = {
    "settings": {"api_version": {"env": "ACME_VERSION", "default": "2"}},
    "query": {"v": "{api_version}"},
    "quirks": {"rename": {"max_tokens": "limit"}},
    "features": {"chat": {"tools": True, "images": False}},
    "versions": {
        "1": {"features": {"chat": {"tools": False}}, "quirks": {"structured": "none"}},
        "2": {"features": {"chat": {"images": True}}, "endpoints": {"models": "/list"}},
    },
}


@pytest.mark.parametrize(
    ("said", "features", "structured", "endpoints"),
    [
        ("1", {"tools": False, "images": False}, "none", {}),
        ("2", {"tools": True, "images": True}, None, {"models": "/list"}),
        ("", {"tools": True, "images": True}, None, {"models": "/list"}),
        ("3", {"tools": True, "images": False}, None, {}),
    ],
)
def test_a_version_of_an_api_has_a_record_of_its_own(said, features, structured, endpoints):
    made = card(VERSIONED, ACME_VERSION=said)
    assert (made.api_version, made.query) == (said or "2", {"v": said or "2"})
    assert made.features == {"chat": features}
    assert made.quirks.get("structured") == structured
    assert made.quirks["rename"] == {"max_tokens": "limit"}
    assert made.endpoints == endpoints


@pytest.mark.parametrize(("version", "json_schema", "asks"), [("2024-06-01", False, False), ("2024-10-21", True, True)])
def test_azure_is_asked_as_its_dated_version_understands(version, json_schema, asks):
    made = shipped(OPENAI_API_VERSION=version, AZURE_OPENAI_RESOURCE="mine").providers["azure-openai-dated"]
    request = Chat(
        "azure-openai-dated/my dep", (Message("user", (Text("hi"),)),), schema={"type": "object"}, stream=True
    )
    parts = find_wire("openai_chat", made).encode(request)
    body = orjson.loads(parts.body)
    assert made.supports("chat", "json_schema") is json_schema
    assert (body["response_format"]["type"] == "json_schema") is json_schema
    assert ("stream_options" in body) is asks
    assert (made.base_url + parts.path, made.query) == (
        "https://mine.openai.azure.com/openai/deployments/my%20dep/chat/completions",
        {"api-version": version},
    )
