"""What operators get wrong about Raft: each has its own text, and none founds a second cluster."""

import shutil

import pytest

from sentinel_py.local import HOST, eventually, raft_peers, wait_ready

from .group import ask, new_master, settle, start_cluster, watch
from .members import config, leader_of, raft, start_members, status
from .test_start import EXAMPLE


def start(box, *lines, port=0):
    server = box.sentinel(lines, port=port)
    wait_ready([server])
    return server


def start_alone(box, *lines):
    """The leader of a cluster of one."""
    port = box.port()
    server = start(box, raft_peers([port]), *lines, port=port)
    leader_of([server])
    return server


def saying(server, text):
    said = status(server)["waiting_for"]
    return said if text in said else None


def waits(server, text):
    """Wait until it says, to operators and in its log, that it waits for this."""
    said = eventually(lambda: saying(server, text), what=f"'{text}'")
    assert f"Raft: {said}\n" in server.log
    assert status(server)["cluster"] == ""


def write_list(server, line):
    """Put another raft-peers line into its file."""
    lines = [it for it in config(server).splitlines() if "raft-peers" not in it]
    (server.folder / "sentinel.conf").write_text("\n".join([*lines, line, ""]))


def restart_with(server, line):
    server.terminate()
    write_list(server, line)
    server.start()
    wait_ready([server])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (raft_peers([1, 2, 1]), f"raft-peers names {HOST}:1 twice."),
        (f"sentinel raft-peers {HOST}:1 {HOST}", f"'{HOST}' is not of the form host:port."),
        (raft_peers(range(1, 17)), "raft-peers takes 1 to 15 addresses."),
        ("sentinel raft-peers", "raft-peers takes 1 to 15 addresses."),
    ],
)
def test_a_list_that_cannot_be_is_no_start(sandbox, line, reason):
    """The line and the reason, as for any other directive."""
    server = sandbox.sentinel([line])
    assert server.wait() == 1
    assert f">>> '{line}'\n{reason}\n" in server.log


def test_a_list_that_names_one_sentinel_twice(sandbox):
    """By two spellings, which only shows when it is reached."""
    ports = [sandbox.port(), sandbox.port()]
    line = f"{raft_peers(ports)} localhost:{ports[1]}"
    servers = [start(sandbox, line, port=port) for port in ports]
    for server in servers:
        waits(server, f"twice: {HOST}:{ports[1]} and localhost:{ports[1]}")


def test_a_list_without_this_sentinel(sandbox):
    """It founds nothing with those that it lists, and joins nothing that they are in."""
    ports = [sandbox.port(), sandbox.port()]
    secret = "sentinel raft-secret s3cret"
    classic = [start(sandbox, secret, port=port) for port in ports]
    outsider = start(sandbox, raft_peers(ports), secret)
    waits(outsider, "raft-peers does not name this sentinel")
    assert [status(server)["role"] for server in classic] == ["classic", "classic"]

    alone = start_alone(sandbox, secret)
    cluster = status(alone)["cluster"]
    restart_with(outsider, raft_peers([alone.port]))
    waits(outsider, f"waiting to be added to Raft cluster {cluster}: SENTINEL RAFT ADD on one of")
    assert len(raft(alone, "MEMBERS")) == 1


def test_a_list_with_a_redis(sandbox):
    """What is no sentinel_py is named, with what it says."""
    redis = sandbox.redis()
    port = sandbox.port()
    server = start(sandbox, raft_peers([port, redis.port]), port=port)
    waits(server, f"{redis.address} (it is not sentinel_py, or an older one: ERR unknown command")


def test_lists_that_differ(sandbox):
    """Who has another one is named by everybody who sees it."""
    ports = [sandbox.port() for _ in range(3)]
    lists = [ports, ports, ports[1:]]
    servers = [
        start(sandbox, raft_peers(listed), port=port)
        for listed, port in zip(lists, ports, strict=True)
    ]
    waits(servers[0], f"{HOST}:{ports[2]} has another set of raft-peers")
    waits(servers[2], f"{HOST}:{ports[1]} has another set of raft-peers")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "A Raft cluster of one member does not survive its loss."),
        (2, "of 2 members survives the loss of 0, as one of 1 does: use an odd number."),
        (4, "of 4 members survives the loss of 1, as one of 3 does: use an odd number."),
        (3, None),
    ],
)
def test_a_number_that_survives_less_than_it_seems(sandbox, count, text):
    """An even or a single one is allowed; each member's log says what cannot be survived."""
    members = start_members(sandbox, count)
    leader_of(members)
    for member in members:
        assert text in member.log if text else "survive" not in member.log


def test_members_of_different_clusters(sandbox):
    """Nobody joins one of two, and neither takes a member of the other."""
    one, other = start_alone(sandbox), start_alone(sandbox)
    clusters = sorted(status(server)["cluster"] for server in (one, other))
    port = sandbox.port()
    third = start(sandbox, raft_peers([one.port, other.port, port]), port=port)
    waits(third, f"members of different Raft clusters: {' and '.join(clusters)}")
    restart_with(one, raft_peers([one.port, other.port]))
    leader_of([one])
    refusal = f"{other.address} is not reached: ERR sentinels of different Raft clusters"
    with pytest.raises(Exception, match=refusal):
        raft(one, "ADD", other.address)
    assert sorted(status(server)["cluster"] for server in (one, other)) == clusters


@pytest.mark.parametrize("kept", [2, 1, 0])
def test_a_changed_list_changes_no_members(sandbox, kept):
    """The member says what the list would do and stays; the file gets the members again."""
    members = start_members(sandbox)
    leader_of(members)
    cluster = status(members[0])["cluster"]
    listed = [member.port for member in members[:kept]]
    ports = [*listed, *(sandbox.port() for _ in range(3 - kept))]
    restart_with(members[0], raft_peers(ports))
    said = f"raft-peers differs from the members of Raft cluster {cluster}, which are "
    assert said in members[0].log
    assert "The list changes nothing: use SENTINEL RAFT ADD and REMOVE." in members[0].log
    assert ("It would drop the majority." in members[0].log) is (kept < 2)
    leader_of(members)
    assert status(members[0])["cluster"] == cluster
    eventually(lambda: all(member.address in config(members[0]) for member in members))


def test_a_list_that_is_taken_out_leaves_a_member_a_member(sandbox):
    """A line that is gone makes no part of a cluster classic again."""
    members = start_members(sandbox)
    leader_of(members)
    restart_with(members[0], "")
    assert "It would drop the majority. The list changes nothing" in members[0].log
    leader_of(members)


def test_a_member_whose_log_is_gone(sandbox):
    """It says so and is nobody of the cluster, which stays one and knows of the lost member."""
    members = start_members(sandbox)
    leader_of(members)
    lost, *rest = members
    cluster, old_id = status(lost)["cluster"], status(lost)["id"]
    lost.terminate()
    folder = lost.folder / f"raft-{lost.port}"
    shutil.rmtree(folder)
    lost.start()
    wait_ready([lost])
    assert f"is that of a member, and nothing of its log is in {folder}." in lost.log
    waits(lost, f"waiting to be added to Raft cluster {cluster}: SENTINEL RAFT ADD on one of")
    assert f"Remove the old one with SENTINEL RAFT REMOVE {old_id}" in lost.log
    assert raft(rest[0], "REMOVE", old_id) == "OK"
    assert raft(rest[0], "ADD", lost.address) == "OK"
    leader_of(members)


def test_the_way_back_to_classic_mode(sandbox):
    """Without the line and the log of Raft they keep their masters, and find each other again."""
    cluster = start_cluster(sandbox)
    members = start_members(sandbox, lines=watch(cluster))
    settle(members, cluster)
    for member in members:
        member.terminate()
        shutil.rmtree(member.folder / f"raft-{member.port}")
        write_list(member, "")
    for member in members:
        member.start()
    wait_ready(members)
    settle(members, cluster)
    assert [status(member)["role"] for member in members] == ["classic"] * 3
    cluster.master.kill()
    new_master(members, cluster.master)


def test_the_shipped_example_is_raft_mode_and_classic_is_a_line_away(sandbox, ours):
    """It looks for the three hosts; without the one line it is a classic sentinel."""
    lines = [it for it in EXAMPLE.read_text().splitlines() if not it.startswith("port ")]
    example = start(sandbox, *lines)
    waits(example, "waiting for 192.0.2.10:26379")
    classic = [it for it in lines if not it.startswith("sentinel raft-peers ")]
    assert len(classic) == len(lines) - 1
    assert status(start(sandbox, *classic))["role"] == "classic"
    named = ask(example, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
    assert named == ["192.0.2.10", "6379"]
