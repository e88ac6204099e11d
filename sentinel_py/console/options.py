"""What the commands have in common: where to connect, by redis-cli's options, and how to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from sentinel_py.console.wire import Login, Place, Unreachable

INTERRUPTED = 130  # what shells report for a program that Ctrl-C has ended

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False)
_CONNECTION = (
    click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The sentinel."),
    click.option("-p", "--port", type=click.IntRange(1, 65535), default=26379, show_default=True),
    click.option("--user", help="The ACL user to log in as; needs -a."),
    click.option(
        "-a",
        "--pass",
        "password",
        envvar="REDISCLI_AUTH",
        help="The password; better in the environment, as REDISCLI_AUTH.",
    ),
    click.option("--tls", is_flag=True, help="Connect with TLS."),
    click.option("--cacert", type=_FILE, help="The certificate of the authority to trust."),
    click.option("--cert", type=_FILE, help="The certificate to show, where the server asks."),
    click.option("--key", type=_FILE, help="Its private key."),
    click.option("--insecure", is_flag=True, help="Take any certificate."),
)


def takes_place(command: _Command) -> _Command:
    """Give a command the options of a connection; `place_of` makes a place of them."""
    for option in reversed(_CONNECTION):
        command = option(command)
    return command


def place_of(given: dict[str, Any]) -> Place:
    """Take the options of a connection out of those that a command was given."""
    host, port = given.pop("host"), given.pop("port")
    names = ("user", "password", "tls", "cacert", "cert", "key", "insecure")
    return Place(host, port, Login(**{name: given.pop(name) for name in names}))


class Failed(click.ClickException):
    """What the command was to do did not work; one line on stderr and exit status 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"sentinel-py: {self.message}", file=file, err=True)


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Carry out a command; returns its exit status."""
    try:
        return asyncio.run(work) or 0
    except Unreachable as error:
        raise Failed(str(error)) from None
    except KeyboardInterrupt:
        return INTERRUPTED
