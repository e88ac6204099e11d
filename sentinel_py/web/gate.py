"""Connections: how many there may be at once, and how long one may say or take nothing.

aiohttp reads and answers requests; it does not bound how many connections it has, nor how long a
client takes to send its first line or to read an answer. The rule it guards: strangers can use up
the places here, and nothing else of the sentinel.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

MAX_CONNECTIONS = 100
"""Listeners of the event stream, a Prometheus or two, some browsers, and room."""

SWEEP_EVERY_S = 5.0
"""A connection that has said nothing, or taken nothing of what waits for it, from one sweep to the
next but one is given up."""

_FULL_BODY = json.dumps({"error": f"There are {MAX_CONNECTIONS} connections already"}).encode()
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class Gate:
    """Takes connections for an aiohttp server; ``refused`` is called for each that is not kept."""

    _server: web.Server

    def __init__(self, refused: Callable[[], None]) -> None:
        self._refused = refused
        self._listeners: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: dict[RequestHandler, int] = {}
        self._spoke: set[RequestHandler] = set()

    async def open(self, server: web.Server, sockets: list[socket.socket]) -> None:
        self._server = server
        loop = asyncio.get_running_loop()
        for opened in sockets:
            self._listeners.append(await loop.create_server(self._admit, sock=opened))
        self._timer = loop.call_later(SWEEP_EVERY_S, self._sweep)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for listener in self._listeners:
            listener.close()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Notes that a request has come."""
        self._spoke.add(request.protocol)
        return await handler(request)

    def _admit(self) -> asyncio.Protocol:
        if len(self._server.connections) < MAX_CONNECTIONS:
            return self._server()
        self._refused()
        return _TurnedAway()

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


class _TurnedAway(asyncio.Protocol):
    """A connection too many: it is told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        taken = cast(asyncio.Transport, transport)
        taken.write(_FULL)
        taken.close()
