"""Orders that tools give to each sentinel: who repeats one through another member gets its answer.

codis-dashboard, operators for Kubernetes and shell loops give MONITOR, REMOVE, SET and RESET to
every sentinel. In Raft mode the first one reaches all members. What follows within 30 s through
another member is absorbed: it is answered as if it had been carried out, once for each member. The
same member again gets what redis-sentinel says.

Two may be under way at once. Then both get into the log, and all members skip the later one, if it
was given before its member had applied the earlier one: by ``State.recent_orders``, which the log
makes. A REMOVE from before a MONITOR does not undo that. Which orders of others a member may still
absorb is its own affair: ``Raft.heard_orders``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from sentinel_py.core import snapshot
from sentinel_py.core.ledger import Command
from sentinel_py.core.members import is_in_cluster
from sentinel_py.core.model import Raft
from sentinel_py.core.past import HeardOrder, RecentOrder
from sentinel_py.core.turn import Turn
from sentinel_py.core.views import matching

ORDERS = frozenset({"monitor", "remove", "set", "reset"})

LIFE_MS = 30_000
"""The slowest tool takes some seconds from one sentinel to the next."""

HEARD_MAX = 256
"""Orders of others that are remembered to be absorbed; the oldest make room."""

RECENT_MAX = 32
"""Orders that one which is under way can be the repetition of: a commit takes milliseconds."""

_DIGEST_LENGTH = 16
_SHOWN = re.compile(
    rf"([0-9]{{1,18}}):([0-9a-f]{{{_DIGEST_LENGTH}}}):([0-9a-f]{{{_DIGEST_LENGTH}}})"
)


def is_one(entry: Command) -> bool:
    """Return whether an order is of those that tools repeat."""
    return entry.order in ORDERS


def absorbs(turn: Turn, entry: Command) -> bool:
    """Return whether an order that is given here was carried out through another member.

    A MONITOR of what was removed since is no repetition: it is meant.
    """
    assert turn.state.raft is not None
    if entry.order == "monitor" and has_effect(turn, entry):
        return False
    return _use(turn.state.raft, _key_of(entry), turn.now)


def is_under_way_twice(turn: Turn, entry: Command, entry_id: str) -> bool:
    """Return whether an entry repeats one that its proposer had not applied yet."""
    if not is_one(entry) or not entry.seen:
        return False
    key, who = _key_of(entry), _proposer(entry_id)
    return any(
        it.key == key and it.who != who and it.place > entry.seen for it in turn.state.recent_orders
    )


def has_effect(turn: Turn, entry: Command) -> bool:
    """Return whether an entry that is about to be applied will change something."""
    masters = turn.state.masters
    if entry.order == "monitor":
        known = masters.get(snapshot.read_master(entry.words[0]).name)
        return known is None or not known.is_replicated
    return entry.order == "reset" or entry.words[0] in masters


def remember(turn: Turn, entry: Command, entry_id: str) -> None:
    """Note an order that was carried out; if it is another member's, it may be repeated here."""
    state = turn.state
    assert state.raft is not None
    key, who = _key_of(entry), _proposer(entry_id)
    state.recent_orders.append(RecentOrder(state.raft.applied, who, key))
    del state.recent_orders[:-RECENT_MAX]
    # What is read again after a restart was given long ago.
    if is_in_cluster(state) and who != _digest(state.myid):
        state.raft.heard_orders.append(HeardOrder(key, _about(entry), turn.now))
        del state.raft.heard_orders[:-HEARD_MAX]


def answer(turn: Turn, entry: Command, ticket: int) -> None:
    """Answer an order as if it had been carried out for this member."""
    if entry.order == "reset":
        turn.answer(ticket, len(matching(turn.state, entry.words[0])), is_done=True)
    else:
        turn.answer(ticket)


def shown(order: RecentOrder) -> str:
    """Return the order as file and snapshot have it."""
    return f"{order.place}:{order.who}:{order.key}"


def read(words: Sequence[str]) -> list[RecentOrder]:
    """Return the orders that are shown so; ValueError if they are none."""
    found = list(map(_SHOWN.fullmatch, words))
    if len(found) > RECENT_MAX or None in found:
        raise ValueError("no orders of a Raft log")
    return [RecentOrder(int(it[1]), it[2], it[3]) for it in found if it]


def _use(raft: Raft, key: str, now: int) -> bool:
    raft.heard_orders = [it for it in raft.heard_orders if now < it.at + LIFE_MS]
    heard = next((it for it in raft.heard_orders if it.key == key), None)
    if heard is None:
        return False
    # Who repeats has come past what was given before about the same master.
    place = raft.heard_orders.index(heard)
    older, newer = raft.heard_orders[:place], raft.heard_orders[place + 1 :]
    raft.heard_orders = [it for it in older if it.about != heard.about] + newer
    return True


def _about(entry: Command) -> str:
    if entry.order == "monitor":
        return snapshot.read_master(entry.words[0]).name
    return entry.words[0]


def _key_of(entry: Command) -> str:
    """Return by what orders are alike; a MONITOR brings defaults, which members may differ in."""
    words = entry.words
    if entry.order == "monitor":
        record = snapshot.read_master(words[0])
        where = record.address
        words = record.name, where.ip or where.host, str(where.port), str(record.options.quorum)
    return _digest(json.dumps([entry.order, *words]))


def _proposer(entry_id: str) -> str:
    return _digest(entry_id.partition(":")[0])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
