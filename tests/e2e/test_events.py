"""SENTINEL EVENTS: one history in a Raft cluster, one per sentinel without."""

import pytest
import redis

from sentinel_py.local import eventually, monitor, wait_ready

from .group import NAME, TIMING, ask, new_master, settle, start_cluster, start_sentinels, watch
from .members import leader_of, start_members

PHASES = [
    *("+sdown", "+odown", "+try-failover", "+elected-leader", "+failover-state-select-slave"),
    *("+selected-slave", "+promoted-slave", "+failover-state-reconf-slaves", "+switch-master"),
    "+failover-end",
]


def events(server, *words):
    return ask(server, "SENTINEL", "EVENTS", *words)


def of_failover(rows):
    """The names of the events of the master's failover, in order."""
    about = [row for row in rows if row[3].split()[:1] != ["sentinel"]]
    return [name for _, _, name, _ in about if name in PHASES]


def has_ended(server):
    return eventually(lambda: any(row[2] == "+failover-end" for row in events(server)))


@pytest.fixture
def members(sandbox):
    """A settled Raft cluster, and what it watches."""
    cluster = start_cluster(sandbox)
    started = start_members(sandbox, lines=monitor(NAME, cluster.master, options=TIMING))
    settle(started, cluster)
    leader_of(started)
    return started, cluster


def test_all_members_have_the_same_history(members):
    """Each event of a failover once, in order, with ids that only grow, asked by id."""
    started, cluster = members
    cluster.master.kill()
    new_master(started, cluster.master)
    has_ended(started[0])
    eventually(lambda: len({str(events(it)) for it in started}) == 1)
    rows = events(started[1])
    # The old master goes down once more, as a replica of the new one.
    assert [it for it in of_failover(rows) if it != "+sdown"] == PHASES[1:]
    ids = [row[0] for row in rows]
    assert ids == sorted(set(ids))
    assert events(started[2], ids[2]) == rows[3:]
    assert events(started[2], ids[2], 2) == rows[3:5]
    assert events(started[2], ids[-1]) == []


def test_it_outlives_its_leader_and_restarts(members):
    """The leader dies with the master: nothing is lost or written twice, nor by its return."""
    started, cluster = members
    leader = leader_of(started)
    rest = [it for it in started if it is not leader]
    leader.kill()
    cluster.master.kill()
    new_master(rest, cluster.master)
    has_ended(rest[0])
    names = [row[2] for row in events(rest[0])]
    assert names.count("+switch-master") == names.count("+try-failover") == 1
    assert names.count("+raft-leader") == 2
    before = events(rest[0])
    for server in rest:
        server.kill()
    for server in started:
        server.start()
    wait_ready(started)
    leader_of(started)
    eventually(lambda: all(events(it)[: len(before)] == before for it in started))


def test_without_a_cluster_each_has_its_own(sandbox, ours):
    """In memory; a restart begins anew, with ids beyond the old ones."""
    cluster = start_cluster(sandbox)
    sentinel, *_ = start_sentinels(sandbox, watch(cluster, quorum=1), ours, count=1)
    settle([sentinel], cluster)
    cluster.master.kill()
    new_master([sentinel], cluster.master)
    has_ended(sentinel)
    before = events(sentinel)
    assert of_failover(before)[: len(PHASES) - 1] == PHASES[:-1]
    sentinel.terminate()
    sentinel.start()
    wait_ready([sentinel])
    after = eventually(lambda: events(sentinel))
    assert after[0][2] == "+monitor"
    assert after[0][0] > before[-1][0]


def test_bad_questions_are_refused(sandbox, ours):
    """Each with one clear text; and with event-history 0 there is nothing to ask for."""
    master = sandbox.redis()
    on, off = (
        sandbox.sentinel([*monitor(NAME, master), *lines], program=ours)
        for lines in ([], ["sentinel event-history 0"])
    )
    wait_ready([master, on, off])
    for words, text in (
        (["x"], "not an integer"),
        (["-1"], "negative"),
        (["0", "-1"], "negative"),
        (["0", "1", "2"], "wrong number of arguments"),
    ):
        with pytest.raises(redis.ResponseError, match=text):
            events(on, *words)
    with pytest.raises(redis.ResponseError, match="event-history is 0"):
        events(off)
