"""The part of the state that the Raft log makes: as bytes, and back.

A snapshot stands for all entries up to its index. What a sentinel has found out by itself
(replicas, peers, who is down) is not in it and stays when one is installed. The rule guarded: what
an entry or a snapshot brings is checked as a whole before any of it is taken over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, field, fields, replace

from sentinel_py.core import (
    checks,
    chronicle,
    election,
    failover,
    foreign,
    former,
    members,
    options,
    overrides,
    places,
    records,
    repeats,
    roster,
)
from sentinel_py.core.checks import InvalidError
from sentinel_py.core.messages import Installed, Level, Refused
from sentinel_py.core.model import Address, Mandate, Master, Options, State
from sentinel_py.core.turn import Turn
from sentinel_py.values import dataclass

VERSION = 1

MASTERS_MAX = 100_000
"""Masters in a snapshot, which has a limit of its own in bytes."""


@dataclass(frozen=True, slots=True)
class MasterRecord:
    """A master as entries and snapshots carry it."""

    name: str
    address: Address
    options: Options
    config_epoch: int
    leader: str | None
    leader_epoch: int
    mandate: Mandate | None
    admitted: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SharedSettings:
    """The settings that all members have alike; an earlier version had fewer."""

    resolve_hostnames: bool | None = None
    announce_hostnames: bool | None = None
    sentinel_user: str | None = None
    sentinel_pass: str | None = None
    raft_count_outsiders: bool | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What a snapshot says; ``alone`` are failovers of masters that a member watches by itself."""

    version: int
    epoch: int
    settings: SharedSettings
    masters: tuple[MasterRecord, ...]
    alone: tuple[MasterRecord, ...] = ()
    history: chronicle.Kept = field(default_factory=chronicle.Kept)
    orders: tuple[str, ...] = ()


def dump(state: State) -> bytes:
    """The replicated state."""
    document = {
        "version": VERSION,
        "epoch": state.current_epoch,
        "settings": {it.name: getattr(state.settings, it.name) for it in fields(SharedSettings)},
        "masters": [_record(master) for master in state.masters.values() if master.is_replicated],
        "alone": [_record(it) for it in state.masters.values() if not it.is_replicated],
        **chronicle.dump(state.history),
        **({"orders": [*map(repeats.shown, state.recent_orders)]} if state.recent_orders else {}),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def describe(master: Master) -> str:
    """One master, as an entry that adopts it carries it."""
    return json.dumps(_record(master), separators=(",", ":"))


def describe_new(state: State, name: str, address: Address, quorum: int) -> str:
    """A master to be watched, with this sentinel's defaults, which others may not share."""
    its_options = roster.default_options(state, quorum)
    record = MasterRecord(name, address, its_options, 0, None, 0, None)
    return json.dumps(asdict(record), separators=(",", ":"))


def _record(master: Master) -> dict[str, object]:
    address, config_epoch = members.place_by_log(master)
    return asdict(
        MasterRecord(
            name=master.name,
            address=address,
            options=master.shared,
            config_epoch=config_epoch,
            leader=master.leader,
            leader_epoch=master.leader_epoch,
            mandate=replace(master.mandate, is_over=False) if master.mandate else None,
            admitted=master.admitted,
        )
    )


# Reading ------------------------------------------------------------------------------------------


_read_address = records.one(Address)
_read_mandate = records.one(Mandate, {"Address | None": records.maybe(_read_address)})
_MASTER_READERS = {
    "Address": _read_address,
    "Options": records.one(Options),
    "Mandate | None": records.maybe(_read_mandate),
}
_read_master = records.one(MasterRecord, _MASTER_READERS)
_read_masters = records.several(_read_master, MASTERS_MAX)
_DOCUMENT_READERS = {
    "SharedSettings": records.one(SharedSettings),
    "tuple[MasterRecord, ...]": _read_masters,
    "chronicle.Kept": chronicle.read,
}


def read(data: bytes) -> Document:
    """Return what a snapshot says, all of it checked, or raise InvalidError."""
    try:
        value = records.parse(data)
        version = value.get("version") if isinstance(value, dict) else None
        if version != VERSION:
            raise InvalidError(
                f"it is of version {str(version)[:20]!r}, and this sentinel knows {VERSION} alone"
            )
        document = records.read(Document, value, _DOCUMENT_READERS)
        repeats.read(document.orders)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    checks.check_epoch(document.epoch)
    for text in (document.settings.sentinel_user, document.settings.sentinel_pass):
        checks.check_text(text or "", "a login of sentinels")
    _check_masters((*document.masters, *document.alone))
    chronicle.check(document.history)
    return document


def read_master(text: str) -> MasterRecord:
    """Return the master of an entry, checked, or raise InvalidError."""
    try:
        record = records.read(MasterRecord, records.parse(text), _MASTER_READERS)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    _check_masters((record,))
    return record


def _check_masters(masters: Iterable[MasterRecord]) -> None:
    seen = set()
    for master in masters:
        checks.check_name(master.name)
        if master.name in seen:
            raise InvalidError("a master is named twice")
        seen.add(master.name)
        checks.check_address(master.address)
        options.check(master.options)
        for epoch in (master.config_epoch, master.leader_epoch):
            checks.check_epoch(epoch)
        if master.leader is not None:
            checks.check_id(master.leader)
        if master.mandate is not None:
            _check_mandate(master.mandate)
        _check_admitted(master.admitted)


def _check_mandate(mandate: Mandate) -> None:
    checks.check_epoch(mandate.epoch, 1)
    checks.check_id(mandate.leader)
    if mandate.chosen is not None:
        checks.check_address(mandate.chosen)


def _check_admitted(admitted: dict[str, str]) -> None:
    if len(admitted) > foreign.ADMITTED_MAX:
        raise InvalidError(f"more than {foreign.ADMITTED_MAX} servers are admitted")
    for place, run_id in admitted.items():
        checks.check_text(place, "a place", checks.HOST_MAX_BYTES + len(":65535"))
        checks.check_id(run_id)


# Taking over --------------------------------------------------------------------------------------


def install(turn: Turn, event: Installed) -> None:
    """Take over a snapshot: what it lacks is removed. One with anything wrong is not taken."""
    raft = turn.state.raft
    assert raft is not None
    try:
        document = read(event.snapshot)
    except InvalidError as error:
        turn.notice(Level.WARNING, "+rejected-snapshot", text=f"{event.index} #{error}")
        return
    chronicle.install(turn.state, event.index, document.history)
    if event.index <= raft.applied:
        return
    raft.applied = event.index
    turn.is_from_log = True
    turn.state.recent_orders = repeats.read(document.orders)
    election.raise_epoch(turn, document.epoch)
    for it in fields(SharedSettings):
        if (value := getattr(document.settings, it.name)) is not None:
            setattr(turn.state.settings, it.name, value)
    names = {record.name for record in document.masters}
    for master in list(turn.state.masters.values()):
        if (master.is_replicated or master.is_carried) and master.name not in names:
            turn.notice(Level.WARNING, "-monitor", master)
            roster.remove_master(turn, master)
    for record in document.masters:
        _take_over(turn, record)
    for record in document.alone:
        _hear_of_failover(turn, record)
    turn.save()


def adopt(turn: Turn, record: MasterRecord) -> None:
    """Take in a master that one member has brought into the log; the first one wins."""
    if not turn.state.believes(max(record.config_epoch, record.leader_epoch)):
        raise InvalidError("an epoch is too far ahead")
    master = turn.state.masters.get(record.name)
    if master is None or not master.is_replicated:
        _take_over(turn, record)
        turn.save()


def add(turn: Turn, record: MasterRecord) -> None:
    """Begin to watch the master of an order; Refused if all members watch one of its name."""
    master = turn.state.masters.get(record.name)
    if master is not None and master.is_replicated:
        raise Refused("Duplicate master name.")
    _take_over(turn, record)


def _take_over(turn: Turn, record: MasterRecord) -> None:
    state = turn.state
    master = state.masters.get(record.name)
    if master is None:
        master = roster.add_master(state, turn.now, record.name, record.address, record.options)
        master.config_epoch = record.config_epoch
        master.own_scripts.clear()
        turn.notice(Level.WARNING, "+monitor", master, f"quorum {record.options.quorum}")
        overrides.say_denied_scripts(turn, master)
        former.take_up(turn, master)
        members.list_all(turn, master)
    else:
        overrides.share(turn, master, record.options)
        # What this member held before may be gossip; all members go by the record.
        places.place(turn, master, record.address, record.config_epoch)
    master.is_replicated, master.is_carried = True, False
    _take_failover(turn, master, record)
    master.leader, master.leader_epoch = record.leader, record.leader_epoch
    election.raise_epoch(turn, max(record.config_epoch, record.leader_epoch), master)


def _hear_of_failover(turn: Turn, record: MasterRecord) -> None:
    """With replicate-config no the log has failovers and votes, and not who watches what."""
    master = turn.state.masters.get(record.name)
    if master is not None and not master.is_replicated:
        _take_address(turn, master, record, record.address)
        _take_failover(turn, master, record)


def _take_failover(turn: Turn, master: Master, record: MasterRecord) -> None:
    master.admitted = dict(record.admitted)
    master.mandate = record.mandate
    if record.leader_epoch > master.leader_epoch:
        master.leader, master.leader_epoch = record.leader, record.leader_epoch
    turn.touch(master)


def _take_address(turn: Turn, master: Master, record: MasterRecord, address: Address) -> None:
    if record.config_epoch >= master.config_epoch and not master.address.same_as(address):
        failover.switch(turn, master, address, as_leader=False)
    master.config_epoch = max(master.config_epoch, record.config_epoch)
