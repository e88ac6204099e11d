"""A config file that cannot be saved: mounted alone, in a foreign directory, on a full disk, gone.

Where the file itself can be written nothing is lost. Where it cannot, everybody who asks is told
why there is no failover, in classic mode, and in Raft mode there is one.
"""

import os
import shutil
import subprocess

import pytest

from sentinel_py.local import eventually, wait_ready

from .group import NAME, ask, client, new_master, pairs, settle, start_cluster, watch
from .members import leader_of, start_members
from .test_doctor import findings

MODES = ["classic", "raft"]


def conf(sentinel):
    return sentinel.folder / "sentinel.conf"


def as_root(*words):
    """Run this, or skip where it may not be done."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{words[0]}: {done.stderr.strip()}")


@pytest.fixture
def mounts():
    """What is mounted by a test, until it ends."""
    mounted = []
    yield mounted
    for place in reversed(mounted):
        subprocess.run(["umount", "--lazy", place], check=True)


def mount_alone(sentinel, mounts):
    """As `docker run -v ./sentinel.conf:/etc/sentinel.conf` does."""
    behind = sentinel.folder / "behind.conf"
    shutil.copy(conf(sentinel), behind)
    as_root("mount", "--bind", str(behind), str(conf(sentinel)))
    mounts.append(conf(sentinel))


def fill_up(sentinel, mounts):
    """Put the file on a small disk, on which nothing is left but the rest of its last block."""
    disk = sentinel.folder / "disk"
    disk.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk))
    mounts.append(disk)
    shutil.move(conf(sentinel), disk / "sentinel.conf")
    conf(sentinel).symlink_to(disk / "sentinel.conf")
    with pytest.raises(OSError, match="No space"):
        (disk / "fill").write_bytes(bytes(16 * 1024))


WAYS = {"mounted alone": mount_alone, "on a full disk": fill_up}


@pytest.fixture
def group(request, sandbox, ours):
    """A cluster and three sentinels that watch it, in the mode of the parameter."""
    cluster = start_cluster(sandbox, replicas=1)
    if request.param == "raft":
        members = start_members(sandbox, lines=watch(cluster))
        leader_of(members)
    else:
        members = [sandbox.sentinel(watch(cluster), program=ours) for _ in range(3)]
        wait_ready(members)
    settle(members, cluster)
    return cluster, members


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("group", MODES, indirect=True)
def test_it_is_saved_in_place(group, mounts, way):
    """The master is replaced, and after a restart everybody knows that."""
    cluster, members = group
    for sentinel in members:
        sentinel.terminate()
        way(sentinel, mounts)
        sentinel.start()
    wait_ready(members)
    settle(members, cluster)
    cluster.master.kill()
    new = new_master(members, cluster.master)
    line = f"sentinel monitor {NAME} 127.0.0.1 {new} 2\n"
    eventually(lambda: all(line in conf(sentinel).read_text() for sentinel in members))
    for sentinel in members:
        sentinel.kill()
        sentinel.start()
    wait_ready(members)
    assert new_master(members, cluster.master) == new
    assert not [line for it in members for line in it.log.splitlines() if "not able to" in line]


def make_unsaveable(sentinel):
    """Let a directory stand where the file was, which even root cannot write into."""
    text = conf(sentinel).read_text()
    conf(sentinel).unlink()
    conf(sentinel).mkdir()
    return text


@pytest.mark.parametrize("group", ["classic"], indirect=True)
def test_classic_sentinels_say_why_nobody_is_promoted_until_it_works_again(group):
    """CKQUORUM, INFO, EXPLAIN, doctor and the log name the cause and the way out."""
    cluster, members = group
    for sentinel in members:
        make_unsaveable(sentinel)
        assert refused(sentinel, "SENTINEL", "FLUSHCONFIG").startswith("Failed to save")
    first = members[0]
    why = "Is a directory"
    answer = refused(first, "SENTINEL", "CKQUORUM", NAME)
    assert answer.startswith("NOQUORUM 3 usable Sentinels")
    assert f"({why}): sentinel state-dir" in answer
    with client(first) as connected:
        info = connected.info("sentinel")
    assert info["sentinel_save_error"] == why
    assert info["sentinel_unsaved_since_seconds"] >= 0
    told = {row["condition"]: row for row in map(pairs, ask(first, "SENTINEL", "EXPLAIN", NAME))}
    assert (told["saved"]["met"], why in told["saved"]["value"]) == ("no", True)
    errors = [it for it in findings("-p", str(first.port)) if it["severity"] == "error"]
    assert any(why in it["what"] and "state-dir" in it["way_out"] for it in errors)
    assert f"not able to save the new configuration on disk!!!: {why}" in first.log

    cluster.master.kill()
    eventually(lambda: all("+odown" in sentinel.log for sentinel in members))
    assert ask(first, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1] == str(cluster.master.port)
    for sentinel in members:
        conf(sentinel).rmdir()
    new_master(members, cluster.master)
    assert all("-save-failed" in sentinel.log for sentinel in members)


def refused(sentinel, *words):
    """The error that a command gets."""
    with client(sentinel) as connected, pytest.raises(Exception) as caught:  # noqa: PT011
        connected.execute_command(*words)
    return str(caught.value)


@pytest.mark.parametrize("group", ["raft"], indirect=True)
def test_a_raft_cluster_fails_over_all_the_same(group):
    """Its votes are in the log. It says, too, that the file is not saved."""
    cluster, members = group
    for sentinel in members:
        make_unsaveable(sentinel)
    assert refused(members[0], "SENTINEL", "FLUSHCONFIG").startswith("Failed to save")
    answer = ask(members[0], "SENTINEL", "CKQUORUM", NAME)
    assert answer.startswith("OK 3 usable Sentinels")
    assert "sentinel state-dir" in answer
    cluster.master.kill()
    new = new_master(members, cluster.master)
    assert ask(members[0], "SENTINEL", "RESET", NAME) == 1
    assert new_master(members, cluster.master) == new


@pytest.mark.parametrize("group", MODES, indirect=True)
def test_an_order_that_is_carried_out_is_not_told_as_refused(group):
    """SENTINEL FAILOVER moves the master, whatever the disk says, and says so."""
    cluster, members = group
    for sentinel in members:
        make_unsaveable(sentinel)
        refused(sentinel, "SENTINEL", "FLUSHCONFIG")
    assert ask(members[0], "SENTINEL", "FAILOVER", NAME) == "OK"
    new_master(members, cluster.master)
