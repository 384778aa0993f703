"""Who signs a request, and to which servers a proof may go."""

import pytest

from flowllm.backends.auth.signing import KeySigner, require_credentials, signer_for
from flowllm.backends.http import HttpClient, HttpRequest
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import ProviderFailure, SetupError

URL = "https://api.acme.example/v1/chat"
AUTH = Auth("bearer", ("ACME_KEY",))


def request(url=URL, **headers):
    return HttpRequest("POST", url, {"content-type": "application/json", **headers}, b"{}")


def signer(auth, key="k-of-acme", **more):
    card = ProviderCard("acme", "https://api.acme.example/v1", auth=auth, **more)
    return signer_for(card, lambda _: key, HttpClient())


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        (Auth("none"), {}, ""),
        (Auth("bearer"), {"authorization": "Bearer k-of-acme"}, ""),
        (Auth("header", name="X-API-Key"), {"x-api-key": "k-of-acme"}, ""),
        (Auth("header", name="Authorization", prefix="Api-Key "), {"authorization": "Api-Key k-of-acme"}, ""),
        (Auth("query", name="key"), {}, "key=k-of-acme"),
        (Auth("query"), {}, "key=k-of-acme"),
        # A key in place of what would be minted.
        (Auth("aws", ("K",), service="bedrock"), {"authorization": "Bearer k-of-acme"}, ""),
        (Auth("azure", ("K",), name="api-key"), {"api-key": "k-of-acme"}, ""),
        (Auth("google", ("K",), name="x-goog-api-key"), {"x-goog-api-key": "k-of-acme"}, ""),
    ],
)
@pytest.mark.parametrize("mark", ["", "?a=1"])
async def test_how_a_key_is_shown(auth, headers, query, mark):
    signed = await signer(auth).sign(request(URL + mark))
    assert signed.headers == {"content-type": "application/json", **headers}
    assert signed.url == "&".join(filter(None, [URL + mark, query])).replace("chat&", "chat?")
    assert (signed.method, signed.body) == ("POST", b"{}")
    assert not await signer(auth).renew(signed, 401, {})


@pytest.mark.parametrize(
    "url",
    [
        "https://api.acme.example.evil.example/v1",
        "http://api.acme.example/v1",
        "https://api.acme.example:8443/v1",
        "https://api.acme.example@evil.example/v1",
    ],
)
async def test_a_key_goes_to_the_provider_s_own_servers_alone(url):
    with pytest.raises(ProviderFailure) as caught:
        await signer(AUTH).sign(request(url))
    assert caught.value.code == "redirect_refused"
    assert await signer(AUTH, origins=("https://stream.acme.example",)).sign(request("https://stream.acme.example/x"))


@pytest.mark.parametrize(
    ("scheme", "module", "extra"),
    [("aws", "botocore", "aws"), ("azure", "azure.identity", "azure"), ("google", "google.auth", "gcp")],
)
def test_a_library_that_is_missing_is_named_with_both_commands(scheme, module, extra, monkeypatch):
    card = ProviderCard("acme", "https://api.acme.example", auth=Auth(scheme, ("ACME_KEY",)))
    assert require_credentials(card, lambda _: None) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError) as caught:
        require_credentials(card, lambda _: None)
    assert (caught.value.code, module in caught.value.message) == ("missing_extra", True)
    assert f"'flowllm-pipelines[{extra}]'" in caught.value.hint
    assert f"FLOWLLM_EXTRAS={extra}" in caught.value.hint
    # A key needs no library.
    assert require_credentials(card, lambda _: "k-of-acme") == "k-of-acme"


def test_a_parent_package_that_is_missing_is_a_library_that_is_missing(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", absent)
    with pytest.raises(SetupError, match="not installed"):
        require_credentials(ProviderCard("acme", auth=Auth("google")), lambda _: None)


async def test_a_key_that_is_not_needed_is_not_shown():
    assert (await KeySigner(AUTH, None).sign(request())).headers == {"content-type": "application/json"}
