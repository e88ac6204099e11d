"""`scripts/bench`: the benchmarks by name."""

import click

from .raft import raft
from .soak import soak


@click.group()
def main():
    """Measure this sentinel. Quote medians: small machines are noisy."""


main.add_command(raft)
main.add_command(soak)

if __name__ == "__main__":
    main(prog_name="scripts/bench")
