"""The course of the demo: start everything, kill the master, wait for the happy end or say why not.

Each step waits for what a client can see, within a bound.
"""

from __future__ import annotations

import asyncio

from rich.status import Status

from sentinel_py.demo.group import SETTLED_WITHIN_MS, Group, replicates
from sentinel_py.demo.screen import SWITCH, Screen, progress
from sentinel_py.demo.witnesses import Ears, Heard, Outage, Writer, now
from sentinel_py.local import LocalError, Server, as_async, eventually_async, wait_ready_async

CALM_MS = 3_000  # time to see the writer write before the master is killed
FAILOVER_WITHIN_MS = 45_000  # leaves room for a second election after a split vote
RETURN_WITHIN_MS = 60_000  # redis-sentinel leaves a returned master alone for more than ten seconds
RESTART_AFTER_MS = 5_000
STATUS_EVERY_MS = 200


class Story:
    """One run of the demo."""

    def __init__(self, group: Group, screen: Screen) -> None:
        self._group = group
        self._screen = screen
        self._ears = Ears(self._tell)
        self._outage: Outage | None = None

    async def run(self) -> None:
        with self._screen.status("starting the processes") as status:
            await self._group.start()
            sentinels = self._group.sentinels
            writer = Writer([server.port for server in sentinels], self._writes_again)
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(writer.run()),
                    group.create_task(_keep_up(status, writer)),
                    *(group.create_task(self._ears.listen(server)) for server in sentinels),
                ]
                await self._tell_all(writer)
                for task in background:
                    task.cancel()

    async def _tell_all(self, writer: Writer) -> None:
        group = self._group
        for wanted, port in group.moved:
            self._screen.say("demo", f"port {wanted} is taken, using {port}")
        self._screen.introduce(group)
        await eventually_async(self._settled, SETTLED_WITHIN_MS, "agreement of the sentinels")
        await eventually_async(
            as_async(lambda: writer.written), SETTLED_WITHIN_MS, "write through the sentinels"
        )
        await asyncio.sleep(CALM_MS / 1000)
        old = await eventually_async(group.agreed_master, SETTLED_WITHIN_MS, "agreed master")
        new = await self._fail_over(old)
        await self._bring_back(old, new)
        if group.options.once:
            self._screen.show(
                "\n  All is well: the writer writes, and everybody follows ", new.address
            )
            return
        self._screen.invite(group, new)
        await self._keep_alive()

    async def _settled(self) -> bool:
        """Whether the group can fail over, and nothing of it will be missed here."""
        is_heard = len(self._ears.listening) == len(self._group.sentinels)
        return is_heard and await self._group.settled()

    async def _fail_over(self, old: Server) -> Server:
        """Kill the master, wait until everybody has another one, show how that went."""
        group, ears = self._group, self._ears
        self._screen.say("demo", f"kill -9 {old.pid}: the master {old.address} is gone")
        self._outage = None
        killed_at = now()
        old.kill()
        new = await eventually_async(
            lambda: group.agreed_master(old),
            FAILOVER_WITHIN_MS,
            "new master that all sentinels name",
        )
        await eventually_async(
            as_async(lambda: len(ears.heard_since(killed_at, SWITCH)) == len(group.sentinels)),
            FAILOVER_WITHIN_MS,
            "notice of the switch from all sentinels",
        )
        outage = await eventually_async(
            as_async(lambda: self._outage), FAILOVER_WITHIN_MS, "write to the new master"
        )
        self._screen.show_timeline(ears, killed_at, outage, old, new)
        return new

    async def _bring_back(self, old: Server, new: Server) -> None:
        self._screen.say("demo", f"restarting {old.address}, whose file still calls it a master")
        old.start()
        await wait_ready_async([old])
        restarted_at = now()
        await eventually_async(
            lambda: replicates(old, new),
            RETURN_WITHIN_MS,
            f"return of {old.address} as a replica of {new.address}",
        )
        took = now() - restarted_at
        self._screen.say(
            "demo", f"{old.address} is a replica of {new.address}, {took} ms after its start"
        )
        if await self._group.agreed_master() is not new:
            raise LocalError(f"the sentinels do not all name {new.address} any more")

    async def _keep_alive(self) -> None:
        """Until a signal comes: what is killed, by whomever, returns after a while."""
        while True:
            ended = [server for server in self._group.box.servers if not server.alive]
            await asyncio.sleep(RESTART_AFTER_MS / 1000)
            for server in ended:
                self._screen.say(
                    "demo", f"{server.name} on {server.address} has ended: starting it"
                )
                server.start()

    def _tell(self, heard: Heard) -> None:
        self._screen.say(str(heard.port), heard.text, heard.event)

    def _writes_again(self, outage: Outage) -> None:
        self._outage = outage
        self._screen.say("writer", f"writes again, {outage.lasted_ms} ms after its last write")


async def _keep_up(status: Status, writer: Writer) -> None:
    while True:
        status.update(progress(writer))
        await asyncio.sleep(STATUS_EVERY_MS / 1000)
