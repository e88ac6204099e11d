"""What the sentinels publish during a failover: names, payloads and order as documented."""

import re
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest

from sentinel_py.local import HOST, Sandbox

from .group import NAME, Listener, new_master, settle, start_cluster, start_sentinels, watch

ADDRESS = r"127\.0\.0\.1 \d+"
MASTER = rf"master {NAME} {ADDRESS}"
REPLICA = rf"slave 127\.0\.0\.1:\d+ {ADDRESS} @ {NAME} {ADDRESS}"
PEER = rf"sentinel [0-9a-f]{{40}} {ADDRESS} @ {NAME} {ADDRESS}"
ROLE = rf"({MASTER}|{REPLICA}) new reported role is (master|slave)"

SHAPES = {
    "+sdown": rf"{MASTER}|{REPLICA}|{PEER}",
    "-sdown": rf"{MASTER}|{REPLICA}|{PEER}",
    "+odown": rf"{MASTER} #quorum \d/\d",
    "-odown": MASTER,
    "+new-epoch": r"\d+",
    "+try-failover": MASTER,
    "+vote-for-leader": r"[0-9a-f]{40} \d+",
    "-failover-abort-not-elected": MASTER,
    "+elected-leader": MASTER,
    "+failover-state-select-slave": MASTER,
    "+selected-slave": REPLICA,
    "+failover-state-send-slaveof-noone": REPLICA,
    "+failover-state-wait-promotion": REPLICA,
    "+promoted-slave": REPLICA,
    "+failover-state-reconf-slaves": MASTER,
    "+slave-reconf-sent": REPLICA,
    "+slave-reconf-inprog": REPLICA,
    "+slave-reconf-done": REPLICA,
    "+failover-end": MASTER,
    "+config-update-from": PEER,
    "+switch-master": rf"{NAME} {ADDRESS} {ADDRESS}",
    "+slave": REPLICA,
    "+sentinel": PEER,
    "+role-change": ROLE,
    "-role-change": ROLE,
    "+convert-to-slave": REPLICA,
    "+fix-slave-config": REPLICA,
    "+reboot": rf"{MASTER}|{REPLICA}",
}

WINNING_ATTEMPT = [
    "+new-epoch",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+failover-state-select-slave",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+failover-state-reconf-slaves",
    "+slave-reconf-sent",
    "+slave-reconf-inprog",
    "+slave-reconf-done",
    "+failover-end",
]
PEERS_ORDER = ["+new-epoch", "+vote-for-leader", "+config-update-from", "+switch-master"]


def of_the_master(heard):
    """Without what is said about other nodes under names that the failover uses too."""
    return [(name, text) for name, text in heard if not name.endswith("sdown") or "@" not in text]


def last(names, name):
    return len(names) - 1 - names[::-1].index(name)


def in_order(names, expected):
    """The first occurrences of the expected names, in the order in which they came."""
    return sorted(expected, key=names.index)


@dataclass(frozen=True)
class Story:
    """What each sentinel published while the master was lost and replaced; the leader first."""

    heard: list[list[tuple[str, str]]]
    old_port: int
    new_port: int


@pytest.fixture(scope="module")
def story(program):
    """One failover, told once for all tests here."""
    with Sandbox() as box, ExitStack() as stack:
        cluster = start_cluster(box)
        sentinels = start_sentinels(box, watch(cluster), program)
        settle(sentinels, cluster)
        listeners = [stack.enter_context(closing(Listener(one))) for one in sentinels]
        cluster.master.kill()
        new_port = new_master(sentinels, cluster.master)
        leader = next(one for one in listeners if "+elected-leader" in one.names())
        leader.wait("+failover-end", f"master {NAME} ")
        for listener in listeners:
            listener.wait("+switch-master")
        listeners.sort(key=lambda one: one is not leader)
        return Story([one.heard() for one in listeners], cluster.master.port, new_port)


def test_every_notice_has_a_documented_name_and_shape(story):
    """Clients match on these texts: nothing else may be published, and no other shape."""
    for name, text in (notice for heard in story.heard for notice in heard):
        assert name in SHAPES, (name, text)
        assert re.fullmatch(SHAPES[name], text), (name, text)


def test_the_leader_tells_its_steps_in_order(story):
    """Down, agreed, then from the new epoch to the end: each step is told once it is done."""
    names = [name for name, _ in of_the_master(story.heard[0])]
    # Before the attempt that wins there may be others, when the votes were split.
    start = last(names[: names.index("+elected-leader")], "+new-epoch")
    assert names.index("+sdown") < names.index("+odown") < start
    assert in_order(names[start:], WINNING_ATTEMPT) == WINNING_ATTEMPT


def test_the_other_sentinels_tell_the_switch(story):
    """A peer votes, learns the new address from the leader's hello, and says from whom."""
    for heard in story.heard[1:]:
        names = [name for name, _ in of_the_master(heard)]
        assert in_order(names, PEERS_ORDER) == PEERS_ORDER
        assert names[names.index("+switch-master") - 1] == "+config-update-from"


def test_all_sentinels_announce_the_same_switch_once(story):
    """+switch-master names the old and the new address; clients reconnect on it."""
    expected = f"{NAME} {HOST} {story.old_port} {HOST} {story.new_port}"
    for heard in story.heard:
        assert [text for name, text in heard if name == "+switch-master"] == [expected]
