"""One short scenario from end to end: real programs on five hosts, and the figures of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sentinel_py.local import eventually
from tests.chaos import network, scenarios
from tests.chaos.__main__ import ours, play

STOPPED_WITHIN_S = 10


@pytest.fixture(scope="module", autouse=True)
def allowed():
    if reason := network.refusal():
        pytest.skip(reason)


def test_kill():
    """The master dies: another takes writes soon, and next to none is lost."""
    with network.Network() as joined:
        done = play(joined, scenarios.table()["kill"], ours())
    assert done.complaints == ()
    assert scenarios.DOWN_AFTER_MS / 2 < done.figures.outage_ms < scenarios.USUAL.outage_ms
    assert done.figures.acknowledged > 100


def test_ctrl_c_leaves_nothing_behind():
    """Told to end in the middle, it takes its processes and namespaces with it."""
    command = [sys.executable, "-m", "tests.chaos", "--only", "partition"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as run:
        try:
            servers = eventually(lambda: servers_of(run.pid), what="servers in the namespaces")
            run.terminate()
            run.wait(STOPPED_WITHIN_S)
        finally:
            run.kill()
    assert not [pid for pid in servers if Path("/proc", pid).exists()]
    assert not [*Path("/run/netns").glob(f"chaos{run.pid}-*")]


def servers_of(pid):
    """Redis servers on the first host of this run."""
    listing = subprocess.run(
        ["ip", "netns", "pids", f"chaos{pid}-1"], capture_output=True, text=True, check=False
    )
    return [it for it in listing.stdout.split() if comm(it) == "redis-server"]


def comm(pid):
    try:
        return Path("/proc", pid, "comm").read_text().strip()
    except OSError:
        return ""
