"""What the user reads: lines of the story, the timeline of a failover, what to try by hand."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status
from rich.text import Text

from sentinel_py.demo.group import NAME, QUORUM, Group
from sentinel_py.demo.witnesses import WRITE_EVERY_MS, Ears, Milestone, Outage, Writer, now

if TYPE_CHECKING:
    from sentinel_py.local import Server

STYLES = {
    "+sdown": "red",
    "+odown": "red",
    "+promoted-slave": "green",
    "+switch-master": "bold green",
    "writer": "cyan",
    "demo": "bold",
}
SWITCH = Milestone("+switch-master", f"{NAME} ", "clients are told the new address")
MILESTONES = (
    Milestone("+sdown", f"master {NAME} ", "a sentinel finds the master silent"),
    Milestone("+odown", f"master {NAME} ", "enough sentinels agree (quorum)"),
    Milestone("+elected-leader", f"master {NAME} ", "one sentinel is chosen to lead"),
    Milestone("+promoted-slave", "slave ", "a replica has become the master"),
    SWITCH,
)


class Screen:
    """A console with the demo's own lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def status(self, text: str) -> Status:
        return self._console.status(text)

    def say(self, who: str, text: str, event: str = "") -> None:
        clock = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        text = f"{event} {text}" if event else text
        style = STYLES.get(event or who, "")
        self.show((f"  {clock}  ", "dim"), (f"{who:<7} ", STYLES.get(who, "dim")), (text, style))

    def show(self, *parts: str | tuple[str, str], style: str = "") -> None:
        self._console.print(Text.assemble(*parts, style=style), soft_wrap=True)

    def introduce(self, group: Group) -> None:
        options = group.options
        master, *replicas = [server.address for server in group.redises]
        program = Path(options.program[0]).name
        told = (
            "as a Raft cluster; the first one is told what to watch"
            if options.is_raft
            else "in classic mode"
        )
        for what, text in (
            ("master", master),
            ("replicas", "  ".join(replicas)),
            ("sentinels", "  ".join(server.address for server in group.sentinels)),
            ("", f"{program} {told}"),
            ("", f"quorum {QUORUM}, down-after {options.down_after_ms} ms"),
            (
                "writer",
                f'redis-py, Sentinel.master_for("{NAME}"), a write every {WRITE_EVERY_MS} ms',
            ),
        ):
            self.show(f"  {what:<11}", text)
        self.show()

    def show_timeline(
        self, ears: Ears, killed_at: int, outage: Outage, old: Server, new: Server
    ) -> None:
        rows = [(0, "kill -9", f"the master {old.address}")]
        for step in MILESTONES:
            if told := ears.heard_since(killed_at, step):
                last = f"; the last of {len(told)} at {told[-1]}" if len(told) > 1 else ""
                rows.append((told[0], step.event, step.meaning + last))
        rows.append((outage.ended_at - killed_at, "first write", f"taken by {new.address}"))
        self.show("\n  ms after the kill", style="bold")
        for at_ms, event, text in sorted(rows, key=itemgetter(0)):
            self.show(f"  {at_ms:>8}  ", (f"{event:<17}", STYLES.get(event, "")), text)
        found_ms, replaced_ms = rows[1][0], rows[-1][0] - rows[1][0]
        self.show(
            f"\n  The writer was without a master for {outage.lasted_ms} ms: noticed after ",
            f"{found_ms} ms, replaced {replaced_ms} ms later\n",
            style="bold",
        )

    def invite(self, group: Group, new: Server) -> None:
        cli = shutil.which("redis-cli") or Path(sys.executable).with_name("redis-cli")
        ports = [server.port for server in group.sentinels]
        self.show("\n  All of it runs until Ctrl-C. Try in another terminal:", style="bold")
        for line in (
            f"{cli} -p {ports[0]} sentinel get-master-addr-by-name {NAME}",
            f"{cli} -p {ports[1]} sentinel replicas {NAME}",
            *([f"{cli} -p {ports[1]} sentinel raft members"] if group.options.is_raft else []),
            f"{cli} -p {ports[2]} psubscribe '*'",
            f"{cli} -p {ports[0]} sentinel failover {NAME}",
            f"kill -9 {new.pid}",
        ):
            self.show("    ", (line, "cyan"))
        self.show()


def progress(writer: Writer) -> Text:
    if not writer.failing:
        return Text(f"{writer.written:,} writes, now to {writer.address}", style="dim")
    silent_ms = now() - writer.last_write_at
    return Text(f"the writer waits for a master, {silent_ms} ms", style="red")
