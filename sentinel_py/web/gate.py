"""Connections: how many there may be at once, and how long one may say or take nothing.

aiohttp reads and answers requests; it does not bound how many connections it has, nor how long a
client takes to send its first line or to read an answer. A connection has its place before TLS
begins, since that is most of what a stranger costs. The rule it guards: strangers can use up the
places here, and nothing else of the sentinel.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

MAX_CONNECTIONS = 100
"""Listeners of the event stream, a Prometheus or two, some browsers, and room."""

SWEEP_EVERY_S = 5.0
"""A connection that has said nothing, or taken nothing of what waits for it, from one sweep to the
next but one is given up."""

HANDSHAKE_WITHIN_S = 5.0
"""TLS begins with two round trips, and ends with one."""

ACCEPT_AGAIN_S = 0.1
"""When as many files are open as may be, those who want to connect wait."""

_FULL_BODY = json.dumps({"error": f"There are {MAX_CONNECTIONS} connections already"}).encode()
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class Gate:
    """Takes connections for an aiohttp server; ``refused`` is called for each that is not kept."""

    _server: web.Server

    def __init__(self, refused: Callable[[], None], context: ssl.SSLContext | None = None) -> None:
        self._refused = refused
        self._context = context
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: dict[RequestHandler, int] = {}
        self._spoke: set[RequestHandler] = set()

    def open(self, server: web.Server, sockets: list[socket.socket]) -> None:
        self._server = server
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(opened)) for opened in sockets]
        self._timer = loop.call_later(SWEEP_EVERY_S, self._sweep)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._accepting, *self._beginning]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Notes that a request has come."""
        self._spoke.add(request.protocol)
        return await handler(request)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            listener.setblocking(False)
            while True:
                await asyncio.sleep(0)  # where clients queue, asyncio accepts without a pause
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:
                    await asyncio.sleep(ACCEPT_AGAIN_S)
                else:
                    self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        if len(self._server.connections) + len(self._beginning) >= MAX_CONNECTIONS:
            self._refused()
            self._turn_away(connection)
            return
        task = asyncio.get_running_loop().create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._server,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S if self._context else None,
                ssl_shutdown_timeout=HANDSHAKE_WITHIN_S if self._context else None,
            )
        except OSError:
            self._refused()

    def _turn_away(self, connection: socket.socket) -> None:
        """Say why, if that can be said without a handshake."""
        with connection, suppress(OSError):
            if self._context is None:
                connection.send(_FULL)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(SWEEP_EVERY_S, self._sweep)
        open_now = self._server.connections
        self._spoke.intersection_update(open_now)
        before, self._quiet = self._quiet, {}
        for handler in open_now:
            transport = handler.transport
            if transport is None:
                continue
            waits = transport.get_write_buffer_size()
            if handler in self._spoke and not waits:
                continue
            if before.get(handler) == waits:
                self._refused()
                transport.abort()
            else:
                self._quiet[handler] = waits
