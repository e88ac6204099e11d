"""`scripts/bench`: the benchmarks by name."""

import click

from .failover import failover
from .plots import plot
from .query import query
from .raft import raft
from .scale import scale
from .soak import soak


@click.group()
def main():
    """Measure this sentinel. Quote medians: small machines are noisy."""


main.add_command(failover)
main.add_command(plot)
main.add_command(query)
main.add_command(raft)
main.add_command(scale)
main.add_command(soak)

if __name__ == "__main__":
    main(prog_name="scripts/bench")
