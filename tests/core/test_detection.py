"""Whatever keeps an answer away, SDOWN comes within down-after and one ping period.

The network swallows everything, the server hangs, the resolver is dead: at any phase of the probes.
"""

from itertools import pairwise
from random import Random

import pytest

from sentinel_py.core.detector import PENDING_MAX, overdue_at
from sentinel_py.core.messages import Ask, ErrorReply, LinkKind, Reply, Request
from sentinel_py.core.model import Address
from sentinel_py.core.turn import Turn

from .stage import CLOCK_START, Stage

DOWN_AFTER_MS = 1000
PING_PERIOD_MS = DOWN_AFTER_MS // 4
PHASES = range(0, 1000, 50)  # over one ping period at its longest


def watched(phase_ms, **options):
    """A settled stage, so long into its probe cycle."""
    stage = Stage()
    stage.play("cast replicas=1 peers=2")
    named = " ".join(f"{name}={value}" for name, value in options.items())
    stage.play(f"ready quorum=2 down-after-ms={DOWN_AFTER_MS} {named}")
    stage.do_advance(phase_ms)
    return stage


def time_to_sdown(stage, subject="master mymaster"):
    begin = stage.now
    for _ in range(100):
        for line in stage.play("advance 50"):
            at, event = line.strip().split(" ", 1)
            if event.startswith(f"+sdown {subject}"):
                return int(at) - begin
    raise AssertionError("no SDOWN")


@pytest.mark.parametrize("phase_ms", PHASES)
@pytest.mark.parametrize("fault", ["cut", "silence", "kill"])
def test_a_master_that_cannot_be_heard_is_down_in_time(fault, phase_ms):
    """No error ever comes, replies are owed for ever, or connections are refused."""
    stage = watched(phase_ms)
    stage.play(f"{fault} M")
    assert time_to_sdown(stage) <= DOWN_AFTER_MS + PING_PERIOD_MS


@pytest.mark.parametrize("phase_ms", PHASES)
def test_only_one_of_many_is_silent(phase_ms):
    """Each probe has its own deadline: nobody waits for another's answer."""
    stage = watched(phase_ms)
    stage.play("cut R1 S1")
    assert time_to_sdown(stage, "slave") <= DOWN_AFTER_MS + PING_PERIOD_MS
    assert stage.play("order SET mymaster quorum 1")
    stage.play("silence M")
    assert time_to_sdown(stage) <= DOWN_AFTER_MS + PING_PERIOD_MS


@pytest.mark.parametrize("phase_ms", PHASES[::5])
def test_a_dead_resolver_delays_nothing(phase_ms):
    """A name that is never answered leaves the last known address in use, and down when it is."""
    stage = watched(phase_ms)
    stage.state.settings.resolve_hostnames = True
    master = stage.state.masters["mymaster"]
    master.address = Address("db.example", master.address.port, master.address.ip)
    stage.play("kill M")
    assert time_to_sdown(stage) <= DOWN_AFTER_MS + PING_PERIOD_MS


@pytest.mark.parametrize("phase_ms", PHASES[::5])
def test_loading_is_silence_once_its_period_is_over(phase_ms):
    """A master that stays in LOADING counts as down when it was told to."""
    stage = watched(phase_ms, **{"loading-down-after-ms": 500})
    stage.play("now M says=-LOADING")
    assert time_to_sdown(stage) <= 500 + PING_PERIOD_MS + 1


@pytest.mark.parametrize(("down_after_ms", "period_ms"), [(200, 50), (1000, 250), (60_000, 1000)])
def test_the_ping_period_adapts(down_after_ms, period_ms):
    """At most a second, and never more than a quarter of down-after."""
    stage = Stage()
    stage.play("cast replicas=0 peers=0")
    stage.play(f"ready quorum=1 down-after-ms={down_after_ms}")
    stage.play("show ping")
    pings = [int(line.split()[0]) for line in stage.play("advance 5000") if "PING" in line]
    gaps = [later - earlier for earlier, later in pairwise(pings)]
    assert max(gaps) <= period_ms


def answer_slowly(stage, value):
    """For four seconds a peer gives no pong, but each quarter of a second another answer."""
    stage.play("silence S1")
    connection = stage.links_of(stage.nodes["S1"], LinkKind.COMMAND)[0]
    seen = []
    for _ in range(16):
        seen += stage.play("advance 250")
        if stage.connections.get(connection.link) is connection:
            stage.step(Reply(connection.link, Request(("PUBLISH",), Ask.HELLO, "mymaster"), value))
    return seen, stage.connections.get(connection.link) is connection


def test_a_peer_that_answers_is_alive_though_its_pong_is_late():
    """Its pong stands behind a hundred votes; its link is kept, since all would be asked again."""
    seen, is_kept = answer_slowly(watched(0), 1)
    assert not [line for line in seen if "sentinel" in line]
    assert is_kept


def test_a_peer_that_answers_with_errors_alone_is_down():
    """As a data node is whose replies to PING are errors."""
    seen, _ = answer_slowly(watched(0), ErrorReply("ERR no"))
    assert [line for line in seen if "+sdown sentinel" in line]


def test_a_busy_peer_keeps_its_link_twice_as_long():
    """One that owes a hundred answers is given up when it is down, not at half of that."""
    stage = watched(0)
    (peer, *_) = stage.state.masters["mymaster"].peers.values()
    link = peer.command
    for pending, patience_ms in ((PENDING_MAX, 500), (PENDING_MAX + 1, 1000)):
        link.pending, link.ping_since = pending, link.heard_at
        turn = Turn(CLOCK_START + stage.now, stage.state, Random(1), bool)
        assert overdue_at(turn, peer, link) == link.heard_at + patience_ms


def connections_to_the_master(replicas):
    """How often one that is down is dialled in five seconds, among so many others."""
    stage = Stage()
    stage.play(f"cast replicas={replicas} peers=1")
    stage.play(f"ready quorum=2 down-after-ms={DOWN_AFTER_MS}")
    stage.play("kill M")
    stage.play("advance 2000")
    opened, really_open = [], stage.open

    def counted(effect, node):
        opened.append(node.name)
        really_open(effect, node)

    stage.open = counted
    stage.play("advance 5000")
    return opened.count("M")


def test_one_that_is_down_is_dialled_once_a_second_in_a_crowd():
    """Half of it may be down, and the living would wait while all of those are dialled."""
    assert connections_to_the_master(replicas=2) >= 15
    assert 4 <= connections_to_the_master(replicas=60) <= 6
