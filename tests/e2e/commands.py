"""The commands of the terminal as subprocesses, and groups of sentinels for them to ask."""

import functools
import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from sentinel_py.local import Sandbox, raft_peers, sentinel_program, wait_ready

from .group import master_port, settle, start_cluster, start_sentinels, watch

ORIGINAL = ["redis-sentinel"]
PROGRAMS = {"ours": sentinel_program(), "original": ORIGINAL}
WITHIN_S = 60

needs_original = pytest.mark.skipif(
    not shutil.which("redis-sentinel"), reason="no redis-sentinel on PATH"
)
KINDS = ["ours", pytest.param("original", marks=needs_original)]


class Group:
    """A Redis cluster and three sentinels that watch it; ours are a Raft cluster."""

    def __init__(self, box, kind):
        self.cluster = start_cluster(box)
        self.is_ours = kind == "ours"
        lines = watch(self.cluster, failover_timeout=10_000)
        if self.is_ours:
            ports = [box.port() for _ in range(3)]
            own = [*lines, raft_peers(ports)]
            self.sentinels = [box.sentinel(own, port=port) for port in ports]
            wait_ready(self.sentinels)
        else:
            self.sentinels = start_sentinels(box, lines, PROGRAMS[kind])

    @property
    def port(self):
        return str(self.sentinels[0].port)

    @property
    def master(self):
        return self.cluster.at(master_port(self.sentinels[0]))

    @property
    def replicas(self):
        return [server for server in self.cluster.servers if server is not self.master]

    def settle(self):
        """Wait until all is well, whoever is the master now."""
        settle(self.sentinels, replace(self.cluster, master=self.master, replicas=self.replicas))


@pytest.fixture(scope="module")
def groups():
    """One group of each kind for all tests of a file, which leave it well."""
    with Sandbox() as box:
        yield functools.cache(lambda kind: Group(box, kind))


@pytest.fixture
def group(request, groups):
    """A group that is well; by default ours."""
    found = groups(getattr(request, "param", "ours"))
    found.settle()
    return found


def sentinel_py(*words, **environment):
    """Run a command to its end."""
    return subprocess.run(
        [*sentinel_program(), *words],
        env={**os.environ, "NO_COLOR": "1", **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=WITHIN_S,
    )


def output(*words):
    """What a command prints that works, and says nothing on stderr."""
    done = sentinel_py(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
