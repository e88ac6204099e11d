"""Connections: how many there may be at once, and how long one may say or take nothing.

aiohttp reads and answers requests; it does not bound how many connections it has, nor how long a
client takes to send its first line or to read an answer. How connections come in is for
`server.doorway`. The rule it guards: strangers can use up the places here, and nothing else of the
sentinel.
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

from sentinel_py.server.doorway import Doorway

MAX_CONNECTIONS = 100
"""Listeners of the event stream, a Prometheus or two, some browsers, and room."""

SWEEP_EVERY_S = 5.0
"""A connection that has said nothing, or taken nothing of what waits for it, from one sweep to the
next but one is given up."""

TLS_ENDS_WITHIN_S = 5.0
"""It takes one round trip."""

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
        self._doorway = Doorway(
            self._make,
            context,
            is_full=self._is_full,
            turn_away=self._turn_away,
            failed=refused,
            end_within_s=TLS_ENDS_WITHIN_S,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: dict[RequestHandler, int] = {}
        self._spoke: set[RequestHandler] = set()
        self._busy: set[RequestHandler] = set()

    def open(self, server: web.Server, sockets: list[socket.socket]) -> None:
        self._server = server
        self._doorway.open(sockets)
        self._timer = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._doorway.close()
        await self._doorway.wait_closed()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Notes that a request has come whole, and until when it is answered."""
        self._spoke.add(request.protocol)
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)

    def _make(self) -> RequestHandler:
        return self._server()

    def _is_full(self) -> bool:
        """Whether there is no place, and nobody who has to give way.

        Whoever is being answered keeps his place. Of the others, who have sent nothing yet, or half
        a request, or wait for their next one, the oldest goes.
        """
        if len(self._server.connections) + len(self._doorway.coming) < MAX_CONNECTIONS:
            return False
        idle = (it.transport for it in self._server.connections if it not in self._busy)
        oldest = next((it for it in idle if it and not it.is_closing()), None)
        if oldest is None:
            return True
        self._refused()
        oldest.abort()
        return False

    def _turn_away(self, connection: socket.socket) -> None:
        """Say why, if that can be said without a handshake."""
        self._refused()
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
