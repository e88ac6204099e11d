"""What must never happen to a Raft cluster and to what it was told, seen from outside.

The log is kept here as the members showed it when they applied it, and what follows from it is
worked out here, too. The rule it guards: nothing is asked of the product but what it showed.
"""

from dataclasses import dataclass, field
from itertools import count

from sentinel_py.core.ledger import Ballot, Choice, Claim, Finish, Switch
from sentinel_py.core.messages import Committed, RaftView

from .violation import Violation


class RaftRules:
    """One Raft cluster's log and leaders, over all lives of its members."""

    def __init__(self):
        self._log = {}  # index -> (entry id, entry)
        self._leaders = {}  # term -> member
        self._led_by = {}  # member -> whom it holds for the leader, in this life
        self._applied = {}  # member, and the id under which it joined -> index, in this life

    def started(self, life):
        self._led_by[life.name] = None
        for member in [it for it in self._applied if it[0] == life.name]:
            del self._applied[member]

    def fed(self, life, event):
        if isinstance(event, RaftView):
            self._led_by[life.name] = event.leader
        match event:
            case RaftView(leads=True, term=term):
                first = self._leaders.setdefault(term, life.name)
                if first != life.name:
                    raise Violation("one Raft leader per term", f"{first}, {life.name}: {term}")
            case Committed(index, entry_id, entry):
                self._check_entry(life, index, entry_id, entry)

    def _check_entry(self, life, index, entry_id, entry):
        known = self._log.setdefault(index, (entry_id, entry))
        if known != (entry_id, entry):
            raise Violation("one entry per log index", f"{life.name}: {index} {known}, {entry}")
        self.installed(life, index)

    def installed(self, life, index):
        member = life.name, life.state.myid
        if index <= self._applied.get(member, 0):
            raise Violation("entries are applied in order", f"{life.name}: {index}")
        self._applied[member] = index

    def check_begin(self, life):
        """Whoever reads an old claim of its own after a restart must not act on it."""
        if self._led_by[life.name] != life.state.myid:
            text = f"{life.name} follows {self._led_by[life.name]}"
            raise Violation("only the Raft leader begins a failover", text)

    def _known(self, life, master):
        """The entries about a master that a life has applied, the last one first."""
        applied = life.state.raft.applied
        for index in sorted(self._log, reverse=True):
            _, entry = self._log[index]
            if index <= applied and getattr(entry, "master", None) == master:
                yield entry

    def check_told_vote(self, life, master, epoch, candidate):
        """A vote of a member that an outsider is told must stand in the log. One that joins again
        keeps its votes while it reads the log from the beginning."""
        for _, entry in self._log.values():
            match entry:
                case Claim(epoch=at, leader=who) | Ballot(epoch=at, candidate=who):
                    if (entry.master, at, who) == (master, epoch, candidate):
                        return
        raise Violation("a told vote is in the log", f"{life.name}: {candidate}, epoch {epoch}")

    def choice(self, life, master):
        """The replica that may be promoted, and whether an earlier leader has chosen it.

        It is the first choice since the last failover that came to an end, made in the epoch of
        the claim before it.
        """
        choice, claimed, fence = None, None, 0
        for entry in reversed([*self._known(life, master)]):
            match entry:
                case Claim(epoch=epoch) if epoch > fence:
                    claimed = fence = epoch
                case Ballot(epoch=epoch) if claimed is None:
                    fence = max(fence, epoch)
                case Choice(epoch=epoch) if choice is None and epoch == claimed:
                    choice = entry
                case Switch(epoch=epoch) if epoch == claimed:
                    choice = claimed = None
                case Finish(epoch=epoch) if claimed is not None and epoch >= claimed:
                    choice = claimed = None
        return choice, choice is not None and choice.epoch != claimed

    def check_promotion(self, life, attempt, replica):
        """Only the replica that the log names is promoted; an inherited one is asked first."""
        if replica.master.emptied_at is not None:
            return  # it is kept from copying a master that came back without its data
        choice, is_inherited = self.choice(life, replica.master.name)
        where = replica.address.ip, replica.address.port
        if choice is None or (choice.ip, choice.port) != where:
            raise Violation(
                "only the logged choice is promoted", f"{life.name}: {where} instead of {choice}"
            )
        if not is_inherited or attempt is None:
            return
        is_asked = replica.info_at is not None and replica.info_at >= attempt.started_at
        if not is_asked or b"role:slave" not in (replica.info or b""):
            raise Violation("an inherited choice is asked for its role", f"{life.name}: {where}")


@dataclass
class _Change:
    """One order of an operator; it has come true, or not, within the numbers of its events."""

    value: object
    began: int
    ended: int | None = None
    is_done: bool = False
    is_refused: bool = False


@dataclass
class Promises:
    """What operators were told about changes that are to hold on all members."""

    _clock: object = field(default_factory=count)
    _changes: dict = field(default_factory=dict)  # (master, attribute) -> [_Change]

    def begin(self, change, value):
        order = _Change(value, next(self._clock))
        self._changes.setdefault(change, []).append(order)
        return order

    def end(self, order, *, is_done, is_refused):
        order.ended = next(self._clock)
        order.is_done, order.is_refused = is_done, is_refused

    def broken(self, find, initial):
        """The first change that is not as promised; ``find`` tells how it is on a sentinel."""
        for change, orders in self._changes.items():
            found = find(change)
            if found not in _possible(orders, initial(change)):
                return f"{change} is {found}, after {orders}"
        return None


def _possible(orders, initial):
    """The values that can be the last: of orders that were not refused, nor overruled for sure."""
    possible = [order.value for order in orders if not order.is_refused]
    done = [order for order in orders if order.is_done]
    if not done:
        return [*possible, initial]
    last_began = max(order.began for order in done)
    return [
        order.value
        for order in orders
        if not order.is_refused and not (order.is_done and order.ended < last_began)
    ]
