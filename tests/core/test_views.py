"""What rows, INFO and the queries show: fields, order, flags and the conditions for them."""

from __future__ import annotations

import pytest

from sentinel_py.core import views
from sentinel_py.core.messages import Refused
from sentinel_py.core.model import (
    Address,
    Failover,
    LinkState,
    Options,
    Phase,
    Raft,
    Reconf,
    SimulatedFailure,
    State,
)
from sentinel_py.core.roster import add_master, add_peer, add_replica

NOW = 1_000_000
PEER_ID = "b" * 40


@pytest.fixture
def state():
    """A healthy master with two replicas and two peers, all of them connected."""
    state = State(myid="a" * 40)
    options = Options(quorum=2, down_after_ms=5000, failover_timeout_ms=60000)
    master = add_master(state, NOW, "mymaster", address(6379), options)
    add_replica(state, NOW, master, address(6380))
    add_replica(state, NOW, master, address(6381))
    add_peer(state, NOW, master, PEER_ID, address(26380))
    add_peer(state, NOW, master, "c" * 40, address(26381))
    for link in state.links.values():
        link.state = LinkState.UP
        link.ping_since = None
    return state


def address(port, host="127.0.0.1"):
    return Address(host, port, "127.0.0.1")


def master_of(state):
    return state.masters["mymaster"]


def replica_of(state):
    return next(iter(master_of(state).replicas.values()))


def peer_of(state):
    return master_of(state).peers[PEER_ID]


def master_row(state, now=NOW):
    return dict(views.master_row(state, master_of(state), now))


def replica_row(state, now=NOW):
    return dict(views.replica_row(state, replica_of(state), now))


def peer_row(state, now=NOW):
    return dict(views.peer_row(state, peer_of(state), now))


def test_healthy_master_row(state):
    """Twenty fields in the order that clients read by position, all of them text."""
    master = master_of(state)
    master.run_id = "d" * 40
    master.command.pending = 3
    master.command.ping_since = NOW + 500
    master.command.ok_at = master.command.heard_at = NOW + 400
    master.info_at = NOW + 100
    master.config_epoch = 7
    assert views.master_row(state, master, NOW + 1000) == [
        ("name", "mymaster"),
        ("ip", "127.0.0.1"),
        ("port", "6379"),
        ("runid", "d" * 40),
        ("flags", "master"),
        ("link-pending-commands", "3"),
        ("link-refcount", "1"),
        ("last-ping-sent", "500"),
        ("last-ok-ping-reply", "600"),
        ("last-ping-reply", "600"),
        ("down-after-milliseconds", "5000"),
        ("info-refresh", "900"),
        ("role-reported", "master"),
        ("role-reported-time", "1000"),
        ("config-epoch", "7"),
        ("num-slaves", "2"),
        ("num-other-sentinels", "2"),
        ("quorum", "2"),
        ("failover-timeout", "60000"),
        ("parallel-syncs", "1"),
    ]


def test_master_row_with_all_that_is_conditional(state):
    """The conditional fields stand where redis-sentinel puts them."""
    master = master_of(state)
    master.is_down = master.is_odown = True
    master.down_at, master.odown_at = NOW, NOW + 10
    master.failover = Failover(epoch=1, forced=False, started_at=NOW, phase=Phase.SELECT)
    master.options.notification_script = "/bin/notify"
    master.options.client_reconfig_script = "/bin/reconfig"
    row = views.master_row(state, master, NOW + 100)
    assert [name for name, _ in row][7:14] == [
        "failover-state",
        "last-ping-sent",
        "last-ok-ping-reply",
        "last-ping-reply",
        "s-down-time",
        "o-down-time",
        "down-after-milliseconds",
    ]
    assert row[-2:] == [
        ("notification-script", "/bin/notify"),
        ("client-reconfig-script", "/bin/reconfig"),
    ]
    shown = dict(row)
    assert shown["failover-state"] == "select_slave"
    assert (shown["s-down-time"], shown["o-down-time"]) == ("100", "90")
    assert shown["flags"] == "s_down,o_down,master,failover_in_progress"


def test_a_master_that_only_we_see_down(state):
    """Without agreement there is no o-down-time."""
    master = master_of(state)
    master.is_down, master.down_at = True, NOW
    row = master_row(state)
    assert row["flags"] == "s_down,master"
    assert "s-down-time" in row
    assert "o-down-time" not in row


def test_replica_row(state):
    """Twenty-one fields, with what the replica's INFO said at the end."""
    replica = replica_of(state)
    replica.master_host, replica.master_port = "127.0.0.1", 6379
    replica.master_link_up = True
    replica.master_link_down_ms = 2000
    replica.priority, replica.offset = 10, 4711
    assert views.replica_row(state, replica, NOW) == [
        ("name", "127.0.0.1:6380"),
        ("ip", "127.0.0.1"),
        ("port", "6380"),
        ("runid", ""),
        ("flags", "slave"),
        ("link-pending-commands", "0"),
        ("link-refcount", "1"),
        ("last-ping-sent", "0"),
        ("last-ok-ping-reply", "0"),
        ("last-ping-reply", "0"),
        ("down-after-milliseconds", "5000"),
        ("info-refresh", "0"),
        ("role-reported", "slave"),
        ("role-reported-time", "0"),
        ("master-link-down-time", "2000"),
        ("master-link-status", "ok"),
        ("master-host", "127.0.0.1"),
        ("master-port", "6379"),
        ("slave-priority", "10"),
        ("slave-repl-offset", "4711"),
        ("replica-announced", "1"),
    ]


def test_replica_row_before_its_first_info(state):
    """What no INFO has said yet has its stated stand-ins."""
    row = replica_row(state)
    assert row["master-link-status"] == "err"
    assert row["master-host"] == "?"
    assert row["master-port"] == "0"
    assert row["slave-priority"] == "100"


def test_peer_row(state):
    """Fourteen fields; the name is the id."""
    peer = peer_of(state)
    peer.leader, peer.leader_epoch = "e" * 40, 3
    assert views.peer_row(state, peer, NOW + 50) == [
        ("name", PEER_ID),
        ("ip", "127.0.0.1"),
        ("port", "26380"),
        ("runid", PEER_ID),
        ("flags", "sentinel"),
        ("link-pending-commands", "0"),
        ("link-refcount", "1"),
        ("last-ping-sent", "0"),
        ("last-ok-ping-reply", "50"),
        ("last-ping-reply", "50"),
        ("down-after-milliseconds", "5000"),
        ("last-hello-message", "50"),
        ("voted-leader", "e" * 40),
        ("voted-leader-epoch", "3"),
    ]


def test_peer_without_a_vote(state):
    """A peer that told no vote shows a question mark."""
    assert peer_row(state)["voted-leader"] == "?"


def test_shared_links_are_counted(state):
    """A peer's link-refcount is the number of masters that share its link."""
    options = Options(quorum=1, down_after_ms=1, failover_timeout_ms=1)
    other = add_master(state, NOW, "other", address(7000), options)
    add_peer(state, NOW, other, PEER_ID, address(26380))
    assert peer_row(state)["link-refcount"] == "2"


def test_down_replicas_and_peers_say_since_when(state):
    """s-down-time follows last-ping-reply in every kind of row."""
    for instance, row_of in (
        (replica_of(state), views.replica_row),
        (peer_of(state), views.peer_row),
    ):
        instance.is_down, instance.down_at = True, NOW
        row = row_of(state, instance, NOW + 5)
        assert row[9][0] == "last-ping-reply"
        assert row[10] == ("s-down-time", "5")
        assert dict(row)["flags"].startswith("s_down,")


def test_all_flags_of_a_master_in_order(state):
    """The order of flags is fixed."""
    master = master_of(state)
    master.is_down = master.is_odown = True
    master.failover = Failover(epoch=1, forced=True, started_at=NOW)
    master.channel.state = LinkState.DOWN
    master.script_killed = True
    master.rebooted_at = NOW
    assert master_row(state)["flags"] == (
        "s_down,o_down,master,disconnected,failover_in_progress,force_failover,"
        "script_kill_sent,master_reboot"
    )


@pytest.mark.parametrize("reconf", [Reconf.SENT, Reconf.IN_PROGRESS, Reconf.DONE])
def test_all_flags_of_a_replica_in_order(state, reconf):
    """A chosen replica is promoted; the others show how far they have followed."""
    replica = replica_of(state)
    replica.is_down = True
    replica.command.state = LinkState.DOWN
    replica.reconf = reconf
    replica.script_killed = True
    replica.master.failover = Failover(epoch=1, forced=False, started_at=NOW, chosen=replica)
    assert replica_row(state)["flags"] == (
        f"s_down,slave,disconnected,promoted,{reconf.value},script_kill_sent"
    )


def test_all_flags_of_a_peer_in_order(state):
    """A peer's row shows what the peer last said of the master."""
    peer = peer_of(state)
    peer.is_down = peer.says_down = True
    peer.command.state = LinkState.DOWN
    assert peer_row(state)["flags"] == "s_down,sentinel,disconnected,master_down"


def test_a_connecting_link_is_not_disconnected(state):
    """Only a missing connection is shown; one under way counts as there."""
    master_of(state).command.state = LinkState.CONNECTING
    assert master_row(state)["flags"] == "master"


def test_hidden_replicas(state):
    """A replica that is not announced is counted, but not listed."""
    replica_of(state).announced = False
    assert [dict(row)["port"] for row in views.replicas(state, "mymaster", NOW)] == ["6381"]
    assert master_row(state)["num-slaves"] == "2"


def test_lists_have_a_row_for_each(state):
    """MASTERS and SENTINELS list all there are."""
    assert [dict(row)["name"] for row in views.masters(state, NOW)] == ["mymaster"]
    assert [dict(row)["port"] for row in views.peers(state, "mymaster", NOW)] == ["26380", "26381"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda state: views.replicas(state, "nobody", NOW),
        lambda state: views.peers(state, "nobody", NOW),
        lambda state: views.ckquorum(state, "nobody"),
        lambda state: views.master_named(state, "MyMaster"),
    ],
)
def test_unknown_master(state, ask):
    """Who asks for a master that nobody watches is refused; names are case-sensitive."""
    with pytest.raises(Refused, match=r"^ERR No such master with that name$"):
        ask(state)


def test_address_of_a_master(state):
    """Clients get the address as texts, and nothing for an unknown name."""
    assert views.address_of(state, "mymaster", NOW) == ("127.0.0.1", "6379")
    assert views.address_of(state, "nobody", NOW) is None


def test_host_names_are_shown_when_announced(state):
    """With announce-hostnames the configured text stands in for the ip everywhere."""
    master_of(state).address = address(6379, host="redis.example")
    assert views.address_of(state, "mymaster", NOW) == ("127.0.0.1", "6379")
    state.settings.announce_hostnames = True
    assert views.address_of(state, "mymaster", NOW) == ("redis.example", "6379")
    assert master_row(state)["ip"] == "redis.example"
    assert "address=redis.example:6379" in str(views.sentinel_info(state, NOW, 0, 0))


def take_down(state, count):
    for peer in list(master_of(state).peers.values())[:count]:
        peer.is_down = True


def test_quorum_can_be_reached(state):
    """Peers that are not down count, and so do we."""
    take_down(state, 1)
    assert views.ckquorum(state, "mymaster") == (
        True,
        "OK 2 usable Sentinels. Quorum and failover authorization can be reached",
    )


QUORUM = "Not enough available Sentinels to reach the specified quorum for this master"
MAJORITY = "Not enough available Sentinels to reach the majority and authorize a failover"


@pytest.mark.parametrize(
    ("quorum", "down", "text"),
    [
        (3, 1, f"NOQUORUM 2 usable Sentinels. {QUORUM}"),
        (1, 2, f"NOQUORUM 1 usable Sentinels. {MAJORITY}"),
        (2, 2, f"NOQUORUM 1 usable Sentinels. {QUORUM}. {MAJORITY}"),
    ],
)
def test_quorum_cannot_be_reached(state, quorum, down, text):
    """The text says what is missing: the quorum, the majority, or both."""
    master_of(state).options.quorum = quorum
    take_down(state, down)
    assert views.ckquorum(state, "mymaster") == (False, text)


def test_quorum_while_the_state_cannot_be_saved(state):
    """One that does not vote does not say that all is well; why, and the way out, is told."""
    state.save_trouble = "No space left on device"
    is_reachable, text = views.ckquorum(state, "mymaster")
    assert not is_reachable
    assert text.startswith("NOQUORUM 3 usable Sentinels. This Sentinel does not vote")
    assert "(No space left on device): sentinel state-dir" in text
    take_down(state, 1)
    is_reachable, text = views.ckquorum(state, "mymaster")
    assert not is_reachable
    assert text.startswith(f"NOQUORUM 2 usable Sentinels. {MAJORITY}. This Sentinel does not vote")
    ids = (state.myid, *state.masters["mymaster"].peers)
    state.raft = Raft("boot", members=ids, has_majority=True)
    is_reachable, text = views.ckquorum(state, "mymaster")
    assert is_reachable
    assert text.startswith("OK 2 usable Sentinels. Quorum and failover authorization can be")
    assert "(No space left on device): sentinel state-dir" in text


def test_info_cache(state):
    """The master's INFO comes first; unknown and repeated names are left out."""
    master = master_of(state)
    master.info, master.info_at = b"# Server\r\n", NOW
    assert views.info_cache(state, ["mymaster", "nobody", "mymaster"], NOW + 30) == [
        ("mymaster", [(30, b"# Server\r\n"), (0, None), (0, None)])
    ]


def test_config_get_in_fixed_order(state):
    """A star shows all options in their order; an unset port is 0."""
    assert list(views.config_get(state, ["*"]).items()) == [
        ("resolve-hostnames", "no"),
        ("announce-hostnames", "no"),
        ("announce-ip", ""),
        ("announce-port", "0"),
        ("sentinel-user", ""),
        ("sentinel-pass", ""),
        ("loglevel", "notice"),
    ]


def test_config_get_by_patterns(state):
    """Each option is shown once, in the order of the patterns, whatever the case."""
    state.settings.resolve_hostnames = True
    shown = views.config_get(state, ["LOG*", "*hostnames", "resolve*", "nothing"])
    assert list(shown) == ["loglevel", "resolve-hostnames", "announce-hostnames"]
    assert shown["resolve-hostnames"] == "yes"


def test_debug_values_in_order(state):
    """Time constants have the names of SENTINEL DEBUG, in its order."""
    state.constants.info_period = 500
    assert list(views.debug_values(state).items()) == [
        ("INFO-PERIOD", "500"),
        ("PING-PERIOD", "1000"),
        ("ASK-PERIOD", "1000"),
        ("PUBLISH-PERIOD", "2000"),
        ("DEFAULT-DOWN-AFTER", "30000"),
        ("DEFAULT-FAILOVER-TIMEOUT", "180000"),
        ("TILT-TRIGGER", "2000"),
        ("TILT-PERIOD", "30000"),
        ("SLAVE-RECONF-TIMEOUT", "10000"),
        ("MIN-LINK-RECONNECT-PERIOD", "15000"),
        ("ELECTION-TIMEOUT", "10000"),
        ("SCRIPT-MAX-RUNTIME", "60000"),
        ("SCRIPT-RETRY-DELAY", "30000"),
    ]


def test_matching_masters(state):
    """Master names match by glob, case-sensitively."""
    assert [master.name for master in views.matching(state, "my*")] == ["mymaster"]
    assert views.matching(state, "MY*") == []


def test_info_section(state):
    """INFO's Sentinel section, with one line per master."""
    assert views.sentinel_info(state, NOW, 1, 2) == [
        ("sentinel_masters", 1),
        ("sentinel_tilt", 0),
        ("sentinel_tilt_since_seconds", -1),
        ("sentinel_running_scripts", 1),
        ("sentinel_scripts_queue_length", 2),
        ("sentinel_simulate_failure_flags", 0),
        ("master0", "name=mymaster,status=ok,address=127.0.0.1:6379,slaves=2,sentinels=3"),
        ("sentinel_unsaved_since_seconds", -1),
        ("sentinel_save_error", ""),
    ]


def test_info_section_in_trouble(state):
    """Tilt counts in seconds, failures are bits, and odown wins over sdown."""
    state.tilt_at = NOW
    state.simulated_failures = list(SimulatedFailure)
    master = master_of(state)
    master.is_down = True
    state.save_trouble, state.unsaved_at = "disk full", NOW
    info = dict(views.sentinel_info(state, NOW + 2500, 0, 0))
    assert (info["sentinel_unsaved_since_seconds"], info["sentinel_save_error"]) == (2, "disk full")
    assert info["sentinel_tilt"] == 1
    assert info["sentinel_tilt_since_seconds"] == 2
    assert info["sentinel_simulate_failure_flags"] == 3
    assert ",status=sdown," in info["master0"]
    master.is_odown = True
    assert ",status=odown," in dict(views.sentinel_info(state, NOW, 0, 0))["master0"]
