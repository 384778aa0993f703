import stat

import pytest

from flowllm.backends.auth.keys import KeySource, KeyStore, masked, require_key
from flowllm.backends.auth.signing import require_credentials
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import SetupError
from flowllm.core.secrets import registered

AUTH = Auth("bearer", ("ACME_KEY", "ACME_OLD_KEY"))
URL = "https://api.acme.example/v1/chat"


@pytest.fixture
def store(tmp_path):
    return KeyStore(tmp_path / "config" / "keys.json")


@pytest.mark.parametrize(
    ("environment", "dotenv", "stored", "found"),
    [
        ({"ACME_KEY": "from-env-1"}, "ACME_KEY=from-file", "from-store", ("from-env-1", "environment")),
        ({"ACME_OLD_KEY": "from-old-env"}, "ACME_KEY=from-file", None, ("from-old-env", "environment")),
        ({"ACME_KEY": "  "}, "ACME_KEY=from-file", "from-store", ("from-file", ".env")),
        ({}, "ACME_KEY=$HOME/not-expanded", None, ("$HOME/not-expanded", ".env")),
        ({}, "OTHER=x", "from-store", ("from-store", "keys")),
        ({}, "", None, None),
    ],
)
def test_environment_then_dotenv_then_store(tmp_path, store, environment, dotenv, stored, found):
    (tmp_path / ".env").write_text(dotenv)
    if stored:
        store.set("ACME_KEY", stored)
    assert KeySource(environment, tmp_path / ".env", store).find(AUTH) == found
    if found:
        assert found[0] in registered()


def test_a_provider_without_keys_is_given_none(store):
    assert KeySource({"ACME_KEY": "secret-1"}, None, store)(Auth("none", ("ACME_KEY",))) is None


def test_the_store_keeps_lists_and_forgets(store):
    store.set("ACME_KEY", "acme-0123456789-abcdef")
    store.set("B_KEY", "short")
    assert store.list() == {"ACME_KEY": "…cdef", "B_KEY": "…"}
    assert store.get("ACME_KEY") == "acme-0123456789-abcdef"
    assert (store.remove("ACME_KEY"), store.remove("ACME_KEY"), store.get("ACME_KEY")) == (True, False, None)


def test_the_key_file_is_its_owner_s_alone(store):
    store.set("ACME_KEY", "secret-value")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in store.path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("text", ["not json", "[]", '{"version": 99, "keys": {}}', '{"version": 1, "keys": {"A": 1}}'])
def test_a_key_file_of_another_shape_is_never_overwritten(store, text):
    store.path.parent.mkdir()
    store.path.write_text(text)
    with pytest.raises(SetupError):
        store.set("ACME_KEY", "secret-value")
    assert store.path.read_text() == text


@pytest.mark.parametrize(("name", "key"), [("ACME_KEY", " "), ("not a name", "secret-value")])
def test_a_key_that_cannot_be_kept(store, name, key):
    with pytest.raises(SetupError) as caught:
        store.set(name, key)
    assert "secret-value" not in str(caught.value)


def test_the_default_place_is_the_user_s_configuration_folder():
    assert KeyStore().path.parts[-2:] == ("flowllm", "keys.json")


def test_a_missing_key_names_its_variable_and_the_command():
    with pytest.raises(SetupError, match=r"acme.*\$ACME_KEY") as caught:
        require_key(ProviderCard("acme", auth=AUTH), None)
    assert (caught.value.code, caught.value.hint) == ("missing_key", "flowllm keys set ACME_KEY")


@pytest.mark.parametrize("auth", [Auth(), Auth("bearer", ("X",), required=False)])
def test_a_key_that_is_not_needed_is_not_missed(auth):
    assert require_key(ProviderCard("acme", auth=auth), None) is None


def test_settings_are_read_from_the_environment_over_dotenv(tmp_path, store):
    (tmp_path / ".env").write_text("A=file\nB=file\nC=file\nD=\n")
    source = KeySource({"A": "environment", "B": " ", "E": ""}, tmp_path / ".env", store)
    assert source.variables() == {"A": "environment", "B": "file", "C": "file"}


@pytest.mark.parametrize(("key", "shown"), [("", "…"), ("a" * 15, "…"), ("a" * 12 + "bcde", "…bcde")])
def test_masks_show_little(key, shown):
    assert masked(key) == shown


@pytest.mark.parametrize("key", ["abcdef\nghijkl", "abc\u2028def", "geheimnis-\u00e4", "abc\x7fdef"])
@pytest.mark.parametrize("scheme", ["bearer", "header", "google", "ibm"])
def test_a_key_that_no_header_carries_is_refused_where_it_is_found(scheme, key, store):
    card = ProviderCard("acme", URL, auth=Auth(scheme, ("ACME_KEY",), "x-key"))
    with pytest.raises(SetupError, match="sign that no key has") as caught:
        require_credentials(card, KeySource({"ACME_KEY": key}, None, store))
    assert (caught.value.code, caught.value.hint) == ("missing_key", "flowllm keys set ACME_KEY")
    assert key[:4] not in str(caught.value)
    with pytest.raises(SetupError, match="cannot be kept"):
        store.set("ACME_KEY", key)
