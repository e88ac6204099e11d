"""Events on their way to listeners."""

import asyncio

import pytest

from sentinel_py.web.feed import MAX_KEPT, MAX_LISTENERS, MAX_QUEUED, Feed, TooManyListenersError


def texts(events):
    return [event.text for event in events]


async def test_each_listener_gets_what_comes():
    """From when it listens, in order, with ids that grow."""
    feed = Feed()
    feed.publish(1, "+a", "before")
    one, other = feed.listen(None), feed.listen(None)
    feed.publish(2, "+b", "first")
    feed.publish(3, "-b", "second")
    events = await one.take(1)
    assert texts(events) == texts(await other.take(1)) == ["first", "second"]
    assert events[0].id < events[1].id


async def test_a_listener_waits_for_what_comes_later():
    """It is woken by the next event, and gets nothing when none comes in time."""
    feed = Feed()
    listener = feed.listen(None)
    assert await listener.take(0.001) == []
    waiting = asyncio.create_task(listener.take(10))
    await asyncio.sleep(0)
    feed.publish(1, "+a", "late")
    assert texts(await waiting) == ["late"]


async def test_one_who_comes_again_gets_what_it_missed():
    """By the id of the last one that it has had; what is too old is gone."""
    feed = Feed()
    for number in range(MAX_KEPT + 2):
        feed.publish(number, "+a", str(number))
    kept = list(feed.kept)
    assert texts(await feed.listen(kept[-3].id).take(1)) == texts(kept[-2:])
    assert texts(await feed.listen(0).take(1))[0] == "2"


async def test_a_listener_that_is_too_slow_is_let_go():
    """It gets what it has room for, nothing with a gap before it, and then an end."""
    feed = Feed()
    slow = feed.listen(None)
    for number in range(MAX_QUEUED + 5):
        feed.publish(number, "+a", str(number))
    assert slow.is_over
    assert len(await slow.take(1)) == MAX_QUEUED
    feed.publish(0, "+a", "behind the gap")
    assert await slow.take(1) == []


async def test_listeners_are_counted():
    """There is no place for one too many, until one leaves."""
    feed = Feed()
    listeners = [feed.listen(None) for _ in range(MAX_LISTENERS)]
    with pytest.raises(TooManyListenersError):
        feed.listen(None)
    feed.leave(listeners[0])
    feed.leave(listeners[0])
    feed.listen(None)


async def test_the_end_wakes_everybody():
    """A server that is ended waits for none of them."""
    feed = Feed()
    listener = feed.listen(None)
    waiting = asyncio.create_task(listener.take(60))
    await asyncio.sleep(0)
    feed.end()
    assert await waiting == []
    assert listener.is_over
