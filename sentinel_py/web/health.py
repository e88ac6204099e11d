"""Health as load balancers ask for it: is this node the primary, or a replica that is fit to read?

A sentinel is asked about others, so the node comes with the question: ``?node=host:port``, or the
header that HAProxy adds with ``http-check send-state``. The rule it guards: 200 is said only of a
node that a client may be sent to now, as far as this sentinel knows; with ``minority-reads no`` it
has to be sure.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp import web

from sentinel_py.core import views
from sentinel_py.core.messages import Refused
from sentinel_py.core.model import Address, DataNode, Master, State
from sentinel_py.web.answers import Orders, Problem, as_json
from sentinel_py.web.master_list import address_of
from sentinel_py.web.picture import lag_of, status_of

STATE_HEADER = "X-Haproxy-Server-State"

_STATE = re.compile(r"address=([^;\s]+); port=([0-9]+)")
_SIZE = re.compile(r"([0-9]{1,15})\s*(|[kmgt]?b)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}

Check = Callable[[Master, Address | None, web.Request], DataNode]


class Health:
    """``/primary/NAME`` and ``/replica/NAME``."""

    def __init__(self, node: Orders) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        pages = (("/primary/{name}", self.primary), ("/replica/{name}", self.replica))
        return [
            route
            for path, page in pages
            for route in (web.get(path, page), web.options(path, page))
        ]

    async def primary(self, request: web.Request) -> web.Response:
        return self._answer(request, _primary)

    async def replica(self, request: web.Request) -> web.Response:
        return self._answer(request, _replica)

    def _answer(self, request: web.Request, check: Check) -> web.Response:
        state = self._node.settled()
        master = views.master_named(state, request.match_info["name"])
        self._check_majority(state)
        node = check(master, _asked_about(request, state), request)
        address = f"{state.shown(node.address)}:{node.address.port}"
        return as_json({"master": master.name, "node": address, "status": status_of(node)})

    def _check_majority(self, state: State) -> None:
        """Without a majority of the Raft cluster, others may have a new master by now."""
        try:
            views.check_vouched(state, self._node.now())
        except Refused as refused:
            raise Problem(503, refused.text) from None


def _primary(master: Master, asked: Address | None, _request: web.Request) -> DataNode:
    if asked is not None and not master.address.same_as(asked):
        raise Problem(503, f"{asked.host}:{asked.port} is not the primary")
    _check_up(master)
    return master


def _replica(master: Master, asked: Address | None, request: web.Request) -> DataNode:
    if asked is None:
        raise Problem(400, "Which node is meant? ?node=host:port is missing")
    replica = master.replica_at(asked)
    if replica is None:
        raise Problem(503, f"{asked.host}:{asked.port} is not a replica")
    _check_up(replica)
    if replica.is_foreign:
        raise Problem(503, "It is a foreign instance")
    if not replica.master_link_up:
        raise Problem(503, "Its link to the primary is down")
    limit, lag = _lag_limit(request), lag_of(replica)
    if limit is not None and (lag is None or lag > limit):
        raise Problem(503, f"It is {'?' if lag is None else lag} bytes behind")
    return replica


def _check_up(node: DataNode) -> None:
    if node.is_down or not node.command.is_up:
        raise Problem(503, "It does not answer")


def _asked_about(request: web.Request, state: State) -> Address | None:
    place = request.query.get("node", "")
    if not place and (found := _STATE.search(request.headers.get(STATE_HEADER, ""))):
        place = f"{found[1]}:{found[2]}"
    return address_of(place, state.names) if place else None


def _lag_limit(request: web.Request) -> int | None:
    text = request.query.get("lag")
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise Problem(400, "lag is not a number of bytes, such as 1048576 or 16kB")
    return int(match[1]) * _UNITS[match[2].lower()]
