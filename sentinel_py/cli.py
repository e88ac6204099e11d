"""The command line: a node with the arguments of redis-sentinel, or one of our own commands."""

from __future__ import annotations

import sys

import click

from sentinel_py import __version__, daemon
from sentinel_py.version import REDIS_VERSION

_USAGE = """\
Usage: sentinel-py /path/to/sentinel.conf [options] [-]
       sentinel-py COMMAND [--help]
       sentinel-py -v or --version
       sentinel-py -h or --help

Options are directives of the configuration file, which they come after: --port 26380
With - as first or last argument, directives are read from the standard input, too.

Examples:
       sentinel-py /etc/sentinel.conf
       sentinel-py /etc/sentinel.conf --port 26380 --loglevel verbose
       echo 'loglevel verbose' | sentinel-py /etc/sentinel.conf -

Commands:
"""


@click.group(add_help_option=False)
def commands() -> None:
    """What sentinel-py can do beside running a node."""


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def demo(words: tuple[str, ...]) -> None:
    """Watch a real master die and a client go on writing."""
    from sentinel_py import demo as program  # noqa: PLC0415 - rich takes 100 ms to load

    program.main(list(words))


def main() -> None:
    """Entry point of ``sentinel-py``."""
    words = sys.argv[1:]
    if words[:1] in (["-v"], ["--version"]):
        click.echo(f"Redis server v={REDIS_VERSION} (sentinel_py {__version__})")
    elif words[:1] in (["-h"], ["--help"]):
        click.echo(_usage(), err=True)
        sys.exit(1)
    elif words and words[0] in commands.commands:
        commands.main(words, prog_name="sentinel-py")
    else:
        sys.exit(daemon.run(words))


def _usage() -> str:
    lines = [f"       {name:10} {command.help}" for name, command in commands.commands.items()]
    return _USAGE + "\n".join(lines)
