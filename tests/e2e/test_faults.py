"""A bug ends the process, for its supervisor: wherever it is, and with its trace in the log."""

import sys
from contextlib import suppress

import pytest
from redis.exceptions import RedisError

from sentinel_py import faults
from sentinel_py.local import eventually, wait_ready

from .group import NAME, ask, new_master, settle, start_cluster, watch
from .members import leader_of, start_members

ENDS_WITHIN_MS = 20_000

# Our own program, in which one function raises when the file named in the environment is there. It
# goes once: the next process is to be without it.
WITH_BUG = """
import importlib, os, sys
from functools import wraps
from pathlib import Path

module, _, name = {where!r}.partition(":")
owner, _, name = name.rpartition(".")
place = importlib.import_module(module)
place = getattr(place, owner) if owner else place
right = getattr(place, name)
flag = Path({flag!r})

@wraps(right)
def wrong(*args, **options):
    if flag.exists():
        if {once!r}:
            flag.unlink()
        raise {error}
    return right(*args, **options)

setattr(place, name, wrong)
from sentinel_py.cli import main
main()
"""


def program(folder, where, *, once=True, error="AssertionError('a bug')"):
    """An argv of ours with a bug there, which shows when `flag` is made."""
    flag = folder / "flag"
    script = folder / "with_bug.py"
    script.write_text(WITH_BUG.format(where=where, flag=str(flag), once=once, error=error))
    return [sys.executable, str(script)], flag


PLACES = {
    "the core": "sentinel_py.core.detector:_check_down",
    "a reply's reader": "sentinel_py.core.detector:pong",
    "a link": "sentinel_py.links:_Connection._take_reply",
    "an attempt to connect": "sentinel_py.links:_Connection._connect",
    "a timer of the server": "sentinel_py.server.server:Server._keep_house",
    "a timer of the node": "sentinel_py.node:Node._timer_rang",
    "a client's command": "sentinel_py.core.views:debug_values",
    "what is published": "sentinel_py.notify:Notifier.notice",
    "a save": "sentinel_py.config.directives:render",
}


@pytest.mark.parametrize("where", PLACES.values(), ids=PLACES)
def test_a_bug_ends_the_process(sandbox, tmp_path, where):
    """Its status is not 0, its trace is in the log, and what comes next is without it."""
    argv, flag = program(tmp_path, where)
    cluster = start_cluster(sandbox, replicas=1)
    sentinel = sandbox.sentinel(watch(cluster, quorum=1), program=argv)
    wait_ready([sentinel])
    settle([sentinel], cluster)
    conf = sentinel.folder / "sentinel.conf"
    eventually(lambda: "known-replica" in conf.read_text())
    flag.touch()
    (cluster.replicas[0] if "connect" in where else cluster.master).kill()  # brings all of it about
    provoke(sentinel)
    assert sentinel.wait(ENDS_WITHIN_MS) == faults.EXIT
    assert "AssertionError: a bug" in sentinel.log
    assert "Traceback (most recent call last):" in sentinel.log
    assert "This is a bug in sentinel_py" in sentinel.log

    sentinel.start()
    wait_ready([sentinel])
    if not cluster.master.alive:
        new_master([sentinel], cluster.master)


def provoke(sentinel, *words):
    """Have commands carried out, of which any may be the last one."""
    with suppress(RedisError, OSError):
        for command in (words,) if words else (("DEBUG",), ("FLUSHCONFIG",)):
            ask(sentinel, "SENTINEL", *command)


RAFT_PLACES = {
    "a timer of the engine": "sentinel_py.raft.driver:Driver._drive",
    "a task of the member": "sentinel_py.raft.member:Member._ask_for_removal",
    "a message of a member": "sentinel_py.raft.engine:Engine.receive",
}


@pytest.mark.parametrize("where", RAFT_PLACES.values(), ids=RAFT_PLACES)
def test_a_bug_in_the_raft_side_ends_the_process(sandbox, tmp_path, where):
    """The others go on, and it is a member again when it was started again."""
    argv, flag = program(tmp_path, where)
    cluster = start_cluster(sandbox, replicas=1)
    members = start_members(sandbox, lines=watch(cluster), program=argv)
    leader_of(members)
    settle(members, cluster)
    if "removal" in where:
        members[2].terminate()
        members[1].terminate()  # alone, it asks whether it was removed
    flag.touch()
    ended = eventually(
        lambda: next((it for it in members if not it.alive and "AssertionError" in it.log), None)
    )
    assert ended.wait() == faults.EXIT
    for member in members:
        if not member.alive:
            member.start()
    wait_ready(members)
    leader_of(members)
    cluster.master.kill()
    new_master(members, cluster.master)


@pytest.mark.parametrize("where", ["socket:getaddrinfo", "sentinel_py.resolver:Resolver._run"])
def test_a_thread_that_fails_ends_the_process(sandbox, tmp_path, where):
    """Within the question that it asks, and around it."""
    argv, flag = program(tmp_path, where)
    lines = ["sentinel resolve-hostnames yes"]
    sentinel = sandbox.sentinel(lines, program=argv)
    wait_ready([sentinel])
    flag.touch()
    provoke(sentinel, "MONITOR", NAME, "localhost", "6379", "1")
    assert sentinel.wait(ENDS_WITHIN_MS) == faults.EXIT
    assert "AssertionError: a bug" in sentinel.log


def test_a_bug_at_the_start_is_one_of_the_log(sandbox, tmp_path):
    """Whoever supervises it sees a status, and the operator a trace."""
    argv, flag = program(tmp_path, "sentinel_py.server.server:Server.start", once=False)
    flag.touch()
    sentinel = sandbox.sentinel([], program=argv)
    assert sentinel.wait(ENDS_WITHIN_MS) == faults.EXIT
    assert "This is a bug in sentinel_py" in sentinel.log


def test_an_entry_that_ends_every_member_is_skipped_after_the_second_time(sandbox, tmp_path):
    """Else they would end at each start, for ever, and nobody could be asked for the master."""
    argv, flag = program(tmp_path, "sentinel_py.core.orders:apply_options", once=False)
    cluster = start_cluster(sandbox, replicas=1)
    members = start_members(sandbox, lines=watch(cluster), program=argv)
    leader_of(members)
    settle(members, cluster)
    flag.touch()
    provoke(members[0], "SET", NAME, "parallel-syncs", "7")
    ends = dict.fromkeys(members, 0)

    def have_all_ended_twice() -> bool:
        # Which member can end again depends on who has committed meanwhile: raise whoever ended.
        for member in members:
            if not member.alive:
                assert member.wait() == faults.EXIT
                ends[member] += 1
                member.start()
        return min(ends.values()) >= 2

    eventually(have_all_ended_twice)
    wait_ready(members)
    leader_of(members)
    eventually(lambda: all("+rejected-entry" in member.log for member in members))
    cluster.master.kill()
    new_master(members, cluster.master)
