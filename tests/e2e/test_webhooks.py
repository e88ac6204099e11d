"""Webhooks of real sentinels: once per cluster, whoever dies, and never in a failover's way."""

import subprocess
import sys
import time
from collections import Counter

import pytest
from receiver import receiving

from sentinel_py import hooks
from sentinel_py.local import eventually, monitor

from .group import NAME, TIMING, ask, new_master, settle, start_cluster, start_sentinels, watch
from .members import leader_of, start_members

SECRET = "a secret"
# Past the longest wait between two attempts that a test lets grow.
TAKEN_WITHIN_MS = 60_000


@pytest.fixture
def receiver():
    with receiving() as listening:
        yield listening


def webhook(receiver, name="*"):
    return f'sentinel webhook {name} {receiver.url} "{SECRET}"'


def cluster_of_members(sandbox, *lines):
    cluster = start_cluster(sandbox)
    watched = monitor(NAME, cluster.master, options=TIMING)
    members = start_members(sandbox, lines=[*watched, *lines])
    settle(members, cluster)
    leader_of(members)
    return members, cluster


def failover(members, cluster):
    cluster.master.kill()
    return new_master(members, cluster.master)


def took(receiver, name):
    return eventually(lambda: name in receiver.names, TAKEN_WITHIN_MS, f"{name} for the receiver")


def info(server):
    """The fields of the first webhook in INFO."""
    text = ask(server, "INFO", "webhooks")["webhook0"]
    return text if isinstance(text, dict) else dict(it.split("=", 1) for it in text.split(","))


def test_once_per_cluster(sandbox, receiver):
    """The leader posts each event of a failover, signed, in order; nobody else does."""
    members, cluster = cluster_of_members(sandbox, webhook(receiver))
    port = failover(members, cluster)
    took(receiver, "+failover-end")
    assert Counter(receiver.ids).most_common(1)[0][1] == 1
    numbers = [int(it.rpartition("-")[2]) for it in receiver.ids]
    assert numbers == sorted(numbers)
    (switch,) = [event for event in receiver.taken if event["event"] == "+switch-master"]
    assert switch["master"] == NAME
    assert switch["text"].endswith(f" {port}")
    assert receiver.are_signed(SECRET)
    rows = ask(members[0], "SENTINEL", "EVENTS")
    assert receiver.names == [row[2] for row in rows][-len(receiver.names) :]
    sent = [int(info(member)["sent"]) for member in members]
    assert sorted(sent)[:2] == [0, 0]


def test_a_new_leader_posts_what_the_old_one_could_not(sandbox, receiver):
    """A receiver that is down while the leader dies misses nothing; what comes twice has its id."""
    members, cluster = cluster_of_members(sandbox, webhook(receiver))
    took(receiver, "+raft-leader")
    receiver.status = 503
    failover(members, cluster)
    eventually(lambda: "+failover-end" in [row[2] for row in ask(members[0], "SENTINEL", "EVENTS")])
    leader = leader_of(members)
    leader.kill()
    rest = [it for it in members if it is not leader]
    receiver.status = 200
    leader_of(rest)
    eventually(lambda: receiver.names.count("+raft-leader") >= 2, TAKEN_WITHIN_MS)
    rows = ask(rest[0], "SENTINEL", "EVENTS")
    first = next(at for at, row in enumerate(rows) if row[2] == "+raft-leader")
    expected = {str(row[0]) for row in rows[first:] if row[2] != "-raft-leader"}
    assert expected <= {it.rpartition("-")[2] for it in receiver.ids}
    by_id = {(event["id"], event["text"]) for event in receiver.taken}
    assert len(by_id) == len(set(receiver.ids))


def test_a_receiver_that_hangs_delays_no_failover(sandbox, receiver):
    """The switch comes as fast as without webhooks; the sentinel ends without waiting, too."""
    receiver.hangs = True
    members, cluster = cluster_of_members(sandbox, webhook(receiver))
    began = time.monotonic()
    failover(members, cluster)
    took_s = time.monotonic() - began
    assert took_s < TIMING["down-after-milliseconds"] / 1000 + hooks.TIMEOUT_S - 1
    leader = leader_of(members)
    assert int(info(leader)["queued"]) > 0
    assert leader.terminate() == 0


def test_without_a_cluster_each_posts_its_own(sandbox, receiver, ours):
    """As notification scripts run on each; about one master, if the webhook names it."""
    cluster = start_cluster(sandbox)
    lines = [*watch(cluster), webhook(receiver, NAME)]
    sentinels = start_sentinels(sandbox, lines, ours, count=2)
    settle(sentinels, cluster)
    failover(sentinels, cluster)
    eventually(lambda: receiver.names.count("+switch-master") == 2, TAKEN_WITHIN_MS)
    assert len({event["sentinel"] for event in receiver.taken}) == 2
    assert len(set(receiver.ids)) == len(receiver.ids)


def test_the_file_keeps_it(sandbox, receiver, ours):
    """A rewrite of the config file leaves webhooks as they were."""
    master = sandbox.redis()
    lines = [*monitor(NAME, master), webhook(receiver), "sentinel webhook-per-node yes"]
    (sentinel,) = start_sentinels(sandbox, lines, ours, count=1)
    assert ask(sentinel, "SENTINEL", "FLUSHCONFIG") == "OK"
    text = (sentinel.folder / "sentinel.conf").read_text()
    assert webhook(receiver) in text
    assert "sentinel webhook-per-node yes" in text


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["sentinel webhook * ftp://h/"], "begins with http:// or https://"),
        (["sentinel webhook * http://h/", "sentinel event-history 0"], "needs event-history"),
        (["sentinel event-history 10001"], "from 0 to 10000"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(sandbox, lines, text):
    """One clear text, and exit status 1."""
    server = sandbox.sentinel(lines)
    assert server.wait() == 1
    assert text in server.log
    assert "Traceback" not in server.log


def test_without_aiohttp_the_way_out_is_named(sandbox, tmp_path):
    """It is an extra of the package."""
    code = "import sys; sys.modules['aiohttp'] = None; from sentinel_py import daemon;"
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"port {sandbox.port()}\nsentinel webhook * http://127.0.0.1:1/\n")
    ended = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(daemon.run([{str(conf)!r}]))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "pip install 'sentinel-py[http]'" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
