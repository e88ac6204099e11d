"""The loop around the core: what is saved together, and what waits for the disk."""

import asyncio
from itertools import pairwise
from random import Random

import pytest

from sentinel_py import node as node_module
from sentinel_py.core import roster
from sentinel_py.core.messages import (
    Ask,
    DirectHello,
    DownQuestion,
    FailOver,
    LinkUp,
    Monitor,
    Remove,
    Reset,
    SaveSoon,
    Wake,
)
from sentinel_py.core.model import Address, LinkState, State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.local import as_async, eventually_async
from sentinel_py.node import SAVE_PAUSE, SAVE_SOON_MS, Node
from sentinel_py.storage import SaveError

PATIENCE_S = 5


class World:
    """Everything outside, which notes in what order it was used."""

    def __init__(self):
        self.seen = []
        self.links = self.publisher = self
        self.stalled_ms = 0
        self.aside = []
        self.failed = []

    def fail(self, error, *, is_sound):
        self.failed.append((error, is_sound))

    def now(self):
        return int(asyncio.get_running_loop().time() * 1000) + self.stalled_ms

    def save(self, state):
        self.seen.append("save")
        return True

    def save_aside(self, _state, done):
        self.seen.append("save aside")
        self.aside.append(done)

    def open(self, effect):
        self.seen.append(f"open {effect.kind.value}")

    def send(self, effect):
        self.seen.append(f"send {effect.requests[-1].args[0]}")

    def close(self, link_id, *, is_hung):
        self.seen.append("close")

    def flush(self):
        pass

    def notice(self, notice):
        self.seen.append(notice.name)

    def log(self, line):
        pass


@pytest.fixture
async def node():
    world = World()
    made = Node(Sentinel(State(myid="a" * 40), Random(1)), world, asyncio.get_running_loop())
    made.start()
    yield made, world
    made.stop()


def monitor(name):
    return lambda ticket: Monitor(ticket, name, "127.0.0.1", "6379", "2")


async def test_what_arrives_together_is_saved_once(node):
    """Two orders in one round of the loop cost one save, and nothing of them leaves before it."""
    node, world = node
    answers = [node.order(monitor(name), str) for name in ("first", "second")]
    assert world.seen == []
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*answers)
    assert world.seen.count("save") == 1
    assert world.seen[0] == "save"
    assert world.seen.count("+monitor") == 2


async def test_what_comes_behind_a_save_waits_for_it(node):
    """Effects keep their order, also those of a step that saves nothing."""
    node, world = node
    answer = node.order(monitor("first"), str)
    link = node.state.masters["first"].command
    node.feed(LinkUp(link.id, "127.0.0.1"))
    assert link.state is LinkState.UP
    assert world.seen == []
    await answer
    assert world.seen.index("save") < world.seen.index("open cmd") < world.seen.index("send PING")


async def test_a_close_shares_the_save(node):
    """Two masters that go in one round of the loop cost one save, and so do switches."""
    node, world = node
    for name in ("first", "second"):
        await node.order(monitor(name), str)
    world.seen.clear()
    gone = [
        node.order(lambda ticket, it=name: Remove(ticket, it), str) for name in ("first", "second")
    ]
    assert world.seen == []
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*gone)
    assert world.seen == ["save", *("-monitor", "close", "close") * 2]


async def test_what_an_old_connection_says_before_it_is_closed_is_not_taken(node):
    """The core has given the connection up; what comes once the link is opened again is heard."""
    node, _world = node
    await node.order(monitor("first"), str)
    link = node.state.masters["first"].command
    node.feed(LinkUp(link.id, "127.0.0.1"))
    done = node.order(lambda ticket: Reset(ticket, "first"), str)
    node.feed(LinkUp(link.id, "127.0.0.1"))
    assert link.state is not LinkState.UP
    async with asyncio.timeout(PATIENCE_S):
        await done
    await eventually_async(as_async(lambda: link.state is LinkState.CONNECTING))
    node.feed(LinkUp(link.id, "127.0.0.1"))
    assert link.state is LinkState.UP


async def test_nobody_reads_what_is_not_saved(node):
    """Who asks for a master in the same round is answered from what is on disk."""
    node, world = node
    node.order(monitor("first"), str)
    assert "first" in node.settled().masters
    assert world.seen[:2] == ["save", "+monitor"]


async def test_what_is_held_leaves_when_the_node_stops(node):
    """An order that was taken is on disk when the process ends."""
    node, world = node
    node.order(monitor("first"), str)
    node.stop()
    assert world.seen[:2] == ["save", "+monitor"]


async def test_saves_that_can_wait_leave_pauses_between_them(node):
    """A file that takes long is written seldom, however much is discovered meanwhile."""
    node, world = node
    saved_at = []

    def save(_state, done):
        world.stalled_ms += 2 * SAVE_SOON_MS // SAVE_PAUSE
        saved_at.append(world.now())
        done(None)

    world.save_aside = save
    async with asyncio.timeout(PATIENCE_S):
        await node.order(monitor("m"), str)
        number = 0
        while len(saved_at) < 3:
            number += 1
            run_id = f"{number:040}"
            node.feed(DirectHello(f"10.0.1.1,{number},{run_id},0,m,127.0.0.1,6379,0"))
            await asyncio.sleep(0.01)
    assert all(later - earlier >= 2 * SAVE_SOON_MS for earlier, later in pairwise(saved_at))


async def test_what_can_wait_is_saved_aside(node, monkeypatch):
    """One save at a time; what changes meanwhile is saved behind it, and nothing waits for it."""
    monkeypatch.setattr(node_module, "SAVE_PAUSE", 0)
    node, world = node
    await node.order(monitor("m"), str)

    def discover(number):
        run_id = f"{number:040}"
        node.feed(DirectHello(f"10.0.1.1,{number},{run_id},0,m,127.0.0.1,6379,0"))

    discover(1)
    await eventually_async(as_async(lambda: world.seen.count("save aside") == 1))
    discover(2)
    await asyncio.sleep(2 * SAVE_SOON_MS / 1000)
    assert world.seen.count("save aside") == 1
    world.aside.pop()(None)
    await eventually_async(as_async(lambda: world.seen.count("save aside") == 2))
    assert world.seen.count("save") == 1


async def test_what_is_urgent_is_saved_aside_at_once(node):
    """It waits for nothing but the save before it, and nothing waits for it."""
    node, world = node
    node._do(SaveSoon())
    assert not world.aside
    node._do(SaveSoon(is_urgent=True))
    assert world.seen.count("save aside") == 1
    node._do(SaveSoon(is_urgent=True))
    assert world.seen.count("save aside") == 1
    world.aside.pop()(None)
    assert world.seen.count("save aside") == 2


async def test_an_older_save_says_nothing_about_a_newer_one(node):
    """A vote that could not be saved is not told because what was begun before it has worked."""
    node, world = node
    await node.order(monitor("m"), str)
    node.feed(DirectHello(f"10.0.1.1,1,{1:040},0,m,127.0.0.1,6379,0"))
    await eventually_async(as_async(lambda: world.aside))
    fails(world)
    assert str(await node.order(monitor("n"), str)).startswith("ERR Failed to save")
    world.aside.pop()(None)
    await eventually_async(as_async(lambda: node.state.save_trouble))
    assert not node.save()


async def test_a_node_that_ends_saves_what_was_not(node):
    """What changed while a save was under way is in the file at the end."""
    node, world = node
    await node.order(monitor("m"), str)
    for number in (1, 2):
        node.feed(DirectHello(f"10.0.1.1,{number},{number:040},0,m,127.0.0.1,6379,0"))
        await eventually_async(as_async(lambda: world.aside))
    node.stop()
    assert world.seen.count("save") == 2


# While saves fail ---------------------------------------------------------------------------------


def fails(world, error=None):
    """Have saves fail from now on."""

    def save(_state):
        world.seen.append("save")
        raise error or SaveError("Could not rename tmp config file", "Device or resource busy")

    world.save = save


async def test_no_effect_is_lost_when_a_save_fails(node):
    """What does not depend on the disk is done, and the order is told that it will not stay."""
    node, world = node
    fails(world)
    async with asyncio.timeout(PATIENCE_S):
        answer = await node.order(monitor("first"), str)
    assert answer == "ERR Failed to save config file. Check server logs."
    assert "+monitor" in world.seen
    assert "open cmd" in world.seen
    await eventually_async(as_async(lambda: node.state.save_trouble))
    assert node.state.save_trouble == "Device or resource busy"
    assert "+save-failed" in world.seen


async def test_no_effect_is_lost_when_a_save_raises_what_nobody_expected(node):
    """They leave as behind any other save that failed, before the node ends for the bug."""
    node, world = node
    error = ZeroDivisionError()
    fails(world, error)
    answer = node.order(monitor("first"), str)
    node.settled()
    assert "open cmd" in world.seen
    assert (await answer).startswith("ERR Failed to save")
    assert world.failed == [(error, True)]


async def test_a_bug_in_the_core_ends_the_node(node):
    """What follows from half a step is neither saved nor done, and nothing is taken in any more."""
    node, world = node
    node.order(monitor("first"), str)
    error = ZeroDivisionError()

    def step(_now, _event):
        raise error

    node.core.step = step
    node.feed(Wake())
    assert world.failed == [(error, False)]
    node.feed(Wake())
    node.stop()
    await asyncio.sleep(0)
    assert world.seen == []
    assert len(world.failed) == 1


async def test_a_bug_in_what_carries_effects_out_ends_the_node(node):
    """The state is what it should be."""
    node, world = node
    error = ZeroDivisionError()

    def opened(_effect):
        raise error

    world.open = opened
    node.order(monitor("first"), str)
    await eventually_async(as_async(lambda: world.failed))
    assert world.failed == [(error, True)]


async def test_a_save_that_failed_is_tried_again_and_its_success_is_told(node):
    """Sooner at first, and then at most every ten seconds."""
    node, world = node
    right = world.save
    fails(world)
    await node.order(monitor("first"), str)
    tries = []
    for _ in range(100):
        world.stalled_ms += 500
        before = world.seen.count("save")
        node.feed(Wake())
        if world.seen.count("save") > before:
            tries.append(world.stalled_ms)
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert waits[0] <= 2_500
    assert waits == sorted(waits)
    assert 9_500 <= waits[-1] <= 10_500
    world.save = right
    await eventually_async(as_async(lambda: node.state.save_trouble))
    world.stalled_ms += 10_000
    node.feed(Wake())
    await eventually_async(as_async(lambda: not node.state.save_trouble))
    assert "-save-failed" in world.seen


ORDERS = [
    (lambda ticket: FailOver(ticket, "m"), "None"),
    (lambda ticket: Reset(ticket, "*"), "1"),
    (lambda ticket: Remove(ticket, "m"), "ERR Failed to save config file. Check server logs."),
]


@pytest.mark.parametrize(("make", "answer"), ORDERS, ids=["FAILOVER", "RESET", "REMOVE"])
async def test_what_is_done_is_not_told_as_an_error(node, make, answer):
    """A failover goes on whatever the disk says; a master that was removed comes back."""
    node, world = node
    await node.order(monitor("m"), str)
    give_a_replica(node.state, world.now())
    fails(world)
    async with asyncio.timeout(PATIENCE_S):
        assert await node.order(make, str) == answer


def give_a_replica(state, now):
    master = state.masters["m"]
    address = Address("127.0.0.1", 6380, "127.0.0.1")
    replica = roster.add_replica(state, now, master, address)
    replica.command.state, replica.info_at = LinkState.UP, now


async def test_no_vote_is_asked_for_or_given_that_is_not_saved(node):
    """The question alone goes out, and is answered, so that nothing of the link stays pending."""
    node, world = node
    await node.order(monitor("m"), str)
    master = node.state.masters["m"]
    master.is_down, master.down_at = True, world.now()
    peer = roster.add_peer(node.state, world.now(), master, "b" * 40, Address("::1", 1, "::1"))
    peer.command.state = LinkState.UP
    give_a_replica(node.state, world.now())
    fails(world)
    sent = []
    world.send = lambda effect: sent.extend(effect.requests)
    assert (await node.order(lambda ticket: FailOver(ticket, "m"), str)) == "None"
    asked = [request for request in sent if request.ask is Ask.DOWN]
    assert [request.args[-1] for request in asked] == ["*"]
    question = ("127.0.0.1", 6379, 9, "c" * 40)
    made = node.order(lambda ticket: DownQuestion(ticket, *question), lambda it: it)
    answer = await made if isinstance(made, asyncio.Future) else made
    assert (answer.leader, answer.epoch) == (None, 0)
