"""``sentinel-py failover``: give the order, show each step as it happens, say whether it worked.

All sentinels that the asked one knows are listened to, because the steps are published by the one
that leads the failover. The order is coordinated where the server and the master can do that, and
is the stock one otherwise, unless the user insists.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sentinel_py.console.options import Failed, place_of, run, takes_place
from sentinel_py.console.paint import event_text, quiet
from sentinel_py.console.wire import (
    Connection,
    ErrorText,
    Notice,
    Place,
    Unreachable,
    address,
    pairs,
    rows,
)
from sentinel_py.tasks import spawn

END_WITHIN_S = 10.0
"""For the other replicas to follow the new master; that it is the master is settled before."""

PEERS_MAX = 20
"""Sentinels that are listened to beside the one that gets the order."""

_MARGIN_S = 5.0
_LAST_WORDS_S = 1.0  # from the refusal of an attempt to the notice that it has ended
# What a server says that cannot do it in the coordinated way; any other refusal is final.
_CANNOT_COORDINATE = ("wrong number of arguments", "coordinated")
_MEANINGS = {
    "+try-failover": "it begins",
    "+elected-leader": "one sentinel leads it",
    "+selected-slave": "this replica is to be promoted",
    "+failover-state-wait-promotion": "it has been told",
    "+promoted-slave": "it is a master",
    "+switch-master": "clients are told",
    "+slave-reconf-sent": "this replica is told of the new master",
    "+slave-reconf-done": "it follows the new master",
    "+failover-end": "all replicas follow",
    "+failover-end-for-timeout": "not all replicas followed in time",
    "-promotion-refused": "this replica would lose data",
    "-failover-abort-no-good-slave": "no replica is fit",
    "-failover-abort-not-elected": "nobody was elected",
    "-failover-abort-slave-timeout": "the replica was not promoted in time",
}


class Way(Enum):
    """How the user wants it."""

    ANY = 0
    COORDINATED = 1
    STOCK = 2


@click.command(help="Replace a master by one of its replicas now, and show each step.")
@click.argument("name")
@click.option("--coordinated", is_flag=True, help="With the master's consent, or not at all.")
@click.option("--stock", is_flag=True, help="Without asking the master.")
@click.option("--timeout", type=click.IntRange(1), help="Seconds; else by failover-timeout.")
@takes_place
def main(name: str, coordinated: bool, stock: bool, timeout: int | None, **given: Any) -> None:
    if coordinated and stock:
        raise click.UsageError("--coordinated and --stock exclude each other")
    way = Way.COORDINATED if coordinated else Way.STOCK if stock else Way.ANY
    story = _Story(name, Console(highlight=False, markup=False, soft_wrap=True))
    sys.exit(run(story.tell(place_of(given), way, timeout)))


class _Story:
    """One failover from the order to its end."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._began = monotonic()
        self._shown: set[Notice] = set()  # what one sentinel has told, others tell again
        self._new_address = ""
        self._abort = ""
        self._is_decided = asyncio.Event()
        self._is_ended = asyncio.Event()

    async def tell(self, place: Place, way: Way, timeout: int | None) -> None:
        async with Connection(place) as connection:
            master = await self._master(connection)
            limit_s = timeout or 2 * int(master["failover-timeout"]) / 1000 + _MARGIN_S
            places = [place, *await self._peers(connection)]
            ready = [asyncio.Event() for _ in places]
            ears = [spawn(self._listen(*each)) for each in zip(places, ready, strict=True)]
            try:
                await asyncio.gather(*(each.wait() for each in ready))
                await self._order(connection, way, limit_s)
                await self._wait(limit_s)
            finally:
                for ear in ears:
                    ear.cancel()
                await asyncio.gather(*ears, return_exceptions=True)

    async def _master(self, connection: Connection) -> dict[str, str]:
        answer = await connection.ask("SENTINEL", "MASTER", self._name)
        if isinstance(answer, ErrorText):
            raise Failed(f"{connection.place}: {answer}")
        return pairs(answer)

    async def _peers(self, connection: Connection) -> list[Place]:
        found = rows(await connection.ask("SENTINEL", "SENTINELS", self._name))
        return [connection.place.beside(row["ip"], int(row["port"])) for row in found[:PEERS_MAX]]

    # The order --------------------------------------------------------------------------------

    async def _order(self, connection: Connection, way: Way, limit_s: float) -> None:
        """Give it, at first in the coordinated way, whose answer comes when the master agrees."""
        self._began = monotonic()
        words = ("SENTINEL", "FAILOVER", self._name)
        if way is not Way.STOCK:
            answer = await connection.ask(*words, "COORDINATED", within_s=limit_s)
            if not isinstance(answer, ErrorText):
                return
            can_be_stock = any(text in str(answer).lower() for text in _CANNOT_COORDINATE)
            if way is Way.COORDINATED or not can_be_stock:
                raise Failed(f"{connection.place}: {answer}")
            self._show(quiet(f"not coordinated: {answer}"))
            await self._forget()
        answer = await connection.ask(*words, within_s=limit_s)
        if isinstance(answer, ErrorText):
            raise Failed(f"{connection.place}: {answer}")

    async def _forget(self) -> None:
        """Let what the refused attempt still publishes come before what the next one does."""
        if self._shown and not self._abort:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._is_decided.wait()
        self._shown.clear()
        self._abort = ""
        self._is_decided.clear()

    async def _wait(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout_at(self._deadline(limit_s)):
                await self._is_decided.wait()
        except TimeoutError:
            raise Failed(f"{self._name} has no new master within {limit_s:g} s") from None
        if self._abort:
            raise Failed(
                f"{self._name} keeps its master: {_MEANINGS.get(self._abort, self._abort)}"
            )
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await self._is_ended.wait()
        except TimeoutError:
            self._show(quiet("the other replicas may still be on their way"))
        self._show(Text(f"{self._name} is {self._new_address} now", "bold green"))

    def _deadline(self, limit_s: float) -> float:
        passed_s = monotonic() - self._began
        return asyncio.get_running_loop().time() + max(0.0, limit_s - passed_s)

    # What is published ------------------------------------------------------------------------

    async def _listen(self, place: Place, ready: asyncio.Event) -> None:
        try:
            async with Connection(place) as connection, connection.notices() as notices:
                ready.set()
                async for notice in notices:
                    self._hear(notice)
        except Unreachable as error:
            self._console.print(quiet(f"          not listened to: {error}"))
        finally:
            ready.set()

    def _hear(self, notice: Notice) -> None:
        if not self._is_ours(notice) or notice.name not in _MEANINGS:
            return
        if notice not in self._shown:
            self._shown.add(notice)
            meaning = _MEANINGS[notice.name]
            self._show(event_text(f"{notice.name:<30} "), f"{meaning:<39}", quiet(_who(notice)))
        self._book(notice)

    def _is_ours(self, notice: Notice) -> bool:
        words = notice.text.split()
        if notice.name == "+switch-master":
            return words[:1] == [self._name]
        return words[:2] == ["master", self._name] or f" @ {self._name} " in notice.text

    def _book(self, notice: Notice) -> None:
        if notice.name == "+switch-master":
            self._new_address = address(*notice.text.split()[3:5])
            self._abort = ""
            self._is_decided.set()
        elif notice.name.startswith("+failover-end"):
            self._is_ended.set()
        elif notice.name.startswith("-failover-abort") and not self._new_address:
            self._abort = notice.name
            self._is_decided.set()

    def _show(self, *parts: str | Text) -> None:
        after_ms = round((monotonic() - self._began) * 1000)
        self._console.print(Text.assemble(quiet(f"{after_ms:>6} ms  "), *parts))


def _who(notice: Notice) -> str:
    words = notice.text.split()
    if notice.name == "+switch-master":
        return f"{address(*words[1:3])} -> {address(*words[3:5])}"
    return address(*words[2:4])
