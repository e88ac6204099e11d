"""Bugs put into the product on purpose, each of which a named checker has to find.

A mutant replaces one function of the product while it is on; the product knows nothing of it. The
rule it guards: a checker that finds no mutant proves nothing.
"""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sentinel_py.config import directives
from sentinel_py.core import choice, detector, election, failover, hello, info, members, orders
from sentinel_py.core.model import State
from sentinel_py.core.sentinel import Sentinel
from sentinel_py.core.turn import NEVER
from sentinel_py.node import Node

from .plan import Kind


@dataclass(frozen=True)
class Mutant:
    """A bug, whose context manager switches it on, and the checker that has to find it.

    ``kind`` is the fault without which the bug does nothing, if there is one; ``world`` is the kind
    of world that has the code in question.
    """

    name: str
    checker: str
    is_on: Callable
    kind: str | None
    world: Kind


@contextmanager
def _replaced(*replacements):
    """Replace attributes for a while; each is (owner, name, what makes the new from the old)."""
    with ExitStack() as restored:
        for owner, name, make in replacements:
            old = vars(owner)[name]
            restored.callback(setattr, owner, name, old)
            setattr(owner, name, make(old))
        yield


def mutant(name, checker, *replacements, kind=None, world=Kind.CLASSIC):
    return Mutant(name, checker, lambda: _replaced(*replacements), kind, world)


def _unsaved(old):
    """The same function, but nothing that it does is saved."""

    def changed(turn, *args, **kwargs):
        was_saved, turn._saved = turn._saved, True
        try:
            return old(turn, *args, **kwargs)
        finally:
            turn._saved = was_saved

    return changed


def _nothing(_old):
    return lambda *_args, **_kwargs: None


def _votes_again(old):
    def cast_vote(turn, master, epoch, candidate):
        if master.leader != candidate:
            master.leader_epoch = min(master.leader_epoch, epoch - 1)
        old(turn, master, epoch, candidate)

    return cast_vote


def _with(field, value):
    """The choice's test of a replica, blind to one of its fields."""

    def make(old):
        def is_good(turn, replica):
            known = getattr(replica, field)
            setattr(replica, field, value(turn))
            try:
                return old(turn, replica)
            finally:
                setattr(replica, field, known)

        return is_good

    return make


def _tilt_is_forgotten(old):
    def changed(turn, master):
        tilt_at, turn.state.tilt_at = turn.state.tilt_at, None
        try:
            old(turn, master)
        finally:
            turn.state.tilt_at = tilt_at

    return changed


def _keeps_config_epoch(old):
    def adopt(turn, master, peer, heard):
        epoch = master.config_epoch
        old(turn, master, peer, heard)
        master.config_epoch = epoch

    return adopt


def _forgets(*rule):
    return {**directives._RULES, rule: lambda _loading, _args: None}


def _once(old):
    """Open a link only if it was never tried."""

    def reopen(turn, instance, link):
        return old(turn, instance, link) if link.tried_at is None else NEVER

    return reopen


MUTANTS = (
    mutant(
        "a vote is not saved",
        "a vote is saved before it is told",
        (election, "cast_vote", _unsaved),
    ),
    mutant(
        "a vote is told though saving failed",
        "a vote is saved before it is told",
        (Node, "_as_saved", lambda _old: lambda _node, outcome: outcome),
        kind="fill-disk",
    ),
    mutant(
        "a vote is given to everybody who asks",
        "one vote per epoch",
        (election, "cast_vote", _votes_again),
        kind="slow-network",
    ),
    mutant(
        "the majority is off by one",
        "one leader per epoch",
        (members, "majority", lambda _old: lambda *whose: members.voters(*whose) // 2),
        kind="slow-network",
    ),
    mutant(
        "votes are not counted at all",
        "one leader per epoch",
        (
            election,
            "count_votes",
            lambda _old: (
                lambda turn, master: (
                    master.failover
                    and master.failover.phase.value == "wait_start"
                    and failover.elected(turn, master, master.failover)
                )
            ),
        ),
        kind="slow-network",
    ),
    mutant(
        "an old INFO is used",
        "the promoted replica was eligible",
        (choice, "is_healthy", _with("info_at", lambda turn: turn.now)),
        kind="deny-info",
    ),
    mutant(
        "priority 0 is promoted",
        "the promoted replica was eligible",
        (choice, "is_healthy", _with("priority", lambda _turn: 1)),
        kind="priority",
    ),
    mutant(
        "a replica that is down is promoted",
        "the promoted replica was eligible",
        (choice, "is_healthy", _with("is_down", lambda _turn: False)),
        kind="hang-redis",
    ),
    mutant(
        "tilt is ignored",
        "no action in tilt",
        (State, "is_tilted", lambda _old: property(lambda _state: False)),
        kind="jump-clock",
    ),
    mutant(
        "votes are counted in tilt",
        "no action in tilt",
        (election, "count_votes", _tilt_is_forgotten),
        (election, "check_odown", _tilt_is_forgotten),
        kind="jump-clock",
    ),
    mutant(
        "the leader epoch is not restored",
        "epochs never go back",
        (directives, "_RULES", lambda _old: _forgets("leader-epoch", 2)),
        kind="kill-sentinel",
    ),
    mutant(
        "the current epoch is not restored",
        "epochs never go back",
        (directives, "_RULES", lambda _old: _forgets("current-epoch", 1)),
        kind="kill-sentinel",
    ),
    mutant(
        "a changed option is not saved",
        "an acknowledged change is never lost",
        (orders, "_set_one", _unsaved),
        kind="order-set",
    ),
    mutant(
        "the config epoch of others is not taken over",
        "all agree after healing",
        (hello, "_adopt_config", _keeps_config_epoch),
    ),
    mutant(
        "a switch of others is not taken over",
        "all agree after healing",
        (hello, "_adopt_config", _nothing),
    ),
    mutant(
        "former masters are not demoted",
        "all agree after healing",
        (failover, "demote_at_once", _nothing),
        (info, "_convert", _nothing),
        kind="kill-redis",
    ),
    mutant(
        "other replicas are not pointed to the new master",
        "all agree after healing",
        (failover, "_tell", _nothing),
        (info, "_fix_master", _nothing),
        kind="kill-redis",
    ),
    mutant(
        "a dead connection is kept",
        "all agree after healing",
        (detector, "overdue_at", lambda _old: lambda *_args: NEVER),
        kind="lose-connection",
    ),
    mutant(
        "a lost connection is not opened again",
        "all agree after healing",
        (detector, "_reopen", _once),
    ),
    mutant(
        "the core gives up its timers",
        "all agree at first",
        (Sentinel, "wake_at", lambda _old: property(lambda _core: NEVER)),
    ),
)
