"""What is said to be there to sign with, without a network and without a secret."""

import pytest

from flowllm.backends.auth.found import what_signs
from flowllm.backends.auth.keys import KeySource, KeyStore
from flowllm.core.card import Auth

ACCESS, SECRET = "AKIAEXAMPLE123459ENV", "canary-0123456789"
KEYS = f"aws_access_key_id = AKID\naws_secret_access_key = {SECRET}\n"


@pytest.mark.parametrize(
    ("scheme", "files", "environment", "said"),
    [
        ("aws", {}, {}, "$ACME_KEY is not set, no credentials found here"),
        ("aws", {}, {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}, "access key …9ENV (environment)"),
        ("aws", {}, {"AWS_ACCESS_KEY_ID": ACCESS}, "$ACME_KEY is not set, no credentials found here"),
        ("aws", {".env": f"AWS_ACCESS_KEY_ID={ACCESS}\nAWS_SECRET_ACCESS_KEY={SECRET}"}, {},
         "access key …9ENV (.env)"),
        ("aws", {".aws/credentials": f"[default]\n{KEYS}"}, {},
         "profile default: access key ({home}/.aws/credentials)"),
        ("aws", {".aws/credentials": f"[default]\n{KEYS}"}, {"AWS_PROFILE": "dev"},
         "$ACME_KEY is not set, no credentials found here"),
        ("aws", {".aws/config": "[profile dev]\nsso_session = s\nregion = x\n"}, {"AWS_PROFILE": "dev"},
         "profile dev: single sign-on ({home}/.aws/config)"),
        ("aws", {".aws/config": "[default]\nrole_arn = a\nsource_profile = b\n"}, {},
         "profile default: role ({home}/.aws/config)"),
        ("aws", {"my/config": "[default]\ncredential_process = p\n"}, {"AWS_CONFIG_FILE": "~/my/config"},
         "profile default: process ({home}/my/config)"),
        ("aws", {".aws/credentials": "no section"}, {}, "profile default ({home}/.aws/credentials cannot be read)"),
        ("aws", {}, {"AWS_ROLE_ARN": "a", "AWS_WEB_IDENTITY_TOKEN_FILE": "t"},
         "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"),
        ("aws", {}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"},
         "container (AWS_CONTAINER_CREDENTIALS_FULL_URI)"),
        ("google", {}, {}, "$ACME_KEY is not set, no credentials found here"),
        ("google", {"a.json": f'{{"type": "service_account", "private_key": "{SECRET}"}}'},
         {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/a.json"}, "service account (GOOGLE_APPLICATION_CREDENTIALS)"),
        ("google", {}, {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/gone.json"},
         "{home}/gone.json is not there (GOOGLE_APPLICATION_CREDENTIALS)"),
        ("google", {"a.json": "[]"}, {"GOOGLE_APPLICATION_CREDENTIALS": "{home}/a.json"},
         "{home}/a.json holds no credentials (GOOGLE_APPLICATION_CREDENTIALS)"),
        ("google", {".config/gcloud/application_default_credentials.json": '{"type": "authorized_user"}'}, {},
         "authorized user ({home}/.config/gcloud/application_default_credentials.json)"),
        ("azure", {}, {}, "$ACME_KEY is not set, no credentials found here"),
        ("azure", {}, {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": SECRET},
         "service principal (AZURE_CLIENT_SECRET)"),
        ("azure", {}, {"AZURE_CLIENT_SECRET": SECRET}, "$ACME_KEY is not set, no credentials found here"),
        ("azure", {}, {"IDENTITY_ENDPOINT": "http://x"}, "managed identity (IDENTITY_ENDPOINT)"),
        ("azure", {".azure/azureProfile.json": "{}"}, {}, "az login ({home}/.azure)"),
    ],
)  # fmt: skip
def test_where_credentials_are(scheme, files, environment, said, nowhere, monkeypatch):
    for name, text in files.items():
        (nowhere / name).parent.mkdir(parents=True, exist_ok=True)
        (nowhere / name).write_text(text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(home=nowhere))
    find = KeySource(dotenv=nowhere / ".env", store=KeyStore(nowhere / "keys.json")).find
    assert what_signs(Auth(scheme, ("ACME_KEY",)), find) == said.format(home=nowhere)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert " is not installed (extra: " in what_signs(Auth(scheme, ("ACME_KEY",)), find)
    monkeypatch.undo()
