"""``sentinel-py doctor``: before a failover is needed, look for what would keep it from working.

Of a config file, or of a running sentinel: what it says itself, the group around it, and each Redis
with the rights of the sentinel's user there. Nothing is changed anywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from sentinel_py.console import lint, nodes, running
from sentinel_py.console.findings import Finding, Severity
from sentinel_py.console.options import place_of, run, takes_place
from sentinel_py.console.paint import quiet
from sentinel_py.console.wire import Login, Place

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}


@click.command(
    help="Look for what would keep a failover from working: in a config file, or with -p in a "
    "running sentinel. Exit status 1 when there is an error."
)
@click.argument("conf", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--node-user", help="The user that the sentinel is on the Redis servers.")
@click.option(
    "--node-pass",
    envvar="SENTINEL_PY_NODE_PASS",
    help="The password there, which a sentinel does not tell; a file has it.",
)
@click.option("--node-tls", is_flag=True, help="Redis is spoken to with TLS.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@takes_place
def main(
    conf: str | None,
    node_user: str | None,
    node_pass: str | None,
    node_tls: bool,
    as_json: bool,
    **given: Any,
) -> None:
    place = place_of(given)
    login = replace(place.login, user=node_user, password=node_pass, tls=node_tls)
    sys.exit(run(_examine(conf, place, login, as_json)))


async def _examine(conf: str | None, place: Place, login: Login, as_json: bool) -> int:
    watched, found = await (lint.examine(conf) if conf else running.examine(place, login))
    for each in watched:
        found += await nodes.examine(each)
    found = sorted(dict.fromkeys(found), key=lambda it: it.severity is not Severity.ERROR)
    if as_json:
        click.echo(json.dumps([_plain(it) for it in found], indent=2))
    else:
        _print(found)
    return int(any(it.severity is Severity.ERROR for it in found))


def _plain(it: Finding) -> dict[str, str]:
    return {
        "severity": it.severity.value,
        "what": it.what,
        "where": it.where,
        "way_out": it.way_out,
    }


def _print(found: Sequence[Finding]) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for it in found:
        severity = (f"{it.severity.value:<8} ", _STYLES[it.severity])
        what = it.what if it.where in it.what else f"{it.where}: {it.what}"
        console.print(Text.assemble(severity, what))
        console.print(Text.assemble(quiet("         way out: "), it.way_out))
    errors = sum(it.severity is Severity.ERROR for it in found)
    if not found:
        console.print(Text("Nothing found that would keep a failover from working.", "green"))
    else:
        console.print(f"errors: {errors}, warnings: {len(found) - errors}")
