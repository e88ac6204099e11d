"""The part of the state that the Raft log makes: as bytes, and back.

A snapshot stands for all entries up to its index. What a sentinel has found out by itself
(replicas, peers, who is down) is not in it and stays when one is installed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sentinel_py.core import chronicle, election, failover, members, overrides, places, roster
from sentinel_py.core.messages import Installed, Level, Refused
from sentinel_py.core.model import Address, Mandate, Master, Options, State
from sentinel_py.core.turn import Turn

VERSION = 1

_SHARED = (
    *("resolve_hostnames", "announce_hostnames", "sentinel_user", "sentinel_pass"),
    "raft_count_outsiders",
)

Record = dict[str, Any]  # JSON, checked by the constructors that it is handed to


def dump(state: State) -> bytes:
    """The replicated state."""
    masters = [_record(master) for master in state.masters.values() if master.is_replicated]
    settings = {name: getattr(state.settings, name) for name in _SHARED}
    document = {
        "version": VERSION,
        "epoch": state.current_epoch,
        "settings": settings,
        "masters": masters,
        "alone": [_record(it) for it in state.masters.values() if not it.is_replicated],
        **chronicle.dump(state.history),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def describe(master: Master) -> str:
    """One master, as an entry that adopts it carries it."""
    return json.dumps(_record(master), separators=(",", ":"))


def describe_new(state: State, name: str, address: Address, quorum: int) -> str:
    """A master to be watched, with this sentinel's defaults, which others may not share."""
    options = roster.default_options(state, quorum)
    return json.dumps(
        {
            "name": name,
            "address": asdict(address),
            "options": asdict(options),
            "config_epoch": 0,
            "leader": None,
            "leader_epoch": 0,
            "mandate": None,
        },
        separators=(",", ":"),
    )


def _record(master: Master) -> Record:
    mandate = master.mandate
    address, config_epoch = members.place_by_log(master)
    return {
        "name": master.name,
        "address": asdict(address),
        "options": asdict(master.shared),
        "config_epoch": config_epoch,
        "leader": master.leader,
        "leader_epoch": master.leader_epoch,
        "mandate": asdict(mandate) | {"is_over": False} if mandate else None,
        **({"admitted": master.admitted} if master.admitted else {}),
    }


def install(turn: Turn, event: Installed) -> None:
    """Take over a snapshot: what it lacks is removed, what is newer here by epoch stays."""
    raft = turn.state.raft
    assert raft is not None
    document = json.loads(event.snapshot)
    chronicle.install(turn.state, event.index, document)
    if event.index <= raft.applied:
        return
    raft.applied = event.index
    turn.is_from_log = True
    assert document["version"] == VERSION, f"a snapshot of version {document['version']}"
    election.raise_epoch(turn, document["epoch"])
    for name in _SHARED:
        if name in document["settings"]:  # an earlier version had fewer
            setattr(turn.state.settings, name, document["settings"][name])
    records = {record["name"]: record for record in document["masters"]}
    for master in list(turn.state.masters.values()):
        if master.is_replicated and master.name not in records:
            turn.notice(Level.WARNING, "-monitor", master)
            roster.remove_master(turn, master)
    for record in records.values():
        _take_over(turn, record)
    for record in document.get("alone", ()):
        _hear_of_failover(turn, record)
    turn.save()


def adopt(turn: Turn, text: str) -> None:
    """Take in a master that one member has brought into the log; the first one wins."""
    record = json.loads(text)
    master = turn.state.masters.get(record["name"])
    if master is None or not master.is_replicated:
        _take_over(turn, record)
        turn.save()


def add(turn: Turn, text: str) -> None:
    """Begin to watch the master of an order; Refused if its name is taken."""
    record = json.loads(text)
    if record["name"] in turn.state.masters:
        raise Refused("Duplicate master name.")
    _take_over(turn, record)


def _take_over(turn: Turn, record: Record) -> None:
    state = turn.state
    address = Address(**record["address"])
    master = state.masters.get(record["name"])
    if master is None:
        options = Options(**record["options"])
        master = roster.add_master(state, turn.now, record["name"], address, options)
        master.config_epoch = record["config_epoch"]
        turn.notice(Level.WARNING, "+monitor", master, f"quorum {options.quorum}")
        members.list_all(turn, master)
    else:
        overrides.share(turn, master, Options(**record["options"]))
        # What this member held before may be gossip; all members go by the record.
        places.place(turn, master, address, record["config_epoch"])
    master.is_replicated = True
    _take_failover(turn, master, record)
    master.leader, master.leader_epoch = record["leader"], record["leader_epoch"]
    election.raise_epoch(turn, max(record["config_epoch"], record["leader_epoch"]), master)


def _hear_of_failover(turn: Turn, record: Record) -> None:
    """With replicate-config no the log has failovers and votes, and not who watches what."""
    master = turn.state.masters.get(record["name"])
    if master is not None and not master.is_replicated:
        _take_address(turn, master, record, Address(**record["address"]))
        _take_failover(turn, master, record)


def _take_failover(turn: Turn, master: Master, record: Record) -> None:
    master.admitted = dict(record.get("admitted", {}))
    mandate = record["mandate"]
    if mandate and mandate["chosen"]:
        mandate["chosen"] = Address(**mandate["chosen"])
    master.mandate = Mandate(**mandate) if mandate else None
    if record["leader_epoch"] > master.leader_epoch:
        master.leader, master.leader_epoch = record["leader"], record["leader_epoch"]
    turn.touch(master)


def _take_address(turn: Turn, master: Master, record: Record, address: Address) -> None:
    if record["config_epoch"] >= master.config_epoch and not master.address.same_as(address):
        failover.switch(turn, master, address, as_leader=False)
    master.config_epoch = max(master.config_epoch, record["config_epoch"])
