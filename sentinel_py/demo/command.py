"""The demo's command line, its signals and its exit status."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys

import click
from rich.console import Console

from sentinel_py import __version__
from sentinel_py.demo.group import Group, Options
from sentinel_py.demo.screen import Screen
from sentinel_py.demo.story import Story
from sentinel_py.local import LocalError, Sandbox, sentinel_program

INTERRUPTED = 130  # what shells report for a program that Ctrl-C has ended


async def _run(options: Options, screen: Screen) -> None:
    story = asyncio.current_task()
    assert story is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, story.cancel)
    with Sandbox() as box:
        await Story(Group(box, options), screen).run()


def _words(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as error:
        raise click.BadParameter(f"{error}: {text}") from None


@click.command()
@click.option(
    "--once", is_flag=True, help="End after one failover, with status 0 if all went well."
)
@click.option(
    "--classic", is_flag=True, help="Without Raft: sentinels find each other, and vote each time."
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
    "other",
    metavar="PROGRAM",
    callback=_words,
    help="Another sentinel to run instead of ours, for example redis-sentinel; implies --classic.",
)
def main(once: bool, classic: bool, down_after: int, other: tuple[str, ...]) -> None:
    """Kill a Redis master before your eyes and watch three sentinels replace it."""
    console = Console(highlight=False)
    console.print(f"\n[bold]sentinel_py {__version__}[/bold]  a failover, live\n")
    options = Options(
        program=other or tuple(sentinel_program()),
        is_raft=not (classic or other),
        down_after_ms=down_after,
        once=once,
    )
    status = 0
    try:
        asyncio.run(_run(options, Screen(console)))
    except* LocalError as failed:
        click.echo(f"demo: {failed.exceptions[0]}", err=True)
        status = 1
    except* asyncio.CancelledError:
        console.print("\n  ended; nothing is left running")
        status = INTERRUPTED if once else 0
    sys.exit(status)
