"""`scripts/compare-replies`: print every difference, with its reason when there is one."""

import signal
import sys

import click

from sentinel_py.local import LocalError

from .comparison import Comparison, World


@click.command()
@click.option("--unexplained", is_flag=True, help="Leave out the differences that are meant.")
def main(unexplained):
    """Compare the replies of this sentinel with those of redis-sentinel."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with World.made() as world:
            comparison = Comparison(world)
    except LocalError as error:
        click.echo(f"scripts/compare-replies: {error}", err=True)
        sys.exit(2)
    for difference in comparison.differences:
        if not (unexplained and difference.is_explained):
            show(difference)
    for row in comparison.unused:
        click.echo(f"The table explains what is no difference: {row.request}: {row.reason}")
    click.echo(
        f"{comparison.requests} requests, {len(comparison.differences)} with another reply, "
        f"{len(comparison.unexplained)} of them unexplained"
    )
    sys.exit(bool(comparison.unexplained or comparison.unused))


def show(difference):
    click.echo(f"{difference.request} (RESP{difference.protocol})")
    for line in difference.lines:
        click.echo(f"  {line.reason or 'UNEXPLAINED':30}  {line.sign} {line.text.strip()}")


main(prog_name="scripts/compare-replies")
