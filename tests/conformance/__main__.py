"""`scripts/conformance`: run the suite, tell per unit and in all what passed and what failed."""

import shlex
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from sentinel_py.local import sentinel_program

from .source import UnavailableError, cache_folder, suite_source
from .suite import Suite, Unit, alone, prepare, raft_options, units


@click.command()
@click.option("--runs", type=click.IntRange(1), default=1, help="How many times; one if not given.")
@click.option("--unit", "patterns", multiple=True, help="Run units like this only; repeatable.")
@click.option("--against", help="Another sentinel to run instead of ours, such as redis-sentinel.")
@click.option("--raft", is_flag=True, help="Run ours as a Raft cluster (replicate-config no).")
@click.option("--keep", is_flag=True, help="Keep the files and logs of the servers.")
def main(runs, patterns, against, raft, keep):
    """Run the Sentinel test suite of Redis against this sentinel."""
    if raft and against:
        raise click.UsageError("only our own sentinel knows --raft")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = [word for pattern in patterns for word in ("--single", pattern)]
    try:
        source = suite_source()
        program = shlex.split(against) if against else sentinel_program()
        require(program[0], "redis-server", "redis-cli", "tclsh", "ps")
        mode = " in Raft mode" if raft else ""
        click.echo(f"The suite of {source.name}, run against {shlex.join(program)}{mode}")
        with alone(cache_folder()):
            results = [run_once(source, program, options, raft, keep) for _ in range(runs)]
    except UnavailableError as reason:
        click.echo(f"scripts/conformance: {reason}", err=True)
        sys.exit(2)
    passed, failed = map(sum, zip(*results, strict=True))
    click.echo(f"{passed} passed, {failed} failed")
    sys.exit(bool(failed or not passed))


def require(*programs):
    for program in programs:
        if not shutil.which(program):
            raise UnavailableError(f"no {program} on PATH")


def run_once(source, program, options, raft, keep):
    """Numbers of tests passed and failed."""
    started_at = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sentinel_py-conformance-"))
    try:
        prepare(source, folder, program, raft_options() if raft else ())
        with Suite(folder, [*options, *(["--dont-clean"] if keep else [])]) as suite:
            ended = [show(unit) for unit in units(suite.lines())]
            if suite.status() and not any(unit.failures for unit in ended):
                why = [f"exit status {suite.status()} behind:", *suite.last_lines]
                ended.append(show(Unit("end", failures=["\n    ".join(why)])))
    finally:
        if keep:
            click.echo(f"Files and logs: {folder}/tests/sentinel/tmp")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    passed = sum(unit.passed for unit in ended)
    failed = sum(len(unit.failures) for unit in ended)
    click.echo(line("this run", passed, failed, time.monotonic() - started_at))
    return passed, failed


def show(unit):
    click.echo(line(unit.name, unit.passed, len(unit.failures), unit.seconds))
    for failure in unit.failures:
        click.echo(f"    {failure}")
    return unit


def line(name, passed, failed, seconds):
    return f"{name:28}{passed:4} passed {failed:4} failed {seconds:7.1f} s"


main(prog_name="scripts/conformance")
