"""``sentinel-py status``: a tree of what one sentinel watches, or the same as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from sentinel_py.console import picture
from sentinel_py.console.options import place_of, run, takes_place
from sentinel_py.console.paint import bytes_text, quiet, span, state_text
from sentinel_py.console.picture import Master, Picture, Raft
from sentinel_py.console.wire import Connection, Place


@click.command(help="Show what a sentinel watches, and how it stands.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@takes_place
def main(as_json: bool, **given: Any) -> None:
    sys.exit(run(_show(place_of(given), as_json)))


async def _show(place: Place, as_json: bool) -> None:
    async with Connection(place) as connection:
        seen = await picture.take(connection)
    if as_json:
        click.echo(json.dumps(asdict(seen), indent=2))
    else:
        Console(highlight=False, markup=False).print(tree(seen))


def tree(seen: Picture) -> Tree:
    """The picture as a tree, masters in trouble first."""
    root = Tree(Text.assemble(("sentinel ", "bold"), (seen.sentinel, "bold"), *_about(seen)))
    if seen.raft:
        _add_raft(root, seen.raft)
    for master in seen.masters:
        _add_master(root, master)
    if not seen.masters:
        root.add(Text("it watches nothing", "dim"))
    return root


def _about(seen: Picture) -> list[Text]:
    about = quiet(f"  {seen.program}  id {seen.id[:8]}  up {span(seen.uptime_s * 1000)}")
    return [about, Text("  TILT", "bold red")] if seen.is_tilted else [about]


def _add_raft(root: Tree, raft: Raft) -> None:
    majority = ("majority", "green") if raft.has_majority else ("no majority", "bold red")
    branch = root.add(
        Text.assemble(("raft ", "bold"), f"{raft.role}  term {raft.term}  ", majority)
    )
    for member in raft.members:
        branch.add(
            Text.assemble(
                f"{member.address:<22}",
                state_text("ok" if member.link == "up" else "disconnected"),
                quiet(f"  {member.role}"),
                quiet(f"  {member.lag} entries behind") if member.lag else "",
            )
        )


def _add_master(root: Tree, master: Master) -> None:
    branch = root.add(
        Text.assemble(
            (f"{master.name} ", "bold"),
            f"{master.address}  ",
            state_text(master.phase or master.state),
            quiet(f"  quorum {master.quorum} of {master.sentinel_count}  epoch {master.epoch}"),
        )
    )
    for replica in master.replicas:
        branch.add(
            Text.assemble(
                quiet("replica   "),
                f"{replica.address:<22}",
                state_text(replica.state),
                quiet(f"  lag {bytes_text(replica.lag_bytes)}  priority {replica.priority}")
                if not replica.foreign
                else f"  {replica.foreign}",
            )
        )
    for peer in master.sentinels:
        branch.add(
            Text.assemble(
                quiet("sentinel  "),
                f"{peer.address:<22}",
                state_text(peer.state),
                quiet(f"  id {peer.id[:8]}"),
            )
        )
