"""`scripts/bench`: the benchmarks by name."""

import click

from .raft import raft


@click.group()
def main():
    """Measure this sentinel. Quote medians: small machines are noisy."""


main.add_command(raft)

if __name__ == "__main__":
    main(prog_name="scripts/bench")
