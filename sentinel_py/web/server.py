"""The HTTP server of one sentinel: its parts joined, started and ended.

What a page says is for the module that is named after it. The rule it guards: events come in by one
call that keeps nobody waiting, and what fails in here is a line in the log and no more.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time

from aiohttp import web

from sentinel_py.core.messages import Level, Notice
from sentinel_py.core.model import Settings
from sentinel_py.server.listeners import listen_tcp
from sentinel_py.server.options import ServerOptions
from sentinel_py.web.access import Access
from sentinel_py.web.answers import MAX_BODY_BYTES, Gatekeeper
from sentinel_py.web.dashboard import Dashboard
from sentinel_py.web.feed import Feed
from sentinel_py.web.gate import Gate
from sentinel_py.web.guesses import Guesses
from sentinel_py.web.health import Health
from sentinel_py.web.history import HistoryPage
from sentinel_py.web.master_list import MasterList
from sentinel_py.web.masters import Masters
from sentinel_py.web.metrics import Metrics, Sources
from sentinel_py.web.stream import Stream
from sentinel_py.web.timeline import Timeline

KEEPALIVE_S = 75.0
"""Longer than the usual minute between two scrapes."""

LINGER_S = 2.0
"""How long the rest of a body that is not wanted is still read, so that the answer arrives."""

END_WITHIN_S = 0.5

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_quiet = logging.getLogger("sentinel_py.web.requests")
_quiet.setLevel(logging.CRITICAL)  # every stranger's bad request line would be a traceback


class WebServer:
    """Serves the pages from ``start`` to ``stop``; ``notice`` tells it what was published."""

    def __init__(
        self, settings: Settings, sources: Sources, context: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        access = Access(settings.http_token, settings.http_users)
        self._metrics = Metrics(sources)
        self._feed = Feed()
        self._timeline = Timeline(self._metrics.failover_ended)
        masters = Masters(sources.node)
        self._gate = Gate(self._metrics.refused.inc, context)
        keeper = Gatekeeper(
            access, Guesses(), self._metrics.login_failed, tuple(settings.http_hosts)
        )
        app = web.Application(
            middlewares=[self._gate.middleware, keeper.middleware],
            client_max_size=MAX_BODY_BYTES,
        )
        for page in (
            masters,
            self._metrics,
            Stream(self._feed),
            HistoryPage(sources.node),
            MasterList(sources.node),
            Health(sources.node),
            Dashboard(sources, masters, self._timeline, can_write=access.is_set),
        ):
            app.add_routes(page.routes())
        app.on_response_prepare.append(_sign)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_quiet,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,
            handler_cancellation=True,
            shutdown_timeout=END_WITHIN_S,
        )

    async def start(self) -> None:
        """Listen, or raise ListenError."""
        settings = self._settings
        options = ServerOptions(bind=tuple(settings.http_bind))
        sockets = listen_tcp(options, settings.http_port)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "setup makes it"
        self._gate.open(server, sockets)
        self._metrics.start()

    async def stop(self) -> None:
        await self._gate.close()
        self._metrics.stop()
        self._feed.end()
        await self._runner.cleanup()

    def notice(self, notice: Notice) -> None:
        """Something was published: it is told further when the sentinel has done what it has to."""
        if notice.level > Level.DEBUG:
            at = time.time_ns() // 1_000_000
            asyncio.get_running_loop().call_soon(self._tell, at, notice.name, notice.text)

    def _tell(self, at: int, name: str, text: str) -> None:
        self._metrics.events.labels(name).inc()
        self._feed.publish(at, name, text)
        self._timeline.notice(at, name, text)


def exposure(settings: Settings) -> str:
    """What the network can read or overhear, in one line; empty if it is nothing."""
    if all(each.removeprefix("-") in LOOPBACK for each in settings.http_bind):
        return ""
    if not (settings.http_token or settings.http_users):
        return "HTTP: whoever reaches it can read it, set sentinel http-token or http-user"
    if not settings.http_tls:
        return "HTTP: logins cross the network in plain text, set sentinel http-tls"
    return ""


async def _sign(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "sentinel_py"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
