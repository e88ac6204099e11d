"""The command line: a node with the arguments of redis-sentinel, or one of our own commands."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from sentinel_py import __version__, daemon
from sentinel_py.version import REDIS_VERSION

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMPLETE = "_SENTINEL_PY_COMPLETE"
_USAGE = """\
Usage: sentinel-py /path/to/sentinel.conf [options] [-]
       sentinel-py COMMAND [--help]
       sentinel-py -v or --version
       sentinel-py -h or --help

Options are directives of the configuration file, which they come after: --port 26380
With - as first or last argument, directives are read from the standard input, too.

The file is rewritten with what the sentinel finds out, unless it, or --sentinel state-dir PATH,
names a directory for that.

Examples:
       sentinel-py /etc/sentinel.conf
       sentinel-py /etc/sentinel.conf --port 26380 --loglevel verbose
       echo 'loglevel verbose' | sentinel-py /etc/sentinel.conf -

Commands:
"""
_COMPLETION = """
Completion in a shell (bash, zsh, fish): put its line into your shell's start file
       eval "$(_SENTINEL_PY_COMPLETE=bash_source sentinel-py)"
       eval "$(_SENTINEL_PY_COMPLETE=zsh_source sentinel-py)"
       _SENTINEL_PY_COMPLETE=fish_source sentinel-py | source"""


_PROGRAMS = {"demo": "sentinel_py.demo"}
"""The module of each command that is loaded only when it is run."""


class _Commands(click.Group):
    """The commands as a shell completes them: with their options, or else the name of a file."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if ctx.resilient_parsing and name in _PROGRAMS:
            command = import_module(_PROGRAMS[name]).main
        return name, command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - for shells alone

        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]


@click.group(cls=_Commands, add_help_option=False)
def commands() -> None:
    """What sentinel-py can do beside running a node."""


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def demo(words: tuple[str, ...]) -> None:
    """Watch a real master die and a client go on writing."""
    from sentinel_py import demo as program  # noqa: PLC0415 - rich takes 100 ms to load

    program.main(list(words))


_CONSOLE = {
    "status": "Show what a sentinel watches, and how it stands.",
    "top": "Watch a sentinel live.",
    "failover": "Replace a master, and show each step.",
    "explain": "Say why a master is or is not failed over.",
    "doctor": "Look for what would keep a failover from working.",
    "events": "Show what has happened, and what happens.",
}

_DISCOVERY = {
    "proxy": "Listen on a TCP port behind which there is always the master.",
    "haproxy": "Lead the clients of an HAProxy to the master.",
    "twemproxy": "Lead the clients of a Twemproxy (nutcracker) to the masters.",
    "consul": "Keep the master registered as a service in Consul.",
}


def _add(package: str, name: str, text: str, module: str = "") -> None:
    _PROGRAMS[name] = f"sentinel_py.{package}.{module or name}"
    settings = {"ignore_unknown_options": True, "help_option_names": []}

    @commands.command(name, help=text, context_settings=settings)
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def run(words: tuple[str, ...]) -> None:
        # Only now: rich takes 100 ms to load.
        program = import_module(_PROGRAMS[name])
        program.main(list(words), prog_name=f"sentinel-py {name}")


for _name, _text in _CONSOLE.items():
    _add("console", _name, _text)
_add(
    "console",
    "import",
    "Read redis-sentinel's file, and say what becomes of each line.",
    "import_conf",
)
for _name, _text in _DISCOVERY.items():
    _add("discovery", _name, _text)


def main() -> None:
    """Entry point of ``sentinel-py``."""
    words = sys.argv[1:]
    if words[:1] in (["-v"], ["--version"]):
        click.echo(f"Redis server v={REDIS_VERSION} (sentinel_py {__version__})")
    elif words[:1] in (["-h"], ["--help"]):
        click.echo(_usage(), err=True)
        sys.exit(1)
    elif _COMPLETE in os.environ or (words and words[0] in commands.commands):
        commands.main(words, prog_name="sentinel-py")
    else:
        sys.exit(daemon.run(words))


def _usage() -> str:
    lines = [f"       {name:10} {command.help}" for name, command in commands.commands.items()]
    return _USAGE + "\n".join([*lines, _COMPLETION])
