"""The demo: a master is killed, three sentinels promote a replica, a client writes on.

It uses the sentinels from outside, as any client does: nothing here may know how ours work, so that
the same story can be told with another sentinel program. The rule it guards: whatever ends the demo
(the end of the story, an error, a signal), no process and no file stays behind.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from rich.console import Console
from rich.status import Status
from rich.text import Text

from sentinel_py import __version__
from sentinel_py.local import (
    HOST,
    LocalError,
    Sandbox,
    Server,
    as_async,
    eventually_async,
    monitor,
    sentinel_program,
    wait_ready_async,
)

NAME = "demo"
QUORUM = 2
FAILOVER_TIMEOUT_MS = 5_000
REDIS_PORTS = (7001, 7002, 7003)
SENTINEL_PORTS = (26379, 26380, 26381)
WRITE_EVERY_MS = 10
CALM_MS = 3_000  # time to see the writer write before the master is killed
SETTLED_WITHIN_MS = 30_000
FAILOVER_WITHIN_MS = 45_000  # leaves room for a second election after a split vote
RETURN_WITHIN_MS = 60_000  # redis-sentinel leaves a returned master alone for more than ten seconds
RESTART_AFTER_MS = 5_000
STATUS_EVERY_MS = 200
INTERRUPTED = 130  # what shells report for a program that Ctrl-C has ended
CLIENT_TIMEOUT_S = 1.0
# Without redis-py's own pauses between attempts, which would count as outage; and without its
# socket_timeout, which on Python 3.11 (asyncio.wait_for) can swallow the cancellation of a task.
PATIENCE: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": None}
REDIS_PY_SENTINEL: Callable[..., Any] = Sentinel  # redis-py leaves it untyped
HEARD_KEPT = 1_000  # notices; more than the longest failover brings
SAME_NOTICE_MS = 3_000  # within this, the same notice of another sentinel is not shown again

STYLES = {
    "+sdown": "red",
    "+odown": "red",
    "+promoted-slave": "green",
    "+switch-master": "bold green",
    "writer": "cyan",
    "demo": "bold",
}


@dataclass(frozen=True, slots=True)
class Options:
    program: tuple[str, ...]
    down_after_ms: int
    once: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """A notice as one sentinel published it."""

    heard_at: int
    port: int
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Outage:
    """From the last acknowledged write to the next one."""

    began_at: int
    ended_at: int

    @property
    def lasted_ms(self) -> int:
        return self.ended_at - self.began_at


@dataclass(frozen=True, slots=True)
class Milestone:
    """A step of the failover: the notice that tells it, how its text begins, what it means."""

    event: str
    begins: str
    meaning: str


SWITCH = Milestone("+switch-master", f"{NAME} ", "clients are told the new address")
MILESTONES = (
    Milestone("+sdown", f"master {NAME} ", "a sentinel finds the master silent"),
    Milestone("+odown", f"master {NAME} ", "enough sentinels agree (quorum)"),
    Milestone("+elected-leader", f"master {NAME} ", "one sentinel is chosen to lead"),
    Milestone("+promoted-slave", "slave ", "a replica has become the master"),
    SWITCH,
)


class Writer:
    """An application: it only knows the sentinels, and writes to whatever master they name."""

    def __init__(self, ports: list[int], on_outage: Callable[[Outage], None]) -> None:
        places = [(HOST, port) for port in ports]
        self._sentinels = REDIS_PY_SENTINEL(places, sentinel_kwargs=PATIENCE, **PATIENCE)
        self._master = self._sentinels.master_for(NAME)
        self._on_outage = on_outage
        self.written = 0
        self.last_write_at = now()
        self.failing = False

    @property
    def address(self) -> str:
        host, port = self._master.connection_pool.master_address or ("nowhere", 0)
        return f"{host}:{port}"

    async def run(self) -> None:
        try:
            while True:
                await self._write()
                await asyncio.sleep(WRITE_EVERY_MS / 1000)
        finally:
            await self._master.aclose()
            await self._sentinels.aclose()

    async def _write(self) -> None:
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await self._master.incr("writes")
        except (RedisError, OSError):
            self.failing = True
            return
        began_at, self.last_write_at = self.last_write_at, now()
        self.written += 1
        if self.failing and self.written > 1:
            self._on_outage(Outage(began_at, self.last_write_at))
        self.failing = False


class Demo:
    """The group, what is heard of it, and the story told with it."""

    def __init__(self, box: Sandbox, console: Console, options: Options) -> None:
        self.box = box
        self.console = console
        self.options = options
        self.redises: list[Server] = []
        self.sentinels: list[Server] = []
        self.listening: set[int] = set()
        self.heard: deque[Heard] = deque(maxlen=HEARD_KEPT)
        self.outage: Outage | None = None

    async def run(self) -> None:
        with self.console.status("starting the processes") as status:
            await self._start()
            writer = Writer([server.port for server in self.sentinels], self._writes_again)
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(writer.run()),
                    group.create_task(self._show_status(status, writer)),
                    *(group.create_task(self._listen(server)) for server in self.sentinels),
                ]
                await self._story(writer)
                for task in background:
                    task.cancel()

    async def _start(self) -> None:
        options = self.options
        ports = [self.box.port(wanted) for wanted in REDIS_PORTS]
        master = self.box.redis(port=ports[0])
        self.redises = [master]
        self.redises += [self.box.redis(port=port, replica_of=master) for port in ports[1:]]
        await wait_ready_async(self.redises)
        # A replica that a sentinel misses at its first look is found ten seconds later.
        await eventually_async(self._linked, SETTLED_WITHIN_MS, "link of the replicas")
        settings = {
            "down-after-milliseconds": options.down_after_ms,
            "failover-timeout": FAILOVER_TIMEOUT_MS,
        }
        lines = monitor(NAME, master, quorum=QUORUM, options=settings)
        self.sentinels = [
            self.box.sentinel(lines, port=self._port(wanted), program=options.program)
            for wanted in SENTINEL_PORTS
        ]
        await wait_ready_async(self.sentinels)

    def _port(self, wanted: int) -> int:
        port = self.box.port(wanted)
        if port != wanted:
            self._say("demo", f"port {wanted} is taken, using {port}")
        return port

    async def _story(self, writer: Writer) -> None:
        self._introduce()
        await eventually_async(self._settled, SETTLED_WITHIN_MS, "agreement of the sentinels")
        await eventually_async(
            as_async(lambda: writer.written), SETTLED_WITHIN_MS, "write through the sentinels"
        )
        await asyncio.sleep(CALM_MS / 1000)
        old = await eventually_async(self._agreed_master, SETTLED_WITHIN_MS, "agreed master")
        new = await self._fail_over(old)
        await self._bring_back(old, new)
        if self.options.once:
            self._print("\n  All is well: the writer writes, and everybody follows ", new.address)
            return
        self._invite(new)
        await self._keep_alive()

    async def _fail_over(self, old: Server) -> Server:
        """Kill the master, wait until everybody has another one, show how that went."""
        self._say("demo", f"kill -9 {old.pid}: the master {old.address} is gone")
        self.outage = None
        killed_at = now()
        old.kill()
        new = await eventually_async(
            lambda: self._agreed_master(old),
            FAILOVER_WITHIN_MS,
            "new master that all sentinels name",
        )
        await eventually_async(
            as_async(lambda: len(self._heard_since(killed_at, SWITCH)) == len(self.sentinels)),
            FAILOVER_WITHIN_MS,
            "notice of the switch from all sentinels",
        )
        await eventually_async(
            as_async(lambda: self.outage), FAILOVER_WITHIN_MS, "write to the new master"
        )
        self._show_timeline(killed_at, old, new)
        return new

    async def _bring_back(self, old: Server, new: Server) -> None:
        self._say("demo", f"restarting {old.address}, whose file still calls it a master")
        old.start()
        await wait_ready_async([old])
        restarted_at = now()
        await eventually_async(
            lambda: self._replicates(old, new),
            RETURN_WITHIN_MS,
            f"return of {old.address} as a replica of {new.address}",
        )
        took = now() - restarted_at
        self._say("demo", f"{old.address} is a replica of {new.address}, {took} ms after its start")
        if await self._agreed_master() is not new:
            raise LocalError(f"the sentinels do not all name {new.address} any more")

    async def _keep_alive(self) -> None:
        """Until a signal comes: what is killed, by whomever, returns after a while."""
        while True:
            ended = [server for server in self.box.servers if not server.alive]
            await asyncio.sleep(RESTART_AFTER_MS / 1000)
            for server in ended:
                self._say("demo", f"{server.name} on {server.address} has ended: starting it")
                server.start()

    async def _linked(self) -> bool:
        report = await _ask(self.redises[0], "INFO", "replication")
        return bool(report["connected_slaves"] == len(self.redises) - 1)

    async def _settled(self) -> bool:
        """Whether the group can fail over, and nothing of it will be missed here."""
        rows = [await _ask(server, "SENTINEL", "MASTER", NAME) for server in self.sentinels]
        replicas, peers = str(len(self.redises) - 1), str(len(self.sentinels) - 1)
        return len(self.listening) == len(self.sentinels) and all(
            (row["flags"], row["num-slaves"], row["num-other-sentinels"])
            == ("master", replicas, peers)
            for row in rows
        )

    async def _agreed_master(self, other_than: Server | None = None) -> Server | None:
        """The Redis that all sentinels name, when they name the same and it is not this one."""
        answers = {
            tuple(await _ask(server, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))
            for server in self.sentinels
        }
        candidates = {
            (HOST, str(server.port)): server for server in self.redises if server is not other_than
        }
        return candidates.get(answers.pop()) if len(answers) == 1 else None

    async def _replicates(self, replica: Server, master: Server) -> bool:
        role = await _ask(replica, "ROLE")
        return bool(role[:4] == ["slave", HOST, master.port, "connected"])

    async def _listen(self, sentinel: Server) -> None:
        """Collect what a sentinel publishes, again when it was away."""
        while True:
            try:
                async with _client(sentinel) as client, client.pubsub() as subscription:
                    await subscription.psubscribe("*")
                    self.listening.add(sentinel.port)
                    async for message in subscription.listen():
                        if message["type"] == "pmessage":
                            self._hear(sentinel.port, message["channel"], message["data"])
            except (RedisError, OSError):
                self.listening.discard(sentinel.port)
                await asyncio.sleep(WRITE_EVERY_MS / 1000)

    def _hear(self, port: int, event: str, text: str) -> None:
        heard = Heard(now(), port, event, text)
        told = any(
            (other.event, other.text) == (event, text) and other.port != port
            for other in self.heard
            if heard.heard_at - other.heard_at < SAME_NOTICE_MS
        )
        self.heard.append(heard)
        if not told:
            self._say(str(port), text, event)

    def _heard_since(self, since: int, step: Milestone) -> list[int]:
        """How many ms after that instant each sentinel first told this step, in that order."""
        first: dict[int, int] = {}
        for heard in self.heard:
            matches = heard.event == step.event and heard.text.startswith(step.begins)
            if matches and heard.heard_at >= since:
                first.setdefault(heard.port, heard.heard_at - since)
        return list(first.values())

    def _writes_again(self, outage: Outage) -> None:
        self.outage = outage
        self._say("writer", f"writes again, {outage.lasted_ms} ms after its last write")

    def _introduce(self) -> None:
        master, *replicas = [server.address for server in self.redises]
        program = Path(self.options.program[0]).name
        for what, text in (
            ("master", master),
            ("replicas", "  ".join(replicas)),
            ("sentinels", "  ".join(server.address for server in self.sentinels)),
            ("", f"{program}, quorum {QUORUM}, down-after {self.options.down_after_ms} ms"),
            (
                "writer",
                f'redis-py, Sentinel.master_for("{NAME}"), a write every {WRITE_EVERY_MS} ms',
            ),
        ):
            self._print(f"  {what:<11}", text)
        self._print()

    def _show_timeline(self, killed_at: int, old: Server, new: Server) -> None:
        assert self.outage is not None, "the story waits for the writer"
        rows = [(0, "kill -9", f"the master {old.address}")]
        for step in MILESTONES:
            if told := self._heard_since(killed_at, step):
                last = f"; the last of {len(told)} at {told[-1]}" if len(told) > 1 else ""
                rows.append((told[0], step.event, step.meaning + last))
        rows.append((self.outage.ended_at - killed_at, "first write", f"taken by {new.address}"))
        self._print("\n  ms after the kill", style="bold")
        for at_ms, event, text in sorted(rows, key=itemgetter(0)):
            self._print(f"  {at_ms:>8}  ", (f"{event:<17}", STYLES.get(event, "")), text)
        found_ms, replaced_ms = rows[1][0], rows[-1][0] - rows[1][0]
        self._print(
            f"\n  The writer was without a master for {self.outage.lasted_ms} ms: noticed after ",
            f"{found_ms} ms (down-after is {self.options.down_after_ms}), replaced {replaced_ms} ",
            "ms later\n",
            style="bold",
        )

    def _invite(self, new: Server) -> None:
        cli = shutil.which("redis-cli") or Path(sys.executable).with_name("redis-cli")
        ports = [server.port for server in self.sentinels]
        self._print("\n  All of it runs until Ctrl-C. Try in another terminal:", style="bold")
        for line in (
            f"{cli} -p {ports[0]} sentinel get-master-addr-by-name {NAME}",
            f"{cli} -p {ports[1]} sentinel replicas {NAME}",
            f"{cli} -p {ports[2]} psubscribe '*'",
            f"{cli} -p {ports[0]} sentinel failover {NAME}",
            f"kill -9 {new.pid}",
        ):
            self._print("    ", (line, "cyan"))
        self._print()

    async def _show_status(self, status: Status, writer: Writer) -> None:
        while True:
            silent_ms = now() - writer.last_write_at
            status.update(
                Text(f"the writer waits for a master, {silent_ms} ms", style="red")
                if writer.failing
                else Text(f"{writer.written:,} writes, now to {writer.address}", style="dim")
            )
            await asyncio.sleep(STATUS_EVERY_MS / 1000)

    def _say(self, who: str, text: str, event: str = "") -> None:
        clock = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        text = f"{event} {text}" if event else text
        style = STYLES.get(event or who, "")
        self._print((f"  {clock}  ", "dim"), (f"{who:<7} ", STYLES.get(who, "dim")), (text, style))

    def _print(self, *parts: str | tuple[str, str], style: str = "") -> None:
        self.console.print(Text.assemble(*parts, style=style), soft_wrap=True)


async def _ask(server: Server, *command: str) -> Any:
    async with asyncio.timeout(CLIENT_TIMEOUT_S), _client(server) as client:
        return await client.execute_command(*command)


def _client(server: Server) -> Any:
    return Redis(host=HOST, port=server.port, decode_responses=True, **PATIENCE)


def now() -> int:
    return time.monotonic_ns() // 1_000_000


async def _run(options: Options, console: Console) -> None:
    story = asyncio.current_task()
    assert story is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, story.cancel)
    with Sandbox() as box:
        await Demo(box, console, options).run()


def _program(_context: click.Context, _option: click.Parameter, words: str | None) -> list[str]:
    try:
        return shlex.split(words or "") or sentinel_program()
    except ValueError as error:
        raise click.BadParameter(f"{error}: {words}") from None


@click.command()
@click.option(
    "--once", is_flag=True, help="End after one failover, with status 0 if all went well."
)
@click.option(
    "--down-after",
    metavar="MS",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="How long the master may be silent before it counts as down.",
)
@click.option(
    "--sentinel",
    "program",
    metavar="PROGRAM",
    callback=_program,
    help="Another sentinel to run instead of ours, for example redis-sentinel.",
)
def main(once: bool, down_after: int, program: list[str]) -> None:
    """Kill a Redis master before your eyes and watch three sentinels replace it."""
    console = Console(highlight=False)
    console.print(f"\n[bold]sentinel_py {__version__}[/bold]  a failover, live\n")
    status = 0
    try:
        asyncio.run(_run(Options(tuple(program), down_after, once), console))
    except* LocalError as failed:
        click.echo(f"demo: {failed.exceptions[0]}", err=True)
        status = 1
    except* asyncio.CancelledError:
        console.print("\n  ended; nothing is left running")
        status = INTERRUPTED if once else 0
    sys.exit(status)


if __name__ == "__main__":
    main()
