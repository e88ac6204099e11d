"""``/history``: the event history, by ids that only grow; SENTINEL EVENTS in JSON.

In a Raft cluster all members have the same one, with the same ids, and it outlives restarts; the
stream ``/events`` has what this sentinel has published, and ids of its own. The rule it guards: one
answer is bounded, and the last id in it is where the next question goes on.
"""

from __future__ import annotations

from itertools import islice

from aiohttp import web

from sentinel_py.core import chronicle
from sentinel_py.core.model import Event
from sentinel_py.web.answers import Orders, Problem, as_json, natural
from sentinel_py.web.picture import Object

PATH = "/history"

MAX_COUNT = 1_000
"""Events in one answer: about 200 KB, and a few milliseconds to make it."""


class HistoryPage:
    """The page ``/history``."""

    def __init__(self, node: Orders) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.page)]

    async def page(self, request: web.Request) -> web.Response:
        since = _number(request, "since", 0)
        count = min(_number(request, "count", MAX_COUNT), MAX_COUNT)
        state = self._node.settled()
        if not state.settings.event_history:
            raise Problem(404, "No events are kept: sentinel event-history is 0")
        found = islice(chronicle.since(state.history, since), count)
        return as_json({"events": list(map(_event, found)), "last_id": state.history.last_id})


def _event(event: Event) -> Object:
    return {
        "id": event.id,
        "at": event.at,
        "name": event.name,
        "text": event.text,
        "master": event.master,
    }


def _number(request: web.Request, name: str, default: int) -> int:
    """A number of the query that cannot be negative."""
    text = request.query.get(name, "")
    return natural(text, f"{name} is not a number from 0 on") if text else default
