"""Ours and redis-sentinel in one cluster, and one taking the place of the other on its own file."""

import shutil

import pytest

from sentinel_py.local import HOST, Sandbox

from .group import (
    NAME,
    Listener,
    ask,
    master_port,
    rows,
    start_cluster,
    start_sentinels,
    watch,
)
from .watched import Watched

ORIGINAL = ["redis-sentinel"]
pytestmark = pytest.mark.skipif(not shutil.which(*ORIGINAL), reason="no redis-sentinel on PATH")


def start_watched(box, programs):
    """Three sentinels, each by its own program, around one cluster."""
    cluster = start_cluster(box)
    lines = watch(cluster)
    sentinels = [start_sentinels(box, lines, each, count=1)[0] for each in programs]
    return Watched(cluster, sentinels)


def is_original(sentinel):
    return sentinel.argv[0] == ORIGINAL[0]


PROPORTIONS = {
    "two of ours": ["ours", "ours", "original"],
    "one of ours": ["ours", "original", "original"],
}


@pytest.fixture(scope="module", params=PROPORTIONS, ids=str)
def mixed(request, program):
    """One cluster of each proportion for all tests that leave it in order."""
    with Sandbox() as box:
        programs = {"ours": program, "original": ORIGINAL}
        yield start_watched(box, [programs[kind] for kind in PROPORTIONS[request.param]])


def test_they_find_each_other(mixed):
    """Every one of them counts on every other."""
    ids = {ask(sentinel, "SENTINEL", "MYID") for sentinel in mixed.sentinels}
    for sentinel in mixed.sentinels:
        own = ask(sentinel, "SENTINEL", "MYID")
        assert {row["runid"] for row in rows(sentinel, "SENTINELS")} == ids - {own}
        assert ask(sentinel, "SENTINEL", "CKQUORUM", NAME).startswith("OK 3 usable Sentinels.")


@pytest.mark.parametrize("led_by_original", [False, True], ids=["ours leads", "theirs leads"])
def test_a_lost_master_is_replaced_under_either_leader(mixed, led_by_original):
    """Who sees it first is elected with a vote of the other kind; all take the same master."""
    for sentinel in mixed.sentinels:
        may_lead = is_original(sentinel) is led_by_original
        set_option(sentinel, "down-after-milliseconds", 1000 if may_lead else 4000)
        # One that would lead needs nobody who agrees, but the vote of another.
        set_option(sentinel, "quorum", 1)
    listeners = [Listener(one) for one in mixed.sentinels]
    old, new = mixed.kill_master()
    for listener in listeners:
        assert listener.wait("+switch-master").split()[2:] == [str(old.port), HOST, str(new.port)]
    elected = [
        sentinel
        for sentinel, listener in zip(mixed.sentinels, listeners, strict=True)
        if "+elected-leader" in listener.names()
    ]
    for listener in listeners:
        listener.close()
    assert [is_original(sentinel) for sentinel in elected] == [led_by_original]
    old.start()
    mixed.wait_for_order()


def set_option(sentinel, option, value):
    assert ask(sentinel, "SENTINEL", "SET", NAME, option, str(value)) == "OK"


@pytest.mark.timeout(300)
def test_a_running_cluster_is_replaced_one_by_one_and_back(sandbox, program):
    """Each takes over the other kind's file and port, and at each step a failover works."""
    watched = start_watched(sandbox, [ORIGINAL] * 3)
    ids = [ask(sentinel, "SENTINEL", "MYID") for sentinel in watched.sentinels]
    for sentinel in watched.sentinels:
        # The original pings once a second, and takes one late answer for a death at 1000.
        set_option(sentinel, "down-after-milliseconds", 3000)
    for taking_over in (program, ORIGINAL):
        for sentinel in watched.sentinels:
            replace(watched, sentinel, taking_over)
            watched.lose_master()
    assert [ask(sentinel, "SENTINEL", "MYID") for sentinel in watched.sentinels] == ids
    for sentinel in watched.sentinels:
        # What one kind does not understand in the file of the other would be left as a comment.
        assert "# ???" not in (sentinel.folder / "sentinel.conf").read_text()


def replace(watched, sentinel, program):
    """End a sentinel and start this program in its place; it knows the master from the file."""
    master = watched.master
    assert sentinel.terminate() == 0
    sentinel.argv = (*program, sentinel.argv[-1])
    watched.restart(sentinel)
    assert master_port(sentinel) == master.port
    watched.wait_for_order()
