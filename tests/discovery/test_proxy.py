"""The proxy's connections: led to the master, dropped at a switch, bounded; on both event loops."""

import asyncio
import inspect
import socket
import struct

import pytest
import uvloop

from sentinel_py.discovery import proxy, relay
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.proxy import TOO_MANY, Proxy
from sentinel_py.local import HOST, as_async, eventually_async

WAIT_S = 0.3
RESET = struct.pack("ii", 1, 0)  # what is not sent is thrown away
TCP_CLOSE = 7  # of Linux, in the first byte of TCP_INFO
MUCH = b"x" * 50_000_000  # more than the kernel and two buffers take


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def on_both_loops(test):
    """Run it with a scene, on the loop of the standard library and on the one that we run on."""

    async def play(others):
        scene = await Scene().start()
        try:
            await test(scene, **others)
        finally:
            await scene.stop()

    @pytest.mark.parametrize("loop", LOOPS)
    def run(loop, **others):
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(play(others))

    names = ["loop", *list(inspect.signature(test).parameters)[1:]]
    by_name = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature([inspect.Parameter(name, by_name) for name in names])
    return run


class Master:
    """A TCP server that keeps the connections that came."""

    def __init__(self):
        self.connections = []

    async def start(self):
        self._server = await asyncio.start_server(self._keep, HOST, 0)
        self.place = Place(HOST, self._server.sockets[0].getsockname()[1])
        return self

    async def _keep(self, reader, writer):
        self.connections.append((reader, writer))

    async def connection(self, number=0):
        await eventually_async(as_async(lambda: len(self.connections) > number))
        return self.connections[number]

    def stop(self):
        self._server.close()
        for _, writer in self.connections:
            writer.transport.abort()


class Scene:
    """A proxy, two masters and the clients that the test connects."""

    async def start(self):
        self.said, self.clients = [], []
        self.proxy = Proxy("mymaster", self.said.append, wait_s=WAIT_S, max_clients=2)
        self._server = await self.proxy.listen(Place(HOST, await free_port()))
        self.port = self._server.sockets[0].getsockname()[1]
        self.old, self.new = await Master().start(), await Master().start()
        return self

    async def client(self):
        self.clients.append(await asyncio.open_connection(HOST, self.port))
        return self.clients[-1]

    async def led(self):
        """A client and its connection to the old master."""
        number = len(self.old.connections)
        client = await self.client()
        return *client, *await self.old.connection(number)

    async def stop(self):
        for _, writer in self.clients:
            writer.transport.abort()
        self._server.close()
        await self.proxy.close()
        self.old.stop()
        self.new.stop()


async def free_port():
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


async def is_cut_off(reader):
    """Whether the connection has ended, with a reset or without."""
    async with asyncio.timeout(10):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@on_both_loops
async def test_bytes_go_both_ways(scene):
    """Also those that came before there was a master."""
    reader, writer = await scene.client()
    writer.write(b"early ")
    await writer.drain()
    scene.proxy.lead(scene.old.place)
    theirs, back = await scene.old.connection()
    assert await theirs.readexactly(6) == b"early "
    writer.write(b"later")
    back.write(b"answer")
    assert await theirs.readexactly(5) == b"later"
    assert await reader.readexactly(6) == b"answer"
    assert scene.proxy.counts.led == 1


@on_both_loops
async def test_nothing_goes_to_the_old_master_after_a_switch(scene):
    """Neither what is on its way nor what the client sends now; the next goes to the new one."""
    scene.proxy.lead(scene.old.place)
    reader, writer, theirs, back = await scene.led()
    back.transport.pause_reading()
    writer.write(MUCH)
    await stands_still(writer)
    scene.proxy.lead(None)
    assert await is_cut_off(reader)
    await eventually_async(as_async(lambda: is_reset(back)))
    _, writer = await scene.client()
    writer.write(b"again")
    scene.proxy.lead(scene.new.place)
    theirs, _ = await scene.new.connection()
    assert await theirs.readexactly(5) == b"again"
    assert len(scene.old.connections) == 1
    assert scene.proxy.counts.dropped == 1
    assert "1 connections dropped" in scene.said[1]


@on_both_loops
async def test_what_a_client_has_left_behind_does_not_go_there_either(scene):
    """It wrote and has gone, and the old master has not read all of that yet."""
    scene.proxy.lead(scene.old.place)
    _, writer, _, back = await scene.led()
    back.transport.pause_reading()

    def is_holding():
        writer.write(MUCH[:65536])
        return any(end.transport.get_write_buffer_size() for end in scene.proxy._to_master)

    await eventually_async(as_async(is_holding))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
    await eventually_async(as_async(lambda: scene.proxy.connected == 0))
    scene.proxy.lead(None)
    await eventually_async(as_async(lambda: is_reset(back)), 5000)


def is_reset(writer):
    """Whether the kernel knows that nothing comes any more, although nobody has read it."""
    connection = writer.get_extra_info("socket")
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE


@on_both_loops
async def test_a_switch_while_a_client_is_connected(scene, monkeypatch):
    """It goes to the new master, although the old one was reached."""
    connect = proxy._open

    async def connect_meanwhile(place, on_lost):
        end = await connect(place, on_lost)
        if place == scene.old.place:
            scene.proxy.lead(None)
            scene.proxy.lead(scene.new.place)
        return end

    monkeypatch.setattr(proxy, "_open", connect_meanwhile)
    scene.proxy.lead(scene.old.place)
    _, writer = await scene.client()
    writer.write(b"new")
    theirs, _ = await scene.new.connection()
    assert await theirs.readexactly(3) == b"new"
    old, _ = await scene.old.connection()
    assert await is_cut_off(old)


@on_both_loops
async def test_who_finds_no_master_waits_within_a_bound(scene):
    """Neither one that is not known nor one that does not answer."""
    reader, _ = await scene.client()
    assert await is_cut_off(reader)
    scene.proxy.lead(Place(HOST, 1))
    reader, _ = await scene.client()
    assert await is_cut_off(reader)
    assert scene.proxy.counts.waited_in_vain == 2


@on_both_loops
async def test_too_many_are_refused_and_their_places_are_given_again(scene):
    """In the words of Redis."""
    scene.proxy.lead(scene.old.place)
    _, first, _, back = await scene.led()
    await scene.led()
    reader, _ = await scene.client()
    assert await reader.read() == TOO_MANY
    assert scene.proxy.counts.refused == 1
    first.close()
    back.close()
    await eventually_async(as_async(lambda: scene.proxy.connected == 1))
    await scene.led()


@on_both_loops
async def test_a_client_that_ends_still_gets_its_answer(scene):
    """One direction ends, the other goes on; then both are over."""
    scene.proxy.lead(scene.old.place)
    reader, writer, theirs, back = await scene.led()
    writer.write(b"question")
    writer.write_eof()
    assert await theirs.read() == b"question"
    back.write(b"answer")
    await back.drain()
    assert await reader.readexactly(6) == b"answer"
    back.close()
    assert await is_cut_off(reader)


@on_both_loops
async def test_a_master_that_ends_ends_its_client_within_a_bound(scene, monkeypatch):
    """Although that one goes on reading and never ends itself."""
    monkeypatch.setattr(relay, "HALF_CLOSED_S", 0.1)
    scene.proxy.lead(scene.old.place)
    reader, writer, _, back = await scene.led()
    back.write(b"bye")
    back.write_eof()
    assert await reader.read() == b"bye"
    await eventually_async(as_async(lambda: fails(writer)))


def fails(writer):
    writer.write(b"x")
    return writer.transport.is_closing()


@pytest.mark.parametrize("slow", ["client", "master"])
@on_both_loops
async def test_who_reads_slowly_stops_the_other(scene, slow):
    """What the proxy holds is bounded, and nothing of it is lost."""
    scene.proxy.lead(scene.old.place)
    reader, writer, theirs, back = await scene.led()
    sender, receiver = (writer, theirs) if slow == "master" else (back, reader)
    sender.write(MUCH)
    await stands_still(sender)
    assert sender.transport.get_write_buffer_size() > len(MUCH) // 2
    received = 0
    async with asyncio.timeout(30):
        while received < len(MUCH):
            received += len(await receiver.read(1 << 20))
    assert received == len(MUCH)


async def stands_still(writer):
    """Wait until nothing more of what was written is taken."""
    before = -1
    while before != (before := writer.transport.get_write_buffer_size()):
        await asyncio.sleep(0.2)
