"""Ours and redis-sentinel in one cluster, and one taking the place of the other on its own file."""

import shutil

import pytest

from sentinel_py.local import Sandbox, eventually, wait_ready

from .group import (
    FAILOVER_WITHIN_MS,
    NAME,
    Listener,
    ask,
    follows,
    master_port,
    new_master,
    rows,
    settle,
    start_cluster,
    start_sentinels,
    watch,
)

ORIGINAL = ["redis-sentinel"]
pytestmark = pytest.mark.skipif(not shutil.which(*ORIGINAL), reason="no redis-sentinel on PATH")


class Mixed:
    """Three sentinels of both kinds around one Redis cluster that outlives many failovers."""

    def __init__(self, box, program, kinds):
        self.cluster = start_cluster(box)
        self._box, self._programs = box, {"ours": program, "original": ORIGINAL}
        lines = watch(self.cluster)
        self.sentinels = [
            *(start_sentinels(box, lines, self._programs[kind], count=1)[0] for kind in kinds)
        ]
        settle(self.sentinels, self.cluster)

    @property
    def master(self):
        return self.cluster.at(master_port(self.sentinels[0]))

    def lose_master(self):
        """Kill it and wait until all name the same new one, which its old master follows, too."""
        old = self.master
        old.kill()
        new = self.cluster.at(new_master(self.sentinels, old))
        old.start()
        self.all_follow(new)
        return new

    def all_follow(self, new):
        for server in self.cluster.servers:
            if server is not new:
                eventually(lambda server=server: follows(server, new), FAILOVER_WITHIN_MS)
        for sentinel in self.sentinels:
            eventually(lambda s=sentinel: is_quiet(s), FAILOVER_WITHIN_MS, f"rest of {sentinel}")

    def replace(self, sentinel, kind):
        """End a sentinel and start one of this kind in its place: same file, same port."""
        path = sentinel.argv[-1]
        assert sentinel.terminate() == 0
        sentinel.argv = (*self._programs[kind], path)
        sentinel.start()
        wait_ready([sentinel])
        assert master_port(sentinel) == self.master.port
        for one in self.sentinels:
            eventually(lambda s=one: is_quiet(s), FAILOVER_WITHIN_MS, f"rest of {one}")


def is_quiet(sentinel):
    """Whether it sees everybody, up and in its role, so that it could lead now."""
    replicas, peers = rows(sentinel, "REPLICAS"), rows(sentinel, "SENTINELS")
    return (
        [row["flags"] for row in replicas] == ["slave"] * 2
        and {row["master-port"] for row in replicas} == {str(master_port(sentinel))}
        and all(row["master-link-status"] == "ok" for row in replicas)
        and [row["flags"] for row in peers] == ["sentinel"] * 2
    )


def epochs(sentinel):
    """The vote of everybody in the last election, as this sentinel knows it."""
    return {row["voted-leader"] for row in rows(sentinel, "SENTINELS")}


PROPORTIONS = {
    "two of ours": ["ours", "ours", "original"],
    "one of ours": ["ours", "original", "original"],
}


@pytest.fixture(scope="module", params=PROPORTIONS, ids=str)
def mixed(request, program):
    """One cluster of each proportion for all tests that leave it in order."""
    with Sandbox() as box:
        yield Mixed(box, program, PROPORTIONS[request.param])


def test_they_find_each_other(mixed):
    """Every one of them counts on every other."""
    ids = {ask(sentinel, "SENTINEL", "MYID") for sentinel in mixed.sentinels}
    for sentinel in mixed.sentinels:
        own = ask(sentinel, "SENTINEL", "MYID")
        assert {row["runid"] for row in rows(sentinel, "SENTINELS")} == ids - {own}
        assert ask(sentinel, "SENTINEL", "CKQUORUM", NAME).startswith("OK 3 usable Sentinels.")


@pytest.mark.parametrize("kind", ["ours", "original"])
def test_a_lost_master_is_replaced_under_either_leader(mixed, kind):
    """Whoever sees it first is elected with a vote of the other kind; all take the same master."""
    leaders = [one for one in mixed.sentinels if (one.argv[0] == ORIGINAL[0]) == (kind != "ours")]
    for sentinel in mixed.sentinels:
        # Only these can say that the master is down before the others do.
        down_after_ms = 1000 if sentinel in leaders else 4000
        set_option(sentinel, "down-after-milliseconds", down_after_ms)
    # One that would lead needs another to agree, and to vote.
    set_quorum(mixed.sentinels, 1)
    listeners = [Listener(one) for one in mixed.sentinels]
    old = mixed.master
    old.kill()
    new = mixed.cluster.at(new_master(mixed.sentinels, old))
    elected = [
        one.argv[0]
        for one, listener in zip(mixed.sentinels, listeners, strict=True)
        if "+elected-leader" in listener.names()
    ]
    for listener in listeners:
        assert listener.wait("+switch-master").split()[-1] == str(new.port)
        listener.close()
    assert elected == [leaders[0].argv[0]]
    old.start()
    mixed.all_follow(new)


def set_option(sentinel, option, value):
    assert ask(sentinel, "SENTINEL", "SET", NAME, option, str(value)) == "OK"


def set_quorum(sentinels, quorum):
    for sentinel in sentinels:
        set_option(sentinel, "quorum", quorum)


def test_a_running_cluster_is_replaced_one_by_one_and_back(sandbox, program):
    """Each takes over the file and the port of the other kind, and a failover works at each step."""
    cluster = Mixed(sandbox, program, ["original"] * 3)
    ids = [ask(sentinel, "SENTINEL", "MYID") for sentinel in cluster.sentinels]
    for kind in ("ours", "original"):
        for sentinel in cluster.sentinels:
            cluster.replace(sentinel, kind)
            cluster.lose_master()
    assert [ask(sentinel, "SENTINEL", "MYID") for sentinel in cluster.sentinels] == ids
    for sentinel in cluster.sentinels:
        # What one kind does not understand in the file of the other would be left as a comment.
        assert "# ???" not in (sentinel.folder / "sentinel.conf").read_text()
