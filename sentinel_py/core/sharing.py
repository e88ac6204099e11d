"""Masters that only this sentinel's file knows, on their way into the Raft log.

The files of members may differ, and the first one that is offered holds for all. So a member offers
a master when the server itself has said that it is one, or has not answered for ``ANSWER_MS``: what
is down at the start has to be failed over, too. One that says it is a replica, and an address that
means another host on each host, are not offered; nor is what the log would refuse. Such a master is
watched by this sentinel alone, which is said, and is looked at again when that has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from sentinel_py.core import entry_checks, ledger, snapshot
from sentinel_py.core.ledger import Command
from sentinel_py.core.messages import Level
from sentinel_py.core.model import Address, Master, Role
from sentinel_py.core.turn import Turn

ANSWER_MS = 1_000
"""A server that has not said within this what it is may be down, or be the master all the same."""


def unshared(turn: Turn) -> Iterator[tuple[Master, Command]]:
    """Return the masters that are to be brought into the log, each with the entry that does it."""
    if not turn.state.settings.replicate_config:
        return
    for master in turn.state.masters.values():
        if master.is_replicated or master.is_carried or master.adoption is not None:
            continue
        if _is_unheard(turn, master):
            continue
        if why := _why_no_master(turn, master):
            leave_unshared(turn, master, why, is_for_good=False)
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


def _is_unheard(turn: Turn, master: Master) -> bool:
    return master.info_at is None and turn.now < master.created_at + ANSWER_MS


def _why_no_master(turn: Turn, master: Master) -> str:
    """Return why the server of our file is not the one that all members are to watch."""
    raft = turn.state.raft
    assert raft is not None
    if _is_loopback(master.address) and not all(map(_is_loopback, raft.addresses.values())):
        return f"on other hosts {master.address.host} is another server"
    if master.role is Role.REPLICA and master.info_at is not None:
        return f"it is a replica of {master.master_host} {master.master_port}"
    return ""


def _is_loopback(address: Address) -> bool:
    return bool(address.ip) and ip_address(address.ip).is_loopback


def leave_unshared(turn: Turn, master: Master, why: str, *, is_for_good: bool = True) -> None:
    """Go on alone with a master that the log does not take, until something about it changes."""
    if master.unshared[1] != why:
        text = f"This Sentinel alone watches {master.name}, the Raft cluster refuses it: {why}"
        turn.log(Level.WARNING, text)
    master.unshared = snapshot.describe(master) if is_for_good else "", why
