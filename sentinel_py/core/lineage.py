"""Lineage: whose data a server has, compared with what its master is known to have had.

Of each master run id, replication ids, offset and number of keys are remembered. From that follows
which replica may be promoted, whether a master has come back without its data (what is done then is
in ``rescue``), and how far a former master had gone its own way.

The rule guarded: what is unknown speaks against nobody. A replica is refused only for what its INFO
and its master's have said.
"""

from __future__ import annotations

from sentinel_py.core import identity, requests
from sentinel_py.core.messages import Level
from sentinel_py.core.model import DataNode, Dataset, Lineage, Master, Replica, Role, State
from sentinel_py.core.turn import Turn, master_of


def protects(state: State, master: Master) -> bool:
    """Whether the data of a master that comes back empty are to be saved."""
    return _is_on(state, master.shared.protect_empty_restart)


def checks(state: State, master: Master) -> bool:
    """Whether only a replica of the master's lineage may be promoted."""
    return _is_on(state, master.shared.check_lineage)


def _is_on(state: State, wanted: bool | None) -> bool:
    """What the operator left open is on in Raft mode, and off where the original is the model."""
    return state.raft is not None if wanted is None else wanted


def is_kept(state: State, master: Master) -> bool:
    """Whether what is known has to outlive this process."""
    return protects(state, master) or checks(state, master)


# What is known -----------------------------------------------------------------------------------


def note(turn: Turn, node: DataNode, role: Role) -> None:
    """Learn from a report which data there are; see whether a master has lost its own."""
    data = node.dataset
    assert data is not None
    if not data.replid or data.is_loading:
        return
    if isinstance(node, Master) and role is Role.MASTER:
        if protects(turn.state, node) and _has_lost_its_data(node, data):
            _quarantine(turn, node, data)
        else:
            _begin_anew_if_other(turn, node, data)
            _remember(turn, node, data)
            _tell_divergences(turn, node)
    elif isinstance(node, Master):
        _note_demoted(turn, node, data)
    elif isinstance(node, Replica):
        _note_replica(turn, node, data, role)


def _note_demoted(turn: Turn, master: Master, data: Dataset) -> None:
    """What a master had is lost if it follows a stranger, has his data, and its replicas, too.

    To insist on it then would save nothing, and leave us without a master for good.
    """
    known = master.lineage
    if known is None or not is_kept(turn.state, master) or data.is_syncing:
        return
    if not _is_kin(known, data) and not _heirs(master):
        turn.log(Level.WARNING, f"{master.name} has the data of another history, {data.replid}")
        forget(master)
        _remember(turn, master, data)


def _note_replica(turn: Turn, replica: Replica, data: Dataset, role: Role) -> None:
    master = replica.master
    known = master.lineage
    if master.emptied_at is not None:
        turn.touch(master)
    if role is Role.MASTER and replica.demote:
        replica.parting = data
        _tell_divergences(turn, master)
    elif known is not None and data.replid == known.replid:
        known.offset = max(known.offset, data.offset)


def _begin_anew_if_other(turn: Turn, master: Master, data: Dataset) -> None:
    """Forget what histories there were if somebody else's server is the master from now on.

    It is at the address that the operator has named, so it is followed. But servers of the group
    that was before are not relatives of it, nor is it one of theirs once it has been replaced.
    """
    if _is_of_the_group(master, data) or identity.is_started_alike(master, data):
        return
    master.ancestors.clear()
    text = f"#has another history, {data.replid}, and is the master from now on"
    turn.notice(Level.WARNING, "+foreign-instance", master, text)


def _is_of_the_group(master: Master, data: Dataset) -> bool:
    if master.lineage is None or identity.is_member(master) or data.keys == 0:
        return True
    if not identity.is_comparable(master, data):
        return True
    return bool(identity.ids_of(data) & identity.history(master)) or _has_come_back(master, data)


def _has_come_back(master: Master, data: Dataset) -> bool:
    """Return whether it has been started again with its data, though under another id."""
    return identity.has_come_back(master, data, *(it.dataset for it in master.replicas.values()))


def _remember(turn: Turn, master: Master, data: Dataset) -> None:
    before = master.lineage
    replid2 = data.replid2
    if before and replid2 in ("", identity.NO_ID) and before.replid != data.replid:
        # It has loaded its data from a file that does not say whose they are.
        replid2 = before.replid
    elif before and before.replid == data.replid and replid2 == identity.NO_ID:
        replid2 = before.replid2
    known = Lineage(master.run_id, data.replid, replid2, data.offset, data.keys or 0)
    if before and before.replid == known.replid:
        known.offset = max(known.offset, before.offset)
    master.lineage = known
    identity.remember_member(turn, master)
    if identity.remember_ids(master, known.replid2, known.replid):
        turn.save_soon()
    master.emptied_at = None  # if it was, then it has been restarted once more, with its data
    # Offset and keys change all the time; the file need not be rewritten for that.
    is_new = before is None or _identity(before) != _identity(known)
    if is_new and is_kept(turn.state, master):
        turn.save_soon()


def _identity(known: Lineage) -> tuple[str, str, str, bool]:
    return known.run_id, known.replid, known.replid2, known.keys > 0


def _is_kin(known: Lineage, data: Dataset) -> bool:
    """Whether one has grown out of the other."""
    known_ids = {known.replid, known.replid2} - {"", identity.NO_ID}
    return data.replid in known_ids or data.replid2 in known_ids


def pass_on(
    turn: Turn, master: Master, former: Replica, data: Dataset | None, successor: Replica
) -> None:
    """The master is another server now; what it is to have stays the same."""
    former.dataset = former.parting = data
    master.dataset = successor.dataset
    master.emptied_at = None
    if master.lineage is not None:
        master.lineage.run_id = successor.run_id
    if successor.dataset is not None and not _is_of_the_group(master, successor.dataset):
        master.ancestors.clear()
        identity.remember_ids(master, successor.dataset.replid2, successor.dataset.replid)
    if is_kept(turn.state, master):
        # With the promotion a new history has begun, which the replicas are going to have.
        requests.ask_info(turn, master)
    _tell_divergences(turn, master)


def forget(master: Master) -> None:
    master.lineage = master.emptied_at = None


# A former master ---------------------------------------------------------------------------------


def _tell_divergences(turn: Turn, master: Master) -> None:
    """Say what former masters had taken that their successor never got."""
    data = master.dataset
    if turn.state.raft is None or data is None:
        return
    for former in master.replicas.values():
        parting = former.parting
        if parting is None or parting.replid != data.replid2 or data.parted_offset < 0:
            continue
        former.parting = None
        promoted_at = data.parted_offset - 1
        if parting.offset > max(promoted_at, former.told_offset):
            former.told_offset = parting.offset
            where = f"{turn.state.shown(former.address)} {former.address.port}"
            turn.notice(
                Level.WARNING,
                "+diverged",
                text=f"master {master.name} {where} #offset {parting.offset} "
                f"promotion {promoted_at} bytes {parting.offset - promoted_at}",
                cause=master,
            )


# Empty restart -----------------------------------------------------------------------------------


def _has_lost_its_data(master: Master, data: Dataset) -> bool:
    """Return whether a master was started again without what it had, or with less of it."""
    known = master.lineage
    if known is None or not known.run_id or master.run_id == known.run_id:
        return False
    if master.emptied_at is not None and master.run_id_at <= master.emptied_at:
        return True
    if data.is_all_new:
        # Of the same history and further than we know, it may have been emptied by order.
        return not (_is_kin(known, data) and data.parted_offset > known.offset)
    if identity.ids_of(data) & identity.history(master):
        return data.offset < known.offset and _has_replica_beyond(master, data.offset)
    if master.member_data is None or not identity.is_comparable(master, data):
        return False
    return not _has_come_back(master, data)


def _has_replica_beyond(master: Master, offset: int) -> bool:
    """Return whether a replica has more of the history than a master came back with."""
    return any(it is not None and it.keys != 0 and it.offset > offset for it in _heirs(master))


def is_in_doubt(state: State, node: DataNode) -> bool:
    """Whether it is not known yet with which data a master comes back: its replicas wait, too."""
    data = node.dataset
    is_loading = isinstance(node, Master) and data is not None and data.is_loading
    return is_loading and protects(state, master_of(node))


def _quarantine(turn: Turn, master: Master, data: Dataset) -> None:
    """Have it replaced. It is demoted then, unless it is another server by all that it says."""
    if master.emptied_at is None:
        master.emptied_at = turn.now
        requests.refresh_replicas(turn, master)
        turn.touch(master)
    if identity.is_started_alike(master, data):
        identity.remember_member(turn, master)


def accept(turn: Turn, master: Master) -> None:
    """Follow an emptied master after all: what it has now is what it is to have."""
    master.emptied_at = None
    if master.dataset is not None and master.dataset.replid:
        _remember(turn, master, master.dataset)


def keys_lost(master: Master) -> int:
    """How many keys an emptied master had, by the last that it or its replicas have said."""
    assert master.lineage is not None
    kept = [data.keys or 0 for data in _heirs(master) if data is not None]
    return max([master.lineage.keys, *kept])


def has_lost_data(replica: Replica) -> bool:
    """Whether a replica that was to save an emptied master's data has copied the void instead."""
    master, data = replica.master, replica.dataset
    if master.emptied_at is None or master.lineage is None or data is None or not data.replid:
        return False
    return data.keys == 0 or not _is_kin(master.lineage, data)


def may_be_saved(master: Master) -> bool:
    """Whether any replica may still have what an emptied master has lost."""
    return any(data is None or data.keys != 0 for data in _heirs(master))


def _heirs(master: Master) -> list[Dataset | None]:
    """What replicas have, as far as it comes from the master's history or may do so."""
    known = master.lineage
    assert known is not None
    found = [replica.dataset for replica in master.replicas.values()]
    return [data for data in found if not data or not data.replid or _is_kin(known, data)]


# Who may be promoted -----------------------------------------------------------------------------


def why_not(state: State, replica: Replica, now: int) -> str:
    """Why a replica's data forbid its promotion; empty if they do not, as far as they are known."""
    master = replica.master
    known, data = master.lineage, replica.dataset
    if replica.was_never_linked and data is not None and data.keys == 0 and _had_keys(master):
        return "has no data yet, and was never linked to its master"
    if known is None or data is None or not data.replid or not _is_judged(state, master):
        return ""
    if data.is_loading:
        return "is loading"
    if data.keys == 0 and has_lost_data(replica):
        return "has lost its data"
    if not _is_kin(known, data):
        if _has_followed(state, replica, data, now):
            return ""
        return f"has another history, {data.replid}, not {known.replid}"
    lag = known.offset - data.offset
    if 0 < master.shared.max_promotion_lag < lag:
        return f"is {lag} bytes behind offset {known.offset}"
    return ""


def _has_followed(state: State, replica: Replica, data: Dataset, now: int) -> bool:
    """Return whether it has the master's data, though their ids do not say so.

    A master takes a new id when its first replica comes; if it dies then, what we have read of it
    is older. Once a replica has been linked to the master that it names, it has that one's history.
    """
    master = replica.master
    if not identity.is_comparable(master, data) or identity.ids_of(data) & identity.history(master):
        return True
    if master.emptied_at is not None or (data.keys == 0 and _had_keys(master)):
        return False
    is_news = master.info_at is None or replica.data_at > master.info_at
    was_linked = not replica.was_never_linked and not data.is_syncing
    return is_news and was_linked and identity.is_in_group(state, replica, now)


def _had_keys(master: Master) -> bool:
    """Whether there is anything that a replica without data would lose."""
    known, data = master.lineage, master.dataset
    return bool((known and known.keys) or (data and data.keys))


def has_own_data(master: Master) -> bool:
    """Whether a master, whatever it reports to be, still has what it is known to have had."""
    known, data = master.lineage, master.dataset
    return known is not None and data is not None and not data.is_syncing and _is_kin(known, data)


def is_at_risk(state: State, replica: Replica) -> bool:
    """Whether a transfer is under way whose end will replace its data; until then it has them."""
    data = replica.dataset
    return data is not None and data.is_syncing and _is_judged(state, replica.master)


def _is_judged(state: State, master: Master) -> bool:
    return master.emptied_at is not None or checks(state, master)
