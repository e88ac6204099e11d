"""Connections that are too many, that say nothing, or that take nothing."""

import asyncio
import shutil
import socket
import struct
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop
from aiohttp import web
from e2e.certificates import make_pair

from sentinel_py.local import as_async, eventually_async
from sentinel_py.server import doorway
from sentinel_py.server.listeners import listen_tcp
from sentinel_py.server.options import ServerOptions
from sentinel_py.web import gate

LONG = b"x" * 32 * 2**20
PLACES = 3


@pytest.fixture
def few(monkeypatch):
    """Few places, and little time."""
    monkeypatch.setattr(gate, "SWEEP_EVERY_S", 0.1)
    monkeypatch.setattr(gate, "MAX_CONNECTIONS", PLACES)


@pytest.fixture
async def served(few):
    """A server behind a gate with few places: the port that it is on, and whom it has refused."""
    async with gated() as found:
        yield found


@asynccontextmanager
async def gated(context=None):
    refused = []
    entry = gate.Gate(lambda: refused.append(1), context)
    app = web.Application(middlewares=[entry.middleware])

    async def short(_request):
        return web.Response(text="short")

    async def long(_request):
        return web.Response(body=LONG)

    async def held(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b".")
                await asyncio.sleep(0.02)
        return response

    pages = (short, long, held)
    app.add_routes([web.get(f"/{page.__name__}", page) for page in pages])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    (opened,) = listen_tcp(ServerOptions(bind=("127.0.0.1",)), 0)
    entry.open(runner.server, [opened])
    yield opened.getsockname()[1], refused
    await entry.close()
    await runner.cleanup()


async def ask(port, path, **options):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


@pytest.mark.parametrize("first", ["", "GET /short HTTP/1.1\r\n", "whole"])
async def test_half_a_request_holds_no_place(served, first):
    """Who has sent nothing, or half a request, gives way; who was answered before, too."""
    port, refused = served
    idle = []
    for _ in range(PLACES):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if first == "whole":
            writer.write(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\nGET /short HT")
            await reader.readline()
        writer.write(first.encode() if first != "whole" else b"")
        idle.append((reader, writer))
    reader, writer = await ask(port, "/short")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert refused == [1]
    for _, each in [*idle, (reader, writer)]:
        each.close()


async def test_one_connection_too_many_is_told(served):
    """In HTTP, and with JSON; a place that becomes free is given again."""
    port, refused = served
    held = [await ask(port, "/held") for _ in range(PLACES)]
    for reader, _ in held:
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'{"error": "There are ' in answer
    assert refused == [1]
    writer.close()
    held[0][1].close()

    async def is_taken():
        reader, writer = await ask(port, "/short")
        line = await reader.readline()
        writer.close()
        return line.startswith(b"HTTP/1.1 200 ")

    await eventually_async(is_taken)
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("said", [b"", b"GET /short HTTP/1.1\r\nHost: "])
async def test_who_says_nothing_is_given_up(served, said):
    """Nor may a request begin and not go on."""
    port, refused = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    async with asyncio.timeout(10):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert refused == [1]
    writer.close()


async def test_who_takes_nothing_is_given_up(served):
    """A long answer must not wait here for ever; whoever is done may stay."""
    port, refused = served
    idle_reader, idle = await ask(port, "/short")
    assert (await idle_reader.readline()).startswith(b"HTTP/1.1 200 ")
    _, writer = await ask(port, "/long")
    writer.transport.pause_reading()
    await eventually_async(as_async(lambda: refused == [1]))
    idle.write(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
    rest = await idle_reader.readuntil(b"short")
    assert rest.endswith(b"short")
    idle.close()
    writer.transport.abort()


# TLS ---------------------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on PATH")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """The server's and a client's side of TLS."""
    return make_pair(tmp_path_factory.mktemp("certificates"), "here").contexts()


@needs_openssl
async def test_a_handshake_takes_a_place(few, contexts):
    """Who begins none is given up; meanwhile, one too many is closed before any work is done."""
    server, client = contexts
    async with gated(server) as (port, refused):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PLACES)]
        late, late_writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(10):
            assert await late.read() == b""
        assert refused == [1]
        for _, writer in silent:
            writer.close()
        late_writer.close()

        async def is_taken():
            with suppress(OSError):
                reader, writer = await ask(port, "/short", ssl=client)
                line = await reader.readline()
                writer.transport.abort()
                return line.startswith(b"HTTP/1.1 200 ")

        await eventually_async(is_taken)


@needs_openssl
async def test_a_handshake_has_a_deadline(few, contexts, monkeypatch):
    """After that its place is free."""
    monkeypatch.setattr(doorway, "HANDSHAKE_WITHIN_S", 0.1)
    async with gated(contexts[0]) as (port, refused):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01")
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        await eventually_async(as_async(lambda: refused == [1]))
        writer.close()


@needs_openssl
def test_handshakes_on_uvloop(contexts, caplog):
    """The loop that is used in production; clients that break off do no harm."""
    server, client = contexts

    async def scenario():
        async with gated(server) as (port, refused):
            for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n") * 20:
                break_off(port, said)
            await eventually_async(as_async(lambda: len(refused) == 60))
            reader, writer = await ask(port, "/short", ssl=client)
            assert (await reader.readuntil(b"short")).startswith(b"HTTP/1.1 200 ")
            writer.transport.abort()

    uvloop.run(scenario())
    assert not caplog.records


def break_off(port, said):
    hasty = socket.create_connection(("127.0.0.1", port))
    hasty.sendall(said)
    hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hasty.close()
