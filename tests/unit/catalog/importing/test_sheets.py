"""YAML of one provider as ExLLM writes it."""

import pytest

from flowllm.catalog.importing.sheets import read_sheet
from flowllm.catalog.importing.table import NotATable
from flowllm.catalog.registry_rows import Head, row_of

HEAD = Head("exllm", "1", "2026-11-22")


def sheet(row, id_="m", provider="acme"):
    return read_sheet({"provider": provider, "default_model": id_, "models": {id_: row}}, HEAD)


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({}, {}),
        ({"context_window": 4096, "max_output_tokens": 512}, {"context": 4096, "output": 512}),
        (
            {"pricing": {"input": 0.15, "output": "0.60", "reasoning": 1}},
            {"prices": [["input", "0.00000015"], ["output", "0.0000006"], ["reasoning", "0.000001"]]},
        ),
        ({"pricing": {"input": 0}}, {"prices": [["input", "0"]]}),
        ({"pricing": {"input": 0.30000000000000004}}, {"prices": [["input", "0.0000003"]]}),
        ({"pricing": {"input": "4e-07"}}, {"prices": [["input", "0.0000000000004"]]}),
        (
            {"capabilities": ["function_calling", "vision", "streaming", "dancing"]},
            {"supports": ["images", "streaming", "tools"]},
        ),
        ({"mode": "embedding"}, {"mode": "embed"}),
        ({"supported_modalities": ["text", "image"]}, {"reads": ["text", "image"]}),
        ({"deprecation_date": "2027-01-31"}, {"deprecated": "2027-01-31"}),
        (
            {"source": "https://x.example", "pricing": {"input": 1}},
            {"source": "https://x.example", "prices": [["input", "0.000001"]]},
        ),
    ],
)
def test_what_a_row_tells(row, known):
    assert row_of(sheet(row).models["acme"]["m"]) == known


@pytest.mark.parametrize(
    ("row", "fault", "name"),
    [
        ({"colour": "red"}, "unknown_key", "acme/m: colour"),
        ({"pricing": {"smile": 1}}, "unknown_key", "acme/m: pricing.smile"),
        ({"pricing": {"input": -1}}, "bad_number", "acme/m: pricing.input"),
        ({"pricing": {"input": True}}, "bad_number", "acme/m: pricing.input"),
        ({"pricing": {"input": "1e999999"}}, "bad_number", "acme/m: pricing.input"),
        ({"pricing": {"input": "free"}}, "bad_number", "acme/m: pricing.input"),
        ({"context_window": 0}, "bad_number", "acme/m: context_window"),
        ({"deprecation_date": "soon"}, "bad_number", "acme/m: deprecation_date"),
        ({"mode": "chat"}, "no_input_price", "acme/m"),
    ],
)
def test_faults(row, fault, name):
    assert name in sheet(row).faults[fault]


@pytest.mark.parametrize(("id_", "row"), [("", {}), ("a\nb", {}), (7, {}), ("m", [])])
def test_what_is_no_model_is_left_out(id_, row):
    found = sheet(row, id_)
    assert (found.models, sum(map(len, found.skipped.values()))) == ({"acme": {}}, 1)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"provider": "acme"},
        {"models": {}},
        {"provider": 7, "models": {}},
        {"provider": "../a", "models": {}},
    ],
)
def test_what_is_no_sheet(value):
    with pytest.raises(NotATable):
        read_sheet(value, HEAD)


def test_a_provider_has_flowllms_name():
    assert list(sheet({}, provider="fireworks_ai").models) == ["fireworks"]
