"""``sentinel-py events``: what has happened, where the server keeps it, and what happens.

Following begins before the history is asked for, so nothing is missed between the two; what comes
by both ways is shown once.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sentinel_py.console.options import Failed, place_of, run, takes_place
from sentinel_py.console.paint import event_text, quiet
from sentinel_py.console.wire import (
    Answer,
    Connection,
    ErrorText,
    Notice,
    Place,
    Unreachable,
)

RECONNECT_AFTER_S = 1.0
_COUNT = 20


@dataclass(frozen=True, slots=True)
class Event:
    """A notice and when it was published, by the clock of whoever noted that; ids only grow."""

    id: int | None
    at_ms: int
    name: str
    text: str


@click.command(help="Show what has happened, where the sentinel keeps it, and what happens.")
@click.option("-n", "--count", type=click.IntRange(0, 10_000), default=_COUNT, show_default=True)
@click.option("--since", type=click.IntRange(0), default=None, help="All after this id.")
@click.option("--follow/--no-follow", default=True, help="Go on until Ctrl-C.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One object on each line, for programs.")
@takes_place
def main(count: int, since: int | None, follow: bool, as_json: bool, **given: Any) -> None:
    show = (
        _show_json
        if as_json
        else _show_line(Console(highlight=False, markup=False, soft_wrap=True))
    )
    story = _Story(place_of(given), show)
    sys.exit(run(story.tell(count, since) if follow else story.look_back(count, since)))


class _Story:
    def __init__(self, place: Place, show: Callable[[Event], None]) -> None:
        self._place = place
        self._show = show

    async def look_back(self, count: int, since: int | None) -> None:
        async with Connection(self._place) as connection:
            kept = await history(connection, count, since)
        if isinstance(kept, str):
            raise Failed(kept)
        for event in kept:
            self._show(event)

    async def tell(self, count: int, since: int | None) -> None:
        """History, then everything new; a connection that breaks is made again."""
        is_first = True
        while True:
            try:
                async with Connection(self._place) as connection:
                    await self._follow(connection, count if is_first else 0, since)
            except Unreachable as error:
                if is_first:
                    raise
                click.echo(f"sentinel-py: {error}; trying again", err=True)
            is_first = False
            await asyncio.sleep(RECONNECT_AFTER_S)
            since = None

    async def _follow(self, connection: Connection, count: int, since: int | None) -> None:
        async with connection.notices() as notices:
            kept = await history(connection, count, since) if count else []
            if isinstance(kept, str):
                click.echo(f"sentinel-py: {kept}; following", err=True)
                kept = []
            for event in kept:
                self._show(event)
            await self._show_all(notices, {(it.name, it.text) for it in kept}, time())

    async def _show_all(
        self, notices: AsyncIterator[Notice], told: set[tuple[str, str]], began: float
    ) -> None:
        async for notice in notices:
            is_early = time() < began + RECONNECT_AFTER_S
            if not (is_early and (notice.name, notice.text) in told):
                self._show(Event(None, int(time() * 1000), notice.name, notice.text))


async def history(connection: Connection, count: int, since: int | None) -> Sequence[Event] | str:
    """The latest events that the server keeps, or all after an id; or why there are none."""
    answer = await connection.ask("SENTINEL", "EVENTS", str(since or 0))
    if isinstance(answer, ErrorText):
        return f"{connection.place} keeps no history"
    found = _events(answer)
    return found if since is not None else found[max(0, len(found) - count) :]


def _events(answer: Answer) -> list[Event]:
    found = []
    for row in answer if isinstance(answer, list) else []:
        match row:
            case [number, at_ms, str(name), str(text), *_]:
                found.append(Event(int(str(number)), int(str(at_ms)), name, text))
    return found


def _show_json(event: Event) -> None:
    said = {"id": event.id, "at_ms": event.at_ms, "name": event.name, "text": event.text}
    click.echo(json.dumps(said))


def _show_line(console: Console) -> Callable[[Event], None]:
    return lambda event: console.print(line(event))


def line(event: Event) -> Text:
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).astimezone()
    clock = at.strftime("%m-%d %H:%M:%S.%f")[:-3]
    return Text.assemble(quiet(f"{clock}  "), event_text(event.name), f" {event.text}")
