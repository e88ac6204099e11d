"""What must never happen, watched from outside the product: notices, saved files, answers, states.

Each checker has a name and states one rule; it ends the run with a `Violation` at the moment at
which the rule is broken. The rule it guards itself: a checker judges by what it has seen, with
its own arithmetic; it calls nothing of the product that it is about.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from sentinel_py.core.messages import DownAnswer, Notice

SURE_PING_MS = 5_000
FRESH_INFO_MS = 5_000
"""How old a replica's last pong and INFO may be when it is chosen while its master is down."""

FRESH_INFO_FORCED_MS = 30_000
LINK_DOWN_FACTOR = 10

IS_WATCHED = "is watched"
"""What an order to MONITOR or REMOVE changes about a master."""

ACTIONS = frozenset(
    """+sdown -sdown +odown -odown +try-failover +elected-leader +selected-slave +promoted-slave
    +convert-to-slave +fix-slave-config +slave-reconf-sent""".split()  # noqa: SIM905
)
"""What a sentinel in TILT does not do unless an operator orders it. It may vote, and step down."""


class Violation(AssertionError):  # noqa: N818 - it is what a run ends with
    """A rule was broken; ``checker`` names it."""

    def __init__(self, checker, text):
        super().__init__(checker, text)
        self.checker = checker

    def __str__(self):
        return ": ".join(self.args)


@dataclass
class _Book:
    """What one sentinel has let others see, over all its lives."""

    epochs: dict = field(default_factory=dict)  # what -> highest epoch, in this life
    saved: dict = field(default_factory=dict)  # the same, as on disk
    places: dict = field(default_factory=dict)  # master -> (config epoch, address)
    attempts: dict = field(default_factory=dict)  # master -> epoch of its own attempt
    new_epoch: int = 0
    acknowledged: dict = field(default_factory=dict)  # (master, attribute) -> value
    is_tilted: bool = False


class Checkers:
    """The observer of all sentinels. ``trace`` takes a line for each notice."""

    def __init__(self, trace):
        self._trace = trace
        self._books = defaultdict(_Book)
        self._leaders = {}  # (master, epoch) -> sentinel
        self._votes = {}  # (voter, master, epoch) -> candidate
        self._addresses = {}  # (master, config epoch) -> address
        self._forced = set()
        self.listeners = []
        self.counts = {}

    def _book(self, life):
        return self._books[life.name]

    # What sentinels show ----------------------------------------------------------------------

    def started(self, life):
        self._trace(life.name, f"started, epoch {life.state.current_epoch}")
        book = self._book(life)
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

    def notice(self, life, notice: Notice):
        self._trace(life.name, f"{notice.name} {notice.text}")
        self.counts[notice.name] = self.counts.get(notice.name, 0) + 1
        book = self._book(life)
        if handler := _NOTICES.get(notice.name):
            handler(self, life, book, notice.text.split(" "))
        if book.is_tilted and notice.name in ACTIONS and not _is_ordered(life, notice):
            raise Violation("no action in tilt", f"{life.name}: {notice.name} {notice.text}")
        for listener in self.listeners:
            listener(life, notice)

    def sent(self, life, effect):
        if self._book(life).is_tilted and any(it.args[0] == "SLAVEOF" for it in effect.requests):
            raise Violation("no action in tilt", f"{life.name} sends SLAVEOF")

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
        if epoch == 0:
            return  # the epoch of what operators configured, each on his own
        first = self._addresses.setdefault((master, epoch), address)
        if first != address:
            raise Violation(
                "one address per config epoch",
                f"{life.name} has {master} at {address} in epoch {epoch}, others at {first}",
            )

    def _check_told_vote(self, life, answer):
        saved = self._book(life).saved
        for master in _voted(life, answer.leader, answer.epoch):
            if saved.get(("leader", master.name), 0) < answer.epoch:
                raise Violation(
                    "a vote is saved before it is told", f"{life.name}, epoch {answer.epoch}"
                )

    def _on_vote(self, life, book, words):
        """A vote that was not saved is told nobody, and may be another one after a crash."""
        candidate, epoch = words[0], int(words[1])
        for master in _voted(life, candidate, epoch):
            if book.saved.get(("leader", master.name), 0) < epoch:
                continue
            vote = life.name, master.name, epoch
            if self._votes.setdefault(vote, candidate) != candidate:
                raise Violation("one vote per epoch", f"{life.name}, epoch {epoch}")

    def _on_elected(self, life, book, words):
        master = words[1]
        epoch = book.attempts[master]
        if (master, epoch) in self._forced:
            return
        first = self._leaders.setdefault((master, epoch), life.name)
        if first != life.name:
            raise Violation("one leader per epoch", f"{first} and {life.name}, epoch {epoch}")

    def _on_selected(self, life, _book, words):
        """The wire's description: ``slave <name> <ip> <port> @ <master> <ip> <port>``."""
        master = life.state.masters[words[5]]
        replica = master.replicas.get(words[1])
        # When the promotion was seen in the same step, nothing is left to judge.
        if replica is not None and (fault := _unfitness(life, master, replica)):
            raise Violation("the promoted replica was eligible", f"{life.name} {words[1]}: {fault}")

    def _on_tilt(self, _life, book, _words):
        book.is_tilted = True

    def _on_tilt_end(self, _life, book, _words):
        book.is_tilted = False

    def _on_new_epoch(self, _life, book, words):
        book.new_epoch = int(words[0])

    def _on_try(self, life, book, words):
        book.attempts[words[1]] = book.new_epoch
        failover = life.state.masters[words[1]].failover
        if failover and failover.forced:
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
    """An operator's FAILOVER begins in TILT, too, and goes on when that is over."""
    if notice.name not in ("+try-failover", "+elected-leader"):
        return False
    failover = life.state.masters[notice.text.split(" ")[1]].failover
    return failover is not None and failover.forced


def _voted(life, candidate, epoch):
    """The masters for which this is the sentinel's last vote; notice and answer do not say it."""
    masters = life.state.masters.values()
    return [it for it in masters if (it.leader, it.leader_epoch) == (candidate, epoch)]


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


def _check_forward(life, book):
    now = _epochs(life.state)
    if now == book.epochs:
        return
    for what, epoch in book.epochs.items():
        if now.get(what, epoch) < epoch:
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


def _unfitness(life, master, replica):
    """Why a replica must not be promoted, by the original's rules; None if it may."""
    now = life.now()
    info_age_max_ms = FRESH_INFO_MS if master.is_down else FRESH_INFO_FORCED_MS
    master_down_ms = now - master.down_at if master.is_down else 0
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
