"""What pydantic refuses, in the user's words: code, sentence, place and a hint that can be pasted."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flowllm.text.misfits import misfits, unknown_word

PATTERN = "written with small letters, digits, `_`, `.` and `-`"
LONG, LONGEST_TOLD = "y" * 25, "y" * 24


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 1
    kind: Literal["cat", "dog"] = "cat"
    deeper: "list[Inner]" = []


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    need: str
    name: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
    count: Annotated[int, Field(ge=1, lt=9)] = 1
    share: Annotated[float, Field(gt=0)] = 1
    part: Annotated[float, Field(le=1)] = 1
    flag: bool = True
    items: Annotated[list[str], Field(min_length=1, alias="list")] = ["a"]
    inner: Inner = Inner()
    inners: list[Inner] = []
    named: dict[str, Inner] = {}
    words: dict[Literal["a", "b"], int] = {}
    either: int | bool | None = None
    one: Inner | list[Inner] | None = None
    bag: set[str] = set()
    some: frozenset[str] = frozenset()
    pair: tuple[int, int] = (1, 2)
    at: str = "x"
    turn: Literal["", "left"] = ""

    @field_validator("at")
    @classmethod
    def _place(cls, value):
        if value == "bad":
            raise ValueError("`bad` is no place")
        return value


EXAMPLES = {"count": "4", "need": "word", "at": "here", "list": "[a]"}


def found(data):
    with pytest.raises(ValidationError) as refused:
        Thing.model_validate(data)
    return list(misfits(refused.value, data, Thing, "the thing", EXAMPLES))


BAD_VALUES = [
    ({"name": "A"}, ("name",), f"`name` is {PATTERN}, not `A`", "name: word"),
    ({"name": 3}, ("name",), "`name` is a text, not `3`", "name: word"),
    ({"need": None}, ("need",), "`need` is a text, not `null`", "need: word"),
    ({"count": 0}, ("count",), "`count` is at least 1, not `0`", "count: 4"),
    ({"count": 9}, ("count",), "`count` is below 9, not `9`", "count: 4"),
    ({"count": 1.5}, ("count",), "`count` is a whole number, not `1.5`", "count: 4"),
    ({"count": "x"}, ("count",), "`count` is a whole number, not `x`", "count: 4"),
    ({"count": LONGEST_TOLD}, ("count",), f"`count` is a whole number, not `{LONGEST_TOLD}`", "count: 4"),
    ({"count": LONG}, ("count",), "`count` is a whole number", "count: 4"),
    ({"count": [LONG]}, ("count",), "`count` is a whole number, not a list", "count: 4"),
    ({"count": (1,)}, ("count",), "`count` is a whole number, not a list", "count: 4"),
    ({"count": {"a": LONG}}, ("count",), "`count` is a whole number, not a mapping", "count: 4"),
    ({"share": "x"}, ("share",), "`share` is a number, not `x`", "share: 0.5"),
    ({"share": 0}, ("share",), "`share` is above 0.0, not `0`", ""),
    ({"part": 2}, ("part",), "`part` is not right: input should be less than or equal to 1, not `2`", ""),
    ({"flag": "maybe"}, ("flag",), "`flag` is true or false, not `maybe`", "flag: true"),
    ({"list": []}, ("list",), "`list` needs at least 1", "list: [a]"),
    ({"list": 3}, ("list",), "`list` is a list, not `3`", "list: [a]"),
    ({"inners": "x"}, ("inners",), "`inners` is a list, not `x`", "inners: [word]"),
    ({"some": 3}, ("some",), "`some` is a list, not `3`", None),
    ({"bag": 3}, ("bag",), "`bag` is a list, not `3`", "bag: [word]"),
    ({"pair": 3}, ("pair",), "`pair` is a list, not `3`", "pair: [word]"),
    ({"inner": 3}, ("inner",), "`inner` is a mapping, not `3`", "inner: {name: ...}"),
    ({"named": 3}, ("named",), "`named` is a mapping, not `3`", "named: {name: ...}"),
    ({"inners": [{}, 3]}, ("inners", 1), "`inners[1]` is a mapping, not `3`", ""),
    ({"inner": {"size": [1]}}, ("inner", "size"), "`size` is a whole number, not a list", "size: 1"),
    ({"inner": {"kind": "cta"}}, ("inner", "kind"), "`kind` is cat or dog, not `cta`", "did you mean `cat`?"),
    ({"inner": {"kind": "zzzzzz"}}, ("inner", "kind"), "`kind` is cat or dog, not `zzzzzz`", "kind: cat"),
    ({"either": "x"}, ("either",), "`either` is a whole number or true or false, not `x`", "either: 1"),
    ({"one": [{"size": "x"}]}, ("one", 0, "size"), "`size` is a whole number, not `x`", "size: 1"),
    ({"turn": "up"}, ("turn",), "`turn` is left, not `up`", "turn: left"),
    ({"at": "bad"}, ("at",), "`bad` is no place", "at: here"),
]


@pytest.mark.parametrize(("data", "steps", "message", "hint"), BAD_VALUES)
def test_a_bad_value(data, steps, message, hint):
    (misfit,) = found({"need": "x", **data})
    assert (misfit.code, misfit.part, misfit.steps, misfit.message) == ("bad_value", "value", steps, message)
    assert hint is None or misfit.hint == hint


@pytest.mark.parametrize(
    ("data", "code", "steps", "message", "hint"),
    [
        ({"neeed": 1}, "unknown_field", ("neeed",), "the thing has no `neeed`", "did you mean `need`?"),
        ({"lits": 1}, "unknown_field", ("lits",), "the thing has no `lits`", "did you mean `list`?"),
        ({"inner": {"sise": 1}}, "unknown_field", ("inner", "sise"), "`inner` has no `sise`", "did you mean `size`?"),
        (
            {"inners": [{}, {"sise": 1}]},
            "unknown_field",
            ("inners", 1, "sise"),
            "`inners[1]` has no `sise`",
            "did you mean `size`?",
        ),
        (
            {"named": {"x": {"sise": 1}}},
            "unknown_field",
            ("named", "x", "sise"),
            "`x` has no `sise`",
            "did you mean `size`?",
        ),
        (
            {"inner": {"deeper": [{"zzz": 1}]}},
            "unknown_field",
            ("inner", "deeper", 0, "zzz"),
            "`deeper[0]` has no `zzz`",
            "known here: deeper, kind, size",
        ),
        ({"words": {"c": 1}}, "unknown_field", ("words", "c"), "`words` has no `c`", "known here: a, b"),
        ({"named": {3: {}}}, "bad_key", ("named", 3), "key 3 is not a string; quote it", '"3":'),
    ],
)
def test_a_bad_key(data, code, steps, message, hint):
    (misfit,) = found({"need": "x", **data})
    assert (misfit.code, misfit.part, misfit.steps, misfit.message) == (code, "key", steps, message)
    assert misfit.hint == hint


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [({}, "the thing needs `need`", "need: word"), (3, "the thing is a mapping, not `3`", None)],
)
def test_what_is_wrong_with_the_whole_has_no_steps(data, message, hint):
    (misfit,) = found(data)
    assert (misfit.steps, misfit.message) == ((), message)
    assert hint is None or (misfit.code, misfit.hint) == ("missing_field", hint)


class Holder(BaseModel):
    thing: Thing


def test_a_missing_part_is_of_what_lacks_it():
    with pytest.raises(ValidationError) as refused:
        Holder.model_validate({"thing": {}})
    (misfit,) = misfits(refused.value, {"thing": {}}, Holder, "the holder", {})
    assert (misfit.code, misfit.steps, misfit.hint) == ("missing_field", ("thing",), "need: ...")
    assert misfit.message == "`thing` needs `need`"


def test_every_part_that_is_wrong_is_told():
    data = {"need": 3, "count": 0, "inner": {"size": "x", "sise": 1}}
    assert {misfit.steps for misfit in found(data)} == {("need",), ("count",), ("inner", "size"), ("inner", "sise")}


def test_of_a_union_only_the_deepest_finding_counts():
    assert [misfit.steps for misfit in found({"need": "x", "one": {"size": "x"}})] == [("one", "size")]


@pytest.mark.parametrize(
    ("known", "hint"), [(["b", "a"], "known here: a, b"), ([], ""), (["wird", "b"], "did you mean `wird`?")]
)
def test_an_unknown_word(known, hint):
    misfit = unknown_word("word", known, "`it`", ("it", "word"))
    assert (misfit.code, misfit.message, misfit.hint) == ("unknown_field", "`it` has no `word`", hint)
    assert (misfit.steps, misfit.part) == (("it", "word"), "key")
