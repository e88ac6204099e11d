"""A Redis cluster and its sentinels that are used for one failover after the other.

A test that has moved the master leaves everything in order: whoever comes next may fail over at
once.
"""

from sentinel_py.local import eventually, wait_ready

from .group import FAILOVER_WITHIN_MS, ask, follows, master_port, new_master, rows, settle

# An old master that returns is told to follow after four hellos and at the next INFO: by default,
# ten seconds later. The original pings once a second: with down-after 1000, one answer that is late
# would be a death.
HASTE = ("SENTINEL", "DEBUG", "info-period", "1000", "publish-period", "500", "ping-period", "100")


class Watched:
    """Servers that know each other; who is the master changes."""

    def __init__(self, cluster, sentinels):
        self.cluster, self.sentinels = cluster, sentinels
        settle(sentinels, cluster)
        for sentinel in sentinels:
            ask(sentinel, *HASTE)

    @property
    def master(self):
        return self.cluster.at(master_port(self.sentinels[0]))

    def kill_master(self):
        """Kill it and wait until all name the same other one; the old and the new master."""
        old = self.master
        old.kill()
        return old, self.cluster.at(new_master(self.sentinels, old))

    def lose_master(self):
        """A whole failover, with the return of the old master; the new one."""
        old, new = self.kill_master()
        old.start()
        self.wait_for_order()
        return new

    def restart(self, sentinel):
        """Start an ended sentinel on its file, as the program that it is now."""
        sentinel.start()
        wait_ready([sentinel])
        ask(sentinel, *HASTE)

    def wait_for_order(self):
        """Wait until all follow the master and every sentinel has seen it."""
        master = self.master
        for server in self.cluster.servers:
            if server is not master:
                eventually(lambda s=server: follows(s, master), FAILOVER_WITHIN_MS)
        for sentinel in self.sentinels:
            what = f"order for {sentinel}"
            eventually(lambda s=sentinel: self._is_in_order(s), FAILOVER_WITHIN_MS, what)

    def _is_in_order(self, sentinel):
        """Whether it sees everybody, up and in its role, so that it could lead now."""
        replicas, peers = rows(sentinel, "REPLICAS"), rows(sentinel, "SENTINELS")
        return (
            [row["flags"] for row in replicas] == ["slave"] * len(self.cluster.replicas)
            and {row["master-port"] for row in replicas} == {str(master_port(sentinel))}
            and all(row["master-link-status"] == "ok" for row in replicas)
            and [row["flags"] for row in peers] == ["sentinel"] * (len(self.sentinels) - 1)
        )
