"""Masters that only this sentinel's file knows, on their way into the Raft log.

Its own file may say what the log refuses. Such a master is watched by this sentinel alone, which is
said, and is offered again when something about it has changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sentinel_py.core import entry_checks, ledger, snapshot
from sentinel_py.core.ledger import Command
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Master
from sentinel_py.core.turn import Turn


def unshared(turn: Turn) -> Iterator[tuple[Master, Command]]:
    """Return the masters that are to be brought into the log, each with the entry that does it."""
    if not turn.state.settings.replicate_config:
        return
    for master in turn.state.masters.values():
        if master.is_replicated or master.adoption is not None:
            continue
        record = snapshot.describe(master)
        if record == master.unshared[0]:
            continue
        entry = Command("adopt", (record,))
        if why := _why_not(entry):
            leave_unshared(turn, master, why)
        else:
            yield master, entry


def _why_not(entry: Command) -> str:
    if len(ledger.encode("", entry)) > ledger.ENTRY_MAX_BYTES:
        return f"its options have more than {ledger.ENTRY_MAX_BYTES} bytes"
    return entry_checks.why_not(entry)


def leave_unshared(turn: Turn, master: Master, why: str) -> None:
    """Go on alone with a master that the log does not take, until something about it changes."""
    if master.unshared[1] != why:
        text = f"This Sentinel alone watches {master.name}, the Raft cluster refuses it: {why}"
        turn.log(Level.WARNING, text)
    master.unshared = snapshot.describe(master), why
