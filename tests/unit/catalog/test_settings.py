"""Settings of providers: where values come from, where they may stand, and what is said when there is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.addresses import origin_of, require_own, require_place
from flowllm.backends.wire import check_quirks
from flowllm.catalog import card_of, load_catalog
from flowllm.core.aws_profile import sections
from flowllm.core.errors import PipelineInvalid, ProviderFailure, SetupError
from flowllm.core.origin import Origin

ACME = {
    "base_url": "https://run.{region}.acme.example/v1/projects/{project}",
    "settings": {"region": {"env": ["ACME_REGION", "REGION"], "default": "us-1"}, "project": {"env": "ACME_PROJECT"}},
    "headers": {"x-project": "p:{project}", "x-plain": "{not a name} {}"},
    "query": {"version": "{version}", "key-of": "a{b"},
}
ACME["settings"]["version"] = {"default": 2024}


def card(more=(), **environment):
    return card_of(ACME | dict(more), "acme", Origin("acme.yaml"), None, environment)


def settings(**values):
    return {"settings": {**ACME["settings"], **values}}


@pytest.mark.parametrize(
    ("environment", "more", "base_url"),
    [
        ({}, {}, "https://run.us-1.acme.example/v1/projects/p"),
        ({"REGION": "b"}, {}, "https://run.b.acme.example/v1/projects/p"),
        ({"REGION": "b", "ACME_REGION": " a "}, {}, "https://run.a.acme.example/v1/projects/p"),
        ({"REGION": "b", "ACME_REGION": " "}, {}, "https://run.b.acme.example/v1/projects/p"),
        ({"REGION": "b"}, settings(region="c"), "https://run.c.acme.example/v1/projects/p"),
        ({"REGION": "b"}, settings(region=7), "https://run.7.acme.example/v1/projects/p"),
        ({"REGION": "{project}"}, settings(region="c"), "https://run.c.acme.example/v1/projects/p"),
        ({"URL": "https://else.example/v9"}, {"base_url_env": "URL"}, "https://else.example/v9"),
    ],
)
def test_where_a_value_comes_from(environment, more, base_url):
    acme = card(more, ACME_PROJECT="p", **environment)
    require_place(acme)
    assert acme.base_url == base_url
    assert acme.headers == {"x-project": "p:p", "x-plain": "{not a name} {}"}
    assert acme.query == {"version": "2024", "key-of": "a{b"}
    assert (acme.settings["project"], acme.settings["version"]) == ("p", "2024")


CLOUD = {
    "base_url": "https://run.{region}.cloud.example",
    "settings": {"region": {"env": ["AWS_REGION", "AWS_DEFAULT_REGION"], "default": "us-east-1"}},
    "auth": {"scheme": "aws", "service": "run"},
}
DEFAULT, DEV = "[default]\nregion = eu-west-1\n", "[profile dev]\nregion = eu-west-2\n"


@pytest.mark.parametrize(
    ("environment", "more", "files", "region"),
    [
        ({}, {}, {}, "us-east-1"),
        ({}, {}, {"config": DEFAULT}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "r-1"}, {}, {"config": DEFAULT}, "r-1"),
        ({"AWS_REGION": " "}, {}, {"config": DEFAULT}, "eu-west-1"),
        ({}, {"settings": {"region": "r-2"}}, {"config": DEFAULT}, "r-2"),
        ({"AWS_PROFILE": "dev"}, {}, {"config": DEFAULT + DEV}, "eu-west-2"),
        ({"AWS_PROFILE": "else", "AWS_DEFAULT_PROFILE": "dev"}, {}, {"config": DEFAULT + DEV}, "eu-west-2"),
        ({"AWS_PROFILE": "gone"}, {}, {"config": DEFAULT + DEV}, "us-east-1"),
        ({}, {"settings": CLOUD["settings"] | {"profile": "dev"}}, {"config": DEFAULT + DEV}, "eu-west-2"),
        ({"AWS_CONFIG_FILE": "{aws}/mine"}, {}, {"config": DEFAULT, "mine": "[default]\nregion = r-3\n"}, "r-3"),
        ({}, {}, {"credentials": "[default]\nregion = r-4\n", "config": DEFAULT}, "r-4"),
        ({}, {}, {"credentials": "[default]\naws_access_key_id = a\n", "config": DEFAULT}, "eu-west-1"),
        ({}, {}, {"config": "no section"}, "us-east-1"),
        ({}, {}, {"config": "[profile default]\nregion = r-5\n"}, "r-5"),
        ({"AWS_PROFILE": "my dev"}, {}, {"config": '[profile "my dev"]\nregion = r-6\n'}, "r-6"),
        ({"AWS_PROFILE": "dev"}, {}, {"config": "[dev]\nregion = r-7\n"}, "us-east-1"),
        ({"AWS_PROFILE": "dev"}, {}, {"credentials": "[dev]\nregion = r-8\n"}, "r-8"),
        ({"AWS_CONFIG_FILE": "~nobody-of-that-name/x"}, {}, {"config": DEFAULT}, "us-east-1"),
        ({}, {}, {"config": "[profile 'open]\nregion = r-9\n" + DEFAULT}, "eu-west-1"),
        ({}, {}, {"config": "[default]\nregion =\n"}, "us-east-1"),
        ({}, {"auth": {"scheme": "bearer", "env": "K"}}, {"config": DEFAULT}, "us-east-1"),
        ({"HOME": ""}, {}, {"config": DEFAULT}, "us-east-1"),
    ],
)
def test_a_profile_of_aws_says_the_region_where_no_variable_does(tmp_path, environment, more, files, region):
    aws = tmp_path / ".aws"
    aws.mkdir()
    for name, text in files.items():
        (aws / name).write_text(text)
    said = {"HOME": str(tmp_path)} | {name: text.format(aws=aws) for name, text in environment.items()}
    cloud = card_of(CLOUD | more, "cloud", Origin("cloud.yaml"), None, said)
    require_place(cloud)
    assert (cloud.base_url, cloud.settings["region"]) == (f"https://run.{region}.cloud.example", region)


def test_no_secret_of_a_profile_is_kept(tmp_path):
    (tmp_path / "credentials").write_text("[default]\naws_secret_access_key = canary\nregion = r\n")
    found = list(sections({"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}, "default"))
    assert [one.words for one in found] == [{"aws_secret_access_key", "region"}]
    assert "canary" not in repr(found)


def test_a_setting_that_a_model_alone_names_must_have_a_value():
    quirks = {"templates": {"chat": {"path": "/p", "body": {"tenant": "{tenant}"}}}}
    data = {"settings": {"tenant": {"env": "TENANT"}}, "models": {"m": {"quirks": quirks}}}
    acme = card_of({"base_url": "https://a.example"} | data, "acme", Origin(), None, {})
    assert acme.unset == {"tenant": "$TENANT is not set"}


def test_a_region_of_a_profile_leads_to_no_other_server(tmp_path):
    (tmp_path / "config").write_text("[default]\nregion = x@evil.example/\n")
    said = {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    cloud = card_of(CLOUD, "cloud", Origin("cloud.yaml"), None, said)
    with pytest.raises(SetupError, match="the region of the profile `default` does not hold the name of a server"):
        require_place(cloud)


@pytest.mark.parametrize(
    ("environment", "more", "reason"),
    [
        ({}, {}, "`project`, and $ACME_PROJECT is not set"),
        ({"ACME_PROJECT": ""}, {}, "`project`, and $ACME_PROJECT is not set"),
        ({}, settings(project={"env": ["A", "B"]}), "`project`, and neither $A nor $B is set"),
        ({}, settings(project={}), "`project`, and it has no value"),
        ({"ACME_PROJECT": "a/b"}, {}, "`project`, and $ACME_PROJECT does not hold one step of a path"),
        ({"ACME_PROJECT": ".."}, {}, "$ACME_PROJECT does not hold one step of a path"),
        ({"ACME_PROJECT": "p", "ACME_REGION": "x@evil.example"}, {}, "$ACME_REGION does not hold the name of a server"),
        ({"ACME_PROJECT": "p", "ACME_REGION": "evil.example/"}, {}, "$ACME_REGION does not hold the name of a server"),
        ({}, {"base_url": "https://{host}/v1", "base_url_env": "HOST", **settings(host={})}, "$HOST is not set"),
    ],
)
def test_a_setting_without_a_value_is_an_error_when_the_provider_is_used(environment, more, reason):
    acme = card(more, **environment)
    with pytest.raises(SetupError, match=re.escape(reason)) as caught:
        require_place(acme)
    name = re.search(r"setting `(\w+)`", caught.value.message)[1]
    assert (caught.value.code, caught.value.hint) == ("missing_setting", f"providers.acme.settings.{name}=...")


@pytest.mark.parametrize(
    ("more", "where", "message"),
    [
        ({"base_url": "https://{regoin}.acme.example"}, "acme.base_url", "`regoin` in `base_url` is no setting"),
        ({"base_url": "https://{Region}.acme.example"}, "acme.base_url", "`Region` in `base_url` is no setting"),
        ({"base_url": "https://x.example/{"}, "acme.base_url", "`{` in `base_url` is no setting"),
        ({"headers": {"x-a": "{projet}"}}, "acme.headers.x-a", "`projet` in `x-a` is no setting"),
        ({"query": {"a": "{projet}"}}, "acme.query.a", "`projet` in `a` is no setting"),
        (settings(region={"default": "a/b"}), "acme.settings.region", "is not the name of a server"),
        (settings(region="a b"), "acme.settings.region", "is not the name of a server"),
        (settings(project="a/b"), "acme.settings.project", "is not one step of a path"),
        (settings(version="a\r\nb"), "acme.settings.version", "is not one line"),
        (settings(region={"evn": "A"}), "acme.settings.region.evn", "`region` has no `evn`"),
        (settings(region=[1]), "acme.settings.region", "is a text"),
        ({"origins": ["https://x.example/path"]}, "acme.origins[0]", "an origin is https://"),
    ],
)
def test_what_a_file_must_not_say(more, where, message):
    with pytest.raises(PipelineInvalid) as caught:
        card(more, ACME_PROJECT="p")
    assert where in [problem.where for problem in caught.value.problems]
    assert message in str(caught.value)


def test_a_quirk_may_name_a_setting_and_hold_slots_of_its_own():
    quirks = {"quirks": {"add": {"a": ["{account}", "{slot}"]}}, **settings(account={"env": "ACCOUNT"})}
    assert card(quirks, ACME_PROJECT="p").unset == {"account": "$ACCOUNT is not set"}
    assert card(quirks, ACME_PROJECT="p", ACCOUNT="7").settings["account"] == "7"


def test_a_template_names_settings_of_its_provider():
    def loaded(slot):
        quirks = {"templates": {"chat": {"path": "/run", "body": {"a": ["{prompt}", slot]}, "text": "answer"}}}
        more = {"wire": {"chat": "http_template"}, "quirks": quirks, "models": {"m": {"quirks": quirks}}}
        return card_of(ACME | more, "acme", Origin("acme.yaml"), check_quirks, {"ACME_PROJECT": "p"})

    assert loaded("{region}").settings["region"] == "us-1"
    with pytest.raises(PipelineInvalid) as caught:
        loaded("{regoin}")
    way, hint = "quirks.templates.chat.body.a[1]", "did you mean `region`?"
    found = [(problem.where, problem.hint) for problem in caught.value.problems]
    assert found == [(f"acme.{way}", hint), (f"acme.models.m.{way}", hint)]


@given(st.text(max_size=12))
def test_no_value_leads_to_another_server(value):
    acme = card(settings(region={"env": "R"}), ACME_PROJECT="p", R=value)
    if "region" not in acme.unset:
        assert origin_of(acme.base_url)[1].endswith(".acme.example")
        assert acme.base_url.startswith(f"https://run.{value.strip()}.acme.example/v1/")


def test_an_override_gives_a_setting_that_the_file_knows(tmp_path):
    (tmp_path / "acme.yaml").write_text("")

    def loaded(**given):
        return load_catalog([tmp_path], lambda path: ACME, {"acme": {"settings": given}}, environment={})

    acme = loaded(region="eu-1", project="p").providers["acme"]
    assert acme.base_url == "https://run.eu-1.acme.example/v1/projects/p"
    with pytest.raises(PipelineInvalid) as caught:
        loaded(regoin="eu-1").providers["acme"]
    (problem,) = caught.value.problems
    assert (problem.code, problem.where, problem.hint) == (
        "unknown_field", "acme.settings.regoin", "did you mean `region`?")  # fmt: skip


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://acme.example/x", True),
        ("https://stream.acme.example:443/x", True),
        ("http://stream.acme.example/x", False),
        ("http://stream.acme.example:443/x", False),
        ("https://acme.example.evil.example/x", False),
        ("https://acme.example@evil.example/x", False),
    ],
)
def test_which_servers_are_the_provider_s_own(url, own):
    acme = card({"base_url": "https://acme.example", "origins": ["https://stream.acme.example"]}, ACME_PROJECT="p")
    if own:
        require_own(acme, url)
        return
    with pytest.raises(ProviderFailure) as caught:
        require_own(acme, url)
    assert caught.value.code == "redirect_refused"
