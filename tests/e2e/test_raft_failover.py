"""Failovers of a Raft cluster: the leader dies in the middle, and original sentinels watch, too."""

import shutil
import threading

import pytest
import redis

from sentinel_py.local import eventually, monitor

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    ask,
    client,
    follows,
    master_row,
    new_master,
    settle,
    start_cluster,
    start_sentinels,
    watch,
)
from .members import leader_of, start_members
from .watched import Watched

# At failover-timeout 180000 the original rests for six minutes when a leader has died.
FINISHED_WITHIN_MS = 10_000
ORIGINAL = ["redis-sentinel"]


@pytest.fixture
def watched(sandbox):
    """Members with default timeouts, but for the detection, and a cluster of two replicas."""
    cluster = start_cluster(sandbox)
    prefer(cluster, 0)
    members = start_members(
        sandbox, lines=monitor(NAME, cluster.master, options={"down-after-milliseconds": 1000})
    )
    settle(members, cluster)
    return cluster, members, leader_of(members)


def prefer(cluster, number):
    """Make this replica the one to be promoted."""
    for at, replica in enumerate(cluster.replicas):
        priority = 1 if at == number else 100
        assert ask(replica, "CONFIG", "SET", "replica-priority", priority) == "OK"


def let_be_promoted(replica, sign):
    """Have this replica refuse the order to be a master (-), or obey it (+)."""
    words = ("default", f"{sign}slaveof", f"{sign}replicaof")
    assert ask(replica, "ACL", "SETUSER", *words) == "OK"


def all_follow(cluster, port):
    """Wait until the other replica follows the chosen one, and that has the role for good."""
    chosen, other = cluster.at(port), next(it for it in cluster.replicas if it.port != port)
    eventually(lambda: follows(other, chosen), FAILOVER_WITHIN_MS)
    assert ask(chosen, "ROLE")[0] == "master"
    assert "MASTER MODE" not in other.log


def test_a_leader_that_dies_before_the_promotion_is_followed(watched):
    """The claim is in the log, nothing else: another one leads to the end within seconds."""
    cluster, members, leader = watched
    assert ask(leader, "SENTINEL", "SIMULATE-FAILURE", "crash-after-election") == "OK"
    cluster.master.kill()
    leader.wait()
    rest = [member for member in members if member is not leader]
    port = new_master(rest, cluster.master, within_ms=FINISHED_WITHIN_MS)
    assert port == cluster.replicas[0].port
    all_follow(cluster, port)


def test_a_leader_that_dies_before_the_switch_is_followed(watched):
    """One replica is promoted and nobody was told; no other one is promoted in its place."""
    cluster, members, leader = watched
    rest = [member for member in members if member is not leader]
    chosen = cluster.replicas[0]
    let_be_promoted(chosen, "-")
    cluster.master.kill()
    eventually(lambda: "+failover-state-wait-promotion" in leader.log, FAILOVER_WITHIN_MS)
    for member in rest:
        member.pause()
    # As if the order had taken that long; nothing more gets into the log.
    let_be_promoted(chosen, "+")
    assert ask(chosen, "REPLICAOF", "NO", "ONE") == "OK"
    leader.kill()
    assert "+switch-master" not in leader.log
    for member in rest:
        member.resume()
    assert new_master(rest, cluster.master, within_ms=FINISHED_WITHIN_MS) == chosen.port
    all_follow(cluster, chosen.port)


class Mixed:
    """Three members and two originals around one cluster."""

    def __init__(self, box):
        cluster = start_cluster(box)
        lines = watch(cluster)
        outsiders = "sentinel raft-count-outsiders yes"
        self.members = start_members(box, lines=[*lines, outsiders])
        self.originals = start_sentinels(box, lines, ORIGINAL, count=2)
        leader_of(self.members)
        self.watched = Watched(cluster, [*self.members, *self.originals])

    def let_lead(self, leading):
        """Have these see the master's loss first; a vote is all that they need of others."""
        for sentinel in self.watched.sentinels:
            down_after_ms = 1000 if sentinel in leading else 5000
            for words in (("down-after-milliseconds", down_after_ms), ("quorum", 1)):
                assert ask(sentinel, "SENTINEL", "SET", NAME, *map(str, words)) == "OK"


class AddressReader:
    """Asks one sentinel for the master's port all the time, as a client would."""

    def __init__(self, sentinel):
        self.answers = []
        self.trouble = []
        self._sentinel = sentinel
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        with client(self._sentinel) as connected:
            while not self._is_over.is_set():
                try:
                    answer = connected.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
                except (redis.RedisError, OSError) as error:
                    self.trouble.append(error)
                    return
                if self.answers[-1:] != [int(answer[1])]:
                    self.answers.append(int(answer[1]))
                self._is_over.wait(0.01)

    def end(self):
        self._is_over.set()
        self._thread.join()


@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which(*ORIGINAL), reason="no redis-sentinel on PATH")
def test_members_and_originals_watch_one_master(sandbox):
    """Whoever leads, all take the same master; each epoch has one leader, each client an answer."""
    mixed = Mixed(sandbox)
    watched = mixed.watched
    for leading in (mixed.originals, mixed.members):
        mixed.let_lead(leading)
        before = elections(watched.sentinels)
        readers = [AddressReader(sentinel) for sentinel in watched.sentinels]
        try:
            old, new = watched.kill_master()
        finally:
            for reader in readers:
                reader.end()
        for reader in readers:
            assert (reader.answers, reader.trouble) == ([old.port, new.port], [])
        old.start()
        watched.wait_for_order()
        after = elections(watched.sentinels)
        leaders = {after[epoch] for epoch in after if epoch not in before}
        assert leaders
        assert leaders <= ids(leading)
        assert len({master_row(one)["config-epoch"] for one in watched.sentinels}) == 1


def ids(sentinels):
    return {ask(sentinel, "SENTINEL", "MYID") for sentinel in sentinels}


def elections(sentinels):
    """Who was elected in which epoch, out of the logs; nobody has voted twice in an epoch."""
    elected = {}
    for sentinel in sentinels:
        votes = {}
        for event, words in events(sentinel):
            if event == "+vote-for-leader":
                candidate, epoch = words
                assert votes.setdefault(int(epoch), candidate) == candidate
            elif event == "+elected-leader":
                epoch = max(votes)
                assert elected.setdefault(epoch, votes[epoch]) == votes[epoch]
                assert votes[epoch] == ask(sentinel, "SENTINEL", "MYID")
    return elected


def events(sentinel):
    """The events in its log and their words; before them stand pid, time and level."""
    for line in sentinel.log.splitlines():
        words = line.split()
        if len(words) > 6 and words[6][0] in "+-":
            yield words[6], words[7:]
