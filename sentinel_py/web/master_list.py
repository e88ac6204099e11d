"""``/master`` as redis-failover had it: the watched masters as a list of addresses.

There, masters have no names. Here one that comes by this way is called ``host-port``, unless the
list says ``name=host:port``. The rule it guards: what is in the list twice, or is watched already,
is no error, so that the same request can be sent again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from aiohttp import web

from sentinel_py.core import members
from sentinel_py.core.messages import Monitor, Remove
from sentinel_py.core.model import Address, Master, State
from sentinel_py.resolver import is_numeric
from sentinel_py.web.answers import Orders, Problem, give, read_body

PATH = "/master"

MAX_LISTED = 1_000
"""Each is an order that is saved on disk."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One element of the list."""

    name: str
    address: Address

    def finds(self, masters: Iterator[Master]) -> Master | None:
        return next((one for one in masters if one.address.same_as(self.address)), None)


class MasterList:
    """The page ``/master``."""

    def __init__(self, node: Orders) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PATH, self.get),
            web.post(PATH, self.add),
            web.put(PATH, self.replace),
            web.delete(PATH, self.remove),
        ]

    async def get(self, _request: web.Request) -> web.Response:
        return self._as_text()

    async def add(self, request: web.Request) -> web.Response:
        listed, quorum = await self._read(request)
        await self._watch(listed, quorum)
        return self._as_text()

    async def replace(self, request: web.Request) -> web.Response:
        """Watch what is listed and nothing else; first what is new, so that no mistake empties."""
        listed, quorum = await self._read(request)
        await self._watch(listed, quorum)
        kept = [each.finds(self._masters()) for each in listed]
        for master in [one for one in self._masters() if one not in kept]:
            await self._forget(master)
        return self._as_text()

    async def remove(self, request: web.Request) -> web.Response:
        listed, _ = await self._read(request)
        for each in listed:
            if master := each.finds(self._masters()):
                await self._forget(master)
        return self._as_text()

    async def _watch(self, listed: list[Listed], quorum: str) -> None:
        for each in listed:
            if each.finds(self._masters()) is None:
                await self._watch_one(each, quorum or str(_majority(self._node.settled())))

    async def _watch_one(self, each: Listed, quorum: str) -> None:
        host, port = each.address.host, str(each.address.port)
        await give(self._node, lambda ticket: Monitor(ticket, each.name, host, port, quorum))

    async def _forget(self, master: Master) -> None:
        await give(self._node, lambda ticket: Remove(ticket, master.name))

    def _masters(self) -> Iterator[Master]:
        return iter(list(self._node.settled().masters.values()))

    def _as_text(self) -> web.Response:
        state = self._node.settled()
        addresses = [master.address for master in state.masters.values()]
        return web.Response(text=",".join(f"{state.shown(it)}:{it.port}" for it in addresses))

    async def _read(self, request: web.Request) -> tuple[list[Listed], str]:
        """The list, and the quorum for what is new, from the query or a form."""
        form = parse_qs((await read_body(request)).decode("utf-8", "replace"))
        given = {key: values[0] for key, values in form.items()} | dict(request.query)
        texts = [text.strip() for text in given.get("masters", "").split(",") if text.strip()]
        if not texts:
            raise Problem(400, "masters is missing: a list of [name=]host:port with commas")
        if len(texts) > MAX_LISTED:
            raise Problem(400, f"masters has more than {MAX_LISTED} elements")
        names = self._node.settled().names
        return [_listed(text, names) for text in texts], given.get("quorum", "")


def _listed(text: str, names: dict[str, str]) -> Listed:
    name, _, place = text.rpartition("=")
    address = address_of(place, names)
    return Listed(name or f"{address.host}-{address.port}".replace(":", "-"), address)


def address_of(place: str, names: dict[str, str]) -> Address:
    """An address from ``host:port``, with the ip that the host stands for, if it is known."""
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 65536:
        raise Problem(400, f"{place[:100]} is not host:port")
    return Address(host, int(port), host if is_numeric(host) else names.get(host, ""))


def _majority(state: State) -> int:
    """More than half of all sentinels that are known."""
    voters = [members.voters(state, master) for master in state.masters.values()]
    in_cluster = len(state.raft.members) if state.raft else 1
    return max([in_cluster, *voters]) // 2 + 1
