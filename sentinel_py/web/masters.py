"""Masters as JSON: list, watch, change, forget, fail over. What may be asked for the core checks.

The rule it guards: a change is one order, or is taken back when its second half is refused.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

from aiohttp import hdrs, web

from sentinel_py.core import views
from sentinel_py.core.messages import FailOver, Monitor, Refused, Remove, SetOptions
from sentinel_py.web import picture
from sentinel_py.web.answers import Orders, Problem, as_json, give, read_object
from sentinel_py.web.picture import Json, Object

PATH = "/api/v1/masters"

BATCH = 20
"""Masters that are put into words at a time; with hundreds, others have their turn between."""

_ADDRESS = {"name", "host", "port", "quorum", "options"}


class Masters:
    """The pages under ``/api/v1/masters``."""

    def __init__(self, node: Orders) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PATH, self.every),
            web.post(PATH, self.watch),
            web.get(f"{PATH}/{{name}}", self.one),
            web.patch(f"{PATH}/{{name}}", self.change),
            web.delete(f"{PATH}/{{name}}", self.forget),
            web.post(f"{PATH}/{{name}}/failover", self.fail_over),
        ]

    async def every(self, _request: web.Request) -> web.Response:
        return web.json_response(text=f'{{"masters": {await self.text()}}}')

    async def text(self) -> str:
        """The JSON list of all masters."""
        state = self._node.settled()
        texts = []
        for number, name in enumerate(list(state.masters), 1):
            if name in state.masters:
                texts.append(json.dumps(self._picture(name)))
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return f"[{', '.join(texts)}]"

    async def one(self, request: web.Request) -> web.Response:
        return as_json(self._picture(request.match_info["name"]))

    def _picture(self, name: str) -> Object:
        state = self._node.settled()
        return picture.master(state, views.master_named(state, name), self._node.now())

    async def watch(self, request: web.Request) -> web.Response:
        """SENTINEL MONITOR, and SENTINEL SET with what is in ``options``."""
        body = await read_object(request)
        if strange := body.keys() - _ADDRESS:
            raise Problem(400, f"Unknown: {', '.join(sorted(strange))}")
        name, host, port, quorum = (
            _word(body.get(key), key) for key in ("name", "host", "port", "quorum")
        )
        words = _option_words(body.get("options", {}))
        if not name or not host:
            raise Problem(400, "name and host must not be empty")
        await give(self._node, lambda ticket: Monitor(ticket, name, host, port, quorum))
        if words:
            await self._set_or_forget(name, words)
        answer = as_json(self._picture(name), 201)
        answer.headers[hdrs.LOCATION] = f"{PATH}/{quote(name, safe='')}"
        return answer

    async def _set_or_forget(self, name: str, words: tuple[str, ...]) -> None:
        try:
            await give(self._node, lambda ticket: SetOptions(ticket, name, words))
        except Refused:
            await give(self._node, lambda ticket: Remove(ticket, name))
            raise

    async def change(self, request: web.Request) -> web.Response:
        """SENTINEL SET, with option names as there."""
        name = request.match_info["name"]
        words = _option_words(await read_object(request))
        if not words:
            raise Problem(400, "The body names no option")
        await give(self._node, lambda ticket: SetOptions(ticket, name, words))
        return as_json(self._picture(name))

    async def forget(self, request: web.Request) -> web.Response:
        """SENTINEL REMOVE."""
        name = request.match_info["name"]
        await give(self._node, lambda ticket: Remove(ticket, name))
        return web.Response(status=204)

    async def fail_over(self, request: web.Request) -> web.Response:
        """SENTINEL FAILOVER; the answer comes when it has begun, the end is an event."""
        name = request.match_info["name"]
        body = await read_object(request)
        ways = {key: body.pop(key, False) for key in ("coordinated", "stale")}
        if body or not all(isinstance(value, bool) for value in ways.values()):
            raise Problem(400, "The body may have coordinated and stale, each true or false")
        if all(ways.values()):
            raise Problem(400, "A failover is either coordinated or takes a stale replica")
        coordinated, stale = map(bool, ways.values())
        await give(self._node, lambda ticket: FailOver(ticket, name, coordinated, stale))
        return as_json({"started": True}, 202)


def _word(value: Json, key: str) -> str:
    """A value as a command's word."""
    match value:
        case bool():
            return "yes" if value else "no"
        case str() | int():
            return str(value)
        case _:
            raise Problem(400, f"{key} is missing, or neither a text nor a whole number")


def _option_words(options: Json) -> tuple[str, ...]:
    """Names and values in turn, as SENTINEL SET takes them; a list is several values."""
    if not isinstance(options, dict):
        raise Problem(400, "options is not a JSON object")
    words: list[str] = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words += [name.replace("_", "-"), *(_word(each, name) for each in values)]
    return tuple(words)
