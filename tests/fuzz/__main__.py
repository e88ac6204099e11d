"""`scripts/fuzz`: each target for its time, one after the other."""

import importlib.util
import sys
import tempfile

import click

from .campaign import TARGETS, run


@click.command()
@click.option("--seconds", default=60, show_default=True, help="For each target.")
@click.option("--corpus", default="", help="A folder to keep inputs and findings in.")
@click.argument("targets", nargs=-1, type=click.Choice(list(TARGETS)))
def main(seconds, corpus, targets):
    """Give targets (all, if none is named) inputs that nobody would send who means well.

    Exit status 1: something was raised that is no documented error, or an input took too long or
    too much memory.
    """
    if importlib.util.find_spec("atheris") is None:
        click.echo("scripts/fuzz: no atheris for this Python or machine; nothing was run")
        return
    folder = corpus or tempfile.mkdtemp(prefix="fuzz-")
    found = False
    for name in targets or TARGETS:
        result = run(name, seconds, folder)
        outcome = f"a finding, {result.artifact}" if result.finding else "no finding"
        click.echo(f"{name:10} {result.executions:10,} executions, {outcome}")
        if result.finding:
            found = True
            click.echo(result.finding)
    sys.exit(found)


if __name__ == "__main__":
    main(prog_name="scripts/fuzz")
