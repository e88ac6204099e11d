"""The operator's scripts in a real failover: which run, when, and with what arguments."""

from collections import Counter

import pytest

from sentinel_py.local import HOST, eventually, raft_peers, wait_ready

from .group import (
    NAME,
    ask,
    master_row,
    new_master,
    settle,
    start_cluster,
    start_sentinels,
    watch,
)
from .members import leader_of

# Each run appends its arguments as one line; the order of lines is the order of the runs' ends.
SCRIPT = '#!/bin/sh\necho "$*" >> "$0.runs"\n'

# Of these a notification-script gets none: their level is notice, or they belong to no master.
SILENT = {
    "+slave",
    "+sentinel",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+slave-reconf-sent",
    "+slave-reconf-inprog",
    "+slave-reconf-done",
    "+role-change",
    "-role-change",
    "+reboot",
    "+convert-to-slave",
    "+fix-slave-config",
}


class Script:
    """A script of one sentinel, and how it was run."""

    def __init__(self, folder, name):
        self.path = folder / name
        self.path.write_text(SCRIPT)
        self.path.chmod(0o755)
        self._runs = folder / f"{name}.runs"

    def runs(self):
        return self._runs.read_text().splitlines() if self._runs.exists() else []


@pytest.fixture
def scripted(sandbox, program):
    """A cluster, two sentinels on it, and the two scripts of each of them."""
    cluster = start_cluster(sandbox, replicas=2)
    sentinels, scripts = [], []
    for number in range(2):
        notify = Script(sandbox.folder, f"notify-{number}")
        reconfigure = Script(sandbox.folder, f"reconfigure-{number}")
        paths = {"notification_script": notify.path, "client_reconfig_script": reconfigure.path}
        sentinels += start_sentinels(sandbox, watch(cluster, **paths), program, count=1)
        scripts.append((notify, reconfigure))
    settle(sentinels, cluster)
    return cluster, sentinels, scripts


def test_scripts_run_in_a_failover(scripted, listen):
    """The leader's and the observer's clients are reconfigured; every warning is told."""
    cluster, sentinels, scripts = scripted
    listeners = [listen(sentinel) for sentinel in sentinels]
    cluster.master.kill()
    new = new_master(sentinels, cluster.master)
    leader = next(one for one in listeners if "+elected-leader" in one.names())
    leader.wait("+failover-end", f"master {NAME} ")

    change = f"start {HOST} {cluster.master.port} {HOST} {new}"
    for listener, (notify, reconfigure) in zip(listeners, scripts, strict=True):
        role = "leader" if listener is leader else "observer"
        eventually(lambda r=reconfigure: r.runs())
        assert reconfigure.runs() == [f"{NAME} {role} {change}"]
        assert f"+switch-master {NAME} " in str(warnings(listener))
        eventually(lambda n=notify, one=listener: not warnings(one) - Counter(n.runs()))
        assert not [run for run in notify.runs() if run.split()[0] in SILENT]


def warnings(listener):
    """What subscribers have heard and the script has to be told, too."""
    return Counter(f"{name} {text}" for name, text in listener.heard() if name not in SILENT)


def test_a_member_runs_what_its_own_file_names(sandbox):
    """A path that came by the log is kept by all; who does not allow it never runs it."""
    cluster = start_cluster(sandbox, replicas=1)
    script = Script(sandbox.folder, "reconfigure")
    allowed = (["sentinel deny-scripts-reconfig no"], [], [])
    ports = [sandbox.port() for _ in allowed]
    members = [
        sandbox.sentinel([*watch(cluster), raft_peers(ports), *extra], port=port)
        for port, extra in zip(ports, allowed, strict=True)
    ]
    wait_ready(members)
    leader_of(members)
    settle(members, cluster)
    words = ("SENTINEL", "SET", NAME, "client-reconfig-script", str(script.path))
    assert ask(members[0], *words) == "OK"
    for member in members:
        eventually(lambda it=member: master_row(it)["client-reconfig-script"] == str(script.path))
    denied = f"+script-denied master {NAME} "
    for member in members[1:]:
        eventually(lambda it=member: denied in it.log, what=denied)
        member.kill()
        member.start()
    wait_ready(members)
    leader_of(members)
    settle(members, cluster)
    assert "scripts" in str(ask(members[1], "SENTINEL", "EXPLAIN", NAME))
    cluster.master.kill()
    new_master(members, cluster.master)
    eventually(script.runs)
    assert [one.log.count(denied) for one in members] == [0, 2, 2]
    assert len(script.runs()) == 1
