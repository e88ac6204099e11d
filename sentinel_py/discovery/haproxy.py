"""`sentinel-py haproxy`: leads one server of HAProxy to the master, by HAProxy's Runtime API.

The rule guarded: what was set is read back, now and again each second, as an HAProxy that was
started anew knows its file alone. During a switch the server is in maintenance, without sessions.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import click

from sentinel_py.discovery import command, steering
from sentinel_py.discovery.command import Source
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.steering import TargetError

ANSWER_WITHIN_S = 2.0
ANSWER_MAX_BYTES = 1024 * 1024  # the states of some thousand servers
MAINTENANCE_OR_DRAIN = 0x3B  # of srv_admin_state; 0x04 says only what was in the file


@dataclass(frozen=True, slots=True)
class ServerState:
    """What HAProxy knows of a server."""

    address: str
    port: int
    is_ready: bool


class HAProxy:
    """One server of one HAProxy; ``control`` is the path or the address of its Runtime API."""

    again_s = 1.0

    def __init__(self, control: str, server: str) -> None:
        self._control = control
        self._server = server
        self._backend, _, self._name = server.partition("/")

    async def lead(self, masters: Mapping[str, Place | None]) -> str:
        ((name, master),) = masters.items()
        before = await self.state()
        if master is None:
            if not before.is_ready:
                return ""
            await self._take_out()
            await self._expect(ServerState(before.address, before.port, False))
            return f"{name} has moved: {self._server} is in maintenance"
        wanted = ServerState(await _ip(master), master.port, True)
        if before == wanted:
            return ""
        await self._take_out()
        answer = await self._ask(
            f"set server {self._server} addr {wanted.address} port {wanted.port}"
        )
        await self._ask(f"set server {self._server} state ready")
        await self._expect(wanted, answer)
        return f"{name} is {master}: {self._server} leads there"

    async def end(self) -> None:
        """Leave it as it is: the master may stay where it is for long."""

    async def state(self) -> ServerState:
        """Read what is set now."""
        answer = await self._ask(f"show servers state {self._backend}")
        heading = next((line for line in answer.splitlines() if line.startswith("# ")), "")
        for line in answer.splitlines():
            row = dict(zip(heading[2:].split(), line.split(), strict=False))
            if heading and row.get("srv_name") == self._name:
                return _parsed(row)
        reason = " ".join(answer.split()) if not heading else "No such server."
        raise TargetError(f"HAProxy knows no {self._server}: {reason}")

    async def _take_out(self) -> None:
        """Let nobody in and cut off who is there."""
        await self._ask(f"set server {self._server} state maint")
        await self._ask(f"shutdown sessions server {self._server}")

    async def _expect(self, wanted: ServerState, answer: str = "") -> None:
        found = await self.state()
        if found != wanted:
            reason = " ".join(answer.split()) or "no reason given"
            raise TargetError(f"HAProxy has not set {self._server} to {wanted}: {reason}")

    async def _ask(self, order: str) -> str:
        """One order on one connection, as the Runtime API has it."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await _connect(self._control)
                try:
                    writer.write(f"{order}\n".encode())
                    answer = await reader.read(ANSWER_MAX_BYTES)
                    while not reader.at_eof() and len(answer) < ANSWER_MAX_BYTES:
                        answer += await reader.read(ANSWER_MAX_BYTES)
                finally:
                    writer.transport.abort()
        except OSError as error:
            reason = error.strerror or "no answer in time"
            raise TargetError(f"HAProxy at {self._control}: {reason}") from None
        return answer.decode(errors="replace")


def _parsed(row: Mapping[str, str]) -> ServerState:
    try:
        is_ready = not int(row["srv_admin_state"]) & MAINTENANCE_OR_DRAIN
        return ServerState(_plain(row["srv_addr"]), int(row["srv_port"]), is_ready)
    except (KeyError, ValueError):
        raise TargetError(f"HAProxy shows states in another form: {row}") from None


async def _connect(control: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if "/" in control:
        return await asyncio.open_unix_connection(control)
    place = Place.parse(control, command.HERE)
    return await asyncio.open_connection(place.host, place.port)


async def _ip(place: Place) -> str:
    """Where the host is now; HAProxy takes numbers only."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise TargetError(f"cannot resolve {place.host}: {reason}") from None
    return _plain(str(found[0][4][0]))


def _plain(address: str) -> str:
    """An address in its one shortest form; HAProxy shows `-` where there is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _control(context: click.Context, option: click.Parameter, text: str) -> str:
    return text if "/" in text else str(command.place(context, option, text))


def _server(_context: click.Context, _option: click.Parameter, text: str) -> str:
    backend, _, server = text.partition("/")
    if not backend or not server or not text.isprintable() or set(text) & set(" ;\\"):
        raise click.BadParameter(f"'{text}' is not of the form BACKEND/SERVER")
    return text


@click.command()
@click.argument("name")
@click.option(
    "--socket",
    "control",
    metavar="PATH|HOST:PORT",
    default="/run/haproxy/admin.sock",
    callback=_control,
    show_default=True,
    help="HAProxy's stats socket, of level admin.",
)
@click.option(
    "--server",
    metavar="BACKEND/SERVER",
    required=True,
    callback=_server,
    help="The server of HAProxy's file that is to be the master.",
)
@command.sources
def main(name: str, control: str, server: str, source: Source) -> None:
    """Lead a server of HAProxy to the master NAME.

    Sessions with the old master are shut down at a switch. Let the server be `disabled` in
    HAProxy's file, so that it leads nowhere before the master is known.
    """
    command.run("haproxy", steering.steer(HAProxy(control, server), source, name))
