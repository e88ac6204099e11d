"""``sentinel-py top``: one sentinel, live, until q or Ctrl-C.

The picture is taken once in an interval, and at once when the sentinel publishes something. Masters
in trouble come first; what does not fit is counted. The rule guarded: however it ends, the terminal
is left as it was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from sentinel_py.console import picture
from sentinel_py.console.events import Event, history
from sentinel_py.console.options import Failed, place_of, run, takes_place
from sentinel_py.console.picture import Picture
from sentinel_py.console.screen import rows_max, screen
from sentinel_py.console.wire import Connection, Place, Unreachable
from sentinel_py.tasks import spawn

EVENTS_KEPT = 100
"""More than a terminal has lines."""

LOOK_AT_MOST_EVERY_S = 0.1
"""A failover publishes two dozen notices within milliseconds; one look shows them all."""


@click.command(help="Watch a sentinel live; q or Ctrl-C ends it.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    help="Seconds from look to look.",
)
@takes_place
def main(interval: float, **given: Any) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        raise Failed("top needs a terminal; for programs there is status --json")
    sys.exit(run(_Watch(place_of(given), console, interval).until_told()))


class _Watch:
    def __init__(self, place: Place, console: Console, interval_s: float) -> None:
        self._place = place
        self._console = console
        self._interval_s = interval_s
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._is_over = False
        self._wakes = asyncio.Event()

    async def until_told(self) -> None:
        async with Connection(self._place) as connection:
            seen = await self._look(connection)
            kept = await history(connection, EVENTS_KEPT, None)
            self._events.extend(kept if not isinstance(kept, str) else ())
            ears = spawn(self._listen())
            try:
                with _keys(self._end), _live(self._console) as live:
                    await self._show_all(connection, seen, live)
            finally:
                ears.cancel()
                await asyncio.gather(ears, return_exceptions=True)

    async def _show_all(self, connection: Connection, seen: Picture, live: Live) -> None:
        trouble = ""
        while not self._is_over:
            live.update(self._screen(seen, trouble), refresh=True)
            await self._pause()
            try:
                seen, trouble = await self._look(connection), ""
            except Unreachable as error:
                trouble = str(error)

    async def _look(self, connection: Connection) -> Picture:
        return await picture.take(connection, rows_max(self._console.height))

    def _screen(self, seen: Picture, trouble: str) -> Any:
        return screen(seen, tuple(self._events), self._console.height, trouble)

    async def _pause(self) -> None:
        await asyncio.sleep(LOOK_AT_MOST_EVERY_S)
        try:
            async with asyncio.timeout(self._interval_s - LOOK_AT_MOST_EVERY_S):
                await self._wakes.wait()
        except TimeoutError:
            return
        self._wakes.clear()

    def _end(self) -> None:
        self._is_over = True
        self._wakes.set()

    async def _listen(self) -> None:
        while True:
            try:
                async with Connection(self._place) as connection, connection.notices() as notices:
                    async for notice in notices:
                        at_ms = int(time() * 1000)
                        self._events.append(Event(None, at_ms, notice.name, notice.text))
                        self._wakes.set()
            except Unreachable:
                await asyncio.sleep(self._interval_s)


def _live(console: Console) -> Live:
    return Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")


@contextmanager
def _keys(end: Callable[[], None]) -> Iterator[None]:
    """Have q and the signals of a terminal end it; keys come at once and are not shown."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, end)
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = None if keyboard is None else termios.tcgetattr(keyboard)
    try:
        if keyboard is not None:
            tty.setcbreak(keyboard)
            loop.add_reader(keyboard, lambda: _read_keys(keyboard, end))
        yield
    finally:
        if keyboard is not None and before is not None:
            loop.remove_reader(keyboard)
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


_SIGNALS: Sequence[int] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _read_keys(keyboard: int, end: Callable[[], None]) -> None:
    pressed = os.read(keyboard, 64)
    if not pressed or b"q" in pressed.lower():
        end()
