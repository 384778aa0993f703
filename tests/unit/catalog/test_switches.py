"""Settings that follow another: which server a place has, and that no value leads to another one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.addresses import origin_of, require_place
from flowllm.catalog import card_of
from flowllm.core.errors import PipelineInvalid, SetupError
from flowllm.core.origin import Origin

HOST = {
    "switch": "place",
    "cases": {"global": "run.acme.example", "eu": "run.eu.acme.example"},
    "default": "{place}-run.acme.example",
}
ACME = {
    "base_url": "https://{host}/v1/places/{place}",
    "settings": {"place": {"env": ["PLACE"], "default": "global"}, "host": HOST},
}


def card(host=None, environment=None, **place):
    settings = {"place": {**ACME["settings"]["place"], **place}, "host": HOST if host is None else host}
    return card_of(ACME | {"settings": settings}, "acme", Origin("acme.yaml"), None, environment or {})


@pytest.mark.parametrize(
    ("environment", "written", "base_url"),
    [
        ({}, {}, "https://run.acme.example/v1/places/global"),
        ({"PLACE": "eu"}, {}, "https://run.eu.acme.example/v1/places/eu"),
        ({"PLACE": "east-1"}, {}, "https://east-1-run.acme.example/v1/places/east-1"),
        ({}, {"default": "west-4"}, "https://west-4-run.acme.example/v1/places/west-4"),
    ],
)
def test_a_place_has_a_server(environment, written, base_url):
    acme = card(environment=environment, **written)
    require_place(acme)
    assert acme.base_url == base_url


def test_a_server_may_be_said():
    acme = card("my.example", {"PLACE": "eu"})
    require_place(acme)
    assert acme.base_url == "https://my.example/v1/places/eu"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"PLACE": "evil.example/x"}, "$PLACE does not hold"),
        ({"PLACE": "evil.example#"}, "$PLACE does not hold"),
        ({"PLACE": "evil.example:1"}, "$PLACE does not hold the name of a server"),
        ({}, "`place`, and $PLACE is not set"),
    ],
)
def test_a_value_that_is_no_place_is_an_error_when_the_provider_is_used(environment, reason):
    acme = card(environment=environment, **({} if environment else {"default": None}))
    with pytest.raises(SetupError, match=re.escape(reason)) as found:
        require_place(acme)
    assert found.value.hint == "providers.acme.settings.place=..."


@pytest.mark.parametrize(
    ("host", "where", "message"),
    [
        ({**HOST, "switch": "plaec"}, "acme.settings.host.switch", "`plaec` in `switch` is no setting"),
        ({**HOST, "switch": "host"}, "acme.settings.host.switch", "`host` in `switch` is no setting"),
        ({**HOST, "default": "{plaec}.acme.example"}, "acme.settings.host.default", "`plaec` in `default`"),
        ({**HOST, "default": "{place}/acme.example"}, "acme.settings.host", "is not the name of a server"),
        ({**HOST, "cases": {"eu": "a.example/b"}}, "acme.settings.host", "`a.example/b` of the setting `host`"),
        ({"switch": "place"}, "acme.settings.host", "needs a `default`"),
        ({**HOST, "env": "HOST"}, "acme.settings.host", "takes no `env`"),
        ({"cases": {"eu": "a"}}, "acme.settings.host", "need a `switch`"),
    ],
)
def test_what_a_file_must_not_say(host, where, message):
    with pytest.raises(PipelineInvalid) as found:
        card(host)
    assert where in [problem.where for problem in found.value.problems]
    assert message in str(found.value)


@given(st.text(max_size=12))
def test_no_value_leads_to_another_server(value):
    acme = card(environment={"PLACE": value})
    if "place" not in acme.unset:
        assert origin_of(acme.base_url)[1].endswith("run.acme.example") or value.strip() == "eu"
        assert acme.base_url.endswith(f".acme.example/v1/places/{value.strip() or 'global'}")
