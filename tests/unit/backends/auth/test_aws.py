"""Signatures of AWS by its published examples, and credentials from every place of its chain."""

import asyncio
import hashlib
import hmac
import logging
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote, urlsplit

import httpx
import orjson
import pytest

from flowllm.backends.auth.aws import RECHECK, AwsSigner, Keys, signature
from flowllm.backends.auth.keys import KeySource, KeyStore
from flowllm.backends.http import HttpClient, HttpRequest, HttpxTransport
from flowllm.backends.provider import backend_for
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Fold
from flowllm.core.errors import FlowError, ProviderFailure, SetupError
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from flowllm.core.secrets import registered

EXAMPLE = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
FORM = "application/x-www-form-urlencoded"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com"
CANARY, SESSION = "canary-secret-key-0123456789", "canary-session-token-0123456789"


# From the test suite that AWS publishes for signature version 4, and the example of its documentation.
@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "service", "expected"),
    [
        ("GET", "https://example.amazonaws.com/", {}, b"", "service",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "https://example.amazonaws.com/", {}, b"", "service",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1", {}, b"", "service",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("POST", "https://example.amazonaws.com/", {"content-type": FORM}, b"Param1=value1", "service",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
         {"content-type": f"{FORM}; charset=utf-8"}, b"", "iam",
         "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"),
    ],
)  # fmt: skip
def test_the_signatures_that_aws_publishes(method, url, headers, body, service, expected):
    proof = signature(HttpRequest(method, url, headers, body), EXAMPLE, service, "us-east-1", AT)
    assert proof["authorization"].partition("Signature=")[2] == expected
    assert proof["x-amz-date"] == "20150830T123600Z"
    assert "x-amz-security-token" not in proof


def by_the_book(request, keys, service, region, stamp):
    """The documented steps, one after the other."""
    day, url = stamp[:8], urlsplit(request.url)
    headers = {"host": url.netloc, "x-amz-date": stamp, **request.headers}
    headers |= {"x-amz-security-token": keys.token} if keys.token else {}
    names = ";".join(sorted(headers))
    canonical = "\n".join([
        request.method, quote(url.path, safe="/-_.~"), url.query,
        *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, hashlib.sha256(request.body).hexdigest(),
    ])  # fmt: skip
    scope = f"{day}/{region}/{service}/aws4_request"
    told = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_key}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.new(key, word.encode(), "sha256").digest()
    mark = hmac.new(key, told.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={mark}"


@pytest.mark.parametrize(
    ("url", "encoded"),
    [
        (f"{BEDROCK}/model/us.amazon.nova-lite-v1%3A0/converse", "%253A"),
        (f"{BEDROCK}/model/us.amazon.nova-lite-v1:0/converse", "%3A"),
        (f"{BEDROCK}/model/arn%3Aaws%3Abedrock%2Fx/invoke", "%252F"),
    ],
)
@pytest.mark.parametrize("token", [None, SESSION])
def test_a_path_is_encoded_once_more_and_body_and_token_are_signed(url, encoded, token):
    keys = Keys("AKID", CANARY, token)
    request = HttpRequest("POST", url, {"content-type": "application/json"}, b'{"a": 1}')
    assert encoded in quote(urlsplit(url).path, safe="/-_.~")
    proof = signature(request, keys, "bedrock", "eu-west-1", AT)
    assert proof["authorization"] == by_the_book(request, keys, "bedrock", "eu-west-1", "20150830T123600Z")
    assert proof.get("x-amz-security-token") == token
    other = HttpRequest("POST", url, request.headers, b'{"a": 2}')
    assert signature(other, keys, "bedrock", "eu-west-1", AT)["authorization"] != proof["authorization"]


def card(**settings):
    auth = Auth("aws", ("AWS_BEARER_TOKEN_BEDROCK",), service="bedrock")
    return ProviderCard("bedrock", BEDROCK, {"chat": "openai_chat"}, auth, settings={"region": "eu-west-1"} | settings)


def keys_of(signed):
    return signed.headers["authorization"].partition("Credential=")[2].partition("/")[0]


async def signed_by(find_key=lambda auth: None, **settings):
    signer = AwsSigner(card(**settings), find_key)
    return await signer.sign(HttpRequest("POST", f"{BEDROCK}/model/m/converse", {}, b"{}"))


def in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def temporary(access):
    return {"AccessKeyId": access, "SecretAccessKey": CANARY, "Token": SESSION, "Expiration": in_an_hour(),
            "Code": "Success"}  # fmt: skip


def sts(action, access):
    return (
        f"<{action}Response><{action}Result><Credentials><AccessKeyId>{access}</AccessKeyId>"
        f"<SecretAccessKey>{CANARY}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>"
        f"<Expiration>{in_an_hour()}</Expiration></Credentials></{action}Result></{action}Response>"
    )


def answer(asked):
    """A token service, a container's endpoint, the metadata of an instance, and single sign-on."""
    if b"AssumeRoleWithWebIdentity" in asked.body:
        return 200, sts("AssumeRoleWithWebIdentity", "AKIDOFWEB")
    if b"AssumeRole" in asked.body:
        return 200, sts("AssumeRole", "AKIDOFROLE")
    if asked.path.startswith("/container"):
        return 200, temporary("AKIDOFCONTAINER")
    if asked.path == "/latest/api/token":
        return 200, "metadata-session"
    if asked.path.endswith("security-credentials/"):
        return 200, "the-role"
    if asked.path.endswith("security-credentials/the-role"):
        return 200, temporary("AKIDOFINSTANCE")
    if asked.path.startswith("/federation/credentials"):
        found = {"accessKeyId": "AKIDOFSSO", "secretAccessKey": CANARY, "sessionToken": SESSION}
        return 200, {"roleCredentials": found | {"expiration": 4_000_000_000_000}}
    return 404, {}


STATIC = f"aws_access_key_id = {{}}\naws_secret_access_key = {CANARY}\n"
PROCESS = orjson.dumps({"Version": 1, "AccessKeyId": "AKIDOFPROCESS", "SecretAccessKey": CANARY}).decode()
SSO = (
    "[default]\nsso_start_url = https://acme.awsapps.example\nsso_region = eu-west-1\n"
    "sso_account_id = 1\nsso_role_name = r\n"
)


@pytest.mark.parametrize(
    ("files", "environment", "access"),
    [
        ({}, {"AWS_ACCESS_KEY_ID": "AKIDOFENV", "AWS_SECRET_ACCESS_KEY": CANARY}, "AKIDOFENV"),
        ({".env": f"AWS_ACCESS_KEY_ID=AKIDOFDOT\nAWS_SECRET_ACCESS_KEY={CANARY}"}, {}, "AKIDOFDOT"),
        ({".aws/credentials": "[default]\n" + STATIC.format("AKIDOFFILE")}, {}, "AKIDOFFILE"),
        ({".aws/credentials": "[dev]\n" + STATIC.format("AKIDOFDEV")}, {"AWS_PROFILE": "dev"}, "AKIDOFDEV"),
        ({".aws/config": f'[default]\ncredential_process = "{sys.executable}" process.py\n',
          "process.py": f"print({PROCESS!r})"}, {}, "AKIDOFPROCESS"),
        ({".aws/config": "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n[profile base]\n"
          + STATIC.format("AKIDOFBASE")}, {}, "AKIDOFROLE"),
        ({"token": "web-identity-token"}, {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
                                           "AWS_WEB_IDENTITY_TOKEN_FILE": "token"}, "AKIDOFWEB"),
        ({".aws/config": SSO, f".aws/sso/cache/{hashlib.sha1(b'https://acme.awsapps.example').hexdigest()}.json":
          '{"accessToken": "canary-of-sso-0123456789", "expiresAt": "2099-01-01T00:00:00Z"}'}, {}, "AKIDOFSSO"),
        ({}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "/container"}, "AKIDOFCONTAINER"),
        ({}, {"AWS_EC2_METADATA_DISABLED": "false"}, "AKIDOFINSTANCE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_credentials_come_from_every_place_of_the_chain(
    files, environment, access, nowhere, server, monkeypatch, caplog
):
    monkeypatch.chdir(nowhere)
    for name, text in files.items():
        (nowhere / name).parent.mkdir(parents=True, exist_ok=True)
        (nowhere / name).write_text(text)
    for name in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO", "AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        monkeypatch.setenv(name, server.url)
    for name, value in environment.items():
        monkeypatch.setenv(name, f"{server.url}{value}" if value == "/container" else value)
    # The place of its files is fixed when botocore is imported.
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(nowhere / ".aws/sso/cache"))
    server.answer = answer
    find_key = KeySource(dotenv=nowhere / ".env", store=KeyStore(nowhere / "keys.json"))
    with caplog.at_level(logging.INFO):
        signed = await signed_by(find_key)
    assert keys_of(signed) == access
    assert CANARY in registered()
    assert CANARY not in str(signed) + repr(signed) + caplog.text
    assert signed.headers.get("x-amz-security-token", SESSION) == SESSION


async def test_credentials_that_end_are_asked_for_again_in_time(server, clock, monkeypatch):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/container")
    monkeypatch.setattr("time.monotonic", clock)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    server.answer = lambda asked: (200, temporary(f"AKID{len(server.asked)}") | {"Expiration": soon})
    signer, used = AwsSigner(card(), lambda auth: None), []
    for seconds in (0, RECHECK / 2, RECHECK):
        clock.time += seconds
        signed = await asyncio.gather(*(signer.sign(HttpRequest("POST", BEDROCK, {}, b"{}")) for _ in range(50)))
        (key,) = {keys_of(one) for one in signed}
        used.append(key)
    assert used[0] == used[1] != used[2]


async def test_a_profile_that_is_named_goes_before_the_environment(nowhere, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    (nowhere / ".aws").mkdir()
    (nowhere / ".aws/credentials").write_text("[dev]\n" + STATIC.format("AKIDOFDEV"))
    assert keys_of(await signed_by(KeySource(), profile="dev")) == "AKIDOFDEV"


@pytest.mark.parametrize(
    ("files", "environment", "code", "message"),
    [
        ({}, {}, "missing_key", "no credentials of AWS were found"),
        ({}, {"AWS_PROFILE": "nope"}, "missing_key", "The config profile (nope) could not be found"),
        ({".aws/config": f'[default]\ncredential_process = "{sys.executable}" process.py\n',
          "process.py": f"import sys; sys.exit({CANARY!r})"}, {}, "missing_key", "CredentialRetrievalError"),
        ({"token": "web-identity-token"}, {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
                                           "AWS_WEB_IDENTITY_TOKEN_FILE": "token"}, "auth", "AccessDenied"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_is_said_where_there_are_none(files, environment, code, message, nowhere, server, monkeypatch):
    monkeypatch.chdir(nowhere)
    for name, text in files.items():
        (nowhere / name).parent.mkdir(parents=True, exist_ok=True)
        (nowhere / name).write_text(text)
    for name, value in {**environment, "AWS_ENDPOINT_URL_STS": server.url}.items():
        monkeypatch.setenv(name, value)
    refusal = f"<Error><Code>AccessDenied</Code><Message>{CANARY}</Message></Error>"
    server.answer = lambda asked: (403, f"<ErrorResponse>{refusal}</ErrorResponse>")
    with pytest.raises(FlowError) as caught:
        await signed_by()
    assert (caught.value.code, message in caught.value.message) == (code, True), caught.value.message
    assert "aws configure" in caught.value.hint
    assert CANARY not in caught.value.message


async def asked(find_key, *answers):
    """What a provider behind a signature gives for one chat, and the requests that its server saw."""
    sent = []

    def handler(request):
        sent.append(request)
        status, headers = answers[min(len(sent), len(answers)) - 1]
        body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]} if status == 200 else {}
        return httpx.Response(status, headers=headers, json=body)

    client = HttpClient(transport=HttpxTransport(httpx.MockTransport(handler)))
    fold = Fold()
    try:
        async for delta in backend_for(card(), find_key, client)(
            Chat("bedrock/m", (Message("user", (Text("hi"),)),)), Scope()
        ):
            fold.add(delta)
    except ProviderFailure as failure:
        return failure.code, sent
    return fold.reply().text, sent


EXPIRED = (403, {"x-amzn-errortype": "ExpiredTokenException:http://internal.amazon.com/"})


@pytest.mark.parametrize(("rotated", "outcome", "requests"), [(True, "hi", 2), (False, "auth", 1)])
async def test_credentials_that_ended_are_looked_for_again_once(rotated, outcome, requests, nowhere):
    (nowhere / ".aws").mkdir()
    file = nowhere / ".aws/credentials"
    file.write_text("[default]\n" + STATIC.format("AKIDOLD"))
    seen = []

    def find_key(auth):
        # The file is rotated after it was first read.
        seen.append(auth)
        if rotated and len(seen) == 5:
            file.write_text("[default]\n" + STATIC.format("AKIDNEW"))

    code, sent = await asked(find_key, EXPIRED, (200, {}))
    assert (code, len(sent)) == (outcome, requests)
    assert [keys_of(request) for request in sent] == ["AKIDOLD", "AKIDNEW"][:requests]


async def test_credentials_that_are_refused_again_are_not_tried_a_third_time(nowhere):
    fresh = iter(range(100))

    def find_key(auth):
        name = auth.env[0]
        return {"AWS_ACCESS_KEY_ID": f"AKID{next(fresh)}", "AWS_SECRET_ACCESS_KEY": CANARY}.get(name)

    code, sent = await asked(find_key, EXPIRED)
    assert (code, len(sent)) == ("auth", 2)


@pytest.mark.parametrize(("hours", "outcome", "requests"), [(1, "hi", 2), (-1, "hi", 2), (0, "auth", 1)])
async def test_a_wrong_clock_is_corrected_by_the_server_s(hours, outcome, requests):
    now = datetime.now(UTC) + timedelta(hours=hours)
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": CANARY}
    late = (403, {"x-amzn-errortype": "InvalidSignatureException", "date": format_datetime(now, usegmt=True)})
    code, sent = await asked(lambda auth: keys.get(auth.env[0]), late, (200, {}))
    assert (code, len(sent)) == (outcome, requests)
    if requests > 1:
        stamp = datetime.strptime(sent[1].headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert abs(stamp - now) < timedelta(minutes=1)


async def test_a_bearer_key_goes_before_all_and_needs_no_library(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    keys = {"AWS_BEARER_TOKEN_BEDROCK": "bearer-key-0123", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": CANARY}
    code, sent = await asked(lambda auth: keys.get(auth.env[0]), (200, {}))
    assert (code, sent[0].headers["authorization"]) == ("hi", "Bearer bearer-key-0123")
    monkeypatch.undo()


def test_no_credentials_without_a_library(monkeypatch):
    from flowllm.backends.auth.signing import signer_for

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="botocore"):
        signer_for(card(), lambda auth: None, HttpClient())
