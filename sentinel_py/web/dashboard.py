"""The dashboard: one page that brings all it needs, and what it asks for.

The page is ``dashboard.html``. The rule it guards: it runs its own script and no other, it speaks
to this sentinel only, and however many look at it, the picture is made twice a second at most.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from importlib import resources

from aiohttp import web

from sentinel_py.web import picture
from sentinel_py.web.answers import as_json
from sentinel_py.web.masters import Masters
from sentinel_py.web.metrics import Sources
from sentinel_py.web.timeline import SharedPast, Timeline

FRESH_S = 0.5
"""How old a picture may be that is shown to one more reader."""

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


class Dashboard:
    """The pages ``/``, ``/api/v1/status`` and ``/api/v1/failovers``."""

    def __init__(
        self, sources: Sources, masters: Masters, timeline: Timeline, *, can_write: bool
    ) -> None:
        self._sources = sources
        self._masters = masters
        self._timeline = timeline
        self._shared = SharedPast()
        self._can_write = can_write
        self._page = (resources.files(__package__) / "dashboard.html").read_text("utf-8")
        self._headers = {
            "Content-Security-Policy": _policy(self._page),
            "Referrer-Policy": "no-referrer",
        }
        self._picture = ""
        self._made_at = 0.0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/api/v1/status", self.status),
            web.get("/api/v1/failovers", self.failovers),
        ]

    async def page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html", headers=self._headers)

    async def status(self, _request: web.Request) -> web.Response:
        """This sentinel and all that it watches."""
        now = asyncio.get_running_loop().time()
        if not self._picture or now - self._made_at >= FRESH_S:
            self._made_at = now
            self._picture = await self._draw()
        return web.json_response(text=self._picture)

    async def _draw(self) -> str:
        sources = self._sources
        own = picture.sentinel(sources.node.settled(), sources.member, can_write=self._can_write)
        return f'{{"sentinel": {json.dumps(own)}, "masters": {await self._masters.text()}}}'

    async def failovers(self, _request: web.Request) -> web.Response:
        """What goes on, then what is over, the latest first."""
        shared = self._shared.read(self._sources.node.settled().history)
        told = self._timeline.told(shared)
        return as_json({"failovers": [picture.failover(each) for each in told]})


def _policy(page: str) -> str:
    """Nothing may run or style but what is in the page itself."""
    hashes = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in _INLINE.findall(page)
    }
    return "; ".join(
        (
            "default-src 'none'",
            *(f"{kind}-src 'sha256-{digest}'" for kind, digest in hashes.items()),
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
