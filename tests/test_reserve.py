"""Places behind `maxclients` that are for other sentinels: who gets in, and who does not."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from serving import eventually, serving

from sentinel_py.resp import encode_command
from sentinel_py.server import reserve

PONG = b"+PONG\r\n"
FULL = b"-ERR max number of clients reached\r\n"
OK = b"+OK\r\n"
KNOWN = "sentinel-0123abcd-cmd"
HELLO = ("PUBLISH", "__sentinel__:hello", "127.0.0.1,26379,x,0,m,127.0.0.1,6379,0")


@pytest.fixture
async def full():
    """A server with one place, which is taken, that knows another sentinel."""
    async with serving(maxclients=1) as running:
        running.server.reserve.known = lambda: {b"0123abcd"}
        async with await running.connect() as client:
            assert await client.ask_raw("PING") == PONG
            yield running


def pipeline(*requests):
    return b"".join(encode_command(list(words)) for words in requests)


async def test_a_sentinel_that_is_known_by_name_gets_in(full):
    """Its first packet says who it is, as those of redis-sentinel do; it may stay and say all."""
    async with await full.connect() as peer:
        peer.send(pipeline(("CLIENT", "SETNAME", KNOWN), ("PING",)))
        assert [await peer.raw(), await peer.raw()] == [OK, PONG]
        assert await peer.ask("CLIENT", "GETNAME") == KNOWN
        assert (len(full.server.reserve), len(full.server.clients)) == (1, 2)
    await eventually(lambda: len(full.server.reserve) == 0)


async def test_a_hello_is_what_sentinels_send(full):
    """One that is not known yet gets in by it."""
    async with await full.connect() as peer:
        assert await peer.ask(*HELLO) == 1
        assert await peer.ask_raw("PING") == PONG


@pytest.mark.parametrize(
    "words",
    [
        ("PING",),
        ("INFO",),
        ("SUBSCRIBE", "+switch-master"),
        ("CLIENT", "SETNAME", "sentinel-99999999-cmd"),
        ("CLIENT", "SETNAME", "app"),
        ("PUBLISH", "other", "x"),
        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"),
    ],
)
async def test_everybody_else_is_told_that_all_is_full(full, words):
    """With the word that redis-sentinel has for it, and the connection is closed."""
    async with await full.connect() as client:
        client.send(encode_command(list(words)))
        assert await client.rest() == FULL
    await eventually(lambda: len(full.server.clients) == 1)
    assert full.server.stats.rejected_connections == 1


async def test_who_says_nothing_is_sent_away_in_time(full, monkeypatch):
    """A client that only keeps its connection open gets no place by that."""
    monkeypatch.setattr(reserve, "TRIAL_S", 0.05)
    async with await full.connect() as client:
        assert await client.rest() == FULL
    assert len(full.server.reserve) == 0


async def test_who_has_waited_longest_makes_room(full, monkeypatch):
    """However many come, a sentinel among them is heard."""
    monkeypatch.setattr(reserve, "PLACES", 3)
    async with AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(await full.connect()) for _ in range(5)]
        await eventually(lambda: full.server.stats.rejected_connections == 2)
        for client in waiting[:2]:
            assert await client.rest() == FULL
        async with await full.connect() as peer:
            peer.send(pipeline(("CLIENT", "SETNAME", KNOWN), ("PING",)))
            assert [await peer.raw(), await peer.raw()] == [OK, PONG]


async def test_those_who_have_proved_it_are_not_sent_away(full, monkeypatch):
    """When they have all places, nobody else is let in at all."""
    monkeypatch.setattr(reserve, "PLACES", 2)
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(await full.connect()) for _ in range(2)]
        for peer in peers:
            assert await peer.ask_raw("CLIENT", "SETNAME", KNOWN) == OK
        async with await full.connect() as late:
            assert await late.rest() == FULL
        for peer in peers:
            assert await peer.ask_raw("PING") == PONG


async def test_the_password_is_asked_for_first():
    """A name alone is no login."""
    async with serving(maxclients=1, acl={"requirepass": "pw"}) as running:
        running.server.reserve.known = lambda: {b"0123abcd"}
        async with await running.connect() as first:
            assert await first.ask_raw("AUTH", "pw") == OK
            async with await running.connect() as stranger:
                assert (await stranger.ask("CLIENT", "SETNAME", KNOWN)).startswith("NOAUTH")
                stranger.send(encode_command(["PING"]))
                assert await stranger.rest() == FULL
            async with await running.connect() as peer:
                peer.send(pipeline(("AUTH", "pw"), ("CLIENT", "SETNAME", KNOWN), ("PING",)))
                assert [await peer.raw() for _ in range(3)] == [OK, OK, PONG]


async def test_without_other_sentinels_there_is_nobody_to_wait_for():
    """One too many is told so at once."""
    async with serving(maxclients=1) as running, await running.connect() as first:
        assert await first.ask_raw("PING") == PONG
        async with await running.connect() as second:
            async with asyncio.timeout(1):
                assert await second.rest() == FULL
