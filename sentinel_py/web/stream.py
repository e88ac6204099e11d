"""``/events``: what the sentinel publishes, as server-sent events.

Each message is a JSON object, and its id is what ``Last-Event-ID`` or ``?since=`` goes on behind.
The rule it guards: a listener that is too slow loses its connection and not an event; it finds
those that it has missed when it comes again.
"""

from __future__ import annotations

from aiohttp import web

from sentinel_py.web.answers import Problem, natural
from sentinel_py.web.feed import MAX_LISTENERS, Event, Feed, TooManyListenersError

PATH = "/events"

HEARTBEAT_S = 15.0
"""Proxies cut connections that are silent for a minute, and it shows who has gone."""

_FIRST = b"retry: 1000\n\n"
_HEARTBEAT = b":\n\n"


class Stream:
    """The page ``/events``."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.page, allow_head=False)]

    async def page(self, request: web.Request) -> web.StreamResponse:
        try:
            listener = self._feed.listen(_since(request))
        except TooManyListenersError:
            raise Problem(503, f"There are {MAX_LISTENERS} listeners already") from None
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
            )
            await response.prepare(request)
            await response.write(_FIRST)
            while True:
                events = await listener.take(HEARTBEAT_S)
                await response.write(b"".join(map(_as_message, events)) or _HEARTBEAT)
                if listener.is_over:
                    return response
        finally:
            self._feed.leave(listener)


def _as_message(event: Event) -> bytes:
    return f"id: {event.id}\ndata: {event.as_json()}\n\n".encode()


def _since(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID") or request.query.get("since")
    return natural(text, "since is not the id of an event") if text else None
