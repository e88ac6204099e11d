"""Clients that never close their connections: other sentinels are let in all the same."""

import socket
import threading
from contextlib import suppress

import pytest

from sentinel_py.local import HOST, eventually, raft_peers, wait_ready

from .group import master_row, new_master, settle, start_cluster, watch
from .members import leader_of

SLOTS = 6
LEAKS = 3 * SLOTS
AGAIN_S = 0.05


class Leak:
    """Opens connections to these ports as fast as they are refused, says PING, and keeps them."""

    def __init__(self, ports):
        self._ports = ports
        self._kept = {port: [] for port in ports}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def holds(self, port):
        return len(self._kept[port])

    def close(self):
        self._is_over.set()
        self._thread.join()
        for kept in self._kept.values():
            for connection in kept:
                connection.close()

    def _run(self):
        while not self._is_over.wait(AGAIN_S):
            for port, kept in self._kept.items():
                for connection in [it for it in kept if _has_ended(it)]:
                    connection.close()
                    kept.remove(connection)
                while len(kept) < LEAKS:
                    try:
                        connection = socket.create_connection((HOST, port), 0.5)
                    except OSError:
                        break
                    with suppress(OSError):
                        connection.sendall(b"PING\r\n")
                    connection.setblocking(False)
                    kept.append(connection)


def _has_ended(connection):
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("mode", ["classic", "raft"])
def test_a_failover_behind_leaky_clients(sandbox, ours, mode):
    """They come before the sentinels meet again, one after the other."""
    cluster = start_cluster(sandbox, replicas=1)
    ports = [sandbox.port() for _ in range(3)]
    lines = [
        *watch(cluster),
        f"maxclients {SLOTS}",
        *([raft_peers(ports)] if mode == "raft" else []),
    ]
    sentinels = [sandbox.sentinel(lines, port=port, program=ours) for port in ports]
    wait_ready(sentinels)
    settle(sentinels, cluster)
    conf = [sentinel.folder / "sentinel.conf" for sentinel in sentinels]
    eventually(lambda: all(it.read_text().count("known-sentinel") == 2 for it in conf))
    for sentinel in sentinels:
        sentinel.kill()
    leak = Leak(ports)
    try:
        for sentinel in sentinels:
            sentinel.start()
            eventually(lambda it=sentinel: leak.holds(it.port) >= SLOTS)
        eventually(lambda: all("+raft-leader" in it.log for it in sentinels) or mode == "classic")
        cluster.master.kill()
        eventually(lambda: all("+switch-master" in it.log for it in sentinels))
    finally:
        leak.close()
    wait_ready(sentinels)
    new = new_master(sentinels, cluster.master)
    assert all(master_row(it)["port"] == str(new) for it in sentinels)
    if mode == "raft":
        leader_of(sentinels)
