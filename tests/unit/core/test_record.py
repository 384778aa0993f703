"""Records do what frozen dataclasses with slots do, but for watching assignments."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, InitVar, dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest

from flowllm.core.record import FEW, record


@record
class Point:
    """Two fields that count, and one that does not."""

    x: float
    y: Any = 0
    note: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Frozen:
    """The same, made by the standard library."""

    x: float
    y: Any = 0
    note: str = field(default="", compare=False)


@record
class Deep(Point):
    """A point with depth."""

    z: int = 0


@record
class Empty:
    """Nothing."""


@record(kw_only=True)
class Named:
    """Fields by name alone, one of them not shown; with words of its own."""

    key: str = field(repr=False)
    place: str = ""

    def __hash__(self) -> int:
        return 7


NAN = float("nan")
PAIRS = [((1,), (1,)), ((1,), (2,)), ((1, 2), (1, 3)), ((1, 2, "a"), (1, 2, "b")), ((1,), (1.0,)), ((NAN,), (1,))]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_records_compare_and_hash_as_frozen_dataclasses_do(left, right):
    assert (Point(*left) == Point(*right)) is (Frozen(*left) == Frozen(*right))
    assert (hash(Point(*left)) == hash(Point(*right))) is (hash(Frozen(*left)) == hash(Frozen(*right)))


def test_records_of_two_classes_differ():
    assert Point(1) != Deep(1)
    assert Deep(1) != Point(1)
    assert Point(1) != Frozen(1)
    assert Point(1) != (1, 0)
    assert Deep(1, z=2) == Deep(1, z=2)
    assert Deep(1, z=2) != Deep(1, z=3)
    assert Empty() == Empty()
    assert len({Point(1), Point(1), Deep(1), Deep(1, z=1), Empty(), Empty()}) == 4


def test_a_field_without_a_hash_has_none():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1, []))


def test_a_record_is_shown_with_its_fields():
    assert repr(Deep(1, "a", z=3)) == "Deep(x=1, y='a', note='', z=3)"
    assert repr(Point(1, "a")) == repr(Frozen(1, "a")).replace("Frozen", "Point")
    assert repr(Empty()) == "Empty()"


def test_options_and_methods_of_its_own_hold():
    named = Named(key="secret")
    assert repr(named) == "Named(place='')"
    assert hash(named) == 7
    with pytest.raises(TypeError, match="positional"):
        Named("secret")


@record
class Kept:
    """Made into no object before its constructor is looked at; it looks at itself when it is made."""

    size: int
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(self.size)


class Heir(Kept):
    """No record, but made as one."""

    __slots__ = ()


def test_the_constructor_is_that_of_a_dataclass():
    assert str(inspect.signature(Kept)) == "(size: int, names: list[str] = <factory>) -> None"
    assert str(inspect.signature(Point)) == str(inspect.signature(Frozen))
    first, later = fresh(kw_only=True), fresh(kw_only=True)
    for _ in range(FEW + 1):
        later(size=1)
    assert str(inspect.signature(first)) == str(inspect.signature(later))
    assert not inspect.isfunction(vars(first)["__init__"])
    assert Heir(3).names == [] == Kept(3).names
    assert Heir(3).names is not Heir(3).names
    for made in (Heir, Kept):
        with pytest.raises(ValueError, match="-1"):
            made(-1)
    with pytest.raises(TypeError, match=r"Kept.__init__\(\) missing 1 required positional argument: 'size'"):
        Kept()


def fresh(**options):
    """A record of which none was made yet."""

    @record(**options)
    class Fresh:
        size: int
        names: list[str] = field(default_factory=list)
        note: str = ""
        count: int = field(default=7, init=False)
        kept: list[int] = field(default_factory=list, init=False)
        told: str = field(init=False, repr=False, compare=False)

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError(self.size)

    return Fresh


def outcome(cls, given, named):
    try:
        return repr(cls(*given, **named))
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


CALLS = [
    ((1,), {}),
    ((1, ["a"], "b"), {}),
    ((1,), {"note": "b"}),
    ((), {"note": "b", "size": 1, "names": ["a"]}),
    ((), {}),
    ((-1,), {}),
    ((1, 2, 3, 4), {}),
    ((1,), {"count": 3}),
    ((1,), {"kept": []}),
    ((1,), {"size": 1}),
    ((1,), {"other": 1}),
    ((), {"size": -1}),
]


@pytest.mark.parametrize("options", [{"frozen": True}, {"kw_only": True}])
@pytest.mark.parametrize(("given", "named"), CALLS)
def test_the_first_objects_are_made_as_all_others(options, given, named):
    first, later = fresh(**options), fresh(**options)
    for _ in range(FEW + 1):
        later(size=1)
    assert not inspect.isfunction(vars(first)["__init__"])
    assert inspect.isfunction(vars(later)["__init__"])
    assert outcome(first, given, named) == outcome(later, given, named)


def test_each_object_has_its_own_fresh_values():
    cls = fresh()
    records = [cls(1) for _ in range(FEW + 2)]
    made = [names for record in records for names in (record.names, record.kept)]
    assert all(names == [] for names in made)
    assert len({id(names) for names in made}) == len(made)


def test_a_constructor_is_compiled_once():
    cls = fresh()
    for _ in range(FEW):
        cls(1)
    assert not inspect.isfunction(vars(cls)["__init__"])
    cls(1)
    compiled = vars(cls)["__init__"]
    assert inspect.isfunction(compiled)
    assert cls(1) == cls(1)
    assert vars(cls)["__init__"] is compiled
    assert cls.__doc__ == "Fresh"


def test_a_record_that_is_not_frozen_has_no_hash():
    cls = fresh(frozen=False)
    one = cls(1)
    one.size = 2
    assert one == cls(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_without_comparing_each_is_equal_to_itself_alone():
    cls = fresh(frozen=False, eq=False)
    one, other = cls(1), cls(1)
    assert one == one  # noqa: PLR0124
    assert one != other
    assert len({one, other, one}) == 2


def test_a_record_that_holds_itself_can_be_shown():
    one = fresh(frozen=False)(1)
    one.names.append(one)
    assert repr(one).endswith("(size=1, names=[...], note='', count=7, kept=[])")


def unordered():
    @record
    class Unordered:
        most: ClassVar[int]
        size: list[int] = field(default_factory=list)
        names: list[str] = field()


def unordered_heir():
    @record
    class Heir(Point):
        depth: int


def with_a_parameter_that_is_no_field():
    @record
    class WithParameter:
        size: int
        scale: InitVar[int] = 1


def with_a_parameter_told_as_text():
    @record
    class WithParameter:
        size: int
        scale: "InitVar[int]" = 1


def with_a_field_called_self():
    @record(kw_only=True)
    class Selfish:
        self: int


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (unordered, "`names` has no default and follows `size`, which has one"),
        (unordered_heir, "`depth` has no default and follows `note`, which has one"),
        (with_a_parameter_that_is_no_field, "`scale` would be a parameter and no field"),
        (with_a_parameter_told_as_text, "`scale` would be a parameter and no field"),
        (with_a_field_called_self, "no field can be called `self`"),
    ],
)
def test_what_a_constructor_cannot_be_made_of_is_refused_when_the_class_is_made(make, words):
    with pytest.raises(TypeError, match=words):
        make()


@record
class Mixed:
    """What may stand behind a default: what is not given, what is given by its name, what is no field."""

    size: int = 1
    kept: int = field(init=False)
    most: ClassVar[int]
    name: str = field(kw_only=True)
    told: ClassVar[str] = ""


def test_what_is_not_given_in_turn_may_follow_a_default():
    assert str(inspect.signature(Mixed)) == "(size: int = 1, *, name: str) -> None"
    assert Mixed(name="a").size == 1


@record
class Counted:
    """Has a constructor of its own."""

    size: int

    def __init__(self) -> None:
        self.size = 7


def test_a_constructor_of_its_own_stays():
    assert [Counted().size for _ in range(FEW + 2)] == [7] * (FEW + 2)


def test_a_record_says_what_it_is_for():
    assert inspect.getdoc(Point) == "Two fields that count, and one that does not."
    assert inspect.getdoc(Named).startswith("Fields by name alone")


def test_what_dataclasses_offer_works():
    point = Point(1, note="here")
    assert [found.name for found in fields(Deep)] == ["x", "y", "note", "z"]
    assert replace(point, x=2) == Point(2)
    assert replace(point, x=2).note == "here"
    assert copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point
    match point:
        case Point(x, y):
            assert (x, y) == (1, 0)


def test_there_is_no_room_for_another_attribute():
    with pytest.raises((AttributeError, FrozenInstanceError)):
        Point(1).other = 2
