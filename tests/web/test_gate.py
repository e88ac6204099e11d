"""Connections that are too many, that say nothing, or that take nothing."""

import asyncio
from contextlib import suppress

import pytest
from aiohttp import web

from sentinel_py.local import as_async, eventually_async
from sentinel_py.server.listeners import listen_tcp
from sentinel_py.server.options import ServerOptions
from sentinel_py.web import gate

LONG = b"x" * 32 * 2**20
PLACES = 3


@pytest.fixture
async def served(monkeypatch):
    """A server behind a gate with few places, and the port that it is on."""
    monkeypatch.setattr(gate, "SWEEP_EVERY_S", 0.1)
    monkeypatch.setattr(gate, "MAX_CONNECTIONS", PLACES)
    refused = []
    entry = gate.Gate(lambda: refused.append(1))
    app = web.Application(middlewares=[entry.middleware])

    async def short(_request):
        return web.Response(text="short")

    async def long(_request):
        return web.Response(body=LONG)

    app.add_routes([web.get("/short", short), web.get("/long", long)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    (opened,) = listen_tcp(ServerOptions(bind=("127.0.0.1",)), 0)
    await entry.open(runner.server, [opened])
    yield opened.getsockname()[1], refused
    entry.close()
    await runner.cleanup()


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def test_one_connection_too_many_is_told(served):
    """In HTTP, and with JSON; a place that becomes free is given again."""
    port, refused = served
    held = [await ask(port, "/short") for _ in range(PLACES)]
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
