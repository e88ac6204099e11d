"""What is sent again and again: together for a few masters, apart for many, one ping per link."""

from collections import Counter
from random import Random

import pytest

from sentinel_py.core import roster
from sentinel_py.core.detector import OPENS_MAX
from sentinel_py.core.messages import Ask, DirectHello, LinkUp, Notice, Open, Reply, Send, Wake
from sentinel_py.core.model import Address, Link, LinkKind, Options, State
from sentinel_py.core.rhythm import CROWD, due_after
from sentinel_py.core.sentinel import Sentinel

HOST = "10.0.0.1"
FIRST_PORT = 1000
DOWN_AFTER_MS = 1000
PEER = "b" * 40


def links(count):
    state = State(myid="a" * 40)
    for number in range(1, count + 1):
        state.links[number] = Link(number, LinkKind.COMMAND, ok_at=0, heard_at=0, ping_since=None)
    return state


class Group:
    """Masters that answer at once, and the core that watches them, from step to step."""

    def __init__(self, masters):
        self.now = 10_000
        self.pings = []  # (instant, link)
        self.opens = Counter()  # by instant
        self.notices = Counter()
        self.core = Sentinel(State(myid="a" * 40), Random(1))
        for number in range(masters):
            address = Address(HOST, FIRST_PORT + number, HOST)
            options = Options(2, DOWN_AFTER_MS, failover_timeout_ms=60_000)
            roster.add_master(self.core.state, self.now, f"m{number}", address, options)
        self._answer(self.core.start(self.now))

    def step(self, event):
        self._answer(self.core.step(self.now, event))

    def _answer(self, effects):
        pending = [event for effect in effects for event in self._react(effect)]
        for event in pending:
            self.step(event)

    def _react(self, effect):
        match effect:
            case Open():
                self.opens[self.now] += 1
                return [LinkUp(effect.link, "10.0.1.1")]
            case Send():
                self._count_pings(effect)
                answers = [Reply(effect.link, request, b"PONG") for request in effect.requests]
                is_command = self.core.state.links[effect.link].kind is LinkKind.COMMAND
                return answers if is_command else []
            case Notice():
                self.notices[effect.name] += 1
        return []

    def _count_pings(self, effect):
        pings = [request for request in effect.requests if request.ask is Ask.PING]
        self.pings += [(self.now, effect.link)] * len(pings)

    def run(self, ms):
        ends_at = self.now + ms
        while self.core.wake_at <= ends_at:
            self.now = max(self.now, self.core.wake_at)
            self.step(Wake())
        self.now = ends_at

    def busiest(self):
        """The most pings of one instant, of those sent since the last call."""
        pings, self.pings = self.pings, []
        return max(Counter(at for at, _ in pings).values())


def test_few_are_asked_at_the_same_instant():
    """One wake-up serves all links of a small group, whenever each was asked last."""
    state = links(CROWD)
    due = {due_after(state, link, 1000 + link.id % 50, 1000) for link in state.links.values()}
    assert due == {2000}


@pytest.mark.parametrize("late_ms", [0, 1, 49])
def test_late_pings_come_no_more_seldom(late_ms):
    """The period is what it shall be at most, though each ping leaves a little late."""
    state = links(CROWD)
    assert due_after(state, state.links[1], 1000 + late_ms, 250) == 1250


def test_many_have_places_of_their_own():
    """In a crowd, links that were asked together are not asked together again."""
    state = links(CROWD + 1)
    due = Counter(due_after(state, link, 1000, 1000) for link in state.links.values())
    assert max(due.values()) <= 3


@pytest.mark.parametrize("late_ms", [0, 1, 499, -400])
def test_a_place_is_kept(late_ms):
    """What was late or early this time is on time the next, and neither twice nor left out."""
    state = links(CROWD + 1)
    link = state.links[7]
    due_at = due_after(state, link, 5000, 1000)
    assert due_after(state, link, due_at + late_ms, 1000) == due_at + 1000


def test_a_stall_is_over_when_it_ends():
    """Pings that a stall made late together are spread again in the next period."""
    group = Group(masters=CROWD)
    group.run(3000)
    group.busiest()
    group.now += 1500
    group.step(Wake())
    assert group.busiest() == CROWD
    group.run(1000)
    group.busiest()
    group.run(1000)
    assert group.busiest() <= CROWD // 10


def test_many_links_are_opened_little_by_little():
    """A step opens few links, all are opened soon, and who waits for that is not taken for dead."""
    masters = 20 * CROWD
    group = Group(masters)
    assert group.opens[group.now] == OPENS_MAX
    group.run(3 * DOWN_AFTER_MS)
    assert sum(group.opens.values()) == 2 * masters
    assert max(group.opens.values()) <= 2 * OPENS_MAX
    assert "+sdown" not in group.notices


def test_one_ping_for_all_rows_of_a_peer():
    """Rows of a peer share a link, which is pinged as often as that of a master."""
    group = Group(masters=5)
    masters = group.core.state.masters
    for name, master in masters.items():
        where = f"{HOST},{master.address.port}"
        group.step(DirectHello(f"10.0.2.1,26379,{PEER},0,{name},{where},0"))
    (peer_link,) = {master.peers[PEER].command.id for master in masters.values()}
    group.run(3000)
    group.pings.clear()
    group.run(2000)
    pings = Counter(link for _, link in group.pings)
    assert pings[peer_link] == pings[masters["m0"].command.id] == 2000 // (DOWN_AFTER_MS // 4)
