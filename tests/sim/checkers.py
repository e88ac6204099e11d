"""What must never happen, watched from outside the product: notices, saved files, answers, states.

Each checker has a name and states one rule; it ends the run with a `Violation` at the moment at
which the rule is broken. The rule it guards itself: a checker judges by what it has seen, with
its own arithmetic; it calls nothing of the product that it is about.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field

from sentinel_py.core import snapshot
from sentinel_py.core.ledger import Choice, Claim
from sentinel_py.core.messages import Committed, DownAnswer, Installed, Notice
from sentinel_py.core.model import Replica, Role

from . import fence_rules
from .history_rules import HistoryRules
from .raft_rules import Promises, RaftRules
from .violation import Violation

SURE_PING_MS = 5_000
FRESH_INFO_MS = 5_000
"""How old a replica's last pong and INFO may be when it is chosen while its master is down."""

FRESH_INFO_FORCED_MS = 30_000
LINK_DOWN_FACTOR = 10

IS_WATCHED = "is watched"
"""What an order to MONITOR or REMOVE changes about a master."""

_TRACED = frozenset(("SLAVEOF", "REPLICAOF", "FAILOVER", "CLIENT"))

ACTIONS = frozenset(
    """+sdown -sdown +odown -odown +try-failover +elected-leader +selected-slave +promoted-slave
    +convert-to-slave +fix-slave-config +slave-reconf-sent""".split()  # noqa: SIM905
)
"""What a sentinel in TILT does not do unless an operator orders it. It may vote, and step down."""


@dataclass
class _Book:
    """What one sentinel has let others see, over all its lives."""

    epochs: dict = field(default_factory=dict)  # what -> highest epoch, in this life
    saved: dict = field(default_factory=dict)  # the same, as on disk
    places: dict = field(default_factory=dict)  # master -> (config epoch, address)
    attempts: dict = field(default_factory=dict)  # master -> epoch of its own attempt
    new_epoch: int = 0
    myid: str = ""  # a sentinel that joins a Raft cluster anew is another voter, and starts afresh
    acknowledged: dict = field(default_factory=dict)  # (master, attribute) -> value
    is_tilted: bool = False


class Checkers:
    """The observer of all sentinels. ``trace`` takes a line for each notice."""

    def __init__(self, trace, layout):
        self._trace = trace
        self._layout = layout
        self._books = defaultdict(_Book)
        self._leaders = {}  # (master, epoch) -> sentinel
        self._votes = {}  # (voter, master, epoch) -> candidate
        self._addresses = {}  # (master, config epoch) -> address
        self._forced = set()
        self._raft = RaftRules()
        self.history = HistoryRules(layout)
        self.promises = Promises() if layout.is_raft and layout.replicates else None
        self.cluster = None
        self.listeners = []
        self.counts = {}

    def _book(self, life):
        return self._books[life.name]

    # What sentinels show ----------------------------------------------------------------------

    def started(self, life):
        self._trace(life.name, f"started, epoch {life.state.current_epoch}")
        book = self._book(life)
        self._raft.started(life)
        self.history.started(life)
        _forget_another(life, book)
        _check_restored(life, book)
        _check_acknowledged(life, book)
        book.epochs = _epochs(life.state)
        book.places = {}
        book.attempts = {}
        book.is_tilted = False

    def ended(self, machine):
        self._trace(machine.name, "ended")

    def saved(self, life):
        self._book(life).saved = _epochs(life.state)

    def stepped(self, life):
        book = self._book(life)
        for master in life.state.masters.values():
            place = master.config_epoch, (master.address.ip, master.address.port)
            if book.places.get(master.name) != place:
                book.places[master.name] = place
                self._check_one_address(life, master.name, *place)
        _check_forward(life, book)

    def fed(self, life, event):
        """Something comes from the Raft log, or about the cluster, to the core."""
        self._raft.fed(life, event)
        self.history.fed(life, event)
        match event:
            case Committed(index, _, entry):
                self._trace(life.name, f"applies {index} {entry}")
                if isinstance(entry, Claim) and entry.leader == life.state.myid:
                    self._book(life).attempts[entry.master] = entry.epoch
            case Installed(index):
                self._trace(life.name, f"takes over the state of {index}")
                self._raft.installed(life, index)

    def proposed(self, life, effect):
        self._trace(life.name, f"proposes {effect.entry}")
        self.history.proposed(life, effect.entry)
        is_own = isinstance(effect.entry, Claim) and not effect.entry.forced
        if is_own and self._book(life).is_tilted:
            raise Violation("no action in tilt", f"{life.name} claims {effect.entry.master}")
        if isinstance(effect.entry, Choice):
            master = life.state.masters[effect.entry.master]
            where = effect.entry.ip, effect.entry.port
            replica = next(
                it for it in master.replicas.values() if (it.address.ip, it.address.port) == where
            )
            _check_fit(life, master, replica)

    def check_end(self, cluster):
        """What operators were promised holds on all members, once all is well."""
        self.history.check_end(cluster)
        if self.promises is None:
            return
        self._check_same_state(cluster)
        for sentinel in cluster.ours:
            masters = sentinel.life.state.masters
            trouble = self.promises.broken(
                lambda change, known=masters: _found(known.get(change[0]), change[1]),
                lambda change: getattr(cluster.layout, change[1], False),
            )
            if trouble:
                raise Violation(
                    "an acknowledged change is never lost", f"{sentinel.name} {trouble}"
                )

    def _check_same_state(self, cluster):
        """What the log has made is the same on all members; gossip makes the epoch."""
        states = {it.name: _logged(it.life.state) for it in cluster.ours}
        first = states[cluster.ours[0].name]
        for name, state in states.items():
            if state != first:
                text = f"{name} has {state} instead of {first}"
                raise Violation("all members come to the same state", text)

    # What the models of the original show -----------------------------------------------------

    def started_original(self, life):
        self._trace(life.name, f"started, epoch {life.epoch}")

    def original_notice(self, life, name, text):
        self._trace(life.name, f"{name} {text}")
        for listener in self.listeners:
            listener(life, name)

    def original_voted(self, life, epoch, candidate):
        self._trace(life.name, f"+vote-for-leader {candidate} {epoch}")
        self._check_vote(life.name, life.machine.master_name, epoch, candidate)

    def original_elected(self, life, epoch):
        self._trace(life.name, f"+elected-leader {epoch}")
        self._check_leader(life.name, life.machine.master_name, epoch)

    def original_located(self, life):
        self._check_one_address(
            life, life.machine.master_name, life.config_epoch, life.told_address
        )

    def logged(self, life, text):
        self._trace(life.name, text)

    def notice(self, life, notice: Notice):
        self._trace(life.name, f"{notice.name} {notice.text}")
        self.counts[notice.name] = self.counts.get(notice.name, 0) + 1
        book = self._book(life)
        if handler := _NOTICES.get(notice.name):
            handler(self, life, book, notice.text.split(" "))
        if book.is_tilted and notice.name in ACTIONS and not _is_ordered(life, notice):
            raise Violation("no action in tilt", f"{life.name}: {notice.name} {notice.text}")
        for listener in self.listeners:
            listener(life, notice.name)

    def saw(self, life, event):
        self.history.saw(life, event)

    def recorded(self, life, events):
        self.history.recorded(life, events)

    def sent(self, life, effect):
        for it in effect.requests:
            if it.args[0] in _TRACED and it.args[1] not in ("SETNAME", "KILL"):
                where = life.state.links[effect.link].owners[0].address.ip
                self._trace(life.name, f"tells {where} {' '.join(it.args)}")
        orders = [it for it in effect.requests if it.args[0] in ("SLAVEOF", "REPLICAOF")]
        owner = life.state.links[effect.link].owners[0] if orders else None
        if owner is not None and any(it.args[1] == owner.address.ip for it in orders):
            raise Violation("no server follows itself", f"{life.name} tells {owner.address.ip} so")
        if orders and self._book(life).is_tilted:
            raise Violation("no action in tilt", f"{life.name} sends {orders[0].args}")
        if life.votes_by_log and any(it.args[1:] == ("NO", "ONE") for it in orders):
            (replica,) = life.state.links[effect.link].owners
            if isinstance(replica, Replica):  # or it was seen to be promoted in the same step
                self._raft.check_promotion(life, replica.master.failover, replica)
                if self._layout.fences:
                    fence_rules.check_promotion(self.cluster, life, replica.master)

    def answered(self, life, outcome):
        if isinstance(outcome, DownAnswer) and outcome.leader is not None:
            self._check_told_vote(life, outcome)

    def ordered(self, sentinel, change):
        """An operator changes (master, attribute): its value is open until he is answered."""
        self._books[sentinel].acknowledged.pop(change, None)

    def acknowledged(self, sentinel, change, value):
        """An operator was told OK."""
        self._books[sentinel].acknowledged[change] = value

    # Rules ------------------------------------------------------------------------------------

    def _check_one_address(self, life, master, epoch, address):
        if epoch == 0 or (master, epoch) in self._forced:
            # The epoch of what operators configured, each on his own; or one that an operator had
            # a sentinel use without a vote, in which another may be elected. All agree in the end.
            return
        first = self._addresses.setdefault((master, epoch), address)
        if first != address:
            raise Violation(
                "one address per config epoch",
                f"{life.name} has {master} at {address} in epoch {epoch}, others at {first}",
            )

    def _check_told_vote(self, life, answer):
        saved = self._book(life).saved
        for master in _voted(life, answer.leader, answer.epoch):
            if life.votes_by_log:
                self._raft.check_told_vote(life, master.name, answer.epoch, answer.leader)
            elif saved.get(("leader", master.name), 0) < answer.epoch:
                raise Violation(
                    "a vote is saved before it is told", f"{life.name}, epoch {answer.epoch}"
                )

    def _on_vote(self, life, book, words):
        """A vote that was not saved is told nobody, and may be another one after a crash."""
        candidate, epoch = words[0], int(words[1])
        for master in _voted(life, candidate, epoch):
            if not life.votes_by_log and book.saved.get(("leader", master.name), 0) < epoch:
                continue
            self._check_vote(life.name, master.name, epoch, candidate)

    def _check_vote(self, voter, master, epoch, candidate):
        if self._votes.setdefault((voter, master, epoch), candidate) != candidate:
            raise Violation("one vote per epoch", f"{voter}, epoch {epoch}")

    def _on_elected(self, life, book, words):
        master = words[1]
        epoch = book.attempts[master]
        if (master, epoch) in self._forced:
            return
        self._check_leader(life.name, master, epoch)

    def _check_leader(self, name, master, epoch):
        first = self._leaders.setdefault((master, epoch), name)
        if first != name:
            raise Violation("one leader per epoch", f"{first} and {name}, epoch {epoch}")

    def _on_selected(self, life, _book, words):
        """The wire's description: ``slave <name> <ip> <port> @ <master> <ip> <port>``."""
        master = life.state.masters[words[5]]
        replica = master.replicas.get(words[1])
        # When the promotion was seen in the same step, nothing is left to judge.
        if replica is not None and not life.votes_by_log:
            _check_fit(life, master, replica)

    def _on_tilt(self, _life, book, _words):
        book.is_tilted = True

    def _on_tilt_end(self, _life, book, _words):
        book.is_tilted = False

    def _on_new_epoch(self, _life, book, words):
        book.new_epoch = int(words[0])

    def _on_try(self, life, book, words):
        if life.votes_by_log:
            self._raft.check_begin(life)
        else:
            book.attempts[words[1]] = book.new_epoch
        failover = life.state.masters[words[1]].failover
        # A log speaks for its members alone, and the original ones elect on.
        is_unasked = not life.votes_by_log or self._layout.originals
        if failover and failover.forced and is_unasked:
            self._forced.add((words[1], book.new_epoch))

    def _on_forgotten(self, _life, book, words):
        """REMOVE forgets all that was known of the master."""
        name = words[1]
        for known in (book.epochs, book.saved):
            known.pop(("config", name), None)
            known.pop(("leader", name), None)
        for kept in (book.places, book.attempts):
            kept.pop(name, None)


_NOTICES = {
    "+vote-for-leader": Checkers._on_vote,
    "+elected-leader": Checkers._on_elected,
    "+selected-slave": Checkers._on_selected,
    "+tilt": Checkers._on_tilt,
    "-tilt": Checkers._on_tilt_end,
    "+new-epoch": Checkers._on_new_epoch,
    "+try-failover": Checkers._on_try,
    "-monitor": Checkers._on_forgotten,
}


def _is_ordered(life, notice):
    """An operator's FAILOVER begins in TILT, too, and goes on when that is over. In Raft mode a
    failover begins and ends for all members with the entries of the log."""
    if life.votes_by_log and notice.name in ("+try-failover", "+promoted-slave"):
        return True
    if notice.name not in ("+try-failover", "+elected-leader"):
        return False
    failover = life.state.masters[notice.text.split(" ")[1]].failover
    return failover is not None and failover.forced


def _voted(life, candidate, epoch):
    """The masters for which this is the sentinel's last vote; notice and answer do not say it."""
    masters = life.state.masters.values()
    return [it for it in masters if (it.leader, it.leader_epoch) == (candidate, epoch)]


def _logged(state):
    """What the log has made, but for the ids voted for, which no file keeps."""
    document = json.loads(snapshot.dump(state))
    masters = {it["name"]: it | {"leader": None} for it in document["masters"]}
    return masters, document.get("history")


def _epochs(state):
    epochs = {"current": state.current_epoch}
    for master in state.masters.values():
        epochs["config", master.name] = master.config_epoch
        epochs["leader", master.name] = master.leader_epoch
    return epochs


def _check_restored(life, book):
    now = _epochs(life.state)
    for what, epoch in book.saved.items():
        if now.get(what, 0) < epoch:
            raise Violation(
                "epochs never go back", f"{life.name}: {what} was saved as {epoch}, is {now}"
            )


def _forget_another(life, book):
    """Epochs are an identity's: under a new id they are what the log of its cluster says."""
    if book.myid != life.state.myid:
        book.myid, book.epochs, book.saved = life.state.myid, {}, {}


def _check_forward(life, book):
    _forget_another(life, book)
    now = _epochs(life.state)
    if now == book.epochs:
        return
    # Who becomes a member begins with the log's, which begin behind all that it knew.
    floor = life.state.raft.floor_epoch if life.state.raft else 0
    for what, epoch in book.epochs.items():
        if now.get(what, epoch) < epoch and epoch > floor:
            raise Violation("epochs never go back", f"{life.name}: {what} {epoch}, now {now}")
    book.epochs = now


def _check_acknowledged(life, book):
    for (name, attribute), value in book.acknowledged.items():
        found = _found(life.state.masters.get(name), attribute)
        if found != value:
            raise Violation(
                "an acknowledged change is never lost",
                f"{life.name}: {attribute} of {name} was {value}, is {found}",
            )


def _found(master, attribute):
    if attribute == IS_WATCHED:
        return master is not None
    return getattr(master.options, attribute) if master else None


def _check_fit(life, master, replica):
    if fault := _unfitness(life, master, replica):
        text = f"{life.name} {replica.name}: {fault}"
        raise Violation("the promoted replica was eligible", text)


def _unfitness(life, master, replica):
    """Why a replica must not be promoted, by the original's rules; None if it may.

    How long the master is lost counts from its last good reply, or from the end of its role.
    """
    now = life.now()
    info_age_max_ms = FRESH_INFO_MS if master.is_down else FRESH_INFO_FORCED_MS
    lost_at = min(master.command.ok_at, master.role_at if master.role is Role.REPLICA else now)
    master_down_ms = now - lost_at if master.is_down else 0
    link_down_max_ms = master_down_ms + LINK_DOWN_FACTOR * master.options.down_after_ms
    faults = (
        (replica.is_down, "it is down"),
        (not replica.command.is_up, "it is not connected"),
        (now - replica.command.ok_at > SURE_PING_MS, "its last pong is old"),
        (replica.info_at is None, "it has sent no INFO"),
        (now - (replica.info_at or 0) > info_age_max_ms, "its INFO is old"),
        (_info_number(replica, "slave_priority", 100) == 0, "its priority is 0"),
        (
            _info_number(replica, "master_link_down_since_seconds", 0) * 1000 > link_down_max_ms,
            "it was without its master for too long",
        ),
    )
    return next((text for is_so, text in faults if is_so), None)


def _info_number(replica, key, default):
    for line in (replica.info or b"").decode().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.partition(":")[2])
    return default
