"""Bugs on the side of Raft mode: in the journal, in elections, and in what the log makes of it."""

from functools import partial

from sentinel_py.core import consensus, election, failover, fencing, shared_orders
from sentinel_py.core.ledger import Claim, Command
from sentinel_py.core.messages import DownAnswer
from sentinel_py.core.model import Fence
from sentinel_py.core.turn import NEVER
from sentinel_py.raft.adapters import member
from sentinel_py.raft.election import Election
from sentinel_py.raft.engine import Engine
from sentinel_py.raft.guarded import Core
from sentinel_py.raft.journal import NAME, Journal

from .mutants import mutant
from .plan import Kind


def _vote_is_forgotten(old):
    def deliver(core, peer, message):
        if message["type"] == "request_vote":
            core._raft._SyncObj__votedForNodeId = None
        old(core, peer, message)

    return deliver


def _is_flushed_without_sync(_old):
    def append(journal, frame):
        journal._disk.append(NAME, frame)

    return append


def _log_is_left(old):
    def replay(journal, data):
        size = old(journal, data)
        del journal.entries[2:]
        journal.commit_index = journal.snapshot.index
        return size

    return replay


def _one_is_taken_for_granted(old):
    """The majority that a commit needs is off by one: one member's answer is not waited for."""

    def tick(core):
        if core.is_leader and core.peers:
            core._raft._SyncObj__raftMatchIndex[member(core.peers[0])] = core.last.index
        old(core)

    return tick


def _is_applied_again(_old):
    def committed(turn, event):
        turn.state.raft.applied = min(turn.state.raft.applied, event.index - 1)
        _old(turn, event)

    return committed


def _applying(kind, make):
    return lambda old: {**old, kind: make(old[kind])}


def _claim_without_lead(old):
    def apply(turn, entry, ticket):
        raft = turn.state.raft
        leads, raft.leads = raft.leads, True
        old(turn, entry, ticket)
        raft.leads = leads

    return apply


def _claim_forgets_choice(old):
    def apply(turn, entry, ticket):
        old(turn, entry, ticket)
        if (master := turn.state.masters.get(entry.master)) and master.mandate:
            master.mandate.chosen = None

    return apply


def _is_promoted_at_once(_old):
    def propose_choice(turn, master, _epoch, address):
        failover.chosen(turn, master, master.failover, address)

    return propose_choice


def _is_not_asked(_old):
    def resume(turn, master, attempt, address):
        failover._send(turn, master, attempt, master.replica_at(address))

    return resume


def _vote_outside_the_log(_old):
    def vote(turn, master, question):
        election.cast_vote(turn, master, question.epoch, question.candidate)
        answer = DownAnswer(master.is_down, master.leader, master.leader_epoch)
        turn.answer(question.ticket, answer)

    return vote


def _is_answered_at_once(_old):
    def order_set(turn, given):
        consensus.propose(turn, Command("set", (given.name, *given.words)))
        turn.answer(given.ticket)

    return order_set


def _claims_in_tilt(_old):
    def take_up(turn, master):
        if master.mandate and not master.mandate.is_over:
            consensus.claim(turn, master, forced=master.mandate.forced)

    return take_up


def _skips_entries(old):
    """Every fifth entry is lost on its way from the log to the core."""

    def apply(engine, index, command):
        return None if index % 5 == 0 else old(engine, index, command)

    return apply


def _once(old):
    """The end of a pause is told once only, whether the master can be reached or not."""

    def lift(turn, master):
        old(turn, master)
        master.fence = Fence()

    return lift


def _never(_old):
    return lambda _turn, _master: NEVER


_mutant = partial(mutant, world=Kind.RAFT)

RAFT_MUTANTS = (
    _mutant(
        "an isolated member pauses no writes",
        "an isolated master is fenced",
        (fencing, "_hold", _never),
    ),
    _mutant(
        "a pause that could not be ended is forgotten",
        "clients find the master",
        (fencing, "_lift", _once),
        (fencing, "_expect_pauses", lambda _old: lambda _turn: None),
        kind="partition",
    ),
    _mutant(
        "a Raft vote is not remembered, and given to everybody who asks",
        "one Raft leader per term",
        (Core, "deliver", _vote_is_forgotten),
        (Election, "_is_led", lambda _old: lambda _election: False),
        (Election, "_ask_around", lambda _old: lambda it: it._stand(is_forced=True)),
        kind="slow-network",
    ),
    _mutant(
        "the Raft journal is not synced",
        "one entry per log index",
        (Journal, "_append", _is_flushed_without_sync),
        kind="kill-all-sentinels",
    ),
    _mutant(
        "the Raft log is ignored after a restart",
        "one entry per log index",
        (Journal, "_replay", _log_is_left),
        kind="kill-all-sentinels",
    ),
    _mutant(
        "the Raft majority is off by one",
        "one entry per log index",
        (Core, "tick", _one_is_taken_for_granted),
        kind="partition",
    ),
    _mutant(
        "an entry is not applied",
        "all agree after healing",
        (Engine, "_apply", _skips_entries),
        kind="order-set",
    ),
    _mutant(
        "a claim that is read again begins a failover",
        "only the Raft leader begins a failover",
        (consensus, "_APPLY", _applying(Claim, _claim_without_lead)),
        kind="kill-sentinel",
    ),
    _mutant(
        "a new leader chooses anew",
        "only the logged choice is promoted",
        (consensus, "_APPLY", _applying(Claim, _claim_forgets_choice)),
    ),
    _mutant(
        "the choice is not logged",
        "only the logged choice is promoted",
        (consensus, "propose_choice", _is_promoted_at_once),
    ),
    _mutant(
        "a chosen replica is promoted again without asking",
        "an inherited choice is asked for its role",
        (failover, "resume", _is_not_asked),
    ),
    _mutant(
        "a member votes outside the log",
        "a told vote is in the log",
        (consensus, "vote", _vote_outside_the_log),
        world=Kind.MIXED,
    ),
    _mutant(
        "an order is acknowledged before it is committed",
        "an acknowledged change is never lost",
        (shared_orders, "_order_set", _is_answered_at_once),
        kind="order-set",
    ),
    _mutant(
        "a leader in tilt claims",
        "no action in tilt",
        (consensus, "_take_up", _claims_in_tilt),
        kind="stop-sentinel",
    ),
)
