"""What ``top`` shows: a picture and the latest events as so many lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from sentinel_py.console.events import Event
from sentinel_py.console.paint import bytes_text, event_text, quiet, span, state_text
from sentinel_py.console.picture import Master, Picture, Raft

_HEAD_LINES = 4  # who, Raft, a gap, the heads of the columns
_FOOT_LINES = 3  # a gap, a rule, how to leave
_EVENTS_MIN = 5

Row = tuple[RenderableType, ...]


def rows_max(height: int) -> int:
    """How many masters can be shown at best, each on a line of its own."""
    return max(1, height - _HEAD_LINES - _FOOT_LINES - _EVENTS_MIN)


def screen(seen: Picture, events: Sequence[Event], height: int, trouble: str = "") -> Group:
    """All of it, in no more lines than there are."""
    rows = _fitting(seen.masters, rows_max(height))
    room = max(1, height - _HEAD_LINES - _FOOT_LINES - len(rows))
    shown = events[-room:]
    return Group(
        _who(seen, trouble),
        _raft(seen.raft),
        Text(),
        _table(rows),
        Text(),
        Rule(Text("events", "bold"), align="left", style="dim"),
        *(_event(event) for event in shown),
        *(Text() for _ in range(room - len(shown))),
        quiet("q or Ctrl-C ends"),
    )


def _who(seen: Picture, trouble: str) -> Text:
    """The first line; while there is trouble, what stands below is what was seen before it."""
    if trouble:
        text = f"{trouble}; trying again"
        return Text(text, "bold red", no_wrap=True, overflow="ellipsis")
    line = Text.assemble(
        (f"sentinel {seen.sentinel}", "bold"),
        quiet(f"  {seen.program}  id {seen.id[:8]}  up {span(seen.uptime_s * 1000)}"),
        no_wrap=True,
        overflow="ellipsis",
    )
    if seen.is_tilted:
        line.append("  TILT", "bold red")
    return line


def _raft(raft: Raft | None) -> Text:
    if raft is None:
        return quiet("classic mode")
    line = Text.assemble(
        ("raft ", "bold"), f"{raft.role}  term {raft.term}", no_wrap=True, overflow="ellipsis"
    )
    line.append("  majority" if raft.has_majority else "  no majority", _colour(raft.has_majority))
    for member in raft.members:
        mark = " leads" if member.role == "leader" else ""
        line.append("   ").append(f"{member.address}{mark}", _colour(member.link == "up"))
    return line


def _colour(is_well: bool) -> str:
    return "green" if is_well else "bold red"


# Masters ------------------------------------------------------------------------------------------


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("master", width=16, no_wrap=True, overflow="ellipsis")
    table.add_column("address", width=21, no_wrap=True, overflow="ellipsis")
    table.add_column("state", width=14, no_wrap=True, overflow="ellipsis")
    table.add_column("lag", width=8, no_wrap=True, justify="right")
    table.add_column("last reply", width=10, no_wrap=True, justify="right")
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    return table


def _fitting(masters: Sequence[Master], limit: int) -> list[Row]:
    """The rows of as many masters as fit; those behind them without their replicas, or counted."""
    rows: list[Row] = []
    for number, master in enumerate(masters):
        left = masters[number + 1 :]
        room = limit - len(rows) - (1 if left else 0)
        if room < 1:
            rows.append(_counted(masters[number:]))
            break
        own = list(_rows(master))
        rows += own if len(own) <= room else own[:room]
    return rows or [(quiet("no master"),)]


def _counted(masters: Sequence[Master]) -> Row:
    troubled = sum(master.state != "ok" for master in masters)
    style = "bold red" if troubled else "dim"
    return quiet(f"{len(masters)} more"), Text(f"{troubled} in trouble", style)


def _rows(master: Master) -> Iterator[Row]:
    about = f"quorum {master.quorum}/{master.sentinel_count} epoch {master.epoch}"
    yield (
        Text(master.name, "bold"),
        master.address,
        state_text(master.phase or master.state),
        "",
        span(master.silent_ms),
        quiet(about),
    )
    for replica in master.replicas:
        is_linked = replica.link == "ok"
        yield (
            quiet("  replica"),
            replica.address,
            state_text(replica.state),
            bytes_text(replica.lag_bytes),
            span(replica.silent_ms),
            quiet(f"priority {replica.priority}") if is_linked else Text("no master", "yellow"),
        )
    for peer in master.sentinels:
        yield (
            quiet("  sentinel"),
            peer.address,
            state_text(peer.state),
            "",
            span(peer.silent_ms),
            quiet(f"id {peer.id[:8]}"),
        )


def _event(event: Event) -> Text:
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).astimezone()
    return Text.assemble(
        quiet(f"{at:%H:%M:%S}.{event.at_ms % 1000:03}  "),
        event_text(event.name),
        f" {event.text}",
        no_wrap=True,
        overflow="ellipsis",
    )
