"""Whether, when and with whom a cluster is formed; what stands in the way is said in one line."""

from dataclasses import replace

import pytest

from sentinel_py.raft.formation import (
    ChangeId,
    Found,
    Join,
    Place,
    Wait,
    advice,
    decide,
    refusal,
)
from sentinel_py.raft.identity import Phase
from sentinel_py.raft.questions import Prepare, Standing

IDS = ("a", "b", "c")


def standing(run_id, phase=Phase.SEEKING, cluster="", listed=IDS, members=()):
    known = {member: f"{member}:1" for member in members}
    return Standing(run_id, cluster, phase, tuple(listed), (), tuple(members), known, (), "")


def place(run_id, **about):
    return Place(f"{run_id}:1", run_id, standing(run_id, **about))


def own(run_id="a"):
    return Place(f"{run_id}:1", run_id, None)


def decided(*places, own_id="a", phase=Phase.SEEKING):
    return decide(own_id, phase, places)


def test_the_lowest_id_founds_the_cluster_once_all_agree():
    """Everybody is there, new, and lists the same set; the order of the list is of no matter."""
    expected = Found({"a": "a:1", "b": "b:1", "c": "c:1"})
    assert decided(own(), place("b"), place("c")) == expected
    assert decided(place("c"), own(), place("b")) == expected
    assert decided(own(), place("b", phase=Phase.PREPARED, cluster="x"), place("c")) == expected


def test_the_others_wait_for_the_lowest_id():
    """Only one founds, and the others say for whom they wait."""
    places = (place("a"), own("b"), place("c"))
    assert decided(*places, own_id="b") == Wait("waiting for a:1 to found the cluster")


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        (Place("c:1", None, None, "Connection refused"), "c:1 (Connection refused)"),
        (Place("c:1", "c", None), "waiting for an answer of c:1"),
        (place("c", listed=()), "until c:1 has found all"),
        (place("c", listed=("a", "b", "c", "d")), "c:1 has another set"),
        (place("c", listed=("a", "c")), "c:1 has another set"),
        (place("c", phase=Phase.CLASSIC, listed=()), "c:1 has no raft-peers"),
        (place("c", phase=Phase.REMOVED, cluster="x"), "c:1 was removed from Raft cluster x"),
        (Place("other:1", "b", standing("b")), "names one sentinel twice: b:1 and other:1"),
    ],
)
def test_nothing_is_founded_while_something_is_odd(odd, text):
    """Each hindrance has its own text."""
    decision = decided(own(), place("b"), odd)
    assert isinstance(decision, Wait)
    assert text in decision.text


def test_a_list_without_this_sentinel_founds_nothing():
    """Whoever is not in the list cannot be in its cluster."""
    decision = decided(place("b"), place("c"))
    assert decision == Wait("raft-peers does not name this sentinel")


def test_a_cluster_that_exists_takes_nobody_it_does_not_know():
    """A sentinel that is not a member is told how to become one."""
    decision = decided(own(), place("b", phase=Phase.MEMBER, cluster="x", members="bc"))
    assert isinstance(decision, Wait)
    assert "to be added to Raft cluster x" in decision.text


def test_a_promise_is_kept_when_the_cluster_exists():
    """A founding member that was killed in between takes its place; one member's word is enough."""
    by = place("b", phase=Phase.MEMBER, cluster="x", members="abc")
    gone = Place("c:1", None, None, "Connection refused")
    assert decided(own(), by, gone, phase=Phase.PREPARED) == Join(by.standing)


def test_an_id_without_its_journal_is_given_up():
    """A lost disk must not vote twice: the cluster knows the id, and here nothing is left of it."""
    by = place("b", phase=Phase.MEMBER, cluster="x", members="abc")
    decision = decided(own(), by, place("c"))
    assert isinstance(decision, ChangeId)
    assert "SENTINEL RAFT REMOVE a" in decision.text


def test_members_of_different_clusters_are_named():
    """Nobody joins one of two."""
    one = place("b", phase=Phase.MEMBER, cluster="x", members="ab")
    other = place("c", phase=Phase.MEMBER, cluster="y", members="ac")
    assert decided(own(), one, other) == Wait(
        "raft-peers names members of different Raft clusters: x and y"
    )


PREPARE = Prepare("x", {"a": "a:1", "b": "b:1", "c": "c:1"}, by_order=False)


def refused(question=PREPARE, *, own_id="b", asker="a", is_listed=True, listed=IDS, knows=()):
    return refusal(
        question, own_id=own_id, asker=asker, is_listed=is_listed, listed=listed, knows=knows
    )


def test_a_promise_is_given_to_the_lowest_id_for_the_listed_set():
    """Anything else is refused with its reason."""
    assert not refused()
    assert "another set" in refused(listed=("a", "b"))
    assert "another set" in refused(listed=())
    assert "another one" in refused(asker="c")
    assert "without one of us" in refused(asker="d")
    assert "without one of us" in refused(own_id="d")


def test_a_classic_group_is_formed_by_any_of_its_sentinels():
    """But not around one that has a list, nor past a sentinel that somebody knows."""
    by_order = replace(PREPARE, by_order=True)
    classic = {"is_listed": False, "listed": ()}
    assert not refused(by_order, **classic, asker="c", knows=("a", "c"))
    assert "raft-peers of its own" in refused(by_order)
    assert "it knows d" in refused(by_order, **classic, knows=("a", "d"))


@pytest.mark.parametrize(("count", "text"), [(1, "one member"), (2, "loss of 0"), (4, "loss of 1")])
def test_a_number_that_survives_less_than_it_seems_is_warned_of(count, text):
    """Even numbers and a single one are allowed, with a warning."""
    assert text in advice(count)
    assert not advice(count + 1 if count > 1 else 3)
