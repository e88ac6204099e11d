"""``sentinel-py doctor`` before a failover is needed: what it finds, where, and the way out."""

import json

import pytest

from sentinel_py.local import HOST, eventually, sentinel_program, wait_ready

from .commands import KINDS, group, groups, output, sentinel_py
from .group import NAME, ask, client, rows, settle, start_cluster, start_sentinels, watch

__all__ = ["group", "groups"]  # fixtures

both = pytest.mark.parametrize("group", KINDS, indirect=True)


@both
def test_doctor_finds_nothing(group):
    """Neither in a running group nor in its file."""
    group.settle()
    assert output("doctor", "-p", group.port).startswith("Nothing found")
    conf = group.sentinels[0].folder / "sentinel.conf"
    conf.chmod(0o600)
    assert output("doctor", str(conf)).startswith("Nothing found")


@both
def test_doctor_finds_a_quorum_that_cannot_be_met(group):
    """An error: status 1, what, where, the way out."""
    ask(group.sentinels[0], "SENTINEL", "SET", NAME, "quorum", "4")
    try:
        found = eventually(lambda: findings("-p", group.port))
        (it,) = [it for it in found if "can never be met" in it["what"]]
        assert it["severity"] == "error"
        assert it["where"] == NAME
        assert f"SENTINEL SET {NAME} quorum 2" in it["way_out"]
    finally:
        ask(group.sentinels[0], "SENTINEL", "SET", NAME, "quorum", "2")


def findings(*words):
    """What doctor finds, and that its status says whether there is an error."""
    done = sentinel_py("doctor", "--json", *words)
    found = json.loads(done.stdout)
    assert done.returncode == any(it["severity"] == "error" for it in found)
    assert all(it["what"] and it["where"] and it["way_out"] for it in found)
    return found


@both
def test_doctor_finds_a_sentinel_that_cannot_be_reached(group):
    """At the address that it announces."""
    group.sentinels[2].pause()
    try:
        found = findings("-p", group.port)
        texts = [it["what"] for it in found if it["severity"] == "error"]
        address = f"{HOST}:{group.sentinels[2].port}"
        assert any(f"a sentinel of {NAME}: no answer from {address}" in text for text in texts)
    finally:
        group.sentinels[2].resume()


WATCHER = (
    "allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info "
    "+client|setname +client|kill +script|kill +client|pause +client|unpause +failover"
)


@pytest.mark.parametrize("asks", ["", "+acl|dryrun +acl|whoami"], ids=["by queueing", "by DRYRUN"])
def test_doctor_finds_missing_rights(sandbox, asks):
    """Of each command, on each server, and the line that gives them; nothing is changed there."""
    rules = f"on >secret {WATCHER} {asks}"
    cluster = start_cluster(sandbox, replicas=1, options={"user": f"watcher {rules}"})
    lines = watch(cluster, quorum=1, auth_user="watcher", auth_pass="secret")
    sentinel = sandbox.sentinel(lines)
    wait_ready([sentinel])
    login = ("-p", str(sentinel.port), "--node-user", "watcher", "--node-pass", "secret")
    eventually(lambda: len(rows(sentinel, "REPLICAS")) == 1)
    assert rights_found(*login) == []

    (replica,) = cluster.replicas
    for server in cluster.servers:
        ask(server, "ACL", "SETUSER", "watcher", "-slaveof", "-client|kill", "-client|pause")
        ask(server, "ACL", "SETUSER", "watcher", "resetchannels")
    before = [told(server) for server in cluster.servers]
    found = rights_found(*login)
    assert sorted(it["where"] for it in found) == sorted(
        3 * [f"{HOST}:{server.port}" for server in cluster.servers]
    )
    error, part, loss = (it for it in found if it["where"] == f"{HOST}:{replica.port}")
    assert [it["severity"] for it in (error, part, loss)] == ["error", "warning", "warning"]
    assert "user watcher may not run publish, subscribe, slaveof: a failover" in error["what"]
    assert "user watcher may not run client|kill: a failover goes without it" in part["what"]
    assert "user watcher may not run client|pause: without it writes" in loss["what"]
    assert [told(server) for server in cluster.servers] == before

    for server in cluster.servers:
        for it in (error, part, loss):
            ask(server, *it["way_out"].removeprefix("there: ").split())
    assert rights_found(*login) == []
    conf = sentinel.folder / "sentinel.conf"
    assert not [it for it in findings(str(conf)) if "may not" in it["what"]]


def rights_found(*login):
    return [it for it in findings(*login) if "may not run" in it["what"]]


def told(server):
    """What must not change by being asked: whom it follows, its clients, its ACL."""
    with client(server) as connected:
        role = connected.execute_command("ROLE")
        users = connected.execute_command("ACL", "LIST")
    return role[0], role[1:3] if role[0] == "slave" else (), users


@pytest.mark.parametrize("asks", ["+@all", "+@all -acl"], ids=["by DRYRUN", "by queueing"])
def test_doctor_finds_a_command_that_is_called_otherwise(sandbox, asks):
    """Until the sentinel is told how."""
    options = {"rename-command": "SLAVEOF follow", "user": f"watcher on >right {asks} allchannels"}
    cluster = start_cluster(sandbox, replicas=1, options=options)
    login = {"auth_user": "watcher", "auth_pass": "right"}
    found = findings(written(sandbox, watch(cluster, **login)))
    texts = [it["what"] for it in found if it["severity"] == "error"]
    assert texts == 2 * ["no command slaveof there: a failover needs that"]
    told_how = watch(cluster, **login, rename_command="SLAVEOF follow")
    assert findings(written(sandbox, told_how)) == []


def written(box, lines):
    conf = box.folder / "sentinel.conf"
    conf.write_text("\n".join([*lines, ""]))
    conf.chmod(0o600)
    return str(conf)


def test_doctor_finds_missing_transactions(sandbox):
    """Nothing is tried then that would be carried out at once."""
    user = "watcher on >right allchannels +@all -acl -multi"
    cluster = start_cluster(sandbox, replicas=1, options={"user": user})
    lines = watch(cluster, auth_user="watcher", auth_pass="right")
    before = [told(server) for server in cluster.servers]
    texts = [it["what"] for it in findings(written(sandbox, lines))]
    assert len(texts) == 2
    assert all("watcher may not run multi: a failover goes without it" in it for it in texts)
    assert [told(server) for server in cluster.servers] == before


def test_doctor_finds_a_wrong_password(sandbox):
    """It is the sentinel's own trouble, too."""
    cluster = start_cluster(sandbox, replicas=1, options={"user": f"watcher on >right {WATCHER}"})
    lines = watch(cluster, quorum=1, auth_user="watcher", auth_pass="wrong")
    found = findings(written(sandbox, lines))
    assert any("does not let us in" in it["what"] for it in found)
    assert "wrong" not in json.dumps([it["what"] for it in found])


def test_doctor_reads_a_file_that_cannot_be(tmp_path):
    """The line, its number, and status 1."""
    conf = tmp_path / "sentinel.conf"
    conf.write_text("sentinel monitor m 127.0.0.1 6379 0\n")
    (it,) = findings(str(conf))
    assert "Quorum must be 1 or greater" in it["what"]
    assert it["where"] == f"{conf}, line 1"
    assert sentinel_py("doctor", str(tmp_path / "nowhere")).returncode == 2


def test_doctor_warns_of_an_even_number(sandbox):
    """Four sentinels are no safer than three; a replica of priority 0 is no replica."""
    cluster = start_cluster(sandbox, replicas=1, options={"replica-priority": "0"})
    sentinels = start_sentinels(sandbox, watch(cluster), sentinel_program(), count=4)
    settle(sentinels, cluster)
    texts = {it["what"]: it["severity"] for it in findings("-p", str(sentinels[0].port))}
    assert texts == {
        "all replicas have priority 0, so none may be promoted": "error",
        "4 sentinels survive the loss of no more than 3 would": "warning",
    }
