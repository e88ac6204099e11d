"""Replies sent again: only to whom they would be given, only while they are true, all counted."""

import contextlib

import pytest
from serving import eventually, serving

from sentinel_py.resp import encode_command
from sentinel_py.server import ready as ready_module
from sentinel_py.server.commands import Command, Lasts
from sentinel_py.server.ready import NOTHING_READY
from sentinel_py.server.session import OUTPUT_HIGH_MARK_BYTES

PING = encode_command(["PING"])
LONG = 100_000


class Clock:
    """The loop's clock, which stands still between two rounds."""

    now = 1.0

    def __call__(self):
        return self.now

    def move(self):
        self.now += 0.001


@contextlib.asynccontextmanager
async def answering(**options):
    """A server with commands that are named after how long their replies last, and long ones."""
    calls = []

    def handler(_session, args):
        calls.append(args[0])
        return [str(len(calls)), "x" * (LONG if args[0] == b"long" else 1)]

    lasting = [Command(lasts.value, 1, handler, lasts=lasts) for lasts in Lasts]
    lasting.append(Command("long", 1, handler, lasts=Lasts.STEP))
    async with serving(commands=lasting, **options) as running:
        running.calls = calls
        running.server.instant = Clock()
        running.step = running.server.ready.enable()
        yield running


def chunk(*words):
    return b"".join(encode_command([word]) for word in words)


async def replies(client, data, count=1):
    client.send(data)
    return [await client.raw() for _ in range(count)]


async def test_a_reply_lasts_until_the_next_step():
    """The command is carried out once for all clients, and anew when the state has moved."""
    async with answering() as running, await running.connect() as one:
        first = await replies(one, chunk("step"))
        async with await running.connect() as another:
            assert await replies(another, chunk("step")) == first
        assert running.calls == [b"step"]
        running.step()
        assert await replies(one, chunk("step")) != first
        assert running.calls == [b"step"] * 2


async def test_a_reply_lasts_for_an_instant():
    """What tells of time is carried out anew when the clock has moved, or the state."""
    async with answering() as running, await running.connect() as client:
        await replies(client, chunk("instant"))
        await replies(client, chunk("instant"))
        assert len(running.calls) == 1
        running.server.instant.now += 0.001
        await replies(client, chunk("instant"))
        running.step()
        await replies(client, chunk("instant"))
        assert len(running.calls) == 3


async def test_a_chunk_lasts_as_long_as_its_shortest_reply():
    """One command that does something, and all of the chunk is carried out each time."""
    async with answering() as running, await running.connect() as client:
        for _ in range(2):
            await replies(client, chunk("step", "not", "step"), 3)
        assert len(running.calls) == 6
        for _ in range(2):
            await replies(client, chunk("step", "instant"), 2)
        assert len(running.calls) == 8
        running.server.instant.now += 0.001
        await replies(client, chunk("step", "instant"), 2)
        assert len(running.calls) == 10


async def test_without_steps_nothing_is_kept():
    """A server that is not told of steps carries out everything."""
    async with serving() as running, await running.connect() as client:
        await client.ask("PING")
        assert running.server.ready.by_protocol == {2: {}, 3: {}}


async def test_protocols_are_kept_apart():
    """A RESP3 client gets RESP3."""
    async with answering() as running, await running.connect() as client:
        await replies(client, chunk("step"))
        await client.ask("HELLO", "3")
        await replies(client, chunk("step"))
        assert len(running.calls) == 2


async def test_everything_is_counted():
    """INFO and CLIENT LIST cannot tell a reply that was ready from one that was made."""
    async with answering() as running, await running.connect() as client:
        await replies(client, PING * 3, 3)
        stats, before = running.server.stats, None
        for _ in range(2):
            then = (
                stats.commands,
                stats.reads,
                stats.writes,
                stats.input_bytes,
                stats.output_bytes,
            )
            await replies(client, PING * 3, 3)
            now = (stats.commands, stats.reads, stats.writes, stats.input_bytes, stats.output_bytes)
            counted = [after - earlier for after, earlier in zip(now, then, strict=True)]
            assert counted == [3, 1, 1, len(PING * 3), len(b"+PONG\r\n" * 3)]
            assert before in (None, counted)
            before = counted
        (session,) = running.server.clients.values()
        assert session.last_command.name == "ping"


async def test_errors_are_made_and_counted_each_time():
    """An error is no reply that lasts, whatever the command."""
    async with answering() as running, await running.connect() as client:
        for expected in (1, 2):
            assert "wrong number" in await client.ask("PING", "a", "b")
            assert running.server.stats.error_replies == expected


async def test_whoever_may_not_ask_is_refused():
    """A reply that is ready for others is not given to a user without the right to it."""
    async with answering() as running, await running.connect() as client:
        await replies(client, chunk("step"))
        await client.ask("ACL", "SETUSER", "weak", "on", "nopass", "+ping", "+auth")
        assert await client.ask("AUTH", "weak", "x") == "OK"
        (refusal,) = await replies(client, chunk("step"))
        assert refusal.startswith(b"-NOPERM")


async def test_whoever_has_not_logged_in_is_refused():
    """A connection that has not logged in is refused what it was told before."""
    async with (
        answering(acl={"requirepass": "x"}) as running,
        await running.connect() as client,
        await running.connect() as stranger,
    ):
        await client.ask("AUTH", "x")
        await replies(client, PING)
        assert (await replies(stranger, PING))[0].startswith(b"-NOAUTH")


@pytest.mark.parametrize("off", ["OFF", "SKIP"])
async def test_whoever_wants_no_replies_gets_none(off):
    """CLIENT REPLY holds for ready replies, too."""
    async with answering() as running, await running.connect() as client:
        await replies(client, PING)
        (session,) = running.server.clients.values()
        client.send(encode_command(["CLIENT", "REPLY", off]))
        await eventually(lambda: session.quiet)
        counted = running.server.stats.commands
        client.send(PING)
        await eventually(lambda: running.server.stats.commands > counted)
        if off == "OFF":
            assert await client.ask("CLIENT", "REPLY", "ON") == "OK"
        assert await client.ask("PING", "next") == "next"


async def test_a_subscriber_hears_its_own_pong():
    """In RESP2 a subscriber's PING is answered in another form."""
    async with serving() as running, await running.connect() as client:
        running.server.ready.enable()
        await replies(client, PING)
        await client.ask("SUBSCRIBE", "x")
        assert await replies(client, PING) == [b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"]
        await client.ask("UNSUBSCRIBE", "x")
        assert await replies(client, PING) == [b"+PONG\r\n"]


async def test_the_rest_of_a_request_is_no_request():
    """Bytes that mean something by themselves do not, inside a request that is cut in two."""
    async with answering() as running, await running.connect() as client:
        await replies(client, PING)
        (session,) = running.server.clients.values()
        client.send(b"*2\r\n$4\r\nPING\r\n$%d\r\n" % len(PING))
        await eventually(lambda: session.input_bytes)
        held = session.input_bytes
        client.send(PING)
        await eventually(lambda: session.input_bytes > held)
        client.send(b"\r\n")
        assert await client.raw() == b"$%d\r\n%b\r\n" % (len(PING), PING)


async def test_what_is_kept_is_bounded(monkeypatch):
    """Whoever asks for very many things makes room by it."""
    monkeypatch.setattr(ready_module, "MAX_READY_BYTES", 1000)
    async with answering() as running, await running.connect() as client:
        for number in range(200):
            await client.ask("PING", f"{number:010}")
            kept = running.server.ready.by_protocol[2]
            assert sum(len(it) + len(reply.data) for it, reply in kept.items()) <= 1000
        assert NOTHING_READY == {}


async def test_a_slow_reader_is_still_held_to_its_limits():
    """Ready replies wait for their reader as all others do, and no more is read meanwhile."""
    async with answering() as running, await running.connect() as client:
        await replies(client, chunk("long"))
        (session,) = running.server.clients.values()
        client.stop_reading()
        async with await running.connect() as other:
            for _ in range(20_000_000 // LONG):
                client.send(chunk("long"))
                await other.ask("PING")
        assert len(running.calls) == 1
        assert OUTPUT_HIGH_MARK_BYTES < session.output_bytes < OUTPUT_HIGH_MARK_BYTES + 2 * LONG
        client.go_on_reading()
        for _ in range(20_000_000 // LONG):
            assert len(await client.raw()) > LONG


async def test_newcomers_comply_with_the_acl_as_it_is():
    """What the first client was given at its start is not given once the ACL has changed."""
    async with answering() as running, await running.connect() as operator:
        assert await replies(operator, PING) == [b"+PONG\r\n"]
        await operator.ask("ACL", "SETUSER", "default", "-ping")
        async with await running.connect() as newcomer:
            assert (await replies(newcomer, PING))[0].startswith(b"-NOPERM")
        await operator.ask("ACL", "SETUSER", "default", "+ping", "resetpass", ">secret")
        async with await running.connect() as newcomer:
            assert (await replies(newcomer, PING))[0].startswith(b"-NOAUTH")
            assert await newcomer.ask("AUTH", "secret") == "OK"
            assert await replies(newcomer, PING) == [b"+PONG\r\n"]


async def test_newcomers_have_the_limits_of_strangers():
    """Before a client has logged in, its parser grants it no more than an AUTH needs."""
    async with answering(acl={"requirepass": "x"}) as running:
        for _ in range(2):
            async with await running.connect() as stranger:
                stranger.send(b"*11\r\n")
                assert b"unauthenticated multibulk length" in await stranger.raw()


async def info_of(running, client, title, values):
    """What INFO says of a section of the node, each time another value stands there."""
    numbers = iter(values)
    running.node.info_sections = lambda: [(title, [("number", next(numbers))])]
    for change in (lambda: None, lambda: None, running.step, running.server.instant.move):
        change()
        yield (await client.ask("INFO", title)).split()[-1]


@pytest.mark.parametrize(("title", "numbers"), [("Sentinel", "0012"), ("Raft", "0123")])
async def test_info_tells_of_the_moment(title, numbers):
    """The state is told of anew after a step and when the clock has moved, all else each time."""
    async with answering() as running, await running.connect() as client:
        told = [it async for it in info_of(running, client, title, range(4))]
        assert told == [f"number:{number}" for number in numbers]
