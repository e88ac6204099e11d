"""`sentinel-py proxy`: a TCP port behind which there is always the master.

A client comes, is connected to the master, and cut off when another node becomes the master, so
that it comes again. The rule guarded: from the instant in which a switch is known, no byte of any
client goes to the old master; who comes while there is no master waits, within a bound.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

import click

from sentinel_py.discovery import command
from sentinel_py.discovery.command import Source
from sentinel_py.discovery.place import Place
from sentinel_py.discovery.relay import End
from sentinel_py.endpoint import keep_alive
from sentinel_py.process import allow_clients
from sentinel_py.tasks import spawn

MAX_CLIENTS = 10_000  # as Redis; each takes two file descriptors
WAIT_S = 15.0  # a failover with the stock settings takes longer, one with ours does not
RETRY_EVERY_S = 0.1
CONNECT_WITHIN_S = 1.0  # then look again: the host may be gone, and another the master
KEEP_ALIVE_S = 300  # as Redis
BACKLOG = 511  # as Redis; all clients come again at once after a switch
TOO_MANY = b"-ERR max number of clients reached\r\n"


@dataclass(slots=True)
class Counts:
    """What happened to clients since the start."""

    led: int = 0
    dropped: int = 0
    refused: int = 0
    waited_in_vain: int = 0

    def __str__(self) -> str:
        return (
            f"since the start {self.led} led, {self.dropped} dropped at a switch, "
            f"{self.refused} refused as too many, {self.waited_in_vain} waited in vain"
        )


class Proxy:
    """Leads its clients to whom `lead` names."""

    def __init__(
        self,
        name: str,
        say: Callable[[str], None],
        *,
        wait_s: float = WAIT_S,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self.counts = Counts()
        self._name = name
        self._say = say
        self._wait_s = wait_s
        self._max_clients = max_clients
        self._master: Place | None = None
        self._known = asyncio.Event()
        self._changes = 0
        self._clients: dict[End, asyncio.Task[None]] = {}
        self._to_master: set[End] = set()

    @property
    def connected(self) -> int:
        """How many clients there are now, those that wait included."""
        return len(self._clients)

    def lead(self, master: Place | None) -> None:
        """Take the news of the master, or that the one so far no longer is it."""
        self._changes += 1
        self._master = master
        dropped = [client for client in self._clients if client.is_joined]
        # Not only those of clients: who has gone may have left writes that are on their way.
        for end in (*dropped, *self._to_master):
            end.drop()
        self.counts.dropped += len(dropped)
        if master:
            self._known.set()
            self._say(f"{self._name} is {master}; {self.counts}")
        else:
            self._known.clear()
            self._say(f"{self._name} has moved, {len(dropped)} connections dropped; {self.counts}")

    async def listen(self, place: Place) -> asyncio.Server:
        """Take clients from now on."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Client(self._lost, self._arrived), place.host, place.port, backlog=BACKLOG
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise OSError(f"cannot listen on {place}: {reason}") from None
        for listener in server.sockets:
            keep_alive(listener, KEEP_ALIVE_S)
        return server

    async def close(self) -> None:
        """Let go of everybody."""
        tasks = list(self._clients.values())
        for task in tasks:
            task.cancel()
        for end in (*self._clients, *self._to_master):
            end.drop()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arrived(self, client: End) -> None:
        if self.connected >= self._max_clients:
            self.counts.refused += 1
            client.transport.write(TOO_MANY)
            client.transport.close()
            return
        self._clients[client] = spawn(self._serve(client))

    def _lost(self, client: End) -> None:
        if task := self._clients.pop(client, None):
            task.cancel()

    async def _serve(self, client: End) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                master = await self._connect()
        except TimeoutError:
            self.counts.waited_in_vain += 1
            client.drop()
            return
        if client.is_open:
            client.join(master)
            self.counts.led += 1
        else:
            master.drop()

    async def _connect(self) -> End:
        """Connect to the master, whoever that is at the end."""
        while True:
            await self._known.wait()
            changes, place = self._changes, self._master
            assert place is not None, "known"
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    end = await _open(place, self._to_master.discard)
            except OSError:
                await asyncio.sleep(RETRY_EVERY_S)
                continue
            if changes == self._changes and end.is_open:
                self._to_master.add(end)
                return end
            end.drop()


class Client(End):
    """The end that has come to us."""

    def __init__(self, on_lost: Callable[[End], None], on_arrival: Callable[[End], None]) -> None:
        super().__init__(on_lost)
        self._on_arrival = on_arrival

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._on_arrival(self)


async def _open(place: Place, on_lost: Callable[[End], None]) -> End:
    loop = asyncio.get_running_loop()
    _, end = await loop.create_connection(lambda: End(on_lost), place.host, place.port)
    keep_alive(end.transport.get_extra_info("socket"), KEEP_ALIVE_S)
    return end


@click.command()
@click.argument("name")
@click.option(
    "--listen",
    metavar="[HOST:]PORT",
    required=True,
    callback=command.place,
    help="Where clients come in; on 127.0.0.1 if no host is given.",
)
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1, max=3600),
    default=WAIT_S,
    show_default=True,
    help="How long a client may wait for a master.",
)
@click.option(
    "--max-clients",
    metavar="N",
    type=click.IntRange(min=1),
    default=MAX_CLIENTS,
    show_default=True,
    help="How many may be connected at once.",
)
@command.sources
def main(name: str, listen: Place, wait: float, max_clients: int, source: Source) -> None:
    """Listen on a TCP port behind which there is always the master NAME.

    Clients are connected to the master that the sentinels name, and dropped when it changes.
    """

    async def run() -> None:
        proxy = Proxy(name, command.say, wait_s=wait, max_clients=_reachable(max_clients))
        server = await proxy.listen(listen)
        command.say(f"{listen} leads to {name}")
        try:
            await source.follower(name, proxy.lead).run()
        finally:
            server.close()
            await proxy.close()
            command.say(f"ends; {proxy.counts}")

    command.run("proxy", run())


def _reachable(clients: int) -> int:
    """As many of them as the limit of open files has room for, two each."""
    reachable = allow_clients(2 * clients, lambda _text: None) // 2
    if reachable < clients:
        command.complain(f"takes {reachable} clients at once, as the limit of open files is low")
    return reachable
