"""Who is told to be the master, and when."""

import asyncio

import pytest

from sentinel_py.discovery.follower import Follower
from sentinel_py.local import as_async, eventually_async


class Following:
    """A follower, and what it has told and complained about."""

    def __init__(self, *sentinels):
        self.told, self.complaints = [], []
        places = [sentinel.place for sentinel in sentinels]
        follower = Follower("mymaster", places, self.told.append, self.complaints.append)
        self.task = asyncio.get_running_loop().create_task(follower.run())

    async def tells(self, *nodes):
        wanted = [node and node.place for node in nodes]
        try:
            await eventually_async(as_async(lambda: len(self.told) >= len(wanted)))
        finally:
            assert self.told == wanted, self.complaints

    async def complains(self, text):
        await eventually_async(as_async(lambda: any(text in said for said in self.complaints)))


@pytest.fixture
async def follow():
    """Start a follower of these sentinels; it ends with the test."""
    started = []

    def start(*sentinels):
        started.append(Following(*sentinels))
        return started[-1]

    yield start
    for following in started:
        following.task.cancel()
        await asyncio.wait([following.task])
        assert following.task.cancelled()


@pytest.fixture
async def scene(server):
    """Three sentinels that name the first of two nodes."""
    sentinels = [await server() for _ in range(3)]
    old, new = await server(), await server(role="slave")
    for sentinel in sentinels:
        sentinel.names(4, old)
    return sentinels, old, new


async def test_a_master_is_told_once(scene, follow):
    """However often and by however many it is named."""
    sentinels, old, _ = scene
    following = follow(*sentinels, sentinels[0])
    await following.tells(old)
    for sentinel in sentinels:
        await sentinel.is_subscribed()
        sentinel.tells(old, old)
    sentinels[0].names(5, old)
    for sentinel in sentinels:
        await sentinel.is_asked_again()
    await following.tells(old)
    assert old.asked_for_role == 1
    assert not following.complaints


async def test_a_switch_ends_the_old_master_before_there_is_a_new_one(scene, follow):
    """The new one is believed when it says itself that it is a master."""
    sentinels, old, new = scene
    following = follow(*sentinels)
    await following.tells(old)
    await sentinels[1].is_subscribed()
    sentinels[1].names(5, new)
    sentinels[1].tells(old, new)
    await following.tells(old, None)
    await following.complains("which says that it is a slave")
    await following.tells(old, None)
    new.role = "master"
    await following.tells(old, None, new)


async def test_a_switch_that_nobody_told_is_found_by_asking(scene, follow):
    """A notice may be lost."""
    sentinels, old, new = scene
    following = follow(*sentinels)
    await following.tells(old)
    new.role = "master"
    sentinels[2].names(5, new)
    await following.tells(old, None, new)


async def test_who_hangs_holds_up_nobody(scene, follow):
    """Neither a sentinel nor the node that was to be the master before."""
    sentinels, old, new = scene
    sentinels[0].hangs = old.hangs = True
    following = follow(*sentinels)
    await following.complains("no answer in time")
    new.role = "master"
    sentinels[1].names(5, new)
    await following.tells(new)


async def test_sentinels_that_are_gone_change_nothing(scene, follow):
    """The master is told again neither when they go nor when they are back."""
    sentinels, old, _ = scene
    following = follow(sentinels[0])
    await following.tells(old)
    port = sentinels[0].place.port
    await sentinels[0].stop()
    await following.complains(f"sentinel {sentinels[0].place}")
    await sentinels[0].start(port)
    await sentinels[0].is_subscribed()
    await following.tells(old)


async def test_a_name_that_nobody_knows_is_complained_about_once(server, follow):
    """The sentinel's own words, and again only when they change."""
    sentinel, master = await server(), await server()
    following = follow(sentinel)
    await following.complains("No such master with that name")
    sentinel.names(0, master)
    await following.tells(master)
    assert len(following.complaints) == 1


async def test_the_notices_of_other_masters_and_odd_ones_are_not_for_us(scene, follow):
    """They are not even asked for their role."""
    sentinels, old, new = scene
    following = follow(*sentinels)
    await following.tells(old)
    await sentinels[0].is_subscribed()
    sentinels[0].tells(old, new, name="other")
    sentinels[0].tells(old, new, name="mymaster x")
    sentinels[0].names(4, old)
    sentinels[0].tells(old, new, name="mymaster")
    await following.tells(old, None, old)
    assert new.asked_for_role <= 1


async def test_a_candidate_that_is_named_no_more_is_forgotten(scene, server, follow):
    """It becomes a master later, which is nobody's business then."""
    sentinels, old, new = scene
    third = await server()
    following = follow(*sentinels)
    await following.tells(old)
    sentinels[0].names(5, new)
    await following.complains("which says that it is a slave")
    sentinels[0].names(6, third)
    await following.tells(old, None, third)
    new.role = "master"
    await sentinels[0].is_asked_again()
    await following.tells(old, None, third)
