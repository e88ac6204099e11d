"""Our quicker decorator makes what the library's makes, but for the lock on assignment."""

import copy
import dataclasses
import pickle

import pytest

from sentinel_py import values

KINDS = {
    "value": {"frozen": True, "slots": True},
    "state": {"slots": True},
    "thing": {"slots": True, "eq": False},
}


def make(decorate):
    @decorate
    class Node:
        """Something with each kind of field."""

        host: str
        port: int = 6379
        secret: str = dataclasses.field(default="", repr=False)
        tags: list[str] = dataclasses.field(default_factory=list)
        note: str = dataclasses.field(default="", compare=False)

    @decorate
    class Nothing:
        """No field."""

    return Node, Nothing


@pytest.fixture(params=KINDS)
def pair(request):
    """The classes as ours makes them, and as the library does."""
    options = KINDS[request.param]
    return make(values.dataclass(**options)), make(dataclasses.dataclass(**options))


def traits(node, nothing):
    one = node("a", 1, secret="s", note="n")
    same, other, noted = node("a", 1, "s"), node("b", 1, "s"), node("a", 1, "s", note="m")
    return {
        "repr": (repr(one), repr(nothing())),
        "eq": (one == same, one == noted, one == other, one == "a", one == nothing()),
        "ne": (one != same, one != other),
        "no field": (nothing() == nothing(), nothing() == one),
        "hashable": node.__hash__ is not None and nothing.__hash__ is not None,
        "as dict": dataclasses.asdict(one),
        "as tuple": dataclasses.astuple(one),
        "replaced": dataclasses.asdict(dataclasses.replace(one, port=2)),
        "copied": dataclasses.astuple(copy.deepcopy(one)),
        "match": node.__match_args__,
        "slots": node.__slots__,
        "doc": node.__doc__,
        "name": (node.__qualname__, node.__module__),
    }


def test_as_the_library(pair):
    """Same text, comparisons, hash, copies, match pattern, slots and names."""
    ours, theirs = pair
    assert traits(*ours) == traits(*theirs)


def test_equal_values_are_one_key():
    """A field that is left out of the comparison is left out of the hash."""

    @values.dataclass(frozen=True, slots=True)
    class Address:
        host: str
        port: int
        note: str = dataclasses.field(default="", compare=False)

    assert {Address("a", 1), Address("a", 1, "n")} == {Address("a", 1)}
    assert Address("a", 1) not in {Address("a", 2)}


def test_equal_fields_of_another_class_are_another_value():
    """LinkUp(1) is not LinkDown(1)."""

    @values.dataclass(frozen=True, slots=True)
    class Up:
        link: int

    @values.dataclass(frozen=True, slots=True)
    class Down:
        link: int

    assert Up(1) != Down(1)


def test_a_field_that_it_lacks_cannot_be_set():
    """A misspelt field is an error when the program runs, too."""
    node, _ = make(values.dataclass(frozen=True, slots=True))
    with pytest.raises(AttributeError):
        node("a").elsewhere = 1


def test_without_slots_it_is_refused():
    """Nothing here is made for classes with a dictionary."""
    with pytest.raises(AssertionError):
        values.dataclass(slots=False)


def test_it_can_be_pickled():
    """As tools for tests do that hand values to other processes."""
    assert pickle.loads(pickle.dumps(Pickled(1, "b"))) == Pickled(1, "b")


@values.dataclass(frozen=True, slots=True)
class Pickled:
    a: int
    b: str
