"""The TLS port: connections have a place before their handshake, and little time for it."""

import asyncio
import contextlib
import gc
import inspect
import os
import resource
import shutil
import socket
import struct

import pytest
import uvloop
from e2e.certificates import make_pair
from serving import Client, eventually, free_port, serving

from sentinel_py.server import doorway
from sentinel_py.server.doorway import Doorway
from sentinel_py.server.listeners import listen_tcp
from sentinel_py.server.options import ServerOptions
from sentinel_py.server.session import Session

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")

PONG = b"+PONG\r\n"
MANY = 300
PLACES = 50
RESET = struct.pack("ii", 1, 0)  # what is not sent is thrown away
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_both_loops(scenario):
    """Run it on the loop of the standard library and on the one that we run on."""

    @pytest.mark.parametrize("loop", LOOPS)
    def run(loop, **others):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(scenario(**others))

    names = ["loop", *inspect.signature(scenario).parameters]
    by_name = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature([inspect.Parameter(name, by_name) for name in names])
    run.__doc__ = scenario.__doc__
    return run


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """The server's and a client's side of TLS."""
    return make_pair(tmp_path_factory.mktemp("certificates"), "here").contexts()


@pytest.fixture
def patient(monkeypatch):
    """A test whose handshakes end otherwise does not see them end by their time."""
    monkeypatch.setattr(doorway, "HANDSHAKE_WITHIN_S", 60)


class Encrypted:
    """A server with a TLS port beside the plain one."""

    def __init__(self, running, context):
        self.running, self.server, self._context = running, running.server, context

    @property
    def coming(self):
        return self.server.doorway.coming

    async def knock(self):
        """Connect, and leave the handshake for later."""
        port = self.server.options.tls_port
        return Caller(*await asyncio.open_connection("127.0.0.1", port), self._context)

    async def connect(self):
        caller = await self.knock()
        await caller.shake_hands()
        return caller


class Caller(Client):
    """A client that begins TLS when it wants to."""

    def __init__(self, reader, writer, context):
        super().__init__(reader, writer)
        self._context = context

    async def shake_hands(self):
        await self._writer.start_tls(self._context)

    def break_off(self):
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def encrypted(contexts, **options):
    server, client = contexts
    async with serving(ssl_context=server, tls_port=free_port(), **options) as running:
        yield Encrypted(running, client)


@on_both_loops
async def test_the_silent_have_the_places_there_are(contexts, patient):
    """All others are closed at once, on the plain port with a word; who goes makes room."""
    async with encrypted(contexts, maxclients=PLACES) as place:
        callers = [await place.knock() for _ in range(MANY)]
        for caller in callers[PLACES:]:
            assert await caller.is_closed()
        assert len(place.coming) == PLACES
        assert place.server.stats.rejected_connections == MANY - PLACES
        async with await place.running.connect() as plain:
            assert await plain.rest() == b"-ERR max number of clients reached\r\n"
        for caller in callers:
            caller.break_off()
        await eventually(lambda: not place.coming)
        async with await place.connect() as client:
            assert await client.ask_raw("PING") == PONG
    assert place.server.stats.connections == 1


@on_both_loops
async def test_the_silent_are_gone_after_their_time(contexts, monkeypatch, caplog):
    """Nothing is left of them, not even a line in the log."""
    monkeypatch.setattr(doorway, "HANDSHAKE_WITHIN_S", 0.1)
    async with encrypted(contexts, maxclients=PLACES) as place:
        callers = [await place.knock() for _ in range(MANY)]
        for caller in callers:
            assert await caller.is_closed()
        await eventually(lambda: not place.coming)
        await eventually(lambda: not sessions_of(place.server))
    for caller in callers:
        caller.break_off()
    assert not caplog.records


def sessions_of(server):
    """All that are in memory, admitted or not."""
    gc.collect()
    return [it for it in gc.get_objects() if isinstance(it, Session) and it.server is server]


@on_both_loops
async def test_who_shakes_hands_keeps_its_place(contexts, patient):
    """It is the one client there may be, and counted as received when it is in."""
    async with encrypted(contexts, maxclients=1) as place:
        async with await place.knock() as client:
            await eventually(lambda: place.coming)
            assert place.server.stats.connections == 0
            await client.shake_hands()
            assert await client.ask_raw("PING") == PONG
            assert not place.coming
            assert (len(place.server.clients), place.server.stats.connections) == (1, 1)
            async with await place.knock() as other:
                assert await other.is_closed()
        await eventually(lambda: not place.server.clients)
        async with await place.connect() as client:
            assert await client.ask_raw("PING") == PONG
        assert place.server.stats.rejected_connections == 1


@on_both_loops
async def test_all_places_can_be_taken_at_once(contexts, patient):
    """None is lost between the handshake and the client."""
    async with encrypted(contexts, maxclients=PLACES) as place:
        callers = await asyncio.gather(*[place.connect() for _ in range(PLACES)])
        for caller in callers:
            assert await caller.ask_raw("PING") == PONG
        assert len(place.server.clients) == PLACES
        assert place.server.stats.rejected_connections == 0
        for caller in callers:
            caller.break_off()


@on_both_loops
async def test_a_handshake_broken_off_leaves_nothing(contexts, patient, caplog):
    """However far it has come, or if it is none."""
    async with encrypted(contexts) as place:
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n") * 20:
            caller = await place.knock()
            caller.send(said)
            caller.break_off()
        async with await place.knock() as plain_speaker:
            plain_speaker.send(b"PING\r\n" * 100)
            assert PONG not in await plain_speaker.rest()
        async with await place.connect() as client:  # the last to be accepted
            assert await client.ask_raw("PING") == PONG
            assert not place.coming
        await eventually(lambda: not place.server.clients)
        await eventually(lambda: not sessions_of(place.server))
        assert place.server.stats.rejected_connections == 0
    assert not caplog.records


@on_both_loops
async def test_permissions_change_for_those_who_come_too(contexts, patient):
    """A right that is taken away during a handshake is not there after it."""
    async with encrypted(contexts) as place, await place.knock() as client:
        await eventually(lambda: place.coming)
        async with await place.running.connect() as operator:
            assert await operator.ask("ACL", "SETUSER", "default", "-ping") == "OK"
        await client.shake_hands()
        assert (await client.ask("PING")).startswith("NOPERM ")


@on_both_loops
async def test_closing_ends_handshakes(contexts, patient, caplog):
    """And the port is free."""
    async with encrypted(contexts) as place:
        callers = [await place.knock() for _ in range(PLACES)]
        async with await place.connect() as client:
            place.server.close()
            assert await client.is_closed()
            for caller in callers:
                assert await caller.is_closed()
            await eventually(lambda: not place.coming)
            with pytest.raises(ConnectionRefusedError):
                await place.knock()
        for caller in callers:
            caller.break_off()
    assert not caplog.records


@pytest.mark.parametrize("steps", range(1, 5))
@on_both_loops
async def test_closing_ends_what_has_hardly_begun(contexts, patient, steps):
    """The end may come at each step of the loop from the accept on."""
    loop = asyncio.get_running_loop()

    def close_in(count):
        loop.call_soon(*((close_in, count - 1) if count > 1 else (entry.close,)))

    def make():
        close_in(steps)
        return asyncio.Protocol()

    entry = Doorway(make, contexts[0], is_full=lambda: False, turn_away=socket.socket.close)
    (opened,) = listen_tcp(ServerOptions(bind=("127.0.0.1",)), 0)
    address = opened.getsockname()
    entry.open([opened])
    async with Client(*await asyncio.open_connection(*address)) as caller:
        assert await caller.is_closed()
        await eventually(lambda: not entry.coming)
        await entry.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


class Counting(socket.socket):
    """A listener that counts how often there was no file for a connection."""

    refusals = 0

    def accept(self):
        try:
            return super().accept()
        except OSError:
            self.refusals += 1
            raise


@on_both_loops
async def test_no_file_left(contexts, monkeypatch, caplog):
    """Who connects then waits, and comes in when there is one."""
    monkeypatch.setattr(doorway, "ACCEPT_AGAIN_S", 0.05)
    made = []

    def make():
        made.append(asyncio.Protocol())
        return made[-1]

    entry = Doorway(make, contexts[0], is_full=lambda: False, turn_away=socket.socket.close)
    (opened,) = listen_tcp(ServerOptions(bind=("127.0.0.1",)), 0)
    listener = Counting(fileno=opened.detach())
    entry.open([listener])
    with socket.socket() as caller:
        with few_files():
            caller.connect(listener.getsockname())
            await eventually(lambda: listener.refusals == 3)
            assert not made
        await eventually(lambda: made)
        entry.close()
        await entry.wait_closed()
    assert not caplog.records


@contextlib.contextmanager
def few_files():
    """No more files may be opened than are."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
