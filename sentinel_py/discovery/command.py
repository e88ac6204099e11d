"""What the command lines here share: the sentinels to follow, log lines, signals, exit status."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import click

from sentinel_py import faults
from sentinel_py.core.messages import Level
from sentinel_py.discovery.follower import Follower, Login
from sentinel_py.discovery.place import Place
from sentinel_py.logs import LogFile, LogOptions
from sentinel_py.tasks import begin

HERE = "127.0.0.1"
_LOG = LogFile(LogOptions())


def place(_context: click.Context, _option: click.Parameter, text: str) -> Place:
    """Callback of an option that takes an address."""
    try:
        return Place.parse(text, HERE)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _places(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> tuple[Place, ...]:
    return tuple(place(context, option, text) for text in texts)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the news of the master comes from."""

    sentinels: tuple[Place, ...]
    sentinel_login: Login
    redis_login: Login

    def follower(self, name: str, on_master: Callable[[Place | None], None]) -> Follower:
        return Follower(
            name,
            self.sentinels,
            on_master,
            complain,
            sentinel_login=self.sentinel_login,
            redis_login=self.redis_login,
        )


_OPTIONS = (
    click.option(
        "--sentinel",
        "sentinels",
        metavar="HOST:PORT",
        callback=_places,
        multiple=True,
        required=True,
        help="A sentinel that watches the master; give all of them, each with this option.",
    ),
    click.option("--user", help="User at the sentinels."),
    click.option(
        "-a",
        "--pass",
        "password",
        envvar="REDISCLI_AUTH",
        show_envvar=True,
        help="Password at the sentinels.",
    ),
    click.option("--redis-user", help="User at the master, which is asked for its ROLE."),
    click.option(
        "--redis-pass",
        "redis_password",
        envvar="SENTINEL_PY_REDIS_PASS",
        show_envvar=True,
        help="Password at the master.",
    ),
    click.option("--tls", is_flag=True, help="Ask sentinels and the master over TLS."),
    click.option(
        "--cacert", "ca_file", metavar="FILE", help="Authorities to trust, instead of the system's."
    ),
    click.option("--cert", "cert_file", metavar="FILE", help="Certificate to show."),
    click.option("--key", "key_file", metavar="FILE", help="Its private key."),
)


def sources(main: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say whom to follow; the command gets them as ``source``."""

    @functools.wraps(main)
    def wrapped(**words: Any) -> None:
        files = {name: words.pop(name) for name in ("tls", "ca_file", "cert_file", "key_file")}
        source = Source(
            words.pop("sentinels"),
            Login(words.pop("user"), words.pop("password"), **files),
            Login(words.pop("redis_user"), words.pop("redis_password"), **files),
        )
        main(source=source, **words)

    return functools.reduce(lambda command, option: option(command), reversed(_OPTIONS), wrapped)


def say(text: str) -> None:
    _LOG.write(Level.NOTICE, text)


def complain(text: str) -> None:
    _LOG.write(Level.WARNING, text)


def run(name: str, program: Coroutine[Any, Any, None]) -> None:
    """Run until a signal comes; what cannot be done is one line and status 1."""
    try:
        with _runner() as runner:
            runner.run(_until_signal(program))
    except OSError as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(1)


async def _until_signal(program: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    faults.watch(loop, _end_for, complain)
    task = begin(program, lambda _: None)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _end_for(error: BaseException) -> None:
    """End for a bug, for a supervisor: what leads clients must not stand still."""
    for line in faults.trace_of(error):
        complain(line)
    os._exit(faults.EXIT)


def _runner() -> asyncio.Runner:
    try:
        import uvloop  # noqa: PLC0415 - asyncio's own loop does where there is no uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
