"""Values checked by pydantic models: what the model makes of them, and exact places of what is wrong."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flowllm.text.json_schema import check_schema
from flowllm.text.pydantic_models import ERRORS, checked, schema_of


class Line(BaseModel):
    article: str
    amount: Annotated[int, Field(gt=0)] = 1


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    lines: list[Line]
    due: dt.date | None = None
    price: Decimal | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    from_: str = Field("", alias="from")

    @field_validator("due")
    @classmethod
    def _later(cls, due):
        if due is not None and due.year < 2000:
            raise ValueError("The day is long past")
        return due

    @model_validator(mode="after")
    def _asked(self):
        assert self.lines, "Nothing is ordered"
        return self


PLAIN = {"lines": [{"article": "tar", "amount": 1}], "due": None, "price": None, "pet": None, "from": ""}
TAR = [{"article": "tar"}]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"lines": TAR}, {}),
        ({"lines": TAR, "due": "2026-11-22"}, {"due": "2026-11-22"}),
        ({"lines": TAR, "price": 1.5, "from": "me"}, {"price": "1.5", "from": "me"}),
        ({"lines": TAR, "pet": {"kind": "cat", "lives": "9"}}, {"pet": {"kind": "cat", "lives": 9}}),
    ],
)
def test_what_the_model_makes_of_a_value_is_json(given, made):
    assert checked(Order, given) == ({**PLAIN, **made}, [])


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({}, ["$.lines: field required"]),
        ({"lines": []}, ["$: nothing is ordered"]),
        ({"lines": [*TAR, {"article": 3, "amount": 0}]}, [
            "$.lines[1].article: input should be a valid string",
            "$.lines[1].amount: input should be greater than 0",
        ]),
        ({"lines": TAR, "due": "1999-01-01"}, ["$.due: the day is long past"]),
        ({"lines": TAR, "other": 1}, ["$.other: extra inputs are not permitted"]),
        ({"lines": TAR, "pet": {"kind": "cat"}}, ["$.pet.lives: field required"]),
        ([], ["$: input should be an object"]),
        ({"lines": TAR, "price": float("nan")}, ["$: expected JSON"]),
        ({"lines": object()}, ["$: expected JSON"]),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_exact_place(given, errors):
    value, found = checked(Order, given)
    assert (value, found) == (given, errors)


def test_errors_never_repeat_the_value():
    _, (error,) = checked(Order, {"lines": [{"article": "x", "amount": "my secret words"}]})
    assert "secret" not in error


def test_many_errors_are_cut_short():
    _, errors = checked(Order, {"lines": [{}] * 100})
    assert (len(errors), errors[-1]) == (ERRORS + 1, "$: and more")


def test_a_value_that_nests_too_deep_is_an_error():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert checked(Order, deep)[1] == ["$: the value nests too deep"]


def test_a_model_gives_its_json_schema_or_says_why_not():
    class Odd(BaseModel):
        work: Callable[[], int]

    assert set(schema_of(Order)["properties"]) == set(PLAIN)
    assert check_schema(schema_of(Order)) == []
    with pytest.raises(ValueError, match="JsonSchema"):
        schema_of(Odd)


class Span(BaseModel):
    pair: tuple[int, int]


@pytest.mark.parametrize("pair", [[1], [], [1, "x"], [1, 2, 3]])
def test_a_pair_of_another_length_has_a_place(pair):
    _, errors = checked(Span, {"pair": pair})
    assert errors
    assert all(error.startswith("$.pair") for error in errors)
