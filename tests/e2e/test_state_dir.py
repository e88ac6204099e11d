"""A config file that nobody may write: what the sentinel has to remember is in `state-dir`."""

import os
import shutil
import stat
import subprocess

import pytest

from sentinel_py.local import HOST, eventually, wait_ready

from .group import NAME, ask, master_row, new_master, settle, start_cluster, watch
from .members import has_members, leader_of, start_members, status

ENDS_WITHIN_S = 15
STATE = "sentinel state-dir state"


def conf(sentinel):
    return sentinel.folder / "sentinel.conf"


def state_file(sentinel):
    return sentinel.folder / "state" / f"sentinel-{sentinel.port}.conf"


def kept(sentinel):
    """The lines of the state file that are no comments."""
    lines = state_file(sentinel).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def restart(sentinel, edit=None):
    """Kill it, let the operator edit its config file, and start it again."""
    sentinel.kill()
    if edit:
        conf(sentinel).write_text(edit(conf(sentinel).read_text()))
    sentinel.start()
    wait_ready([sentinel])


def address(sentinel, name=NAME):
    return ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)


def lines_for(cluster, **options):
    return [*watch(cluster, quorum=1, **options), STATE]


@pytest.fixture
def watched(sandbox, ours):
    """A cluster of a master and a replica, and one sentinel with a state directory."""
    cluster = start_cluster(sandbox, replicas=1)
    sentinel = sandbox.sentinel(lines_for(cluster), program=ours)
    wait_ready([sentinel])
    settle([sentinel], cluster)
    return cluster, sentinel


def without_override():
    """What makes root obey the permissions of its files, as the beginning of an argv."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv (package util-linux)")
    return ["setpriv", "--bounding-set", "-dac_override", "--"]


def test_a_config_file_that_nobody_may_write(sandbox, ours):
    """Neither the file nor its directory: a failover is remembered all the same, and the id."""
    cluster = start_cluster(sandbox, replicas=1)
    state = sandbox.folder / "state"
    lines = [*watch(cluster, quorum=1), f"sentinel state-dir {state}"]
    sentinel = sandbox.sentinel(lines, program=[*without_override(), *ours])
    sentinel.kill()
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(0o700)
    before = conf(sentinel).read_bytes()
    conf(sentinel).chmod(0o400)
    sentinel.folder.chmod(0o500)

    sentinel.start()
    wait_ready([sentinel])
    settle([sentinel], cluster)
    myid = ask(sentinel, "SENTINEL", "MYID")
    cluster.master.kill()
    new = new_master([sentinel], cluster.master)
    restart(sentinel)
    row = master_row(sentinel)
    assert (ask(sentinel, "SENTINEL", "MYID"), row["port"]) == (myid, str(new))
    assert (row["config-epoch"], row["num-slaves"]) == ("1", "1")
    assert "WARNING" not in sentinel.log
    assert conf(sentinel).read_bytes() == before
    assert sorted(os.listdir(sentinel.folder)) == ["log", "sentinel.conf"]


def test_without_a_state_dir_such_a_file_is_refused(sandbox, ours):
    """A sentinel that cannot remember its votes must not vote."""
    sentinel = sandbox.sentinel([], program=[*without_override(), *ours])
    sentinel.kill()
    conf(sentinel).chmod(0o400)
    sentinel.start()
    assert sentinel.wait() == 1
    assert "is not writable: Permission denied" in sentinel.log


def test_what_commands_have_changed_outlives_a_restart(watched):
    """Options, masters that came and went, users and the level of the log."""
    cluster, sentinel = watched
    other = ("127.0.0.1", str(cluster.replicas[0].port))
    ask(sentinel, "SENTINEL", "SET", NAME, "parallel-syncs", "3")
    ask(sentinel, "SENTINEL", "MONITOR", "other", *other, "1")
    ask(sentinel, "SENTINEL", "CONFIG", "SET", "loglevel", "verbose")
    ask(sentinel, "ACL", "SETUSER", "alice", "on", ">secret", "+ping")
    ask(sentinel, "SENTINEL", "FLUSHCONFIG")
    restart(sentinel)
    assert master_row(sentinel)["parallel-syncs"] == "3"
    assert address(sentinel, "other") == list(other)
    assert ask(sentinel, "SENTINEL", "CONFIG", "GET", "loglevel")[1] == "verbose"
    assert ask(sentinel, "PING", username="alice", password="secret")

    ask(sentinel, "SENTINEL", "REMOVE", NAME)
    restart(sentinel)
    assert address(sentinel) is None
    assert address(sentinel, "other") == list(other)


def test_what_the_operator_changes_in_the_config_file_counts(watched):
    """And only that: the master is not the one that the file was once written for."""
    cluster, sentinel = watched
    cluster.master.kill()
    new = new_master([sentinel], cluster.master)
    old = f"monitor {NAME} {HOST} {cluster.master.port} 1"
    restart(sentinel, lambda text: text.replace(old, old[:-1] + "2") + "sentinel announce-port 7\n")
    row = master_row(sentinel)
    assert (row["port"], row["quorum"], row["config-epoch"]) == (str(new), "2", "1")
    assert ask(sentinel, "SENTINEL", "CONFIG", "GET", "announce-port")[1] == "7"

    # It is the operator's last word, and a command after it is a later one.
    ask(sentinel, "SENTINEL", "SET", NAME, "quorum", "1")
    restart(sentinel)
    assert master_row(sentinel)["quorum"] == "1"


def test_members_of_a_raft_cluster_keep_everything_there(sandbox):
    """Log, membership and masters; one file cannot change what all of them have in common."""
    cluster = start_cluster(sandbox, replicas=1)
    members = start_members(sandbox, lines=[*watch(cluster), STATE])
    leader_of(members)
    settle(members, cluster)
    ask(members[0], "SENTINEL", "SET", NAME, "parallel-syncs", "3")
    cluster.master.kill()
    new = new_master(members, cluster.master)
    texts = [conf(member).read_text() for member in members]
    ids = [ask(member, "SENTINEL", "MYID") for member in members]

    changed = f"down-after-milliseconds {NAME} "
    for member in members:
        member.kill()
    conf(members[0]).write_text(texts[0].replace(changed, changed + "7"))
    for member in members:
        member.start()
    wait_ready(members)
    leader_of(members)
    assert [ask(member, "SENTINEL", "MYID") for member in members] == ids
    for member in members:
        eventually(lambda member=member: has_members(member, members))
        row = master_row(member)
        assert (row["port"], row["parallel-syncs"]) == (str(new), "3")
        assert row["down-after-milliseconds"] == "1000"
        folder = state_file(member).parent
        assert sorted(os.listdir(folder)) == [f"raft-{member.port}", f"sentinel-{member.port}.conf"]
        assert not list(member.folder.glob("raft-*"))
    assert f"new 'sentinel {changed.strip()}', which does not count" in members[0].log
    assert "does not count" not in members[1].log
    assert [conf(member).read_text() for member in members[1:]] == texts[1:]


def test_a_member_without_its_state_is_nobody(sandbox):
    """The volume is what makes it a member; an empty one is another sentinel, with another id."""
    members = start_members(sandbox, lines=[STATE])
    leader_of(members)
    lost = members[0]
    before = ask(lost, "SENTINEL", "MYID")
    lost.kill()
    shutil.rmtree(state_file(lost).parent)
    lost.start()
    wait_ready([lost])
    assert ask(lost, "SENTINEL", "MYID") != before
    eventually(lambda: status(lost)["role"] != "leader")
    leader_of(members[1:])


@pytest.mark.parametrize(
    ("path", "reason"),
    [("conf", "Not a directory"), ("/proc/here", "No such file or directory")],
)
def test_a_state_dir_that_cannot_be_is_one_line(ours, tmp_path, path, reason):
    """Said at the start, with the path and the system's reason."""
    (tmp_path / "conf").write_text(f"port 7\nsentinel state-dir {path}/in\n")
    done = subprocess.run(
        [*ours, "conf"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
    )
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert f"/in is not writable: {reason}. Exiting..." in done.stdout
    assert "Traceback" not in done.stderr


def test_a_state_file_that_was_spoiled_is_named(watched):
    """The report is that of a config file, with the path of the other one."""
    _, sentinel = watched
    sentinel.kill()
    state_file(sentinel).write_text("sentinel monitor\n")
    sentinel.start()
    assert sentinel.wait() == 1
    assert "at line 1\n>>> 'sentinel monitor'" in sentinel.log
    assert f"In file: {state_file(sentinel)}" in sentinel.log


def test_passwords_stay_where_only_the_sentinel_reads(watched):
    """The directory and the file are its own."""
    _, sentinel = watched
    ask(sentinel, "SENTINEL", "SET", NAME, "auth-pass", "secret")
    assert f"sentinel auth-pass {NAME} secret" in kept(sentinel)
    path = state_file(sentinel)
    assert [stat.S_IMODE(it.stat().st_mode) for it in (path, path.parent)] == [0o600, 0o700]
