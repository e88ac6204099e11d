"""`scripts/chaos`: run scenarios against one or two programs, and print what they cost."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass

import click
from redis.exceptions import RedisError

from sentinel_py.config import directives
from sentinel_py.local import LocalError, sentinel_program

from . import ending, network, report, scenarios
from .accounting import figures
from .machine import NAME
from .world import World

# Used as soon as the program under test knows them.
IN_RAFT_MODE = (
    f"sentinel fence-isolated-master {NAME} yes",
    f"sentinel protect-empty-restart {NAME} yes",
)


@dataclass(frozen=True)
class Program:
    """A sentinel to test: how to start it, and what its file says beside the usual."""

    name: str
    argv: tuple[str, ...]
    raft: bool = False
    lines: tuple[str, ...] = ()


def ours(classic=False, lines=()):
    known = [line for line in IN_RAFT_MODE if " ".join(line.split()[:2]) in directives.KEYS]
    return Program(
        f"sentinel_py ({'classic' if classic else 'Raft'})",
        tuple(sentinel_program()),
        raft=not classic,
        lines=(*lines, *([] if classic else known)),
    )


def other(command):
    argv = shlex.split(command)
    if not argv or not shutil.which(argv[0]):
        raise click.BadParameter(f"no such program: {command}", param_hint="--vs")
    return Program(os.path.basename(argv[0]), (shutil.which(argv[0]), *argv[1:]))


def play(joined, scenario, program, number=0):
    """One round of one scenario."""
    try:
        with World(joined, program, scenario.setup, number) as world:
            scenario.act(world)
            it = figures(world.history(scenario.settle_within_ms))
    except (LocalError, RedisError, OSError) as error:
        return report.Round(None, (str(error),))
    complaints = (*world.complaints, *report.excesses(it, scenario.limits))
    return report.Round(it, complaints, tuple(world.notes))


def play_all(joined, chosen, programs, rounds, say):
    """Rounds by scenario and program; programs take turns, so that all meet the same machine."""
    results = {}
    for scenario in chosen:
        able = []
        for program in programs:
            reason = scenario.missing(program.argv)
            results[scenario.name, program.name] = reason or []
            able += [] if reason else [program]
        for number in range(rounds):
            for program in able:
                done = play(joined, scenario, program, number)
                results[scenario.name, program.name].append(done)
                say(report.line(scenario.name, program.name, done))
    return results


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Rounds of each scenario.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(scenarios.table())),
    help="Run this scenario; may be repeated.",
)
@click.option("--classic", is_flag=True, help="Run ours without Raft.")
@click.option("--vs", metavar="PROGRAM", help="Run this sentinel, too, for example redis-sentinel.")
@click.option("--line", "lines", multiple=True, help="A line for our sentinels' files.")
def main(rounds, only, classic, vs, lines):
    """Break five hosts in every way, and count what that cost."""
    ending.in_order()
    programs = [ours(classic, lines), *([other(vs)] if vs else [])]
    if reason := network.refusal():
        click.echo(f"scripts/chaos: skipped: {reason}", err=True)
        return
    chosen = [it for name, it in scenarios.table().items() if not only or name in only]
    with network.Network() as joined:
        results = play_all(joined, chosen, programs, rounds, lambda it: click.echo(it, err=True))
    click.echo(report.table(results))


if __name__ == "__main__":
    sys.exit(main(prog_name="scripts/chaos"))
