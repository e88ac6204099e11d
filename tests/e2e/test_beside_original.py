"""One of ours and one redis-sentinel watch the same master: a client cannot tell them apart."""

import shutil

import pytest

from sentinel_py.local import eventually, wait_ready

from .group import (
    NAME,
    ask,
    follows,
    new_master,
    settle,
    start_sentinels,
    watch,
)

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-sentinel"), reason="no redis-sentinel on PATH"
)

# Steps of the failover itself; others come or not with the moment in which INFO is asked.
STEPS_OF = {
    "leader": {
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
        "+switch-master",
        "+slave",
    },
    "observer": {"+new-epoch", "+config-update-from", "+switch-master", "+slave"},
}


@pytest.fixture
def both(sandbox, redis_cluster, program):
    """Ours and the original, settled."""
    lines = watch(redis_cluster, quorum=1)
    sentinels = [
        *start_sentinels(sandbox, lines, program, count=1),
        *start_sentinels(sandbox, lines, ["redis-sentinel"], count=1),
    ]
    settle(sentinels, redis_cluster)
    return sentinels


def fields(flat):
    return flat[::2]


def test_the_rows_have_the_same_fields_in_the_same_order(both):
    """Some consumers read rows by position."""
    ours, original = both
    for what in (("MASTER", NAME), ("MASTERS",), ("REPLICAS", NAME), ("SENTINELS", NAME)):
        mine, theirs = (ask(one, "SENTINEL", *what) for one in (ours, original))
        if what[0] == "MASTER":
            mine, theirs = [mine], [theirs]
        assert len(mine) == len(theirs)
        assert [fields(row) for row in mine] == [fields(row) for row in theirs]


def test_info_has_the_same_keys(both):
    """In the section that exporters read; addresses and counts agree too."""
    ours, original = (ask(one, "INFO", "sentinel") for one in both)
    added = ["sentinel_unsaved_since_seconds", "sentinel_save_error"]
    assert [key for key in ours if key not in added] == list(original)
    assert ours["master0"] == original["master0"]


@pytest.mark.parametrize("leader", [0, 1], ids=["ours leads", "the original leads"])
def test_a_failover_on_order_is_understood_by_both(redis_cluster, both, listen, leader):
    """Whoever leads tells the same steps, and the other one follows its hello."""
    listeners = [listen(one) for one in both]
    assert ask(both[leader], "SENTINEL", "FAILOVER", NAME) == "OK"
    new = redis_cluster.at(new_master(both, redis_cluster.master))
    for role, listener in (("leader", listeners[leader]), ("observer", listeners[1 - leader])):
        expected = STEPS_OF[role]
        eventually(lambda listener=listener, expected=expected: expected <= {*listener.names()})
        unexpected = {*listener.names()} & (STEPS_OF["leader"] - expected)
        assert not unexpected, role
    assert {text for one in listeners for text in one.payloads("+switch-master")} == {
        f"{NAME} 127.0.0.1 {redis_cluster.master.port} 127.0.0.1 {new.port}"
    }


def test_they_elect_a_leader_among_them(redis_cluster, both):
    """One asks, the other votes: a failover needs both, for two of two are the majority."""
    redis_cluster.master.kill()
    new = redis_cluster.at(new_master(both, redis_cluster.master))
    (other,) = [server for server in redis_cluster.replicas if server is not new]
    eventually(lambda: follows(other, new))


def test_an_installation_is_replaced_one_by_one(sandbox, redis_cluster, program):
    """Each redis-sentinel is stopped, and ours started on its file: the group stays whole."""
    sentinels = start_sentinels(sandbox, watch(redis_cluster), ["redis-sentinel"])
    settle(sentinels, redis_cluster)
    ids = [ask(sentinel, "SENTINEL", "MYID") for sentinel in sentinels]
    for sentinel in sentinels:
        assert sentinel.terminate() == 0
        sentinel.argv = (*program, sentinel.argv[-1])
        sentinel.start()
        wait_ready([sentinel])
        settle(sentinels, redis_cluster)
    assert [ask(sentinel, "SENTINEL", "MYID") for sentinel in sentinels] == ids

    redis_cluster.master.kill()
    assert new_master(sentinels, redis_cluster.master) in {
        replica.port for replica in redis_cluster.replicas
    }
